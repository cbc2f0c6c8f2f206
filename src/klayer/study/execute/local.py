"""Threads of this process: a pool that all parts share, each product on one thread."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.study.execute.part import Listener, PartSpec
from klayer.train import Engine, Population, Standardised, TrainingState

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
        self._standardised: dict[str, Standardised] = {}

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

    def train_part(
        self, spec: PartSpec, state: TrainingState | None, listener: Listener
    ) -> TrainingState:
        """Train from a state to ``spec.until``; see :class:`klayer.study.execute.Executor`."""
        population = self._population(spec, state)
        try:
            population.train(spec.until, on_progress=listener.progress, on_record=listener.record)
        except KeyboardInterrupt:
            if population.consistent:
                listener.interrupted(population.state)
            raise
        return population.state

    def evaluate_part(
        self, spec: PartSpec, state: TrainingState, split: str
    ) -> dict[str, NDArray[np.float64]]:
        """Return accuracy, loss and cost of each network on a whole split."""
        return self._population(spec, state).evaluate(split)

    def _population(self, spec: PartSpec, state: TrainingState | None) -> Population:
        dtype = spec.settings.dtype
        if dtype not in self._standardised:
            self._standardised[dtype] = Standardised(self.dataset, np.dtype(dtype))
        return Population(self._standardised[dtype], spec.members, state, self._engine)
