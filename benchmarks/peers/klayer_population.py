"""klayer: a population, one network or many, on the engine's worker threads; each backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.data import Dataset, Split
from klayer.train import Engine, Feed, Member, Population, Trainer
from peers.task import Task, settings_of


class AsTheyAre:
    """Stands for the standardisation of features that are standardised already."""

    def transform(self, features: NDArray, dtype=np.float32) -> NDArray:
        """Return the features as they are."""
        return features.astype(dtype, copy=False)

    def beyond(self, features: NDArray, dtype: DTypeLike) -> None:  # noqa: ARG002
        """None of them is too far away to be calculated with."""
        return


class Standard(Dataset):
    """A data set whose features are standardised already."""

    standardiser = AsTheyAre()


class Peer:
    """Trains through ``Population``, updates only: curves are not recorded."""

    backend = "numpy"

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:
        few = Split(X[:100], labels[:100])
        dataset = Standard(
            "benchmark",
            {"train": Split(X, labels), "validation": few, "test": few},
            [f"class {k}" for k in range(task.widths[-1])],
        )
        members = [
            Member(replace(settings_of(task, p), backend=self.backend), seed=p)
            for p in range(task.networks)
        ]
        self.population = Population(Feed(dataset), members)
        self.stride = self.population.state.at_once  # it stops on this grid
        for key, value in task.params.items():
            self.population.state.params[key][...] = value
        self.engine = Engine(threads).__enter__()
        self.trainer = Trainer(self.population, self.engine)

    def train(self, start: int, stop: int) -> None:
        # Trainer.train would stop to evaluate at the recorded points: go one level below.
        assert self.population.state.update == start
        self.trainer.advance(stop)

    def weights(self) -> dict[str, NDArray]:
        return self.population.state.params

    def close(self) -> None:
        """Give the threads back, where the process goes on."""
        self.engine.__exit__()


class Compiled(Peer):
    """The same with the compiled kernel."""

    backend = "compiled"
