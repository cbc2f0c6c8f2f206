"""Rows that stay in their files: read when they are asked for, a block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.data.measure import Measured, measure
from klayer.data.tables.packed import memory_bound
from klayer.errors import KlayerError

__all__ = [
    "Features",
    "RowFile",
    "StoredRows",
    "chosen_rows",
    "joined_rows",
    "on_disk_note",
    "stays_on_disk",
]

# Rows between two wanted ones are read along where they are fewer bytes than these: a read of its own
# costs as much. At once are read so many at the most.
GAP_BYTES, PIECE_BYTES = 1 << 14, 1 << 23


class RowFile(Protocol):
    """A file of rows of one width and dtype."""

    @property
    def where(self) -> str:
        """How to name it in a message."""

    @property
    def rows(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def read(self, first: int, out: NDArray[Any]) -> None:
        """Put the rows from ``first`` on into ``out``, shape (n, D), in C order.

        Raises
        ------
        KlayerError
            If the file is gone, or is not what it was.
        """

    def as_plain(self) -> dict[str, Any]:
        """Return what another process needs to read the same file: see `klayer.data.stored_files`."""


class StoredRows:
    """The features of a split, (N, D), in files: what reads like an array, and takes no memory.

    ``rows[7]``, ``rows[10:20]`` and ``rows[[3, 1, 2]]`` are arrays, read from the files now; so is
    ``rows[:, 5]``. Nothing is kept, but what :attr:`measured` found. It may be pickled: another process
    reads the same files.

    Parameters
    ----------
    files : sequence of RowFile
        One below another.
    index : int array, shape (N,), optional
        Which of their rows these are, in this order; by default all.

    Raises
    ------
    KlayerError
        If the files differ in width or dtype.
    """

    ndim = 2

    def __init__(self, files: Sequence[RowFile], index: NDArray[np.int64] | None = None) -> None:
        self.files, self.index = tuple(files), index
        first = self.files[0]
        for file in self.files[1:]:
            for name, ours, theirs in (
                ("as many columns", first.width, file.width),
                ("the dtype", first.dtype, file.dtype),
            ):
                if ours != theirs:
                    raise KlayerError(
                        f"{file.where}: every file must have {name} of {first.where}, {ours}, but "
                        f"this one has {theirs}."
                    )
        self._starts = np.cumsum([0, *(file.rows for file in self.files)])
        self.dtype = np.dtype(first.dtype)

    def __len__(self) -> int:
        return int(self._starts[-1]) if self.index is None else len(self.index)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return len(self), self.files[0].width

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that these rows would take in memory."""
        return len(self) * self.files[0].width * self.itemsize

    def __repr__(self) -> str:
        files = f"{len(self.files)} file{'s' * (len(self.files) > 1)}"
        return f"<StoredRows {self.shape} of {self.dtype} in {files}>"

    @cached_property
    def measured(self) -> Measured:
        """Lowest, highest, mean and variance of each column: one pass, at first use."""
        return measure(self)

    def min(self) -> Any:
        """Return the lowest value."""
        return self.measured.low.min()

    def max(self) -> Any:
        """Return the highest value."""
        return self.measured.high.max()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all rows into memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def place(self, row: int) -> str:
        """Say where a row lies: ``"X-001.npy, row 5"``, counted from 0."""
        position = row if self.index is None else int(self.index[row])
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        return f"{self.files[number].where}, row {position - int(self._starts[number])}"

    def select(self, rows: NDArray[np.intp]) -> StoredRows:
        """Return some of the rows, in this order; nothing is read."""
        index = np.asarray(rows, np.int64)
        return StoredRows(self.files, index if self.index is None else self.index[index])

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: slice | NDArray[np.intp] | Sequence[int]) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: tuple[Any, Any]) -> Any: ...

    def __getitem__(self, key: Any) -> Any:
        """Read rows, or some columns of them."""
        if isinstance(key, tuple):
            rows, columns = key
            if not isinstance(rows, slice):
                return self[rows][..., columns]
            wanted = np.arange(*rows.indices(len(self)))
            step = max(1, PIECE_BYTES // max(1, self.shape[1] * self.itemsize))
            parts = [self[wanted[i : i + step]][:, columns] for i in range(0, len(wanted), step)]
            return np.concatenate(parts) if parts else self[wanted][:, columns]
        if isinstance(key, int | np.integer):
            place = int(key) + len(self) * (key < 0)
            if not 0 <= place < len(self):
                raise IndexError(f"row {key} of {len(self)}")
            return self[np.array([place])][0]
        if isinstance(key, slice):
            first, last, step = key.indices(len(self))
            if step == 1 and self.index is None:
                out = np.empty((max(0, last - first), self.shape[1]), self.dtype)
                self._read_run(first, out)
                return out
            key = np.arange(first, last, step)
        places = np.asarray(key)
        if places.dtype == bool:
            places = np.flatnonzero(places)
        places = places.astype(np.int64, copy=False)
        return self._read(places if self.index is None else self.index[places])

    def _read(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """Read the rows at some places of the files: neighbours at once."""
        out = np.empty((len(places), self.shape[1]), self.dtype)
        if not len(places):
            return out
        order = None
        if (places[1:] < places[:-1]).any():
            order = np.argsort(places, kind="stable")
            places = places[order]
        row = self.shape[1] * self.itemsize
        gap, most = 1 + GAP_BYTES // max(1, row), max(1, PIECE_BYTES // max(1, row))
        steps = np.diff(places)
        ends = [*(np.flatnonzero(steps > gap) + 1).tolist(), len(places)]
        start = 0
        for end in ends:
            while start < end:
                first = int(places[start])
                stop = min(end, int(np.searchsorted(places, first + most)))
                some = places[start:stop] - first
                target = out[start:stop] if order is None else None
                if target is None or (steps[start : stop - 1] != 1).any():
                    run = np.empty((int(some[-1]) + 1, out.shape[1]), out.dtype)
                    self._read_run(first, run)
                    out[slice(start, stop) if order is None else order[start:stop]] = run[some]
                else:
                    self._read_run(first, target)
                start = stop
        return out

    def _read_run(self, first: int, out: NDArray[Any]) -> None:
        """Read successive rows, of one file or several."""
        done = 0
        while done < len(out):
            number = int(np.searchsorted(self._starts, first + done, side="right")) - 1
            inside = first + done - int(self._starts[number])
            count = min(len(out) - done, self.files[number].rows - inside)
            self.files[number].read(inside, out[done : done + count])
            done += count


# What a split may hold: rows in memory, or in files.
Features = NDArray[Any] | StoredRows


def chosen_rows(features: Features, rows: NDArray[np.intp]) -> Features:
    """Return some rows, in this order; those in files stay there."""
    return features.select(rows) if isinstance(features, StoredRows) else features[rows]


def joined_rows(first: Features, second: Features) -> Features:
    """Return the rows of both, one below another; those in files stay there."""
    if not (isinstance(first, StoredRows) and isinstance(second, StoredRows)):
        return np.concatenate([first, second])
    index = []
    for one, offset in ((first, 0), (second, int(first._starts[-1]))):
        own = np.arange(len(one)) if one.index is None else one.index
        index.append(own + offset)
    if first.files == second.files:  # two parts of the same files
        index[1] -= int(first._starts[-1])
        return StoredRows(first.files, np.concatenate(index))
    return StoredRows((*first.files, *second.files), np.concatenate(index))


def stays_on_disk(size: int, keep: str) -> bool:
    """Say whether features of so many bytes stay in their files: if they fill a quarter of the memory.

    Examples
    --------
    >>> stays_on_disk(1000, "auto"), stays_on_disk(1000, "disk")
    (False, True)
    """
    return keep == "disk" or (keep == "auto" and size > memory_bound() // 2)


def on_disk_note(rows: Features, size: int) -> str:
    """Return the sentence that says that features stay on disk.

    Parameters
    ----------
    rows : StoredRows
    size : int
        Bytes of all splits.
    """
    words = f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
    return (
        f"rows stay on disk ({words} of {rows.dtype}); with shuffle = block:ROWS they are read in large "
        "pieces"
    )
