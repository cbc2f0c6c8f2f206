"""In which order an epoch sees the rows: all shuffled, or window by window for rows on disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

__all__ = ["PLACES", "Shuffling", "read_shuffle", "window_of"]

# The places of the data that a window's rows come from.
PLACES = 128

# Epochs and windows that are held: workers may be at several.
HELD = 3

K = TypeVar("K")
V = TypeVar("V")
Epoch = tuple[NDArray[np.intp], NDArray[np.int64]]

_BLOCK = re.compile(r"block\s*:\s*(\d[\d_]*)")
_LEAST = 2


def read_shuffle(value: Any) -> str:
    """Return a way to shuffle in its one form, ``"full"`` or ``"block:16384"``.

    Raises
    ------
    KlayerError
        For anything else.

    Examples
    --------
    >>> read_shuffle("block: 16_384")
    'block:16384'
    >>> read_shuffle("blocks:7")
    Traceback (most recent call last):
    klayer.errors.KlayerError: `shuffle` must be full or block:ROWS with ROWS >= 2, as in block:16384, \
but got shuffle='blocks:7'.
    """
    found = _BLOCK.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    rows = int(found[1]) if found and len(found[1]) < 19 else 0
    if isinstance(value, str) and value.strip().lower() == "full":
        return "full"
    if rows < _LEAST:
        raise KlayerError(
            "`shuffle` must be full or block:ROWS with ROWS >= 2, as in block:16384, but got "
            f"shuffle={value!r:.80}."
        )
    return f"block:{rows}"


def window_of(shuffle: str) -> int:
    """Return the rows of a window, 0 for none: of ``"block:16384"`` 16384."""
    return int(shuffle.partition(":")[2] or 0)


class Shuffling:
    r"""The order of the rows in each epoch, a pure function of seed, epoch and number of rows.

    ``window=0``: one permutation of all rows. Otherwise successive rows form runs, of which
    :data:`PLACES` make a window: each epoch draws the order of the runs, and shuffles the rows of each
    window among each other. A run is read at once, and a window is all that has to be in memory.

    **How mixed that is.** Let s be the share of a class's variance that lies between runs: 0 if the
    rows of the file are in no order, 1 if every run holds one class. A mini-batch of n rows then
    says as much about the class's frequency as

    .. math:: n_{eff} = \frac{n}{1 + (n - 1)\,s\,f}, \qquad f = \frac{1 - w / N}{m}

    rows drawn from everywhere, where a window of w rows out of N is made of m runs.

    Parameters
    ----------
    samples : int, >= 1
        N.
    seed : int, >= 0
    window : int
        Rows of a window, or 0.

    Examples
    --------
    >>> order = Shuffling(samples=1000, seed=0, window=256)
    >>> order.run, len(order.ends)
    (2, 4)
    >>> rows = order.rows(0, 0, 1000)
    >>> bool((np.sort(rows) == np.arange(1000)).all()), len(np.unique(rows[:256] // 2))
    (True, 128)
    """

    def __init__(self, samples: int, seed: int, window: int = 0) -> None:
        self.samples, self.seed, self.window = samples, seed, window
        self.run = min(max(1, window // PLACES), samples)
        self.places = window // self.run
        self._epochs: dict[int, Epoch] = {}
        self._windows: dict[tuple[int, int], NDArray[np.intp]] = {}

    def rows(self, epoch: int, first: int, last: int) -> NDArray[np.intp]:
        """Return the rows that come at the places ``first`` to ``last`` of an epoch."""
        order, ends = self._epoch(epoch)
        if not self.window:
            return order[first:last]
        numbers = self.windows(epoch, first, last)
        start = int(ends[numbers[0] - 1]) if numbers[0] else 0
        parts = [self.window_rows(epoch, number) for number in numbers]
        return np.concatenate(parts)[first - start : last - start]

    def windows(self, epoch: int, first: int, last: int) -> range:
        """Return the numbers of the windows that these places lie in."""
        ends = self._epoch(epoch)[1]
        low, high = np.searchsorted(ends, [first, last - 1], side="right").tolist()
        return range(low, high + 1)

    def window_rows(self, epoch: int, number: int) -> NDArray[np.intp]:
        """Return the rows of a window, in the order in which they come."""
        return _held(self._windows, (epoch, number), lambda: self._window(epoch, number))

    @property
    def ends(self) -> NDArray[np.int64]:
        """Where the windows of the first epoch end."""
        return self._epoch(0)[1]

    def _window(self, epoch: int, number: int) -> NDArray[np.intp]:
        order, _ = self._epoch(epoch)
        runs = order[number * self.places : (number + 1) * self.places]
        rows = (runs[:, None] * self.run + np.arange(self.run)).ravel()
        # An epoch's own draw is of (seed, epoch), which is (seed, epoch, 0): windows count from 1.
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch, number + 1]))
        return rng.permutation(rows[rows < self.samples])

    def _epoch(self, epoch: int) -> Epoch:
        return _held(self._epochs, epoch, lambda: self._draw(epoch))

    def _draw(self, epoch: int) -> Epoch:
        """Draw the order of an epoch's rows, or of its runs, and where its windows end."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
        if not self.window:
            return rng.permutation(self.samples), np.array([self.samples])
        runs = -(-self.samples // self.run)
        order = rng.permutation(runs)
        counts = np.arange(1, -(-runs // self.places) + 1) * self.places
        ends = np.minimum(counts, runs) * self.run
        short = int(np.flatnonzero(order == runs - 1)[0]) // self.places
        ends[short:] -= runs * self.run - self.samples  # the last run of the data
        return order, ends


def _held(held: dict[K, V], key: K, make: Callable[[], V]) -> V:
    """Return what is held under a key, or make it; the latest few are."""
    found = held.get(key)
    if found is None:
        found = held[key] = make()
        while len(held) > HELD:
            held.pop(next(iter(held)), None)
    return found
