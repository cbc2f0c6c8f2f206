"""Windows of rows on disk: each is read at once, the next one while networks train on this one."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.train.batches import Batches
from klayer.train.feed import Rows

__all__ = ["Held", "Windows"]

Array = NDArray[Any]

# Windows in memory at the most, beside those that some updates need: one worker may be behind another.
SPARE = 2


class Held:
    """Raw rows that were read: what reads like all of them, as long as one asks for these alone.

    Parameters
    ----------
    windows : sequence of (rows, values)
        Which rows, ascending, (n,); and they themselves, (n, D).

    Examples
    --------
    >>> held = Held([(np.array([2, 5]), np.array([[0.2], [0.5]])), (np.array([7]), np.array([[0.7]]))])
    >>> held[np.array([7, 2])].tolist()
    [[0.7], [0.2]]
    """

    def __init__(self, windows: list[tuple[NDArray[np.intp], Array]]) -> None:
        self.windows = windows
        values = windows[0][1]
        self.dtype, self.itemsize, self.shape = values.dtype, values.itemsize, values.shape

    def __getitem__(self, index: NDArray[np.intp]) -> Array:
        out = np.empty((len(index), self.shape[1]), self.dtype)
        left = np.ones(len(index), bool)
        for rows, values in self.windows:
            places = np.minimum(np.searchsorted(rows, index), len(rows) - 1)
            here = left & (rows[places] == index)
            if here.all():
                return values[places]
            out[here] = values[places[here]]
            left &= ~here
        if left.any():
            raise IndexError(f"row {int(index[left][0])} was not read")
        return out


class Windows:
    """The windows of a shuffled split on disk.

    Parameters
    ----------
    split : Rows
        On disk.
    batches : Batches
        With windows.
    """

    def __init__(self, split: Rows, batches: Batches) -> None:
        self.split, self.batches = split, batches
        self._reader = ThreadPoolExecutor(1, "klayer-read")
        self._lock = Lock()
        self._held: dict[tuple[int, int], Future[tuple[NDArray[np.intp], Array]]] = {}

    def rows(self, updates: range) -> Rows:
        """Return the split as it is for some updates, whose rows are in memory then."""
        *wanted, following = self.batches.windows(updates)
        with self._lock:
            for key in (*wanted, following):
                # The latest use comes last.
                known = self._held.pop(key) if key in self._held else None
                self._held[key] = known or self._reader.submit(self._read, key)
            for key in list(self._held)[: -len(wanted) - 1 - SPARE]:
                del self._held[key]
            promises = [self._held[key] for key in wanted]
        return self.split.having(stored=Held([one.result() for one in promises]))

    def _read(self, key: tuple[int, int]) -> tuple[NDArray[np.intp], Array]:
        rows = np.sort(self.batches.shuffling.window_rows(*key))
        return rows, self.split.stored[rows]
