"""The lockstep loop: what a worker does with its share of a population.

Within a chunk every product and every elementwise pass serves all its networks at once. Where the
first layer is large, its updates are carried out a block at a time (:mod:`klayer.nn.delayed`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from klayer.nn import DelayedWeights, Workspace
from klayer.nn.layers import WeightGradient
from klayer.train.feed import Block, Feed
from klayer.train.optimisers import sgd
from klayer.train.state import Failure

if TYPE_CHECKING:
    from klayer.train.population import Population

__all__ = ["Lockstep", "slices", "spans"]

Chunk = tuple[slice, DelayedWeights | None]


class Lockstep:
    """Trains chunks of a population; shared by all workers.

    Parameters
    ----------
    population : Population
        With an open engine.
    threads : int, >= 1
        Workers for each share of the population: all but one of them help.
    """

    def __init__(self, population: Population, threads: int) -> None:
        self.population, self.threads = population, threads
        self.network, self.state = population.network, population.state
        self.engine, self.at_once = population.engine, population.updates_at_once
        X, labels = population.data["train"]
        self.feed = Feed(X, labels, population.settings.batches(len(X)))
        self.l2 = population.l2.astype(X.dtype)

    def run(self, lanes: list[slice], start: int, until: int, ws: Workspace) -> Iterator[int]:
        """Train some networks from one update to another; yield the update reached."""
        cuts = spans(self.population.record_points(), start, until, self.at_once)
        with np.errstate(all="ignore"):
            for span, following in zip_longest(cuts, cuts[1:]):
                if self.engine.stopped:
                    return
                block = self._fetch(span, following)
                lanes = [kept for some in lanes for kept in self._block(some, block, ws)]
                yield span[1]

    def _fetch(self, span: tuple[int, int], following: tuple[int, int] | None) -> Block:
        """Return the batches of a block, and see to it that those of the next one are under way."""
        if self.at_once == 1:
            return self.feed.gather(*span)
        block = self.feed.block(*span)
        if following and self.threads > 1:
            self.engine.ahead(self.feed.prepare, *following)
        elif following:
            self.feed.prepare(*following)
        return block

    def _block(self, lanes: slice, block: Block, ws: Workspace) -> list[slice]:
        """Do the updates of a block; return the networks that are still finite."""
        first_layer = None
        if self.at_once > 1:
            run = self.engine.share if self.threads > 1 else None
            W1, l2 = self.state.params["W1"][lanes], self.l2[lanes]
            first_layer = DelayedWeights(W1, block.x, block.overlaps, l2, ws, self.threads, run)
        chunks: list[Chunk] = [(lanes, first_layer)]
        for i in range(len(block.rows)):
            chunks = [kept for chunk in chunks for kept in self._step(*chunk, block, i, ws)]
        for _, first_layer in chunks:
            if first_layer:
                first_layer.settle()
        return [lanes for lanes, _ in chunks]

    def _step(
        self, lanes: slice, first_layer: DelayedWeights | None, block: Block, i: int, ws: Workspace
    ) -> list[Chunk]:
        """Do one update of some networks; return those that are still finite."""
        t, x, labels = block.start + i, block.x[block.rows[i]], block.labels[i]
        params = {key: value[lanes] for key, value in self.state.params.items()}
        lr = self.population.learning_rates(t)[lanes].astype(x.dtype)

        def update(key: str, grad: NDArray | WeightGradient) -> None:
            if key == "W1" and first_layer:
                first_layer.descend(i, grad.g, lr)
            else:
                sgd(params[key], grad, lr, ws)

        s1 = first_layer.multiply(i) if first_layer else None
        loss, forward = self.network.propagate(params, x, labels, self.l2[lanes], update, ws, s1)
        finite = np.isfinite(loss)
        if finite.all():
            running = {key: value[lanes] for key, value in self.state.running.items()}
            self.network.update_running(running, forward, first=t == 0)
            return [(lanes, first_layer)]
        # Nothing has moved in this update yet: freeze the networks that failed, then step the others.
        survivors = []
        for j, p in enumerate(range(lanes.start, lanes.stop)):
            if finite[j]:
                survivors.append(p)
                continue
            self.state.failures[p] = Failure(t, forward.first_not_finite(j))
            if first_layer:
                first_layer.part(slice(j, j + 1)).settle()
        kept = []
        for some in slices(survivors, self.population.chunk):
            here = slice(some.start - lanes.start, some.stop - lanes.start)
            part = first_layer.part(here) if first_layer else None
            kept += self._step(some, part, block, i, ws)
        return kept


def spans(points: Sequence[int], start: int, until: int, at_once: int) -> list[tuple[int, int]]:
    """Cut updates into blocks of at most ``at_once``; none reaches over a recorded point.

    The cuts depend on the recorded points alone, as long as ``start`` and ``until`` are such points or
    the ends of blocks: so do the bits of large first layers.

    Examples
    --------
    >>> spans([0, 5, 10], start=0, until=10, at_once=2)
    [(0, 2), (2, 4), (4, 5), (5, 7), (7, 9), (9, 10)]
    >>> spans([0, 5, 10], start=4, until=7, at_once=2)
    [(4, 5), (5, 7)]
    """
    points, found = [*points, math.inf], []
    while start < until:
        after = bisect_right(points, start)
        full = start + at_once - (start - points[after - 1]) % at_once
        stop = min(full, points[after], until)
        found.append((start, stop))
        start = stop
    return found


def slices(lanes: Sequence[int], size: int) -> list[slice]:
    """Cut ascending lane numbers into runs of neighbours, evenly, of at most ``size``."""
    breaks = [i for i in range(1, len(lanes)) if lanes[i] != lanes[i - 1] + 1]
    slices = []
    for first, last in zip([0, *breaks], [*breaks, len(lanes)], strict=True):
        run = lanes[first:last]
        for part in np.array_split(run, -(-len(run) // size)) if run else []:
            slices.append(slice(int(part[0]), int(part[-1]) + 1))
    return slices
