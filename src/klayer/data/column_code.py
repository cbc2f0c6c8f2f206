"""How one column of a table becomes columns of numbers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from klayer.data.tables.columns import DataColumn, Kind

__all__ = ["ColumnCode"]

# The cycles that a date is on, in days: of the year, of the week; of the day if it has a clock.
YEAR, WEEK, DAY = 365.2425, 7.0, 1.0


@dataclass(frozen=True)
class ColumnCode:
    """How one column of a table becomes columns of numbers.

    Parameters
    ----------
    name : str
        Of the table's column.
    kind : {"number", "boolean", "date", "category"}
        - number: as it is; boolean: 0 or 1;
        - date: days since `origin`, then sine and cosine of the year, the week and, with a clock,
          the day;
        - category: 1 in the column of its level and 0 in the others. A level that training did not
          see, or not often enough for a column of its own, is ``other`` if training had such rows,
          else 0 everywhere.
    fill : float or None
        The mean of training, which stands for a missing value; None where gaps are refused.
    marks_gaps : bool
        Whether a last column says 1 where the value is missing, 0 elsewhere.
    levels : tuple of str
        Of a category, in the order of its columns.
    other : bool
        Whether a column after those of the levels collects the rest.
    origin : float
        Of a date, in days since 1970-01-01.
    clock : bool
        Whether dates have a time of day.
    """

    name: str
    kind: Kind
    fill: float | None = None
    marks_gaps: bool = False
    levels: tuple[str, ...] = ()
    other: bool = False
    origin: float = 0.0
    clock: bool = False

    @property
    def feature_names(self) -> list[str]:
        """A name for each column of numbers."""
        if self.kind == "category":
            names = [f"{self.name}={level}" for level in self.levels]
            names += [f"{self.name}: other"] if self.other else []
        elif self.kind == "date":
            names = [f"{self.name}: days"]
            for cycle in ("year", "week", *(["day"] if self.clock else [])):
                names += [f"{self.name}: {cycle} sin", f"{self.name}: {cycle} cos"]
        else:
            names = [self.name]
        return [*names, f"{self.name}: missing"] if self.marks_gaps else names

    @property
    def cycles(self) -> tuple[float, ...]:
        """The cycles that a date is on, in days."""
        return (YEAR, WEEK, DAY) if self.clock else (YEAR, WEEK)

    @cached_property
    def places(self) -> dict[str, int]:
        """The column of each level, also as another format would write it, where that is clear."""
        common = [_in_common(level) for level in self.levels]
        times = Counter(common)
        places = {one: index for index, one in enumerate(common) if times[one] == 1}
        return places | {level: index for index, level in enumerate(self.levels)}

    def place(self, level: str) -> int:
        """Return the column of a level, -1 if it has none."""
        rest = len(self.levels) if self.other else -1
        return self.places.get(level, self.places.get(_in_common(level), rest))

    def put(self, column: DataColumn, out: NDArray[Any]) -> None:
        """Write the numbers of a column of this kind, (N,) -> (N, width)."""
        missing = column.missing
        if missing is not None and self.fill is None:
            column.require_whole(
                "fill the gaps, leave the column out (--drop), or train with --missing mean"
            )
        if self.kind == "category":
            out[...] = 0
            width = len(self.levels) + self.other
            to = np.array([self.place(level) for level in column.levels], np.int64)
            codes = to[column.values] if len(to) else np.full(len(column), -1)
            if missing is not None:
                codes = np.where(missing, -1, codes)
            rows = np.flatnonzero(codes >= 0)
            out[rows, codes[rows]] = 1
        elif self.kind == "date":
            days = np.asarray(column.values, np.float64)
            if missing is not None:
                days = np.where(missing, self.fill or 0.0, days)
            width = len(self.feature_names) - self.marks_gaps
            out[:, 0] = days - self.origin
            for index, cycle in enumerate(self.cycles):
                angle = 2 * math.pi / cycle * days
                out[:, 1 + 2 * index], out[:, 2 + 2 * index] = np.sin(angle), np.cos(angle)
        else:
            width = 1
            column.require_finite()
            out[:, 0] = column.values
            if missing is not None:
                out[missing, 0] = self.fill
        if self.marks_gaps:
            out[:, width] = 0 if missing is None else missing


def _in_common(level: str) -> str:
    """Write a level as all formats do: 7, 7.0 and 007 are one number, True and TRUE one word."""
    if level.lower() in ("true", "false"):
        return level.lower()
    try:
        number = float(level)
    except ValueError:
        return level
    return f"{number:.17g}"
