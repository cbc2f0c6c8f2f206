"""A second point for the check, perturbed: at special ones (gamma 1, b 0, dead units) mistakes hide.

A penalty on a bias of 0 has no gradient, a factor gamma of 1 none to miss, a unit that never fires no
gradient at all, and at a minimum everything is small. A little away from there they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from klayer.errors import KlayerError
from klayer.gradcheck.objective import Array, Objective, Params
from klayer.gradcheck.result import Row

__all__ = ["MovedObjective", "merged", "perturbed"]

# Moves, relative to the parameters; larger ones wake dead units, smaller ones stay where a loss with
# logarithms or roots is defined.
_SIZES, _LARGER, _SMALLER = 0.1, (0.3, 1.0), (0.01, 1e-3)


class MovedObjective:
    """An objective at other parameters."""

    def __init__(self, objective: Objective, params: Params) -> None:
        self.whole, self.params = objective, params
        self.terms, self.derived = objective.terms, objective.derived
        self.watch = lambda: None  # the whole is watched

    @property
    def loss_dtype(self) -> np.dtype[Any]:
        """As of the whole."""
        return self.whole.loss_dtype

    @property
    def given(self) -> np.dtype[Any]:
        """As of the whole."""
        return self.whole.given

    @property
    def evaluations(self) -> int:
        """As of the whole."""
        return self.whole.evaluations

    def losses(self, params: Params) -> Array:
        return self.whole.losses(params)

    def losses_with(self, params: Params, name: str, entries: Array, values: Array) -> Array:
        return self.whole.losses_with(params, name, entries, values)

    def evaluate(self, params: Params) -> tuple[Array, dict[str, Params]]:
        return self.whole.evaluate(params)

    def rounding(self, params: Params) -> Params:
        return self.whole.rounding(params)


def perturbed(objective: Objective, rng: np.random.Generator) -> MovedObjective | None:
    """Return the objective at a point nearby where few gradients are zero; None if there is none.

    Every entry moves by about 10 % of its size (or of the array's median, where that is larger), those
    of arrays of zeros by 0.1; further if that leaves entries without a gradient, less if the loss is
    not finite there.
    """
    noise = {name: rng.standard_normal(value.shape) for name, value in objective.params.items()}

    def at(size: float) -> tuple[int, Params] | None:
        params = {
            name: value + size * _scale(value) * noise[name]
            for name, value in objective.params.items()
        }
        try:
            with np.errstate(all="ignore"):
                losses, found = objective.evaluate(params)
        except KlayerError:
            raise
        except Exception:  # a logarithm of something negative, say
            return None
        if not np.isfinite(losses).all():
            return None
        return _zeros(found), params

    best = at(_SIZES)
    if best is None:
        best = next((one for one in map(at, _SMALLER) if one is not None), None)
    elif best[0]:
        wider = [one for one in map(at, _LARGER) if one is not None]
        best = min([best, *wider], key=lambda one: one[0])
    return None if best is None else MovedObjective(objective, best[1])


def _scale(value: Array) -> Array:
    axes = tuple(range(1, value.ndim))
    size = np.abs(value)
    typical = np.median(size, axis=axes, keepdims=True)
    typical = np.where(typical > 0, typical, np.sqrt(np.mean(size**2, axis=axes, keepdims=True)))
    return np.asarray(np.maximum(size, np.where(typical > 0, typical, 1.0)))


def _zeros(grads: dict[str, Params]) -> int:
    return sum(int((value == 0).sum()) for arrays in grads.values() for value in arrays.values())


def merged(given: Sequence[Row], second: Sequence[Row], first: str) -> tuple[Row, ...]:
    """Return one row for each array and term: of a mistake, or else of the given point.

    What is undecided there may be decided at the second one. Of two that are wrong the one of the
    point ``first`` is kept.
    """

    def of(here: Row, there: Row) -> Row:
        if "wrong" in (here.verdict, there.verdict):
            wrong = [row for row in (here, there) if row.verdict == "wrong"]
            return min(wrong, key=lambda row: row.point != first)
        return there if here.verdict == "undecided" else here

    return tuple(of(*pair) for pair in zip(given, second, strict=True))
