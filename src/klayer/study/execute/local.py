"""Threads of this process: a pool that all parts share, each product on one thread."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.study.execute.part import Listener, PartSpec
from klayer.train import Engine, Feed, Population, Trainer, TrainingState

__all__ = ["Local"]


class Local:
    """Trains parts on the threads of this process.

    Parameters
    ----------
    dataset : Dataset
    workers : int, >= 1, optional
        Threads; by default the cores that this process may use.
    """

    def __init__(self, dataset: Dataset, workers: int | None = None) -> None:
        self.dataset = dataset
        self._engine = Engine(workers)
        self._feeds: dict[str, Feed] = {}

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

    def start_part(self, spec: PartSpec) -> TrainingState:
        """Return the state before the first update; see :class:`klayer.study.execute.Executor`."""
        return self._population(spec).state

    def train_part(self, spec: PartSpec, state: TrainingState, listener: Listener) -> TrainingState:
        """Train from a state to ``spec.until``; see :class:`klayer.study.execute.Executor`."""
        population = self._population(spec, state)
        trainer = Trainer(population, self._engine)
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

    def _population(self, spec: PartSpec, state: TrainingState | None = None) -> Population:
        dtype = spec.settings.dtype
        if dtype not in self._feeds:
            self._feeds[dtype] = Feed(self.dataset, dtype)
        return Population(self._feeds[dtype], spec.members, state)
