"""What a study will cost, before it runs: a few updates of each population are timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from klayer.study.arms import Job
from klayer.study.config import StudyConfig
from klayer.study.runner import updates
from klayer.study.study import plan
from klayer.train import Engine, Member, Population, Standardised

__all__ = ["Estimate", "estimate"]

# Seconds of training that are timed for each population.
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Estimate:
    """One population, or one stage of a search.

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


def estimate(config: StudyConfig, data: Standardised, workers: int | None = None) -> list[Estimate]:
    """Time a few updates of each population of a study and extrapolate.

    Parameters
    ----------
    config : StudyConfig
    data : Standardised
    workers : int, optional

    Returns
    -------
    estimates : list of Estimate
        Populations in the order of training, then the stages of the search.
    """
    with Engine(workers) as engine:
        found = [
            Estimate(one.name, len(one.jobs), length, _seconds(one.jobs, data, engine))
            for one, length in plan(config, data)
        ]
        if config.search:
            found += _search(config, data, engine)
    return found


def _search(config: StudyConfig, data: Standardised, engine: Engine) -> list[Estimate]:
    from klayer.study.search import read_search

    search, base = read_search(config)
    final = replace(base, cycles=search.finalists.cycles)
    stages = [
        (f"search, stage {number}", base, search.trials_of(number) * search.seeds_per_trial)
        for number in range(1, len(search.stages) + search.auto + 1)
    ]
    stages.append(("finalists", final, search.finalists.top * search.finalists.seeds))
    cost: dict[tuple, float] = {}
    found = []
    for name, settings, networks in stages:
        if (settings, networks) not in cost:
            one = [Job("", Member(settings, seed)) for seed in range(networks)]
            cost[settings, networks] = _seconds(one, data, engine)
        found.append(Estimate(name, networks, updates(data, settings), cost[settings, networks]))
    return found


def _seconds(jobs: Sequence[Job], data: Standardised, engine: Engine) -> float:
    if not jobs:
        return 0.0
    population = Population(data, [job.member for job in jobs], engine=engine)
    total = population.total_updates
    population.advance(1)
    update, spent = 0.0, 0.0
    while spent < SAMPLE_SECONDS and population.state.update < total:
        step = max(1, population.state.update)
        started = time.perf_counter()
        population.advance(min(total, population.state.update + step))
        took = time.perf_counter() - started
        update, spent = took / step, spent + took
    started = time.perf_counter()
    population.record()
    point = time.perf_counter() - started
    sample = 2 * population.settings.curve_samples
    final = sum(len(split) for split in data.dataset.splits.values()) / sample
    return total * update + (len(population.record_points()) + final) * point
