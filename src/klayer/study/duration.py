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
from klayer.train import Member, Settings

__all__ = ["Duration", "durations"]

# Seconds of training that are timed, of all populations together and of each at the least.
SAMPLE_SECONDS, LEAST_SECONDS = 0.8, 0.03
# Calls of a few updates, of which the fastest counts: what else runs on the machine only slows down.
LEAST_CALLS = 3
# An update costs about so many times what it costs to look at its rows: forward, back twice as much.
UPDATE_TO_LOOK = 3.0


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
        parts = [(one.name, one, length) for one, length in planned(study.jobs, dataset)]
        if study.search:
            parts += _search(study.search, engine)
        costs = {key: 0.0 for _, one, _ in parts if (key := _key(one))}
        share = max(LEAST_SECONDS, SAMPLE_SECONDS / max(1, len(costs)))
        for _, one, _ in parts:
            if one.jobs and not costs[_key(one)]:
                costs[_key(one)] = _seconds(one, engine, share)
    return [Duration(name, len(one.jobs), length, costs[_key(one)]) for name, one, length in parts]


def _key(one: Pack) -> tuple[Settings | None, int]:
    """Return what the time of a population follows from: the same key, the same time."""
    return (one.settings.shared if one.jobs else None), len(one.jobs)


def _search(search: Search, executor: Executor) -> list[tuple[str, Pack, int]]:
    """Return the stages of a search and its finalists as populations, with their updates."""
    final = replace(search.base, cycles=search.finalists.cycles)
    stages = [
        (f"search, stage {number}", search.base, search.trials_of(number) * search.seeds)
        for number in range(1, search.n_stages + 1)
    ]
    stages.append(("finalists", final, search.finalists.top * search.finalists.seeds))
    return [
        (
            name,
            Pack(name, tuple(Job("", Member(settings, seed)) for seed in range(networks))),
            updates(executor.dataset, settings),
        )
        for name, settings, networks in stages
    ]


def _seconds(one: Pack, executor: Executor, share: float) -> float:
    """Time a few updates, and extrapolate; the first call doesn't count: it prepares and compiles."""
    dataset, settings = executor.dataset, one.settings
    total, timed = updates(dataset, settings), _brief(one)
    part = part_of(timed, dataset, 1)
    began = time.perf_counter()
    state = executor.train_part(part, executor.start_part(part), Unheard())
    per_update = first = time.perf_counter() - began
    spent, calls, step = 0.0, 0, 1
    while state.update < total and (spent < share or calls < LEAST_CALLS):
        before = state.update
        part = part_of(timed, dataset, min(before + step, total))
        started = time.perf_counter()
        state = executor.train_part(part, state, Unheard())
        took = time.perf_counter() - started
        fastest = min(per_update, took / max(1, state.update - before))
        per_update = fastest if calls else took / max(1, state.update - before)
        spent, calls, step = spent + took, calls + 1, 2 * step
    if not calls:
        return first
    sizes = [len(split) for split in dataset.splits.values()]
    curves = sum(
        min(len(split), settings.curve_samples)
        for name, split in dataset.splits.items()
        if name != "test"
    )
    points = max(1, round(settings.cycles * settings.points_per_cycle)) + 1
    looked_at = (points * curves + sum(sizes)) / settings.batch_size
    return per_update * (total + looked_at / UPDATE_TO_LOOK)


def _brief(one: Pack) -> Pack:
    """Return the same population with next to no points of its curves, which would take the time."""
    jobs = tuple(
        Job(
            job.arm,
            Member(replace(job.member.settings, curve_samples=1), job.member.seed),
            job.part,
        )
        for job in one.jobs
    )
    return Pack(one.name, jobs)
