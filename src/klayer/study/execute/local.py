"""Threads of this process: a pool that all parts share, each product on one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.study.execute.bench import Bench
from klayer.study.execute.cut import Lying, PartOfPack, cut, forget
from klayer.study.execute.keeper import Keeper
from klayer.study.execute.part import Listener, Order, Outcome, PartResult, PartSpec, Reporter
from klayer.study.run_dir import Run
from klayer.train import Engine, Feed, Member, Population, Trainer, TrainingState
from klayer.train.population import SWITCHES

__all__ = ["Local", "strategy"]


class Local:
    """Trains parts on the threads of this process.

    Parameters
    ----------
    dataset : Dataset
    workers : int, >= 1, optional
        Threads; by default the cores that this process may use.
    beside : Local, optional
        Another one, on the same data, in other threads of the process: the rows are prepared once.
    """

    def __init__(
        self, dataset: Dataset, workers: int | None = None, beside: Local | None = None
    ) -> None:
        self.dataset = dataset
        self._engine = Engine(workers)
        self._feeds: dict[str, Feed] = beside._feeds if beside else {}
        self._lock: threading.Lock = beside._lock if beside else threading.Lock()

    def __enter__(self) -> Local:
        self._engine.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.__exit__(kind, error, trace)

    @property
    def workers(self) -> int:
        """How many threads there are."""
        return self._engine.workers

    def carry_out(self, run: Run, orders: Sequence[Order], reporter: Reporter) -> Iterator[Outcome]:
        """Train one population after the other; see :class:`klayer.study.execute.Executor`."""
        bench = Bench(run.path)
        bench.withdraw()
        for order in orders:
            parts = cut(order, run, Lying.of(run, bench), reporter.note, strategy=self.strategy)
            found = [
                (part.lanes, bench.result(part.name) or self._carry_out(run, part, order, reporter))
                for part in parts
            ]
            yield Outcome.joined(order.pack, found)
            forget(run, bench, order, parts)

    def _carry_out(
        self, run: Run, part: PartOfPack, order: Order, reporter: Reporter
    ) -> PartResult:
        state = run.checkpoints.load(part.name, reporter.note) or part.begin()
        result = self.work(part.spec, state, _Heard(run, part, order, reporter))
        if len(part.spec.members) < len(order.pack.jobs):
            Bench(run.path).keep(part.name, result)
        return result

    def work(self, spec: PartSpec, state: TrainingState | None, keeper: Keeper) -> PartResult:
        """Train a part, by default from its start, to where it shall end, and evaluate it there."""
        started = time.monotonic()
        state = self.train_part(spec, state or self.start_part(spec), keeper)
        seconds = time.monotonic() - started
        if spec.until is None:
            keeper.trained(state)
        scores = {split: self.evaluate_part(spec, state, split) for split in spec.splits}
        return PartResult(state, scores, seconds)

    def start_part(self, spec: PartSpec) -> TrainingState:
        """Return the state before the first update.

        It says how the first layer is updated and by whom: as the part says, else as suits its networks.
        """
        state = self._population(spec).state
        if spec.strategy:
            state.at_once, state.backend = spec.strategy
        return state

    def train_part(self, spec: PartSpec, state: TrainingState, listener: Listener) -> TrainingState:
        """Train from a state to ``spec.until``; return where that ends.

        The state that was passed is the executor's from then on.
        """
        population = self._population(spec, state)
        trainer = Trainer(population, self._engine)
        trainer.pause_seconds = listener.pause_seconds or trainer.pause_seconds
        try:
            trainer.train(spec.until, listener.progress, listener.record, listener.paused)
        except (KeyboardInterrupt, OSError, MemoryError):  # a terminal that is gone is an OSError
            if trainer.consistent:
                listener.interrupted(population.state)
            raise
        return population.state

    def evaluate_part(
        self, spec: PartSpec, state: TrainingState, split: str
    ) -> dict[str, NDArray[Any]]:
        """Return accuracy, loss and cost of each network on a whole split."""
        return self._population(spec, state).evaluate(split, self._engine)

    def strategy(self, members: Sequence[Member]) -> tuple[int, str]:
        """Return what :class:`PartSpec` calls a strategy: the one that suits a whole population."""
        with self._lock:
            return strategy(self._feed(members[0].settings.dtype), members)

    def _population(self, spec: PartSpec, state: TrainingState | None = None) -> Population:
        with self._lock:  # a feed draws other rows when a population asks for them
            return Population(self._feed(spec.settings.dtype), spec.members, state)

    def _feed(self, dtype: str) -> Feed:
        if dtype not in self._feeds:
            self._feeds[dtype] = Feed(self.dataset, dtype)
        return self._feeds[dtype]


def strategy(feed: Feed, members: Sequence[Member]) -> tuple[int, str]:
    """Return how a whole population would update its first layer, and who, without making it."""
    some = {members[0]}
    for name in SWITCHES:  # one that has it is enough for a population to have it
        some |= set([one for one in members if getattr(one.settings, name)][:1])
    few = Population(feed, list(some))
    W1 = few.state.params["W1"]
    found = few.strategy(np.broadcast_to(np.zeros((), W1.dtype), (len(members), *W1.shape[1:])))
    return found["at_once"], found["backend"]


class _Heard(Keeper):
    """Keeps the state of a part, and passes on how it goes."""

    def __init__(self, run: Run, part: PartOfPack, order: Order, reporter: Reporter) -> None:
        super().__init__(run.checkpoints, part.name)
        self.run, self.part, self.order, self.reporter = run, part, order, reporter
        self._share = len(part.spec.members) / len(order.pack.jobs)
        self._before = part.lanes.start / len(order.pack.jobs) * order.updates

    def progress(self, update: float) -> None:
        self.run.require_held()
        self.reporter.progress(self.order.pack, self._before + self._share * update)

    def record(self, state: TrainingState) -> None:
        if self._share == 1:
            self.reporter.record(self.order.pack, state)
        super().record(state)
