"""Which samples make a mini-batch: a pure function of the update index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klayer.train.shuffling import Shuffling

__all__ = ["Batches"]


class Batches:
    """Mini-batches of a training split, reshuffled every epoch.

    The order of epoch ``e`` is drawn from ``(order_seed, e)`` alone, so that training can go on from
    any update without a generator's state. All networks of a population share it.

    Parameters
    ----------
    samples : int, >= 1
        Size of the training split.
    batch_size : int, in samples
        Reduced to ``samples`` if it is larger.
    order_seed : int, >= 0
    last_batch : {"drop", "keep"}
        What happens to an epoch's last batch if it is smaller than the others.
    least : int, in samples
        A last batch of fewer is dropped in any case.
    start : int, >= 0
        The update that begins an epoch: not 0 where networks are trained on, with other rows maybe.
    window : int, >= 0
        Rows that are shuffled among each other, 0 for all: see `klayer.train.shuffling.Shuffling`.

    Examples
    --------
    >>> batches = Batches(samples=10, batch_size=4, order_seed=0, last_batch="keep")
    >>> batches.per_epoch, [len(batches[t]) for t in range(4)]
    (3, [4, 4, 2, 4])
    >>> sorted(int(i) for t in range(3) for i in batches[t]) == list(range(10))
    True
    >>> later = Batches(samples=10, batch_size=5, order_seed=0, start=7)
    >>> sorted(int(i) for t in (7, 8) for i in later[t]) == list(range(10))
    True
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        order_seed: int,
        last_batch: str = "drop",
        least: int = 1,
        start: int = 0,
        window: int = 0,
    ) -> None:
        self.samples = samples
        self.batch_size = min(batch_size, samples)
        self.order_seed = order_seed
        full, rest = divmod(samples, self.batch_size)
        kept = last_batch == "keep" and rest >= least
        self.per_epoch = full + (1 if rest and kept else 0)
        self.dropped = rest if rest and last_batch == "keep" and not kept else 0
        self.start = start
        self.shuffling = Shuffling(samples, order_seed, window)

    def __getitem__(self, t: int) -> NDArray[np.intp]:
        """Return the sample indices of update ``t`` (from 0), int array of shape (N,)."""
        epoch, b = self._place(t)
        return self.shuffling.rows(epoch, *self._cut(b, 1))

    def of(self, updates: range) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the batches of successive updates, one below another.

        Returns
        -------
        rows : int array, shape (N,)
            Sample indices.
        ends : int64 array, shape (T + 1,)
            Batch ``i`` is ``rows[ends[i]:ends[i + 1]]``.

        Examples
        --------
        >>> batches = Batches(samples=5, batch_size=2, order_seed=0, last_batch="keep")
        >>> rows, ends = batches.of(range(1, 4))
        >>> ends.tolist()
        [0, 2, 3, 5]
        >>> [(rows[ends[i] : ends[i + 1]] == batches[1 + i]).all().item() for i in range(3)]
        [True, True, True]
        """
        t, parts, sizes = updates.start, [], []
        while t < updates.stop:  # an epoch, or what is asked of it, is one slice
            epoch, b = self._place(t)
            count = min(updates.stop - t, self.per_epoch - b)
            part = self.shuffling.rows(epoch, *self._cut(b, count))
            sizes += [self.batch_size] * (count - 1)
            sizes.append(len(part) - (count - 1) * self.batch_size)
            parts.append(part)
            t += count
        return np.concatenate(parts), np.cumsum([0, *sizes], dtype=np.int64)

    def windows(self, updates: range) -> list[tuple[int, int]]:
        """Return the windows of some updates, and the one after them: epoch and number of each.

        Examples
        --------
        >>> batches = Batches(samples=1000, batch_size=10, order_seed=0, window=256)
        >>> batches.windows(range(0, 3)), batches.windows(range(98, 101))
        ([(0, 0), (0, 1)], [(0, 3), (1, 0), (1, 1)])
        """
        found: list[tuple[int, int]] = []
        t = updates.start
        while t < updates.stop:
            epoch, b = self._place(t)
            count = min(updates.stop - t, self.per_epoch - b)
            numbers = self.shuffling.windows(epoch, *self._cut(b, count))
            found += [(epoch, number) for number in numbers]
            t += count
        epoch, number = found[-1]
        last = self.shuffling.windows(epoch, 0, self._cut(0, self.per_epoch)[1])[-1]
        return [*found, (epoch, number + 1) if number < last else (epoch + 1, 0)]

    def _cut(self, b: int, count: int) -> tuple[int, int]:
        """Return where some batches of an epoch begin and end."""
        return b * self.batch_size, min((b + count) * self.batch_size, self.samples)

    def _place(self, t: int) -> tuple[int, int]:
        """Return the epoch of an update, and the batch in it; epochs begun before ``start`` are over."""
        epoch, b = divmod(t - self.start, self.per_epoch)
        return epoch - (-self.start // self.per_epoch), b
