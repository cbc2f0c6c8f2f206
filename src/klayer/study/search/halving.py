"""Successive halving: after each cycle the worse part of a stage is dropped from its populations.

Source: Jamieson & Talwalkar 2016, arXiv:1502.07943. The networks that are dropped free their lanes:
from then on a population costs what its survivors cost, and the survivors' numbers are what they
would have been without any pruning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from klayer.data import Dataset
from klayer.study.arms import Job, Pack, pack
from klayer.study.execute import Executor
from klayer.study.record import Key
from klayer.study.run_dir import Run
from klayer.study.training import (
    Reporter,
    Silent,
    part_of,
    store,
    train_pack,
    updates,
    updates_per_epoch,
)
from klayer.train import TrainingState
from klayer.train.metrics import main_metric

__all__ = ["survivors", "train_halving"]


def survivors(values: dict[str, float], keep: float) -> list[str]:
    """Return the better part of some arms, at least one, in their order.

    Parameters
    ----------
    values : dict of str to float
        Validation accuracy by arm; NaN for one that diverged, which doesn't survive.
    keep : float, 0 to 1
        The share of the others that survives, rounded up; the earlier of two equals goes first.

    Examples
    --------
    >>> survivors({"a": 0.3, "b": 0.5, "c": float("nan"), "d": 0.4}, keep=0.5)
    ['b', 'd']
    """
    alive = [arm for arm, value in values.items() if not math.isnan(value)]
    best = sorted(alive, key=lambda arm: -values[arm])[: math.ceil(keep * len(alive))]
    return [arm for arm in alive if arm in best]


@dataclass(frozen=True)
class _Rung:
    """A population at the end of a cycle."""

    pack: Pack
    state: TrainingState

    def take(self, jobs: Sequence[Job]) -> TrainingState:
        """Return the state of some of its networks alone: the others cost no more time."""
        lanes = {job.key: lane for lane, job in enumerate(self.pack.jobs)}
        return self.state.take([lanes[job.key] for job in jobs])

    def holds(self, job: Job) -> bool:
        return any(one.key == job.key for one in self.pack.jobs)


def train_halving(
    run: Run,
    executor: Executor,
    jobs: Sequence[Job],
    *,
    keep: float,
    reporter: Reporter | None = None,
    prefix: str = "",
) -> None:
    """Train networks as :func:`klayer.study.training.train_jobs` does, dropping some after each cycle.

    All populations are brought to the end of a cycle, where the arms are ranked by their mean
    validation accuracy over the whole split, seeds together. What is dropped is appended to the run
    with the accuracies it had and the state ``pruned``. Interrupted, the ranking is made again from
    the checkpoints at the cycles' ends, which stay until the last network is stored.

    Parameters
    ----------
    run : Run
        Held open for appending.
    executor : Executor
        Open, with the run's data.
    jobs : sequence of Job
    keep : float, 0 to 1
    reporter, prefix
        As in ``train_jobs``. The test split is left alone.
    """
    reporter, dataset = reporter or Silent(), executor.dataset
    if all(run.find(job.key) for job in jobs):
        return
    alive, before = list(jobs), list[_Rung]()
    seconds = {job.key: 0.0 for job in jobs}
    cycles = jobs[0].member.settings.cycles
    for cycle in range(1, math.ceil(cycles)):
        packs = pack(alive, f"{prefix}cycle-{cycle}-")
        _announce(reporter, dataset, packs, cycle)
        now = []
        for one in packs:
            state = _state(run, one, before, reporter)
            state, spent = train_pack(
                run, executor, one, state, reporter, _end(dataset, one, cycle)
            )
            _spend(seconds, one, spent)
            run.checkpoints.save(one.name, state)
            now.append(_Rung(one, state))
        kept = survivors(_values(executor, now), keep)
        for rung in now:
            _drop(run, executor, rung, kept, seconds, reporter)
        alive, before = [job for job in alive if job.arm in kept], now
        if not alive:
            break
    packs = pack(alive, prefix)
    _announce(reporter, dataset, packs, cycles)
    for one in packs:
        start = _state(run, one, before, reporter)
        state, spent = train_pack(run, executor, one, start, reporter)
        _spend(seconds, one, spent)
        times = [seconds[job.key] for job in one.jobs]
        reporter.finish(one, store(run, executor, one, state, times, test=False))


def _announce(reporter: Reporter, dataset: Dataset, packs: Sequence[Pack], cycle: float) -> None:
    lengths = [
        updates(dataset, one.settings)
        if cycle >= one.settings.cycles
        else _end(dataset, one, int(cycle))
        for one in packs
    ]
    reporter.start(packs, lengths)


def _end(dataset: Dataset, one: Pack, cycle: int) -> int:
    """Return the update at which a cycle ends."""
    course = one.settings.course(updates_per_epoch(dataset, one.settings))
    return min(course.end(cycle), course.total)


def _spend(seconds: dict[Key, float], one: Pack, spent: float) -> None:
    for job in one.jobs:
        seconds[job.key] += spent / len(one.jobs)


def _state(
    run: Run, one: Pack, before: Sequence[_Rung], reporter: Reporter
) -> TrainingState | None:
    """Return a population's checkpoint, else where the last cycle left it; None for the start."""
    state = run.checkpoints.load(one.name, reporter.note)
    if state:
        return state
    return next((rung.take(one.jobs) for rung in before if rung.holds(one.jobs[0])), None)


def _values(executor: Executor, now: Sequence[_Rung]) -> dict[str, float]:
    """Return the mean score of each arm on the validation split; NaN if one of its seeds diverged."""
    seeds: dict[str, list[float]] = {}
    for rung in now:
        part = part_of(rung.pack, executor.dataset)
        scores = executor.evaluate_part(part, rung.state, "validation")
        score = scores[main_metric(executor.dataset.task)]
        for job, value in zip(rung.pack.jobs, score, strict=True):
            seeds.setdefault(job.arm, []).append(float(value))
    return {arm: float(np.mean(values)) for arm, values in seeds.items()}


def _drop(
    run: Run,
    executor: Executor,
    rung: _Rung,
    kept: Sequence[str],
    seconds: Mapping[Key, float],
    reporter: Reporter,
) -> None:
    """Store the networks of a population whose arms are not kept; its bar is over."""
    dropped = tuple(job for job in rung.pack.jobs if job.arm not in kept)
    if dropped:
        one = Pack(f"{rung.pack.name}-pruned", dropped)
        times = [seconds[job.key] for job in dropped]
        state = rung.take(dropped)
        records = store(run, executor, one, state, times, test=False, pruned=True)
        reporter.finish(rung.pack, records)
