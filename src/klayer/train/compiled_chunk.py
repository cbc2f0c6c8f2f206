"""Networks that a worker trains one after another in the compiled kernel.

A network needs no other one to be fast there: each does all updates of a block in one call, outside the
interpreter's lock, with its numbers in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from klayer.nn import Workspace
from klayer.nn.backends.compiled import Kernel, Updates, pack, warm_up
from klayer.nn.lanes import slices
from klayer.progress import meanwhile
from klayer.train.blocks import Block
from klayer.train.engine import Engine
from klayer.train.population import Population
from klayer.train.rates import Rates
from klayer.train.state import Failure

__all__ = ["CompiledChunk", "compiled_chunks"]

Array = NDArray[Any]


@dataclass(frozen=True)
class FlatPopulation:
    """The numbers of a population as the kernel sees them; the state's arrays are views of them.

    Attributes
    ----------
    params, running : array, shape (P, size)
    slots : array, shape (P, slots, size)
    """

    params: Array
    running: Array
    slots: Array


def compiled_chunks(
    population: Population, engine: Engine
) -> Callable[[slice, Workspace, int], CompiledChunk]:
    """Load the kernel and lay the population's numbers out; return what makes chunks of it."""
    state, network, dtype = population.state, population.network, population.dtype
    with meanwhile("compiling the kernel, once"):
        # By a worker: a Ctrl-C that meets the compiler's callbacks, in C, would get lost there.
        engine.map(lambda one, _: warm_up(one), [dtype])
    kernel = Kernel(network, population.settings.optimiser, dtype)
    shapes, P = network.shapes(), len(population)
    rows = FlatPopulation(
        pack(P, [state.params], shapes, dtype)[:, 0],
        pack(P, [state.running], network.running_shapes(), dtype)[:, 0],
        pack(P, [state.slots[slot] for slot in sorted(state.slots)], shapes, dtype),
    )
    return lambda lanes, ws, _threads: CompiledChunk(population, lanes, ws, kernel, rows)


class CompiledChunk:
    """Some neighbouring networks of a population, ready to be trained.

    Parameters
    ----------
    population : Population
    lanes : slice
        Which networks.
    ws : Workspace
        Of the worker.
    kernel : Kernel
    rows : FlatPopulation
        Of the whole population: they are what moves.
    """

    def __init__(
        self,
        population: Population,
        lanes: slice,
        ws: Workspace,
        kernel: Kernel,
        rows: FlatPopulation,
    ) -> None:
        self.population, self.lanes, self.ws = population, lanes, ws
        self.kernel, self.rows = kernel, rows
        self.rates = Rates(population, lanes)

    def train(self, block: Block, look_ahead: Callable[[], None]) -> list[CompiledChunk]:
        """Do the updates of a block; return what still trains: this chunk, or parts of it.

        Parameters
        ----------
        block : Block
        look_ahead : callable
            Called at once: the kernel leaves other threads idle all the time.
        """
        look_ahead()
        population, rows, numbers = self.population, self.rows, self.population.numbers
        updates = Updates(block.start, block.x, block.labels, block.ends, block.weights)
        keys = population.numbers_of(self.lanes)["draw_key"]
        indices = range(block.start, block.start + len(block))
        rates = self.kernel.rates({name: one.T for name, one in self.rates.of(indices).items()})
        losses = self.ws.array("losses", (len(indices),), population.dtype)
        survivors = []
        for j, p in enumerate(range(self.lanes.start, self.lanes.stop)):
            done, layer = self.kernel.train(
                rows.params[p],
                rows.running[p],
                rows.slots[p],
                updates,
                rates[j],
                {"slope": self.rates.slope[j], **{n: one[p] for n, one in numbers.items()}},
                self.ws,
                losses,
                keys[j],
            )
            if done == len(indices):
                survivors.append(p)
            else:
                population.state.failures[p] = Failure(block.start + done, layer)
        if len(survivors) == self.lanes.stop - self.lanes.start:
            return [self]
        return [
            CompiledChunk(population, some, self.ws, self.kernel, rows)
            for some in slices(survivors, population.chunk)
        ]

    def release(self) -> None:
        """Nothing: no block outlives its updates."""
