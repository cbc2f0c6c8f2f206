"""Networks that get no better on validation data stop, each alone, and end with their best weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.train.metrics import METRICS
from klayer.train.population import Population

__all__ = ["carry_best", "note_point", "restore_best"]

Array = NDArray[Any]


def note_point(population: Population, values: Mapping[str, Array]) -> None:
    """Judge a point of the validation curve: keep what is best, stop what has waited too long.

    Parameters
    ----------
    population : Population
    values : mapping of array, shape (P,)
        The point, by curve; NaN for networks that don't train any more.
    """
    settings, state = population.settings, population.state
    if settings.early_stopping == "none":
        return
    name = settings.early_stopping
    sign = 1 if name in METRICS and METRICS[name].greater_is_better else -1
    value = sign * values[f"validation_{name}"]
    best, waited = state.marks["best"], state.marks["waited"]
    lanes = population.training
    better = [p for p in lanes if value[p] > best[p]]
    waited[lanes] += 1
    if better:
        best[better], state.marks["best_update"][better], waited[better] = (
            value[better],
            state.update,
            0,
        )
        params, running = state.weights()
        for key, here in {**params, **running}.items():
            state.copies["best"][key][better] = here[better]
    done = [p for p in lanes if waited[p] >= settings.patience and state.update > 0]
    state.marks["stopped"][done] = state.update
    restore_best(population, done)


def carry_best(population: Population, values: Mapping[str, Array]) -> None:
    """Give the curves of networks that have stopped the values of the weights that they ended with."""
    state = population.state
    if "stopped" not in state.marks:
        return
    for p in np.flatnonzero(state.marks["stopped"] >= 0):
        best = state.recorded.index(int(state.marks["best_update"][p]))
        for curve, value in values.items():
            value[p] = state.history[curve][p, best]


def restore_best(population: Population, lanes: list[int]) -> None:
    """Give networks their best weights back."""
    state = population.state
    lanes = [p for p in lanes if np.isfinite(state.marks["best"][p])]
    if not lanes:
        return
    for key, best in state.copies["best"].items():
        group = state.params if key in state.params else state.running
        group[key][lanes] = best[lanes]
        if "average" in state.copies:
            state.copies["average"][key][lanes] = best[lanes]
