"""Mini-batches of successive updates, gathered once for all that train on them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.train.augment import Augmentation, Mixed
from klayer.train.batches import Batches
from klayer.train.feed import Augment, Rows
from klayer.train.windows import Windows

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
    mixed : (array, array), each of shape (N,), or None
        The other class of each sample, and the share of its first one, if samples are mixtures.
    """

    start: int
    x: Array
    labels: Array
    ends: NDArray[np.int64]
    overlaps: list[Array]
    weights: Array | None = None
    mixed: tuple[Array, Array] | None = None

    def __len__(self) -> int:
        """Number of updates."""
        return len(self.ends) - 1

    @cached_property
    def batches(self) -> list[tuple[Array, Array, Array | None, tuple[Array, Array] | None]]:
        """Each batch: its rows of ``x``, (n_i, D), its labels, weights and mixtures, (n_i, ...)."""
        return [
            (
                self.x[rows],
                self.labels[rows],
                None if self.weights is None else self.weights[rows],
                None if self.mixed is None else (self.mixed[0][rows], self.mixed[1][rows]),
            )
            for rows in (slice(*cut) for cut in self.cuts)
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
        Changes raw rows, after the augmentation has.
    augmentation : Augmentation, optional
        Its blocks are made by a thread of their own, one ahead; see :meth:`close`.
    windows : Windows, optional
        Of rows on disk, if they are shuffled window by window.

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
        self,
        rows: Rows,
        batches: Batches,
        overlaps: bool,
        augment: Augment | None = None,
        augmentation: Augmentation | None = None,
        windows: Windows | None = None,
    ) -> None:
        self.windows = windows
        self.rows, self.batches, self.overlaps = rows, batches, overlaps
        self.augment, self.augmentation = augment, augmentation
        slow = augmentation is not None or rows.on_disk
        self._ahead = ThreadPoolExecutor(1, "klayer-feed") if slow else None
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

    def ahead(self, span: Span) -> bool:
        """Have the thread for blocks that take long gather one, if there is such a thread; say so."""
        if self._ahead is None:
            return False
        if span not in self._blocks:
            self._ahead.submit(self.prepare, span)
        return True

    def close(self) -> None:
        """End that thread."""
        if self._ahead:
            self._ahead.shutdown(wait=True, cancel_futures=True)

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
        source = self.rows if self.windows is None else self.windows.rows(range(*span))
        weights = None if self.rows.weights is None else self.rows.weights[chosen]
        labels, mixed = self.rows.labels[chosen], None
        if self.augment is None and self.augmentation is None:
            x = source.take(chosen)
        else:
            x = np.empty((len(chosen), self.rows.stored.shape[1]), self.rows.dtype)
            partner, share = np.arange(len(chosen)), np.ones(len(chosen), self.rows.dtype)
            for i, rows in enumerate(slice(*cut) for cut in pairwise(ends.tolist())):
                x[rows], found = self._changed(source, chosen[rows], span[0] + i)
                if found:
                    partner[rows] = rows.start + found.partner
                    share[rows] = found.share
            if self.augmentation and self.augmentation.mixup is not None:
                if labels.ndim == 1:
                    mixed = labels[partner], share
                else:  # numbers: the mixture is a label itself
                    labels = share[:, None] * labels + (1 - share[:, None]) * labels[partner]
        block = Block(span[0], x, labels, ends, [], weights, mixed)
        if self.overlaps:
            for first, last in block.cuts:  # (n_i, D) @ (D, N_{<i})
                block.overlaps.append(x[first:last] @ x[:first].T)
        return block

    def _changed(
        self, source: Rows, index: NDArray[np.intp], update: int
    ) -> tuple[Array, Mixed | None]:
        """Return the rows of an update, changed and standardised, and how they were mixed."""
        augment, augmentation = self.augment, self.augmentation
        change = None
        if augment or (augmentation and augmentation.changes_raw_rows):

            def change(rows: Array) -> Array:
                rows = augmentation.raw(rows, update) if augmentation else rows
                return augment(rows, update=update) if augment else rows

        x = source.take(index, change)
        return augmentation.standardised(x, update) if augmentation else (x, None)
