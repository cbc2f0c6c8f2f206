"""Load a user's model from ``FILE.py:FUNCTION``, for the command."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from klayer.errors import KlayerError, unknown_name

__all__ = ["load_model"]

# What an object may say besides, each an option of `check_gradients`.
OPTIONAL = ("loss", "kinks", "samples", "l2", "reference")


def load_model(target: str) -> dict[str, Any]:
    """Run ``FILE.py:FUNCTION`` (or ``package.module:FUNCTION``) and return what is to be checked.

    The function is called without arguments. It returns ``(loss_and_grads, params)``, or an object
    with attributes ``loss_and_grads`` and ``params`` and, if it likes, ``loss``, ``kinks``,
    ``samples``, ``l2`` and ``reference``: see :func:`klayer.gradcheck.check_gradients`.

    Parameters
    ----------
    target : str

    Returns
    -------
    arguments : dict
        Arguments of :func:`klayer.gradcheck.check_gradients`.

    Raises
    ------
    KlayerError
        If the file or the function isn't there, fails, or returns something else.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise KlayerError(f"the model must be FILE.py:FUNCTION, but got {target!r}.")
    module = _module(place)
    function = getattr(module, name, None)
    if not callable(function):
        public = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        raise unknown_name(f"function in {place}", name, public or ["none"])
    try:
        made = function()
    except KlayerError:
        raise
    except Exception as error:
        raise KlayerError(
            f"{target} must work without arguments, but raised {type(error).__name__}: {error}"
        ) from error
    return _arguments(made, target)


def _module(place: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place)
        if not path.is_file():
            raise KlayerError(f"there is no file {place!r}: the model must be FILE.py:FUNCTION.")
        spec = importlib.util.spec_from_file_location(f"_klayer_model_{path.stem}", path)
        assert spec is not None  # as for every .py file
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # A file may import its neighbours, and dataclasses look their module up.
        sys.modules[spec.name] = module
        sys.path.insert(0, str(path.parent.resolve()))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.pop(0)
    except KlayerError:
        raise
    except Exception as error:
        raise KlayerError(
            f"{place} could not be loaded: {type(error).__name__}: {error}"
        ) from error
    return module


def _arguments(made: Any, target: str) -> dict[str, Any]:
    if isinstance(made, tuple | list) and len(made) == 2:
        return {"loss_and_grads": made[0], "params": made[1]}
    if hasattr(made, "loss_and_grads") and isinstance(getattr(made, "params", None), Mapping):
        given = {name: getattr(made, name, None) for name in OPTIONAL}
        return {
            "loss_and_grads": made.loss_and_grads,
            "params": made.params,
            **{name: value for name, value in given.items() if value is not None},
        }
    raise KlayerError(
        f"{target} must return (loss_and_grads, params), or an object with `loss_and_grads` and a "
        f"mapping `params`, but got {type(made).__name__}."
    )
