"""The defaults of the estimators: which settings are good on tables, chosen on a part of them.

    python benchmarks/defaults.py --out runs/defaults           # go on where it stopped
    python benchmarks/defaults.py --out runs/defaults --show

Candidates are drawn at random from :data:`SPACE`, then neighbours of the best, which differ in two
settings. Each is fitted on every table of ``TUNED_ON`` with one seed, the best twelve with two more, the
best five of them with another two. What counts is the mean over tables of ``log(errors / those of
MLPClassifier) + log(log-loss / that of MLPClassifier)`` on the same splits; who takes more than its CPU
time comes last. The tables that the benchmark judges by are never read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from klayer import KLayerClassifier
from tabular.data import TUNED_ON, Halves, halves
from tabular.methods import METHODS, on_numbers
from tabular.runs import one_fit

# Muon is not among them: at these sizes its products take longer than all the rest.
SPACE: dict[str, Sequence[Any]] = {
    "hidden": [(64, 64), (128, 64), (128, 128), (256,), (256, 128), (128, 128, 128)],
    "batch_norm": ["none", "hidden", "hidden"],
    "layer_norm": ["none", "hidden"],
    "activation": ["relu", "gelu_tanh", "silu", "selu"],
    "dropout": [0.0, 0.1, 0.2, 0.3],
    "smoothing": [0.0, 0.03, 0.1],
    "optimiser": ["adam", "adamw", "nesterov"],
    "weight_decay": [0.01, 0.1, 1.0],
    "lr_max": [0.002, 0.005, 0.01, 0.02],
    "schedule": ["cosine", "linear", "one_cycle"],
    "average": ["none", "ema"],
    "ema_decay": [0.95, 0.99],
    "batch_size": [32, 64, 128],
    "epochs": [20, 40, 60],
}
# What an earlier, wider draw of five found best; and what we would have guessed from it.
START: dict[str, Any] = {
    **{"hidden": (128, 128), "batch_norm": "hidden", "layer_norm": "none", "activation": "silu"},
    **{"dropout": 0.2, "smoothing": 0.03, "optimiser": "nesterov", "lr_max": 0.2},
    **{"schedule": "one_cycle", "average": "none", "batch_size": 64, "epochs": 40},
}
_ADAMW = {**START, "optimiser": "adamw", "weight_decay": 0.01, "lr_max": 0.01}
BY_HAND: dict[str, dict[str, Any]] = {
    "start": START,
    "adamw": _ADAMW,
    "adamw, 0.02": {**_ADAMW, "lr_max": 0.02},
    "adamw, wide": {**_ADAMW, "hidden": (256, 128), "dropout": 0.3},
    "adamw, decay": {**_ADAMW, "weight_decay": 1.0},
}
DRAWN, PARENTS, CHILDREN = 32, 3, 8
# How many candidates a rung keeps, and the seeds that it adds.
RUNGS = ((None, (0,)), (12, (1, 2)), (5, (3, 4)))


def settings_of(who: str) -> dict[str, Any]:
    """Return a candidate: ``"3"`` is drawn, ``"3/1"`` its neighbour; ``"start"``."""
    parent, _, child = who.rpartition("/")
    if parent:
        found = settings_of(parent)
        found["lr_max"] /= _faster(found)
        rng = np.random.default_rng([20, *parent.encode(), int(child)])
        for name in rng.choice(list(SPACE), 2, replace=False):
            found[name] = _other(rng, name, found.get(name))
        found["lr_max"] *= _faster(found)
    elif who in BY_HAND:
        return dict(BY_HAND[who])
    else:
        rng = np.random.default_rng([20, int(who)])
        found = {name: values[rng.integers(len(values))] for name, values in SPACE.items()}
        found["lr_max"] *= _faster(found)
    return _that_have_effect(found)


def _other(rng: np.random.Generator, name: str, now: Any) -> Any:
    others = [value for value in SPACE[name] if value != now]
    return others[rng.integers(len(others))]


def _faster(settings: Mapping[str, Any]) -> float:
    """Rates of plain descent are larger than Adam's."""
    return 20 if settings["optimiser"] == "nesterov" else 1


