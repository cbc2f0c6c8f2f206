"""What is found at one point, and what the points say together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from klayer.gradcheck.bisect import wrong_entries
from klayer.gradcheck.comparison import ArrayComparison, compare, look_for_zeros, rows_of
from klayer.gradcheck.differences import Lines, Point
from klayer.gradcheck.judge import Nearby, judge
from klayer.gradcheck.objective import (
    Objective,
    flat,
)
from klayer.gradcheck.preflight import Repeat
from klayer.gradcheck.result import Row

__all__ = ["AtPoint", "most_telling", "nothing_compared", "nothing_depends", "verdict_of"]


class AtPoint:
    """What is found at one point."""

    def __init__(
        self,
        name: str,
        objective: Objective,
        repeated: Repeat,
        precision: np.dtype[Any],
        rng: np.random.Generator,
    ) -> None:
        self.name, self.repeated = name, repeated
        self.point = Point(objective, precision, rng)
        self.nearby = cache(lambda: Nearby(self.point, rng))
        self.comparisons: list[ArrayComparison] = []
        self.rows: tuple[Row, ...] = ()

    def examine(
        self,
        names: list[str],
        each: float,
        method: str,
        limit: float,
        seed: int,
        rng: np.random.Generator,
    ) -> None:
        """Compare and judge.

        Raises
        ------
        NotComplexSafe
        """
        self.comparisons = compare(self.point, self.repeated, names, each, method, seed)
        for one in self.comparisons:
            look_for_zeros(one, self.point, self.repeated.grads, rng)
            judge(one, self.point, self.nearby, method, limit)
        for entries, direction in pairwise(self.comparisons):
            if entries.lines.name == direction.lines.name:
                self._bisect(entries, direction, method, limit)
        self.rows = rows_of(self.comparisons, self.repeated, limit, self.name)

    def _bisect(
        self, entries: ArrayComparison, direction: ArrayComparison, method: str, limit: float
    ) -> None:
        """Where a direction is wrong and no entry that was drawn: compare those that are it."""
        errors = direction.scaled_error(limit)[:, :, 0]
        silent = ~(entries.scaled_error(limit) > limit).any(axis=2)
        open_cases = np.argwhere((errors > limit) & np.isfinite(errors) & silent)
        if not len(open_cases):
            return
        t, p = (int(one) for one in open_cases[0])
        name = direction.lines.name
        grads = [flat(arrays[name]) for arrays in self.repeated.grads.values()]
        found = wrong_entries(direction, self.point, grads[t][p], t, p, method)
        found = [one for one in found if one not in entries.lines.along]
        if found:
            lines = Lines(name, np.array(found))
            entries.add(lines, np.stack(grads), *self.point.slopes(lines, method))
            judge(entries, self.point, self.nearby, method, limit)

    @property
    def wrong(self) -> set[tuple[str, str]]:
        """The arrays found wrong, with their term."""
        return {(row.term, row.name) for row in self.rows if row.verdict == "wrong"}

    @property
    def right(self) -> set[tuple[str, str]]:
        """The arrays found right, or zero."""
        return {(row.term, row.name) for row in self.rows if row.verdict in ("right", "zero")}


def most_telling(places: list[AtPoint]) -> AtPoint:
    """Return where causes are looked for: the perturbed point hides least, where it shows it all."""
    given, last = places[0], places[-1]
    return last if last.wrong and last.wrong >= given.wrong else given


def nothing_depends(places: list[AtPoint]) -> bool:
    """Whether every gradient is zero, at each point."""
    return all(row.verdict == "zero" for place in places for row in place.rows)


def nothing_compared(places: list[AtPoint]) -> bool:
    """Whether each entry, at each point, agrees with the slope on one side only."""
    rows = [row for place in places for row in place.rows]
    return not any(row.checked or row.nearby or row.direction_error is not None for row in rows)


def verdict_of(rows: Sequence[Row], places: list[AtPoint]) -> str:
    """Return the verdict on all arrays: the worst of theirs, undecided where nothing was compared."""
    verdicts = {row.verdict for row in rows}
    if verdicts == {"right"} and nothing_compared(places):
        return "undecided"
    if nothing_depends(places):  # that proves no backward pass
        return "undecided"
    return next((one for one in ("wrong", "undecided") if one in verdicts), "right")
