"""Rows of a Parquet file, a group of them at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.data.npy_rows import Unchanged
from klayer.data.parquet_files import ParquetPart, parquet_columns, reading_parquet
from klayer.data.tables.arrow_lists import spread
from klayer.data.tables.columns import shown
from klayer.errors import KlayerError

__all__ = ["ParquetRows"]

# Groups of rows that are kept unpacked: the one that is read, and its neighbour.
HELD = 2


class ParquetRows:
    """Columns of one Parquet file as rows of features: a :class:`klayer.data.stored_rows.RowFile`.

    A row is read with its whole group, which is the least that the format allows.

    Parameters
    ----------
    part : ParquetPart
    features : sequence of str
        The features, in this order: names of columns, of numbers in their lists, or of keys.
    dtype : dtype
        Of the rows.
    """

    def __init__(self, part: ParquetPart, features: Sequence[str], dtype: DTypeLike) -> None:
        self.part, self.path, self.features = part, part.path, tuple(features)
        self.dtype, self.width = np.dtype(dtype), len(features)
        self.was = Unchanged.of(self.path.stat())
        columns = parquet_columns(part)
        homes = {
            feature: (column, place)
            for column in columns.values()
            for place, feature in enumerate(column.features)
        }
        self._lengths = {one.name: one.width for one in columns.values()}
        # Neighbours that come from one column: its name, and which of its numbers they are.
        self._runs = [
            (column.name, np.array([homes[feature][1] for feature in run]))
            for column, run in groupby(features, key=lambda feature: homes[feature][0])
        ]
        with reading_parquet(self.path) as file:
            sizes = [
                file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)
            ]
        self._starts = np.cumsum([0, *sizes])
        self._held: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: no rows, no lock."""
        return {name: one for name, one in self.__dict__.items() if name not in ("_held", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _held=OrderedDict(), _lock=threading.Lock())

    def as_plain(self) -> dict[str, Any]:
        """Return plain values, of which :meth:`from_plain` makes the same."""
        return {
            "kind": "parquet",
            "path": str(self.path.resolve()),
            "keys": [list(one) for one in self.part.keys],
            "features": list(self.features),
            "dtype": self.dtype.str,
            "was": [self.was.size, self.was.modified],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ParquetRows:
        """Make what :meth:`as_plain` described."""
        path, was = Path(plain["path"]), Unchanged(*plain["was"])
        was.require(str(path), path.stat())
        part = ParquetPart(path, tuple((name, value) for name, value in plain["keys"]))
        return cls(part, plain["features"], plain["dtype"])

    @property
    def where(self) -> str:
        """The file."""
        return str(self.path)

    @property
    def rows(self) -> int:
        """N."""
        return int(self._starts[-1])

    @property
    def largest_group(self) -> int:
        """Rows of the largest group."""
        return int(np.diff(self._starts).max(initial=0))

    def read(self, first: int, out: NDArray[Any]) -> None:
        """Put the rows from ``first`` on into ``out``, shape (n, D)."""
        done = 0
        while done < len(out):
            group = int(np.searchsorted(self._starts, first + done, side="right")) - 1
            rows = self._group(group)
            inside = first + done - int(self._starts[group])
            some = rows[inside : inside + len(out) - done]
            out[done : done + len(some)] = some
            done += len(some)

    def _group(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number not in self._held:
                self._held[number] = self._unpacked(number)
                while len(self._held) > HELD:
                    self._held.popitem(last=False)
            self._held.move_to_end(number)
            return self._held[number]

    def _unpacked(self, number: int) -> NDArray[Any]:
        keys = dict(self.part.keys)
        with reading_parquet(self.path) as file:
            self.was.require(self.where, self.path.stat())
            own = set(file.schema_arrow.names)
            read = [name for name, _ in self._runs if name in own]
            table = file.read_row_group(number, columns=read, use_threads=False)
            out = np.empty((table.num_rows, self.width), self.dtype)
            at = 0
            for name, places in self._runs:
                some = out[:, at : at + len(places)]
                if name in own:
                    some[...] = self._numbers(table, name, int(self._starts[number]))[:, places]
                else:
                    some[...] = keys[name]
                at += len(places)
        return out

    def _numbers(self, table: Any, name: str, start: int) -> NDArray[Any]:
        """Return the numbers of a column, (n, W), all of which must be there."""
        column = table.column(name).combine_chunks()

        def place(row: int) -> str:
            return f"row {row + start}"

        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise KlayerError(
                f"{self.path}, {place(row)}: column {shown(name)} has a gap: fill it, leave the column "
                "out (--drop), or read the table into memory (--keep memory --missing mean)."
            )
        width = self._lengths[name]
        if width is None:
            return np.asarray(column.to_numpy(zero_copy_only=False))[:, np.newaxis]
        try:
            return spread(name, column, width, place)
        except KlayerError as error:
            raise KlayerError(f"{self.path}, {error}") from None