def _that_have_effect(found: dict[str, Any]) -> dict[str, Any]:
    if found["batch_norm"] != "none":
        found["layer_norm"] = "none"
    if found["optimiser"] != "adamw":
        found.pop("weight_decay", None)
    if found["average"] != "ema":
        found.pop("ema_decay", None)
    return found


@cache
def part(table: str, seed: int) -> Halves:
    """Return the halves of a table, read once."""
    return halves(table, seed)


class Study:
    """A file of lines, one for each candidate (or the baseline), table and seed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.lines = {
            (one["who"], one["table"], one["seed"]): one for one in map(json.loads, lines)
        }

    def fit(self, who: str, seed: int, settings: Mapping[str, Any] | None = None) -> None:
        """Fit on every table with one seed, where it has not been done."""
        for table in TUNED_ON:
            if (who, table, seed) in self.lines:
                continue
            if settings is None:
                model = METHODS[who].make(seed, 1)
            else:
                model = on_numbers(KLayerClassifier(random_state=seed, n_jobs=1, **settings))
            data = part(table, seed)
            try:
                found = one_fit(model, data)
            except ValueError as error:  # all of its networks diverged
                found = {"failed": str(error)}
            line = {
                "who": who,
                "table": table,
                "seed": seed,
                "test_rows": len(data.y_test),
                **found,
            }
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            self.lines[who, table, seed] = line

    def has(self, who: str, seeds: Sequence[int]) -> bool:
        """Whether it has been fitted on every table with these seeds."""
        return all((who, table, seed) in self.lines for table in TUNED_ON for seed in seeds)

    def score(self, who: str, seeds: Sequence[int]) -> tuple[float, float, float]:
        """Return the mean over tables of both logarithms, and the ratio of CPU times."""
        errors, losses, spent = [], [], []
        for table in TUNED_ON:
            ours, theirs = (
                [self.lines[one, table, seed] for seed in seeds] for one in (who, "MLPClassifier")
            )
            if any("failed" in line for line in ours):
                return np.inf, np.inf, np.inf
            wrong = [
                sum((1 - one["accuracy"]) * one["test_rows"] + 0.5 for one in those)
                for those in (ours, theirs)
            ]
            errors.append(np.log(wrong[0] / wrong[1]))
            for key, to in (("log_loss", losses), ("cpu_seconds", spent)):
                mean = [np.mean([one[key] for one in those]) for those in (ours, theirs)]
                to.append(np.log(mean[0] / mean[1]))
        return float(np.mean(errors)), float(np.mean(losses)), float(np.exp(np.mean(spent)))


def main() -> None:
    """Draw, look around the best, climb the rungs; print the best."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("runs/defaults"))
    parser.add_argument("--show", action="store_true", help="Fit nothing more.")
    options = parser.parse_args()
    study = Study(options.out / "fits.jsonl")

    def ranked(candidates: Sequence[str], seeds: Sequence[int], more: Sequence[int]) -> list[str]:
        for seed in () if options.show else more:
            study.fit("MLPClassifier", seed)
            for who in candidates:
                study.fit(who, seed, settings_of(who))
        there = [who for who in candidates if study.has(who, seeds)]
        scores = {who: study.score(who, seeds) for who in there}
        there.sort(key=lambda who: (scores[who][2] > 1, scores[who][0] + scores[who][1]))
        print(f"\n{len(there)} candidates, {len(seeds)} seeds")
        print("errors, log-loss, CPU time: ratios to MLPClassifier's")
        for who in there[:12]:
            errors, losses, spent = scores[who]
            print(
                f"{np.exp(errors):.3f} {np.exp(losses):.3f} {spent:.2f}  #{who} {settings_of(who)}"
            )
        return there

    drawn = [*BY_HAND, *map(str, range(DRAWN))]
    best = ranked(drawn, (0,), (0,))[:PARENTS]
    candidates = drawn + [f"{who}/{child}" for who in best for child in range(CHILDREN)]
    seeds: tuple[int, ...] = ()
    for most, more in RUNGS:
        seeds = (*seeds, *more)
        candidates = ranked(candidates[:most], seeds, more)


if __name__ == "__main__":
    main()
