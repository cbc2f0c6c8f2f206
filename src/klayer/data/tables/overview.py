"""What the columns of a table hold, before anything is decided about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from klayer.data.tables.columns import DataColumn, date_text
from klayer.data.tables.kinds import as_kind
from klayer.data.tables.table import DataTable
from klayer.errors import KlayerError

__all__ = ["ColumnOverview", "overview"]

_SHOWN_LEVELS = 5


@dataclass(frozen=True)
class ColumnOverview:
    """One column at a glance.

    Parameters
    ----------
    name, kind : str
        The kind is number, boolean, date, category, or what is wrong with the column.
    gaps : int
        Missing values.
    different : int
        Different values.
    low, high : str or None
        The range of numbers and dates.
    frequent : tuple of str
        The most frequent levels.
    """

    name: str
    kind: str
    gaps: int = 0
    different: int = 0
    low: str | None = None
    high: str | None = None
    frequent: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)

    @property
    def values(self) -> str:
        """The values in a few words."""
        if self.frequent:
            more = ", ..." if self.different > len(self.frequent) else ""
            return f"{self.different:,} levels: {', '.join(self.frequent)}{more}"
        if self.low is None:
            return ""
        if self.low == self.high:
            return f"constant, {self.low}"
        return f"{self.low} to {self.high}, {self.different:,} different"


def overview(table: DataTable, category: Sequence[str] = ()) -> list[ColumnOverview]:
    """Look at every column of a table.

    Examples
    --------
    >>> table = DataTable("houses", {"rooms": np.array([2, 3, 4]), "town": np.array(["Ur", "", "Ur"])})
    >>> for column in overview(table):
    ...     print(column.name, column.kind, column.gaps, column.values)
    rooms number 0 2 to 4, 3 different
    town category 1 1 levels: Ur
    """
    return [_look(table, name, name in category) for name in table.names]


def _look(table: DataTable, name: str, is_category: bool) -> ColumnOverview:
    try:
        column = as_kind(table.column(name), "category" if is_category else None)
    except KlayerError as error:
        return ColumnOverview(name, str(error))
    if column.kind == "category":
        return _levels(column)
    present = np.asarray(column.present)
    if not len(present):
        return ColumnOverview(name, "empty", column.gaps)
    low, high = present.min(), present.max()
    if column.kind == "date":
        words = [date_text(float(one)) for one in (low, high)]
    elif column.kind == "boolean":
        words = [str(bool(one)).lower() for one in (low, high)]
    else:
        words = [f"{one:.6g}" for one in (low, high)]
    return ColumnOverview(
        name, column.kind, column.gaps, len(np.unique(present)), words[0], words[1]
    )


def _levels(column: DataColumn) -> ColumnOverview:
    index, counts = np.unique(column.present, return_counts=True)
    order = np.lexsort((index, -counts))[:_SHOWN_LEVELS]
    frequent = tuple(column.levels[one] for one in index[order])
    return ColumnOverview(column.name, "category", column.gaps, len(index), frequent=frequent)
