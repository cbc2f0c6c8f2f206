"""A search of 32 candidates in 5 folds: in lockstep, beside scikit-learn's search of one after another.

    python benchmarks/search_cv.py [--tables cancer digits] [--repeats 3] [--jobs 2] [--backend auto]

Each row is a search over the same candidates with the same number of updates each: the same hidden
layers, batch size, epochs, Adam, no early stopping. `RandomizedSearchCV` trains them one by one in
processes, `MLPClassifier` and our own class; `PopulationSearchCV` trains all of them at once. Searches
are interleaved; a time is the median, a ratio that of the medians. The last fit on all rows is part of
each.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RandomizedSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import klayer as kl

EPOCHS, BATCH = 20, 32
NUMBERS = {"rate": loguniform(1e-4, 1e-1), "penalty": loguniform(1e-7, 1e-2)}
NARROW = {"hidden": [(32,)], **NUMBERS}
SEVERAL = {"hidden": [(16,), (32,), (32, 32), (64,)], **NUMBERS}
OURS = {"rate": "lr_max", "penalty": "l2", "hidden": "hidden"}
THEIRS = {
    "rate": "learning_rate_init",
    "penalty": "alpha",
    "hidden": "hidden_layer_sizes",
}


def tables() -> dict[str, tuple[Any, Any]]:
    """Return the data sets by name: 569 rows of 30 features, 1,797 of 64."""
    return {
        "cancer": load_breast_cancer(return_X_y=True),
        "digits": load_digits(return_X_y=True),
    }


def searches(space: dict[str, Any], backend: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return the three searches by name."""
    ours = kl.KLayerClassifier(epochs=EPOCHS, batch_size=BATCH, random_state=0, backend=backend)
    theirs = make_pipeline(
        StandardScaler(),
        MLPClassifier(
            batch_size=BATCH, max_iter=EPOCHS, tol=0.0, n_iter_no_change=EPOCHS + 1, random_state=0
        ),
    )
    how = {"n_iter": given.candidates, "cv": given.folds, "n_jobs": given.jobs, "random_state": 0}
    own = {OURS[name]: values for name, values in space.items()}
    other = {f"mlpclassifier__{THEIRS[name]}": values for name, values in space.items()}
    return {
        "PopulationSearchCV": kl.PopulationSearchCV(ours, own, **how),
        "RandomizedSearchCV(KLayerClassifier)": RandomizedSearchCV(ours, own, **how),
        "RandomizedSearchCV(MLPClassifier)": RandomizedSearchCV(theirs, other, **how),
    }


def seconds(search: Any, X: Any, y: Any) -> float:
    """Time a search once."""
    started = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tables", nargs="+", choices=list(tables()), default=list(tables()))
    parser.add_argument("--backend", default="auto", help="numpy, compiled or auto")
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are meant
    print(f"{given.candidates} candidates x {given.folds} folds, {EPOCHS} epochs, batch {BATCH},")
    print(f"n_jobs={given.jobs}, backend={given.backend}; seconds, median of {given.repeats}")
    for name in given.tables:
        X, y = tables()[name]
        for kind, space in {"one architecture": NARROW, "four architectures": SEVERAL}.items():
            each = searches(space, given.backend, given)
            times: dict[str, list[float]] = {one: [] for one in each}
            for repeat in range(given.repeats + 1):
                for one, search in each.items():
                    if repeat == 0:  # processes and compiled code are there from now on
                        search.set_params(n_iter=2).fit(X, y)
                        search.set_params(n_iter=given.candidates)
                        continue
                    times[one].append(seconds(search, X, y))
            first = float(np.median(times["PopulationSearchCV"]))
            print(f"{name}, {kind}")
            for one, found in times.items():
                middle = float(np.median(found))
                spread = f"{min(found):.2f} to {max(found):.2f}"
                print(f"  {one:40s} {middle:7.2f} ({spread})  x {middle / first:.1f}", flush=True)
            scores = {one: search.best_score_ for one, search in each.items()}
            print("  best score: " + ", ".join(f"{value:.4f}" for value in scores.values()))


if __name__ == "__main__":
    main()
