"""The process that holds a model: loads it, and answers for its losses and gradients.

Started by :mod:`klayer.gradcheck.remote` as ``python -m klayer.gradcheck.serve``. Whatever the model
does, prints, forks or exits, it does here; the checker only gets numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from klayer.errors import KlayerError
from klayer.gradcheck.load import load_model
from klayer.gradcheck.objective import Array, FunctionObjective
from klayer.gradcheck.options import validate
from klayer.gradcheck.structure import flatten
from klayer.gradcheck.wire import WireError, receive, send

__all__ = ["main"]

_ANY_SIZE = 1 << 62  # the checker is trusted

Answer = tuple[dict[str, Any], dict[str, Array]]


def main() -> None:
    """Serve the socket that is named by its number, until the other side is gone."""
    options = json.loads(sys.argv[1])
    sock = socket.socket(fileno=options["socket"])
    own = os.getpid()
    _limit_cpu(options["cpu_seconds"])

    def answer(made: Callable[[], Answer]) -> Answer:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                message, arrays = made()
            casts = [str(one.message) for one in caught if _is_cast(one)]
            return {**message, "casts": casts[:1]}, arrays
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a model may raise SystemExit as well
            return _failure(error), {}

    model = _Model(options)
    message, arrays = answer(model.load)
    while True:
        if os.getpid() != own:  # a fork of the model has come back from its function
            os._exit(0)
        try:
            send(sock, message, arrays)
            request, given = receive(sock, _ANY_SIZE)
        except (WireError, OSError):
            break
        message, arrays = answer(lambda: model.answer(request, given))  # noqa: B023
    os._exit(0)  # whatever threads and exit handlers the model has left


def _limit_cpu(seconds: float | None) -> None:
    """Let nothing that the model starts and leaves behind run for ever."""
    if seconds is None:
        return
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        limit = int(seconds) + 1
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _is_cast(warning: warnings.WarningMessage) -> bool:
    text = str(warning.message)
    return issubclass(warning.category, np.exceptions.ComplexWarning) or (
        "discard" in text and "imaginary" in text
    )


def _failure(error: BaseException) -> dict[str, Any]:
    return {
        "error": type(error).__name__,
        "text": str(error)[:2000],
        "mendable": isinstance(error, KlayerError),
        "traceback": "".join(traceback.format_exception(error))[-20000:],
    }


class _Model:
    """A loaded model, asked by name."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._objective: FunctionObjective
        self._kinks: Callable[[Any], Any] | None = None

    def load(self) -> Answer:
        """Return what the checker must know: the point, the terms, and the model's own options."""
        options = self._options
        arguments = load_model(options["target"], options["harness"])
        known = {key: arguments.get(key) for key in ("samples", "l2", "kinks", "reference")}
        validate(**known)
        self._kinks, reference = known["kinks"], known["reference"]
        self._objective = FunctionObjective(
            arguments["loss_and_grads"], arguments["params"], arguments.get("loss")
        )
        arrays = {f"params {key}": value for key, value in self._objective.params.items()}
        told: dict[str, Any] = {
            "terms": self._objective.terms,
            "samples": None if known["samples"] is None else int(known["samples"]),
            "l2": None if known["l2"] is None else float(known["l2"]),
            "kinks": self._kinks is not None,
            "given": self._objective.given.itemsize,
        }
        if reference is not None:
            network = reference.network
            told["reference"] = {
                "network": {one.name: getattr(network, one.name) for one in fields(network)},
                "l2": float(reference.l2),
                "numbers": {key: float(one) for key, one in reference.numbers.items()},
            }
            labels = np.asarray(reference.labels)
            whole = labels.dtype.kind in "iub"
            arrays["reference x"] = np.asarray(reference.x, np.float64)
            arrays["reference labels"] = labels.astype(np.int64 if whole else np.float64)
            for layer, mask in reference.masks.items():
                arrays[f"mask {layer}"] = np.asarray(mask, np.float64)
        return told, arrays

    def answer(self, request: dict[str, Any], arrays: dict[str, Array]) -> Answer:
        """Return losses, gradients or whatever is asked for."""
        params = {
            key.removeprefix("params "): value
            for key, value in arrays.items()
            if key.startswith("params ")
        }
        objective, found = self._objective, {}
        if request["ask"] == "losses":
            found["losses"] = objective.losses(params)
        elif request["ask"] == "losses_with":
            name = request["name"]
            found["losses"] = objective.losses_with(
                params, name, arrays["entries"], arrays["values"]
            )
        elif request["ask"] == "evaluate":
            losses, grads = objective.evaluate(params)
            found["losses"] = losses
            for t, term in enumerate(objective.terms):
                found |= {f"{t} {name}": value for name, value in grads[term].items()}
        elif request["ask"] == "rounding":
            found |= {f"rounding {key}": one for key, one in objective.rounding(params).items()}
        elif request["ask"] == "kinks" and self._kinks is not None:
            values = flatten(list(self._kinks(objective.shown(params))))
            found |= {f"kinks {key}": np.asarray(one, float) for key, one in values.items()}
        told = {"dtype": objective.loss_dtype.str, "notes": objective.notes[:20]}
        return told, {key: np.asarray(value) for key, value in found.items()}


if __name__ == "__main__":
    main()
