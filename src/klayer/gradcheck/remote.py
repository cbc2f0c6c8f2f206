"""A model in a process of its own: nothing of it runs in the checker's, and its time may be limited."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from klayer.errors import KlayerError
from klayer.gradcheck.check import run_check
from klayer.gradcheck.objective import Array, Params
from klayer.gradcheck.reference import Reference
from klayer.gradcheck.result import Check
from klayer.gradcheck.wire import WireError, receive, send
from klayer.nn import Network

__all__ = ["ModelEnded", "ModelFailed", "TimeLimit", "check_remote"]

_SLICE = 0.1  # seconds between two looks at whether the process still lives
_PORTION = 0.25  # seconds that one question of many losses may take, so that progress is told
_GIVEN = {2: "f2", 4: "f4"}  # the parameters' own type, by its bytes, if less than float64
_ROOM = 1 << 24  # bytes that an answer may have beyond what is asked for


class TimeLimit(KlayerError):
    """The model took longer than it may."""


class ModelEnded(KlayerError):
    """The model's process has ended before the check was done."""


class ModelFailed(KlayerError):
    """The model raised an exception; ``traceback`` tells where."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.add_note(traceback)


def check_remote(
    target: str,
    *,
    harness: str | None = None,
    time_limit: float | None = None,
    folder: Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Check:
    """Check a model that is loaded and run in a process of its own.

    Parameters
    ----------
    target, harness
        See :func:`klayer.gradcheck.load.load_model`.
    time_limit : float, > 0, optional
        Seconds for all of it, from the start of the process.
    folder : path, optional
        Where the process runs; by default here.
    quiet : bool
        Drop what the model prints; otherwise it goes to stderr.
    **options
        Of :func:`klayer.gradcheck.check_gradients`.

    Raises
    ------
    TimeLimit, ModelEnded, ModelFailed, KlayerError
    """
    with _Process(target, harness, time_limit, folder, quiet) as process:
        objective = _RemoteObjective(process)
        reference = objective.reference
        try:
            return run_check(
                objective,
                samples=objective.told["samples"],
                l2=None if objective.told["l2"] is None else np.array([objective.told["l2"]]),
                references={} if reference is None else {"cost": [reference]},
                kinks=objective.kinks if objective.told["kinks"] else None,
                notes=objective.notes,
                **options,
            )
        except _Raised as error:
            raise ModelFailed(
                f"{target} failed while it was checked: {error}", error.where
            ) from None


class _Raised(Exception):
    """What the model raised, by a class of the same name."""

    def __init__(self, text: str, where: str) -> None:
        super().__init__(text)
        self.where = where

    def __str__(self) -> str:
        text = super().__str__()
        return f"{type(self).__name__}: {text}" if text else type(self).__name__


class _Process:
    """The process that holds the model; ends with the block, and all that it has started."""

    def __init__(
        self,
        target: str,
        harness: str | None,
        time_limit: float | None,
        folder: Path | None,
        quiet: bool,
    ) -> None:
        self.target, self.limit = target.removesuffix(":*"), time_limit
        self._deadline = None if time_limit is None else time.monotonic() + time_limit
        self._sock, theirs = socket.socketpair()
        self._sock.settimeout(_SLICE)
        options = {
            "socket": theirs.fileno(),
            "target": target,
            "harness": harness,
            "cpu_seconds": None if time_limit is None else 4 * time_limit + 10,
        }
        try:
            self._process = subprocess.Popen(
                # -P: a file beside the model must not stand for a library's.
                [sys.executable, "-P", "-m", "klayer.gradcheck.serve", json.dumps(options)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if quiet else 2,
                stderr=subprocess.DEVNULL if quiet else None,
                pass_fds=[theirs.fileno()],
                cwd=folder,
                start_new_session=True,
            )
        finally:
            theirs.close()

    def __enter__(self) -> _Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sock.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def hear(self, limit: int) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the process's next answer.

        Raises
        ------
        TimeLimit, ModelEnded, KlayerError, or what the model raised, as an exception of that name
        """
        try:
            message, arrays = receive(self._sock, limit, self._look)
        except WireError as error:
            raise self._ended(str(error)) from None
        if "error" in message:
            text, name = str(message.get("text", "")), str(message["error"])
            if message.get("mendable") is True:
                raise KlayerError(text)
            if name == "SystemExit":
                raise ModelEnded(
                    f"{self.target} ended the program (sys.exit) before anything was checked: it must "
                    "return its model."
                )
            raise type(name, (_Raised,), {})(text, str(message.get("traceback", "")))
        return message, arrays

    def say(self, message: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Ask the process something."""
        try:
            self._sock.settimeout(None if self._deadline is None else self._left())
            send(self._sock, message, arrays)
        except TimeoutError:
            raise self._too_long() from None
        except OSError as error:
            raise self._ended(str(error)) from None
        finally:
            self._sock.settimeout(_SLICE)

    def _left(self) -> float:
        assert self._deadline is not None
        return max(0.01, self._deadline - time.monotonic())

    def _look(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise self._too_long()
        if self._process.poll() is not None:
            raise WireError("the process is gone")

    def _too_long(self) -> TimeLimit:
        return TimeLimit(f"{self.target} took longer than the time limit of {self.limit:g} s.")

    def _ended(self, what: str) -> ModelEnded:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        status = self._process.returncode
        how = what if status is None else f"exit status {status}"
        if status is not None and status < 0:
            how = f"signal {-status}"
        return ModelEnded(
            f"the process of {self.target} ended before the check was done ({how}): it must return "
            "its model, and not exit."
        )


class _RemoteObjective:
    """An objective that another process computes."""

    derived: frozenset[str] = frozenset()

    def __init__(self, process: _Process) -> None:
        self._process = process
        try:
            self.told, arrays = process.hear(_ROOM << 8)
            self.terms = tuple(str(one) for one in self.told["terms"])
            self.params: Params = {
                key.removeprefix("params "): value
                for key, value in arrays.items()
                if key.startswith("params ")
            }
            self.given: np.dtype[Any] = np.dtype(_GIVEN.get(self.told["given"], "f8"))
            self.reference = self._read_reference(arrays)
        except (KeyError, TypeError) as error:
            raise ModelEnded(f"{process.target} gave no model ({error}).") from error
        except _Raised as error:
            raise ModelFailed(str(error), error.where) from None
        self._limit = _ROOM + 4 * len(self.terms) * sum(one.nbytes for one in self.params.values())
        self.loss_dtype: np.dtype[Any] = np.dtype(np.float64)
        self.evaluations = 0
        self.watch: Callable[[], None] = lambda: None
        self.notes: list[str] = []
        self._seconds = 0.0  # that a loss takes

    def losses(self, params: Params) -> Array:
        self.evaluations += 1
        self.watch()
        start = time.monotonic()
        found = self._ask({"ask": "losses"}, params)["losses"]
        self._seconds = time.monotonic() - start
        return self._shaped(found, (len(self.terms), 1))

    def losses_with(self, params: Params, name: str, entries: Array, values: Array) -> Array:
        portion = max(1, int(_PORTION / max(self._seconds, 1e-4)))
        found = []
        for start in range(0, len(entries), portion):
            some = slice(start, start + portion)
            extra = {"entries": entries[some], "values": values[:, some]}
            losses = self._ask({"ask": "losses_with", "name": name}, params, extra)["losses"]
            found.append(self._shaped(losses, (len(self.terms), 1, len(entries[some]))))
            self.evaluations += len(entries[some])
            self.watch()
        return np.concatenate(found, axis=2)

    def evaluate(self, params: Params) -> tuple[Array, dict[str, Params]]:
        self.evaluations += 1
        self.watch()
        found = self._ask({"ask": "evaluate"}, params)
        grads = {
            term: {
                name: self._shaped(found.get(f"{t} {name}"), value.shape)
                for name, value in self.params.items()
            }
            for t, term in enumerate(self.terms)
        }
        return self._shaped(found["losses"], (len(self.terms), 1)), grads

    def rounding(self, params: Params) -> Params:
        found = self._ask({"ask": "rounding"}, params)
        return {
            key: np.broadcast_to(found[f"rounding {key}"], value.shape)
            for key, value in self.params.items()
            if f"rounding {key}" in found
        }

    def kinks(self) -> list[Array]:
        return list(self._ask({"ask": "kinks"}, self.params).values())

    def _ask(
        self, message: dict[str, Any], params: Params, extra: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        arrays = {f"params {key}": value for key, value in params.items()}
        self._process.say(message, {**arrays, **(extra or {})})
        told, found = self._process.hear(self._limit)
        if told.get("casts"):
            warnings.warn(str(told["casts"][0]), np.exceptions.ComplexWarning, stacklevel=2)
        if told.get("dtype") in ("<f2", "<f4"):
            self.loss_dtype = np.dtype(told["dtype"])
        notes = told.get("notes")
        self.notes[:] = [str(one) for one in notes] if isinstance(notes, list) else []
        return found

    def _shaped(self, value: Array | None, shape: tuple[int, ...]) -> Array:
        if value is None or value.shape != shape or value.dtype.kind not in "fci":
            raise ModelEnded(f"{self._process.target} gave an answer of the wrong shape.")
        return value

    def _read_reference(self, arrays: Mapping[str, Array]) -> Reference | None:
        told = self.told.get("reference")
        if told is None:
            return None
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in told["network"].items()
        }
        network = Network(**settings)
        return Reference(
            network,
            arrays["reference x"],
            arrays["reference labels"],
            float(told["l2"]),
            {str(key): float(value) for key, value in told["numbers"].items()},
            {
                int(key.removeprefix("mask ")): value
                for key, value in arrays.items()
                if key.startswith("mask ")
            },
        )
