"""Load a user's model from ``FILE.py:FUNCTION`` or ``package.module:FUNCTION``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from klayer.errors import KlayerError, unknown_name
from klayer.gradcheck.adapters import from_model
from klayer.gradcheck.structure import is_container

__all__ = ["load_model"]

# What an object may say besides, each an option of `check_gradients`.
OPTIONAL = ("loss", "kinks", "samples", "l2", "reference")
# The function that is looked for where none is named.
USUAL = "model"


def load_model(target: str, harness: str | None = None) -> dict[str, Any]:
    """Run ``FILE.py:FUNCTION`` (or ``package.module:FUNCTION``) and return what is to be checked.

    The function is called without arguments. It returns ``(loss_and_grads, params)``, or an object
    with attributes ``loss_and_grads`` and ``params`` and, if it likes, ``loss``, ``kinks``,
    ``samples``, ``l2`` and ``reference``: see :func:`klayer.gradcheck.check_gradients`; or an object
    with ``params`` and ``loss``, alone or in a tuple with the batch, for
    :func:`klayer.gradcheck.from_model`.

    Parameters
    ----------
    target : str
        A ``*`` for FUNCTION stands for ``model``, or else the file's only function that takes no
        arguments.
    harness : str, optional
        ``FILE.py:FUNCTION`` that is called with the target's module and makes the model of it.

    Returns
    -------
    arguments : dict
        Arguments of :func:`klayer.gradcheck.check_gradients`.

    Raises
    ------
    KlayerError
        If the file or the function isn't there, fails, ends the program, or returns something else.
    """
    place, name = _parted(target)
    target = target.removesuffix(":*")
    module = _module(place)
    arguments: tuple[ModuleType, ...] = ()
    if harness is None:
        function = _function(module, place, name)
    else:
        where, named = _parted(harness)
        function = _function(_module(where), where, named)
        arguments = (module,)
    try:
        made = function(*arguments)
    except KlayerError:
        raise
    except SystemExit as error:
        raise _ended(target, error) from error
    except Exception as error:
        how = "work without arguments" if harness is None else f"work with {harness}"
        raise KlayerError(
            f"{target} must {how}, but raised {type(error).__name__}: {error}"
        ) from error
    return _arguments(made, target if harness is None else harness)


def _parted(target: str) -> tuple[str, str | None]:
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise KlayerError(f"the model must be FILE.py:FUNCTION, but got {target!r}.")
    return place, None if name == "*" else name


def _function(module: ModuleType, place: str, name: str | None) -> Any:
    public = {
        key: value
        for key, value in vars(module).items()
        if callable(value)
        and not key.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    }
    if name is None:
        alone = [key for key, value in public.items() if _takes_nothing(value)]
        name = alone[0] if len(alone) == 1 and USUAL not in public else USUAL
    function = getattr(module, name, None)
    if not callable(function):
        raise unknown_name(f"function in {place}", name, public or ["none"])
    return function


def _takes_nothing(function: Any) -> bool:
    if inspect.isclass(function):
        return False
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _module(place: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            here = str(Path.cwd())
            if here not in sys.path:  # as for `python -m`: packages of the folder are found
                sys.path.insert(0, here)
            return importlib.import_module(place)
        path = Path(place)
        if not path.is_file():
            raise KlayerError(f"there is no file {place!r}: the model must be FILE.py:FUNCTION.")
        return _from_file(path.resolve())
    except KlayerError:
        raise
    except SystemExit as error:
        raise _ended(place, error) from error
    except Exception as error:
        raise KlayerError(
            f"{place} could not be loaded: {type(error).__name__}: {error}"
        ) from error


def _from_file(path: Path) -> ModuleType:
    root, name = path.parent, f"_klayer_model_{path.stem}"
    if (root / "__init__.py").is_file() or _is_relative(path):
        # A module of a package: imported under its own name, relative imports work.
        parts = [path.stem]
        while (root / "__init__.py").is_file() or len(parts) == 1:
            parts.insert(0, root.name)
            root = root.parent
        sys.path.insert(0, str(root))
        try:
            return importlib.import_module(".".join(parts))
        finally:
            sys.path.remove(str(root))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # as for every .py file
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A file may import its neighbours, and dataclasses look their module up.
    sys.modules[name] = module
    sys.path.insert(0, str(root))
    try:
        spec.loader.exec_module(module)
    finally:
        if str(root) in sys.path:
            sys.path.remove(str(root))
    return module


def _is_relative(path: Path) -> bool:
    """Whether a file imports its neighbours by a dot: then its folder is a package."""
    import ast

    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in ast.walk(tree))


def _ended(what: str, error: SystemExit) -> KlayerError:
    return KlayerError(
        f"{what} ended the program (sys.exit({error.code!r})) before anything was checked: it must "
        "return its model. Put what a script does under `if __name__ == '__main__':`."
    )


def _arguments(made: Any, target: str) -> dict[str, Any]:
    if isinstance(made, tuple | list) and made and _keeps_params(made[0]):
        made, batch = made[0], tuple(made[1:])
        function, params = from_model(made, *batch)
        return {"loss_and_grads": function, "params": params}
    if isinstance(made, tuple | list) and len(made) == 2:
        return {"loss_and_grads": made[0], "params": made[1]}
    params = getattr(made, "params", None)
    if hasattr(made, "loss_and_grads") and (is_container(params) or hasattr(params, "shape")):
        given = {name: getattr(made, name, None) for name in OPTIONAL}
        return {
            "loss_and_grads": made.loss_and_grads,
            "params": params,
            **{name: value for name, value in given.items() if value is not None},
        }
    if _keeps_params(made):
        function, params = from_model(made)
        given = {name: getattr(made, name, None) for name in OPTIONAL if name != "loss"}
        told = {name: value for name, value in given.items() if value is not None}
        return {"loss_and_grads": function, "params": params, **told}
    raise KlayerError(
        f"{target} must return (loss_and_grads, params), an object with `loss_and_grads` and a "
        "mapping `params`, or one with `params` and `loss`, alone or as (model, inputs, labels), but "
        f"got {type(made).__name__}."
    )


def _keeps_params(made: Any) -> bool:
    return callable(getattr(made, "loss", None)) and hasattr(made, "params")
