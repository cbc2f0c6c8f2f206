"""How a population is trained: cut into chunks, on an engine's workers, in lockstep.

A network's numbers depend on nothing but its own settings, its seed, the order of the mini-batches and
the strategy of the first layer, which is stored with them: the same bits for any population, chunk size
and number of workers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError, require_kind
from klayer.nn import Workspace
from klayer.nn.backends import require
from klayer.nn.lanes import slices
from klayer.train.averaging import statistics
from klayer.train.blocks import Block, Blocks, Span, spans
from klayer.train.calibrating import calibrate
from klayer.train.chunk import Chunk
from klayer.train.compiled_chunk import compiled_chunks
from klayer.train.costs import standardise_on_the_way, useful_workers
from klayer.train.engine import Engine
from klayer.train.evaluate import SPLITS_OF_CURVES
from klayer.train.population import Population
from klayer.train.state import Failure, TrainingState, copied
from klayer.train.stopping import carry_best, note_point, restore_best
from klayer.train.windows import Windows

__all__ = ["Trainer"]

# Networks that one worker trains at a time, at the most.
GROUP = 16

# A block of mini-batches, by backend: so many bytes, and so many updates at the most. NumPy's should
# stay in a core's cache; the kernel is called once for a block, and so a longer one is cheaper.
BLOCKS = {"numpy": (1 << 18, 50), "compiled": (1 << 22, 400)}

# Bytes from which on a block is worth a thread that gathers it meanwhile.
WORTH_A_THREAD = 1 << 18

# Seconds between two pauses, in which all networks stand at one update and may be written down.
STRETCH_SECONDS = 2.0


class _Pause(Exception):
    """The time of a stretch is over."""


class TrainsBlocks(Protocol):
    """Some neighbouring networks of a population: what a backend makes of them."""

    def train(self, block: Block, look_ahead: Callable[[], None]) -> Sequence[TrainsBlocks]:
        """Do the updates of a block; return what still trains.

        It calls ``look_ahead`` when threads are idle: the next block is then gathered.
        """

    def release(self) -> None:
        """Let go of mini-batches and all that is made for them."""


MakeChunk = Callable[[slice, Workspace, int], TrainsBlocks]


def numpy_chunks(population: Population, engine: Engine) -> MakeChunk:
    """Return what makes chunks that NumPy trains."""
    return lambda lanes, ws, threads: Chunk(population, lanes, ws, engine, threads)


# How each backend of a population makes chunks of it.
CHUNKS: dict[str, Callable[[Population, Engine], MakeChunk]] = {
    "numpy": numpy_chunks,
    "compiled": compiled_chunks,
}


# States that a trainer is at work on, by identity.
_IN_TRAINING: set[int] = set()
_LOCK = threading.Lock()


class Trainer:
    """Trains a population.

    Parameters
    ----------
    population : Population
    engine : Engine, optional
        By default one with all cores, opened for each call. An engine that is open is used as it is.

    Attributes
    ----------
    consistent : bool
        Whether all networks stand at ``population.state.update``, so that the state may be written
        down. It is False only after a second error or Ctrl-C in the middle of an update, or one while a
        point is noted: after the first one all networks are brought to the same update before it is
        raised.
    pause_seconds : float
        How far apart pauses are.

    Examples
    --------
    >>> import klayer as kl
    >>> feed = kl.Feed(kl.load("digits"))
    >>> settings = kl.Settings(hidden=(20,), cycles=1, half_cycle="2 epochs")
    >>> population = kl.Population(feed, [kl.Member(settings, seed) for seed in (0, 1)])
    >>> Trainer(population).train()
    >>> population.evaluate("test")["accuracy"].shape
    (2,)
    """

    def __init__(self, population: Population, engine: Engine | None = None) -> None:
        require_kind(population, Population, "population", "a Population")
        self.population, self.engine = population, engine or Engine()
        self.consistent, self.pause_seconds = True, STRETCH_SECONDS
        self._rate: float | None = None  # updates of all networks per second, where that is known
        self._windows: Windows | None = None

    def train(
        self,
        until: int | None = None,
        on_progress: Callable[[float], None] | None = None,
        on_record: Callable[[TrainingState], None] | None = None,
        on_pause: Callable[[TrainingState], None] | None = None,
    ) -> None:
        """Train to update ``until`` (by default to the end), recording the curves on the way.

        A network whose cost stops being finite is frozen and flagged in ``state.failures``; the
        others go on as if it had never been there.

        Parameters
        ----------
        until : int, optional
            Update index, rounded up to the grid of updates that are carried out at once; by default the
            end of the last cycle. Stopping and going on changes no bit of what follows.
        on_progress : callable, optional
            Called some times a second with the number of updates done, as a float.
        on_record : callable, optional
            Called with the state after each recorded point. The state is then consistent: this is the
            moment to write it down.
        on_pause : callable, optional
            Called with the state some seconds apart, between two points and in mid-epoch: another
            moment to write it down. Pausing changes no bit of what follows either.
        """
        population, state = self.population, self.population.state
        until = population.on_grid(population.total_updates if until is None else until)
        points = [t for t in population.record_points() if state.update <= t <= until]
        with self.engine:
            for t in points if points[-1:] == [until] else [*points, until]:
                self.advance(t, on_progress, on_pause)
                if t in points and t not in state.recorded:
                    self.record()
                    if on_record:
                        on_record(state)
            if population.calibrates and state.update == population.total_updates:
                calibrate(population, self.engine)

    def advance(
        self,
        until: int,
        on_progress: Callable[[float], None] | None = None,
        on_pause: Callable[[TrainingState], None] | None = None,
    ) -> None:
        """Do the updates up to ``until``, rounded up to the grid, and record nothing."""
        population, state = self.population, self.population.state
        goal = max(population.on_grid(until), state.update)
        with self.engine:
            self._keep_cycle()  # unless an interrupt came between
            for stop in self._stops(goal):
                self._begin_average()
                self._reach(stop, on_progress, on_pause)
                self._keep_cycle()
            self._finish()

    def _reach(
        self,
        goal: int,
        on_progress: Callable[[float], None] | None,
        on_pause: Callable[[TrainingState], None] | None,
    ) -> None:
        """Do the updates up to ``goal``, with pauses if they are wanted."""
        population, state = self.population, self.population.state
        while True:
            stretch = goal
            if on_pause and self._rate:
                ahead = state.update + max(1.0, self._rate * self.pause_seconds)
                stretch = min(goal, population.on_grid(ahead))
            self._advance(stretch, on_progress, pausing=on_pause is not None)
            if state.update >= goal:
                return
            if on_pause:
                on_pause(state)

    def _stops(self, end: int) -> list[int]:
        """Return where something is to be done on the way, and the end."""
        population, settings = self.population, self.population.settings
        stops = [population.average_from] if settings.average != "none" else []
        if settings.snapshots != "none":
            stops += population.course.ends
        ahead = {population.on_grid(stop) for stop in stops}
        return [*sorted(stop for stop in ahead if population.state.update < stop < end), end]

    def _begin_average(self) -> None:
        population, state = self.population, self.population.state
        if (
            population.settings.average != "none"
            and population.average_from <= state.update < population.total_updates
            and "average" not in state.copies
        ):
            state.copies["average"] = copied(state.params, state.running)

    def _keep_cycle(self) -> None:
        """Keep the networks as they are at the end of a cycle; the last one's are the state itself."""
        population, state = self.population, self.population.state
        if population.settings.snapshots == "none":
            return
        for cycle, end in enumerate(population.course.ends[:-1], start=1):
            name = f"cycle {cycle}"
            if population.on_grid(end) == state.update and name not in state.copies:
                state.copies[name] = copied(*state.weights())

    def _advance(
        self, until: int, on_progress: Callable[[float], None] | None, *, pausing: bool
    ) -> None:
        state = self.population.state
        with _LOCK:
            if id(state) in _IN_TRAINING:
                raise KlayerError(
                    "a population is trained by one trainer at a time, but this one is being trained: "
                    "don't train it from `on_progress`, or from another thread."
                )
            _IN_TRAINING.add(id(state))
        try:
            self._do_updates(until, on_progress, pausing)
        finally:
            _IN_TRAINING.discard(id(state))

    def _do_updates(
        self, until: int, on_progress: Callable[[float], None] | None, pausing: bool
    ) -> None:
        state, engine = self.population.state, self.engine
        groups = self._groups()
        done = [state.update] * len(groups)
        threads = max(1, engine.workers // max(1, len(groups)))

        def run(index: int, ws: Workspace) -> None:
            for t in self._group(make, groups[index], blocks, (done[index], goal), threads, ws):
                done[index] = t

        started, first = time.monotonic(), state.update
        # Groups that wait for a worker have to be brought to the same update.
        patience = self.pause_seconds * 3 if self._rate else self.pause_seconds
        patience /= 1 if self._rate else max(1.0, len(groups) / engine.workers)

        def report() -> None:
            if on_progress:
                on_progress(sum(done) / len(done))
            if pausing and time.monotonic() - started > patience:
                raise _Pause

        def behind() -> list[int]:
            return [index for index, t in enumerate(done) if t < goal]

        goal = max(until, state.update)
        if behind():
            population = self.population
            optimiser = population.settings.optimiser
            require(state.backend, population.network, optimiser, population.needs)
            make, blocks = CHUNKS[state.backend](self.population, engine), self._blocks()
            self.consistent = False
            try:
                engine.map(run, behind(), report)
            except BaseException as error:
                # The workers stopped at different updates: bring all to the furthest one.
                goal = max(done)
                engine.map(run, behind())
                state.update, self.consistent = goal, True
                if not isinstance(error, _Pause):
                    raise
            finally:
                blocks.close()
            if behind():
                raise RuntimeError(f"the engine stopped at update {min(done)} of {goal}.")
        state.update, self.consistent = goal, True
        seconds = time.monotonic() - started
        if seconds > self.pause_seconds / 4:
            self._rate = (goal - first) / seconds

    def _group(
        self,
        make: MakeChunk,
        lanes: list[slice],
        blocks: Blocks,
        span: Span,
        threads: int,
        ws: Workspace,
    ) -> Iterator[int]:
        """Train the chunks of a group; yield the update reached."""
        chunks = [make(one, ws, threads) for one in lanes]
        cuts = spans(*span, self._block_size())
        with np.errstate(all="ignore"):
            for cut, following in pairwise([*cuts, None]):
                if self.engine.stopped or cut is None:
                    break
                block = blocks.get(cut)
                look_ahead = partial(self._ahead, blocks, following, threads)
                chunks = [kept for chunk in chunks for kept in chunk.train(block, look_ahead)]
                yield cut[1]
        for chunk in chunks:
            chunk.release()

    def _ahead(self, blocks: Blocks, following: Span | None, threads: int) -> None:
        """Have a block gathered meanwhile: by a thread for it, or a large one by an idle worker."""
        if following is None or blocks.ahead(following):
            return
        if threads > 1 and blocks.bytes_of(following) > WORTH_A_THREAD:
            self.engine.ahead(blocks.prepare, following)

    def _blocks(self) -> Blocks:
        population = self.population
        feed, batches = population.feed, population.batches
        on_the_way = standardise_on_the_way(
            population.network, batches.batch_size, len(population.training)
        )
        change = population.augmentation
        raw = change.changes_raw_rows
        rows = feed.raw("train") if raw else feed["train"] if on_the_way else feed.ready("train")
        rows, overlaps = population.weighted(rows), population.state.at_once > 1
        if self._windows is None and rows.on_disk and batches.shuffling.window:
            self._windows = Windows(rows, batches)
        return Blocks(rows, batches, overlaps, feed.augment, change or None, self._windows)

    def _block_size(self) -> int:
        """Updates a block: those carried out at once, or as many as is best for the backend."""
        population = self.population
        if population.state.at_once > 1:
            return population.state.at_once
        batch = population.batches.batch_size * population.feed.n_features
        size, updates = BLOCKS[population.state.backend]
        return min(updates, 1 + size // (batch * population.dtype.itemsize))

    def _groups(self) -> list[list[slice]]:
        """Cut the networks that still train into groups of chunks; a frozen one lies in none."""
        alive = self.population.training
        if not alive:
            return []
        population, workers = self.population, self.engine.workers
        group = max(GROUP, population.chunk)
        groups = min(len(alive), workers * -(-len(alive) // (workers * group)))
        if population.state.backend == "numpy":
            batch = population.batches.batch_size
            groups = min(groups, useful_workers(population.network, batch, len(alive)))
        return [
            slices(part.tolist(), population.chunk)
            for part in np.array_split(np.array(alive), groups)
        ]

    def record(self) -> None:
        """Append a point to the curves, of each split that there is."""
        population, state = self.population, self.population.state
        values: dict[str, NDArray[Any]] = {}
        with self.engine:
            for split in SPLITS_OF_CURVES:
                if split in population.feed.splits:
                    sample = population.feed.sample(split, population.settings.curve_samples)
                    sample = population.weighted(sample)
                    found = population.evaluate_rows(
                        sample, self.engine, population.training, curves=True
                    )
                    values |= {f"{split}_{name}": value for name, value in found.items()}
        self.consistent = False  # a point that is noted by half must not be written down
        for p in population.training:
            if not np.isfinite(values["train_cost"][p]):
                state.failures[p] = Failure(state.update, 0)
        carry_best(population, values)
        state.record(values)
        note_point(population, values)
        if state.update == population.total_updates and "best" in state.copies:
            restore_best(population, population.training)
            del state.copies["best"]
        self.consistent = True

    def _finish(self) -> None:
        """At the end: the average takes the weights' place, with statistics of its own."""
        population, state = self.population, self.population.state
        average = state.copies.get("average")
        if average is None or state.update < population.total_updates:
            return
        rows = population.weighted(population.feed["train"])

        def settle(lanes: slice, ws: Workspace) -> None:
            params = {key: average[key][lanes] for key in state.params}
            numbers = population.numbers_of(lanes)
            batches = population.settings.batches(len(rows))
            running = statistics(population.network, params, rows, batches, numbers, ws)
            for group, found in ((state.params, params), (state.running, running)):
                for key, value in found.items():
                    group[key][lanes] = value

        with self.engine:
            share = -(-len(population) // self.engine.workers)
            some = slices(population.training, min(population.chunk, max(1, share)))
            self.engine.map(settle, some)
        del state.copies["average"]
