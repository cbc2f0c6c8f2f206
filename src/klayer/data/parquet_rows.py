"""Rows of a Parquet file, a group of them at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.npy_rows import Unchanged
from klayer.data.regular_file import require_file
from klayer.errors import KlayerError

__all__ = ["ParquetRows", "parquet_bytes", "parquet_columns", "reading_parquet"]

# Groups of rows that are kept unpacked: the one that is read, and its neighbour.
HELD = 2


@contextmanager
def reading_parquet(path: Path) -> Iterator[Any]:
    """Open a Parquet file, as a `pyarrow.parquet.ParquetFile`; its errors become ours."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise KlayerError(
            "Parquet files are read by pyarrow, which is not installed: `pip install klayer[tables]`."
        ) from None
    require_file(path)
    try:
        with path.open("rb") as file:
            yield parquet.ParquetFile(file)
    except (ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, KlayerError):
            raise
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise KlayerError(f"{path}: can't be read ({reason or type(error).__name__}).") from None


def parquet_bytes(path: Path) -> int:
    """Return how many bytes the numbers of a Parquet file are, unpacked, about."""
    with reading_parquet(path) as file:
        about = file.metadata
        return sum(about.row_group(g).total_byte_size for g in range(about.num_row_groups))


def parquet_columns(path: Path) -> dict[str, tuple[np.dtype[Any] | None, int]]:
    """Return the columns of a Parquet file: the dtype of their numbers, None for others, and how many.

    A column of lists of one fixed size counts as that many columns of numbers.
    """
    import pyarrow as pa

    found: dict[str, tuple[np.dtype[Any] | None, int]] = {}
    with reading_parquet(path) as file:
        for one in file.schema_arrow:
            kind, width = one.type, 1
            if pa.types.is_fixed_size_list(kind):
                kind, width = kind.value_type, kind.list_size
            plain = (
                pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
            )
            if one.name in found:
                raise KlayerError(
                    f"{path}: columns must have different names, but there are two {one.name!r}."
                )
            found[one.name] = np.dtype(kind.to_pandas_dtype()) if plain else None, width
    return found


class ParquetRows:
    """Columns of one Parquet file as rows of features: a :class:`klayer.data.stored_rows.RowFile`.

    A row is read with its whole group, which is the least that the format allows.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        The features, in this order.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)
        self.was = Unchanged.of(path.stat())
        about = parquet_columns(path)
        self.width = sum(about[name][1] for name in columns)
        self.dtype = np.result_type(*(about[name][0] for name in columns))
        with reading_parquet(path) as file:
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
            "columns": list(self.columns),
            "was": [self.was.size, self.was.modified],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ParquetRows:
        """Make what :meth:`as_plain` described."""
        path, was = Path(plain["path"]), Unchanged(*plain["was"])
        was.require(str(path), path.stat())
        return cls(path, plain["columns"])

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
        with reading_parquet(self.path) as file:
            self.was.require(self.where, self.path.stat())
            table = file.read_row_group(number, columns=list(self.columns), use_threads=False)
        out = np.empty((table.num_rows, self.width), self.dtype)
        at = 0
        for name in self.columns:
            column = table.column(name)
            if column.null_count:
                row = int(np.flatnonzero(column.is_null().to_numpy())[0])
                raise KlayerError(
                    f"{self.path}, row {row + int(self._starts[number])}: column {name!r} has a gap: "
                    "fill it, leave the column out (--drop), or read the table into memory "
                    "(--keep memory --missing mean)."
                )
            values = column.combine_chunks()
            numbers = values.flatten() if hasattr(values, "flatten") else values
            numbers = np.asarray(numbers.to_numpy(zero_copy_only=False))
            width = len(numbers) // max(1, table.num_rows)
            out[:, at : at + width] = numbers.reshape(table.num_rows, width)
            at += width
        return out
