"""Successive halving: after each cycle the worse part of a stage is dropped from its populations.

Source: Jamieson & Talwalkar 2016, arXiv:1502.07943. The networks that are dropped free their lanes:
from then on a population costs what its survivors cost, and the survivors' numbers are what they
would have been without any pruning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.study.arms import Job, Pack, pack
from klayer.study.execute import Executor, Order, Outcome
from klayer.study.record import Key
from klayer.study.run_dir import Run
from klayer.study.training import (
    Reporter,
    Silent,
    part_of,
    splits_of,
    store,
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
    """A population at the end of a cycle: those networks of it that came there."""

    pack: Pack
    state: TrainingState
    scores: Mapping[str, NDArray[Any]]

    def take(self, jobs: Sequence[Job]) -> TrainingState:
        """Return the state of some of its networks alone: the others cost no more time."""
        lanes = {job.key: lane for lane, job in enumerate(self.pack.jobs)}
        return self.state.take([lanes[job.key] for job in jobs])

    def holds(self, jobs: Sequence[Job]) -> bool:
        return {job.key for job in jobs} <= {job.key for job in self.pack.jobs}


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
    validation = ["validation"]
    for cycle in range(1, math.ceil(cycles)):
        packs = pack(alive, f"{prefix}cycle-{cycle}-")
        _announce(reporter, dataset, packs, cycle)
        ends = [_end(dataset, one, cycle) for one in packs]
        orders = [
            _order(one, dataset, end, validation, before, until=end)
            for one, end in zip(packs, ends, strict=True)
        ]
        now, lost = list[_Rung](), set[str]()
        for outcome in executor.carry_out(run, orders, reporter):
            _spend(seconds, outcome)
            if outcome.state is not None:
                run.checkpoints.save(outcome.pack.name, outcome.state)
                now.append(_Rung(outcome.pack, outcome.state, outcome.scores["validation"]))
            for one in outcome.lost:
                run.note_lost([job.key for job in one.jobs], one.reason)
                lost |= {job.arm for job in one.jobs}
        values = {arm: value for arm, value in _values(executor, now).items() if arm not in lost}
        kept = survivors(values, keep)
        for rung in now:
            _drop(run, executor, rung, kept, seconds, reporter)
        alive, before = [job for job in alive if job.arm in kept], now
        if not alive:
            break
    packs = pack(alive, prefix)
    _announce(reporter, dataset, packs, cycles)
    splits = splits_of(dataset, test=False)
    orders = [_order(one, dataset, updates(dataset, one.settings), splits, before) for one in packs]
    for outcome in executor.carry_out(run, orders, reporter):
        _spend(seconds, outcome)
        times = [seconds[job.key] for job in outcome.pack.jobs]
        reporter.finish(outcome.pack, store(run, dataset, replace(outcome, seconds=times)))


def _order(
    one: Pack,
    dataset: Dataset,
    end: int,
    splits: Sequence[str],
    before: Sequence[_Rung],
    until: int | None = None,
) -> Order:
    """Order a population, to go on from where the last cycle left it if there is no checkpoint."""

    def begin() -> TrainingState | None:
        return next((rung.take(one.jobs) for rung in before if rung.holds(one.jobs)), None)

    members = tuple(job.member for job in one.jobs)
    return Order(one, part_of(one, dataset, until, splits), end, members, begin)


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


def _spend(seconds: dict[Key, float], outcome: Outcome) -> None:
    for job, spent in zip(outcome.pack.jobs, outcome.seconds, strict=True):
        seconds[job.key] += spent


def _values(executor: Executor, now: Sequence[_Rung]) -> dict[str, float]:
    """Return the mean score of each arm on the validation split; NaN if one of its seeds diverged."""
    seeds: dict[str, list[float]] = {}
    for rung in now:
        score = rung.scores[main_metric(executor.dataset.task)]
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
        dataset, state = executor.dataset, rung.take(dropped)
        part, splits = part_of(one, dataset), splits_of(dataset, test=False)
        scores = {split: executor.evaluate_part(part, state, split) for split in splits}
        outcome = Outcome(one, state, scores, [seconds[job.key] for job in dropped])
        reporter.finish(rung.pack, store(run, dataset, outcome, pruned=True))
