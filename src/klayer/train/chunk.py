"""Networks that are trained side by side: a chunk of a population, on one worker.

When a chunk is set up, its plan is made: every view, buffer and constant of an update. An update is then
a straight line of array calls. Every product and every elementwise pass serves all networks at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Batch, DelayedWeights, Plan, Workspace
from klayer.nn.gradients import Gradient, OfWeights
from klayer.nn.lanes import slices
from klayer.nn.pieces.affine import AffinePass
from klayer.train.averaging import Averaging
from klayer.train.blocks import Block
from klayer.train.clipping import Clipping
from klayer.train.engine import BLAS_THREADS, Engine
from klayer.train.optimisers import OPTIMISERS
from klayer.train.population import Population
from klayer.train.rates import Rates
from klayer.train.state import Failure

__all__ = ["Chunk"]

Array = NDArray[Any]


class Chunk:
    """Some neighbouring networks of a population, ready to be trained.

    Parameters
    ----------
    population : Population
        Its state is what moves.
    lanes : slice
        Which networks.
    ws : Workspace
        Of the worker; chunks of one worker share it.
    engine : Engine
    threads : int, >= 1
        How many workers may help with a single network.
    """

    def __init__(
        self, population: Population, lanes: slice, ws: Workspace, engine: Engine, threads: int
    ) -> None:
        self.population, self.lanes, self.ws = population, lanes, ws
        self.engine, self.threads = engine, threads
        self.params, self.running = (
            {key: value[lanes] for key, value in group.items()}
            for group in (population.state.params, population.state.running)
        )
        self.numbers = population.numbers_of(lanes)
        self.rates = Rates(population, lanes)
        self.averaging = (
            Averaging(population, lanes, ws) if "average" in population.state.copies else None
        )
        self.first_layer: DelayedWeights | None = None
        self._index = 0
        self._plans: dict[int, Plan] = {}
        self._clippings: dict[int, Clipping] = {}

    def train(self, block: Block, look_ahead: Callable[[], None]) -> list[Chunk]:
        """Do the updates of a block; return what still trains: this chunk, or parts of it.

        Parameters
        ----------
        block : Block
        look_ahead : callable
            Called after each first product: from then on threads are idle.
        """
        self.look_ahead = look_ahead
        if self.population.state.at_once > 1:
            self.first_layer = DelayedWeights(
                self.params["W1"],
                block.x,
                block.overlaps,
                self.rates.l2,
                self.ws,
                self.threads,
                self.engine.share if self.threads > 1 else None,
                BLAS_THREADS,
            )
        return self._updates(block, 0)

    def _updates(self, block: Block, first: int) -> list[Chunk]:
        """Do the updates of a block from a given one on."""
        indices = range(block.start, block.start + len(block))
        self.rates.prepare(indices)
        if self.averaging:
            self.averaging.prepare(indices)
        for i in range(first, len(block)):
            x, labels, weights, mixed = block.batches[i]
            plan = self._plans.get(len(x)) or self._plan(x, labels)
            batch = plan.batch
            batch.x, batch.labels, batch.weights, batch.mixed = x, labels, weights, mixed
            batch.update = block.start + i
            self._index = i
            self.rates.use(i)
            if not plan.update():
                return self._without_failures(plan, block, i)
            if self._clippings:
                self._clippings[len(x)].update()
            if self.averaging:
                self.averaging.update(i)
        if self.first_layer:
            self.first_layer.settle()
        self.first_layer = None  # it holds the block
        return [self]

    def release(self) -> None:
        """Let go of plans and mini-batches now: a plan knows its chunk, a circle that would linger."""
        self._plans.clear()
        self._clippings.clear()
        self.first_layer = None

    def _without_failures(self, plan: Plan, block: Block, i: int) -> list[Chunk]:
        """Freeze the networks whose loss is not finite, as they were; go on with the others."""
        finite = np.isfinite(plan.losses())
        survivors = []
        for j, p in enumerate(range(self.lanes.start, self.lanes.stop)):
            if finite[j]:
                survivors.append(p)
                continue
            failure = Failure(block.start + i, plan.first_not_finite(j))
            self.population.state.failures[p] = failure
            if self.first_layer:
                self.first_layer.part(slice(j, j + 1)).settle()
        kept = []
        for some in slices(survivors, self.population.chunk):
            part = Chunk(self.population, some, self.ws, self.engine, self.threads)
            part.look_ahead = self.look_ahead
            if self.first_layer:
                here = slice(some.start - self.lanes.start, some.stop - self.lanes.start)
                part.first_layer = self.first_layer.part(here)
            kept += part._updates(block, i)
        self.release()
        return kept

    # The plan.

    def _plan(self, x: Array, labels: Array) -> Plan:
        """Make the plan for batches of this size."""
        if self.population.settings.clip_norm:
            self._clipping = self._clippings[len(x)] = Clipping(self.rates.clip_norm, self.ws)
        plan = self.population.network.plan(
            self.params,
            Batch(x, labels),
            running=self.running,
            use=self._use,
            ws=self.ws,
            spread=self.engine.share if self.threads > 1 else None,
            numbers=self.numbers,
        )
        first = next(one for one in plan.passes if isinstance(one, AffinePass))
        if self.population.state.at_once > 1:
            first.product = partial(self._multiply_delayed, first.y)
        first.after_product = self._look_ahead
        self._plans[len(x)] = plan
        return plan

    def _use(self, key: str, gradient: Gradient) -> Callable[[], None]:
        """Return what moves a parameter."""
        param, lr = self.params[key], self.rates.lr
        if key == "W1" and self.population.state.at_once > 1:
            assert isinstance(gradient, OfWeights)
            return lambda: self._delayed.descend(self._index, gradient.g, lr)
        optimiser = OPTIMISERS[self.population.settings.optimiser]
        slots = {
            name: slot[key][self.lanes]
            for name, slot in self.population.state.slots.items()
            if key in slot
        }
        numbers = self.rates.numbers(param.ndim, key in self.population.network.weights)
        if self.population.settings.clip_norm:
            collect, clipped = self._clipping.collect(key, gradient, param)
            self._clipping.then(optimiser.prepare(param, clipped, slots, numbers, self.ws))
            return collect
        return optimiser.prepare(param, gradient, slots, numbers, self.ws)

    def _multiply_delayed(self, y: Array) -> None:
        self._delayed.multiply(self._index, out=y)

    def _look_ahead(self) -> None:
        """Have the next block gathered while idle threads have nothing else to do."""
        self.look_ahead()

    @property
    def _delayed(self) -> DelayedWeights:
        assert self.first_layer is not None
        return self.first_layer
