"""Mini-batches on their way to the workers: gathered once, for all that train on them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate, pairwise
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from klayer.train.batches import Batches

__all__ = ["Block", "Feed"]

# Blocks held: as many as one worker may be ahead of another without gathering anything twice.
HELD = 8


@dataclass(frozen=True)
class Block:
    """The mini-batches of some successive updates, and what their delay needs to know.

    Attributes
    ----------
    start : int
        The first update.
    x : array, shape (N, D)
        The samples of all batches, one below another.
    labels : list of int array, shape (n_i,)
    rows : list of slice
        Where each batch lies in ``x``.
    overlaps : list of array
        For each batch its products with the samples before it, (n_i, N_{<i}).
    """

    start: int
    x: NDArray
    labels: list[NDArray]
    rows: list[slice]
    overlaps: list[NDArray]


class Feed:
    """Blocks of mini-batches, for several threads at once.

    Parameters
    ----------
    X : array, shape (N, D)
    labels : int array, shape (N,)
    batches : Batches

    Examples
    --------
    >>> X, labels = np.arange(12.0).reshape(6, 2), np.arange(6)
    >>> feed = Feed(X, labels, Batches(samples=6, batch_size=2, order_seed=0))
    >>> block = feed.block(0, 2)
    >>> block.x.shape, block.rows, [overlap.shape for overlap in block.overlaps]
    ((4, 2), [slice(0, 2, None), slice(2, 4, None)], [(2, 0), (2, 2)])
    >>> feed.block(0, 2) is block
    True
    """

    def __init__(self, X: NDArray, labels: NDArray, batches: Batches) -> None:
        self.X, self.labels, self.batches = X, labels, batches
        self._lock = Lock()
        self._blocks: dict[tuple[int, int], Future[Block]] = {}

    def block(self, start: int, stop: int) -> Block:
        """Return the batches of updates ``start`` to ``stop``, gathered once for all who ask."""
        self.prepare(start, stop)
        with self._lock:
            promise = self._blocks.get((start, stop))
        return promise.result() if promise else self.block(start, stop)

    def prepare(self, start: int, stop: int) -> None:
        """Gather the batches of some updates, unless somebody does or has done it."""
        with self._lock:
            if (start, stop) in self._blocks:
                return
            promise = self._blocks[start, stop] = Future()
            if len(self._blocks) > HELD:
                del self._blocks[next(iter(self._blocks))]
        try:
            promise.set_result(self.gather(start, stop))
        except BaseException as error:
            promise.set_exception(error)
            raise

    def gather(self, start: int, stop: int) -> Block:
        """Return the batches of updates ``start`` to ``stop``, gathered for the caller alone."""
        chosen = [self.batches[t] for t in range(start, stop)]
        ends = list(accumulate(map(len, chosen), initial=0))
        rows = [slice(first, last) for first, last in pairwise(ends)]
        x = np.take(self.X, np.concatenate(chosen), axis=0, mode="clip")
        overlaps = [x[here] @ x[: here.start].T for here in rows]  # (n_i, D) @ (D, N_{<i})
        return Block(start, x, [self.labels[one] for one in chosen], rows, overlaps)
