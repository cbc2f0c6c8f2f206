"""Mini-batches of successive updates, gathered once for all that train on them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.train.batches import Batches
from klayer.train.feed import Augment, Rows

__all__ = ["Block", "Blocks", "spans"]

Array = NDArray[Any]
Span = tuple[int, int]

# Blocks held: as many as one worker may be ahead of another without gathering anything twice.
HELD = 8


def spans(start: int, until: int, size: int) -> list[Span]:
    """Cut updates into blocks on a fixed grid, counted from update 0.

    Examples
    --------
    >>> spans(start=0, until=7, size=3)
    [(0, 3), (3, 6), (6, 7)]
    >>> spans(start=4, until=7, size=3)
    [(4, 6), (6, 7)]
    """
    ends = [*range(start - start % size + size, until, size), until]
    return list(pairwise([start, *ends])) if start < until else []


@dataclass(frozen=True)
class Block:
    """The mini-batches of some successive updates.

    Attributes
    ----------
    start : int
        The first update.
    x : array, shape (N, D)
        The samples of all batches, one below another.
    labels : array, shape (N,) or (N, K)
    ends : int64 array, shape (batches + 1,)
        Batch ``i`` is made of the rows ``ends[i]`` to ``ends[i + 1]``.
    overlaps : list of array
        For each batch its products with the samples before it, (n_i, N_{<i}): what updates that are
        carried out at once need. Empty where they are not.
    weights : array, shape (N,), or None
        Of the samples.
    """

    start: int
    x: Array
    labels: Array
    ends: NDArray[np.int64]
    overlaps: list[Array]
    weights: Array | None = None

    def __len__(self) -> int:
        """Number of updates."""
        return len(self.ends) - 1

    @cached_property
    def batches(self) -> list[tuple[Array, Array, Array | None]]:
        """Each batch: its rows of ``x``, (n_i, D), its labels and weights, (n_i, ...)."""
        x, labels, weights = self.x, self.labels, self.weights
        return [
            (x[first:last], labels[first:last], None if weights is None else weights[first:last])
            for first, last in self.cuts
        ]

    @property
    def cuts(self) -> list[tuple[int, int]]:
        """Where each batch begins and ends."""
        return list(pairwise(self.ends.tolist()))


class Blocks:
    """Blocks of mini-batches, for several threads at once.

    Parameters
    ----------
    rows : Rows
    batches : Batches
    overlaps : bool
        Whether blocks know the products between their batches.
    augment : callable, optional

    Examples
    --------
    >>> X, labels = np.arange(12.0).reshape(6, 2), np.arange(6)
    >>> rows, batches = Rows(X, labels, X.dtype), Batches(samples=6, batch_size=2, order_seed=0)
    >>> blocks = Blocks(rows, batches, overlaps=True)
    >>> block = blocks.get((0, 2))
    >>> block.x.shape, [x.shape for x, *_ in block.batches], [one.shape for one in block.overlaps]
    ((4, 2), [(2, 2), (2, 2)], [(2, 0), (2, 2)])
    >>> blocks.get((0, 2)) is block
    True
    """

    def __init__(
        self, rows: Rows, batches: Batches, overlaps: bool, augment: Augment | None = None
    ) -> None:
        self.rows, self.batches, self.overlaps, self.augment = rows, batches, overlaps, augment
        self._lock = Lock()
        self._blocks: dict[Span, Future[Block]] = {}

    def get(self, span: Span) -> Block:
        """Return the batches of some updates, gathered once for all who ask."""
        self.prepare(span)
        with self._lock:
            promise = self._blocks.get(span)
        return promise.result() if promise else self.get(span)

    def bytes_of(self, span: Span) -> int:
        """Size of a block, about."""
        rows = (span[1] - span[0]) * self.batches.batch_size
        return int(rows * self.rows.stored.shape[1] * self.rows.dtype.itemsize)

    def prepare(self, span: Span) -> None:
        """Gather the batches of some updates, unless somebody does or has done it."""
        with self._lock:
            if span in self._blocks:
                return
            promise = self._blocks[span] = Future()
            if len(self._blocks) > HELD:
                del self._blocks[next(iter(self._blocks))]
        try:
            promise.set_result(self._gather(span))
        except BaseException as error:
            promise.set_exception(error)
            raise

    def _gather(self, span: Span) -> Block:
        chosen, ends = self.batches.of(range(*span))
        if self.augment is None:
            x = self.rows.take(chosen)
        else:
            updates = enumerate(np.split(chosen, ends[1:-1]), start=span[0])
            x = np.concatenate(
                [self.rows.take(one, partial(self.augment, update=t)) for t, one in updates]
            )
        weights = None if self.rows.weights is None else self.rows.weights[chosen]
        block = Block(span[0], x, self.rows.labels[chosen], ends, [], weights)
        if self.overlaps:
            for first, last in block.cuts:  # (n_i, D) @ (D, N_{<i})
                block.overlaps.append(x[first:last] @ x[:first].T)
        return block
