"""One fit after another, each a line of JSON: what is there is not done again."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from tabular.data import Halves, halves
from tabular.methods import METHODS

__all__ = ["Results", "one_fit"]

Case = tuple[str, int, str]


def one_fit(model: Any, data: Halves, threads: int = 1) -> dict[str, float]:
    """Fit a model, and score it on the rows that it has not seen.

    Returns
    -------
    found : dict
        ``accuracy``, ``log_loss``, and of the call of ``fit`` ``seconds`` and ``cpu_seconds`` of all its
        threads.
    """
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLPClassifier calls its own 200 epochs a failure
        began, spent = time.perf_counter(), time.process_time()
        model.fit(data.X, data.y)
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
        probs = np.asarray(model.predict_proba(data.X_test), np.float64)
    probs /= probs.sum(axis=1, keepdims=True)
    return {
        "accuracy": float((probs.argmax(axis=1) == data.y_test).mean()),
        "log_loss": float(log_loss(data.y_test, probs, labels=np.arange(probs.shape[1]))),
        "seconds": seconds,
        "cpu_seconds": cpu,
    }


class Results:
    """A file of lines: what a run is, then a line for each fit.

    Parameters
    ----------
    path : Path
        Made if it isn't there.
    made : dict
        What all its lines have in common; a file of other ones is refused.
    """

    def __init__(self, path: Path, made: dict[str, Any]) -> None:
        self.path, self.lines = path, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.read_bytes() if path.exists() else b""
        whole = known[: known.rfind(b"\n") + 1]  # a last line that was cut off is done again
        first, *rest = [json.loads(line) for line in whole.splitlines()] or [made]
        if first != made:
            raise SystemExit(f"{path} was made with {first}, not with {made}: give another --out.")
        for line in rest:
            self.lines[line["table"], line["seed"], line["method"]] = line
        if len(whole) < len(known):
            os.truncate(path, len(whole))
        if not whole:
            self._append(made)

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def missing(self, cases: Iterable[Case]) -> list[Case]:
        """Return the cases that have no line."""
        return [case for case in cases if case not in self.lines]

    def fit(self, case: Case, most_rows: int, threads: int) -> dict[str, Any]:
        """Fit a case, and keep its line."""
        table, seed, method = case
        data = halves(table, seed, most_rows)
        line = {
            "table": table,
            "seed": seed,
            "method": method,
            "rows": len(data.y),
            "test_rows": len(data.y_test),
            "columns": data.X.shape[1],
            "classes": int(data.y.max()) + 1,
            **one_fit(METHODS[method].make(seed, threads), data, threads),
        }
        self._append(line)
        self.lines[case] = line
        return line
