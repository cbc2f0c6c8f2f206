"""What a study will cost, before it runs: a few updates of each population are timed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from klayer.data import Dataset
from klayer.study.arms import Job, Pack
from klayer.study.execute import Executor, Unheard, open_executor
from klayer.study.search.options import Search
from klayer.study.study import Study
from klayer.study.training import part_of, planned, updates
from klayer.train import Member

__all__ = ["Duration", "durations"]

# Seconds of training that are timed for each population.
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Duration:
    """How long one population, or one stage of a search, will take.

    Attributes
    ----------
    name : str
    networks : int
    updates : int
        Of each network.
    seconds : float
        Wall time, extrapolated.
    """

    name: str
    networks: int
    updates: int
    seconds: float


def durations(
    study: Study, dataset: Dataset, workers: int | None = None, executor: str = "local"
) -> list[Duration]:
    """Time a few updates of each population of a study and extrapolate.

    Parameters
    ----------
    study : Study
    dataset : Dataset
    workers : int, optional
        Threads; by default all cores.
    executor : str
        A row of :data:`klayer.study.execute.EXECUTORS`.

    Returns
    -------
    durations : list of Duration
        Populations in the order of training, then the stages of the search.
    """
    with open_executor(executor, dataset, workers) as engine:
        found = [
            Duration(one.name, len(one.jobs), length, _seconds(one, engine))
            for one, length in planned(study.jobs, dataset)
        ]
        if study.search:
            found += _search(study.search, engine)
    return found


def _search(search: Search, executor: Executor) -> list[Duration]:
    final = replace(search.base, cycles=search.finalists.cycles)
    stages = [
        (f"search, stage {number}", search.base, search.trials_of(number) * search.seeds)
        for number in range(1, search.n_stages + 1)
    ]
    stages.append(("finalists", final, search.finalists.top * search.finalists.seeds))
    cost = {}
    found = []
    for name, settings, networks in stages:
        if (settings, networks) not in cost:
            jobs = tuple(Job("", Member(settings, seed)) for seed in range(networks))
            cost[settings, networks] = _seconds(Pack(name, jobs), executor) if jobs else 0.0
        length = updates(executor.dataset, settings)
        found.append(Duration(name, networks, length, cost[settings, networks]))
    return found


def _seconds(one: Pack, executor: Executor) -> float:
    dataset, settings = executor.dataset, one.settings
    total = updates(dataset, settings)
    state = executor.start_part(part_of(one, dataset))
    per_update, spent, until = 0.0, 0.0, 1
    while not state.update or (spent < SAMPLE_SECONDS and state.update < total):
        part, before = part_of(one, dataset, min(until, total)), state.update
        started = time.perf_counter()
        state = executor.train_part(part, state, Unheard())
        took = time.perf_counter() - started
        if before:  # the first call prepares, and records a point
            per_update, spent = took / max(1, state.update - before), spent + took
        until = 2 * max(until, state.update)
    started = time.perf_counter()
    executor.evaluate_part(part_of(one, dataset), state, "train")
    per_sample = (time.perf_counter() - started) / len(dataset.splits["train"])
    sizes = [len(split) for split in dataset.splits.values()]
    curves = [
        min(len(split), settings.curve_samples)
        for name, split in dataset.splits.items()
        if name != "test"
    ]
    points = max(1, round(settings.cycles * settings.points_per_cycle)) + 1
    return total * per_update + (points * sum(curves) + sum(sizes)) * per_sample
