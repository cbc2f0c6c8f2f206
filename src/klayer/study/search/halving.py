"""Successive halving: after each cycle the worse part of a stage is dropped from its populations.

Source: Jamieson & Talwalkar 2016, arXiv:1502.07943. The networks that are dropped free their lanes:
from then on a population costs what its survivors cost, and the survivors' numbers are what they
would have been without any pruning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from klayer.study.arms import Job, Pack, pack
from klayer.study.run import Run, record_key
from klayer.study.runner import Reporter, Silent, advance, network_records, updates
from klayer.train import Engine, Population, Standardised, TrainingState

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


class _Lanes:
    """A population under way and the jobs of its lanes."""

    def __init__(self, one: Pack, population: Population) -> None:
        self.pack, self.population = one, population
        self.lanes = {job.key: lane for lane, job in enumerate(one.jobs)}

    def take(self, jobs: Sequence[Job]) -> Population:
        return self.population.take([self.lanes[job.key] for job in jobs])


def train_halving(
    run: Run,
    data: Standardised,
    jobs: Sequence[Job],
    *,
    keep: float,
    workers: int | None = None,
    reporter: Reporter | None = None,
    prefix: str = "",
) -> None:
    """Train networks as :func:`klayer.study.train_jobs` does, and drop the worse after each cycle.

    All populations are brought to the end of a cycle, where the arms are ranked by their mean
    validation accuracy over the whole split, seeds together. What is dropped is appended to the run
    with the accuracies it had and the state ``pruned``. Interrupted, the ranking is made again from
    the checkpoints at the cycles' ends, which stay until the last network is stored.

    Parameters
    ----------
    run : Run
        Held open for appending.
    data : Standardised
    jobs : sequence of Job
    keep : float, 0 to 1
    workers, reporter, prefix
        As in :func:`klayer.study.train_jobs`. The test split is left alone.
    """
    reporter = reporter or Silent()
    done = {record_key(record) for record in run.networks}
    if all(job.key in done for job in jobs):
        return
    alive, before = list(jobs), []
    seconds = {job.key: 0.0 for job in jobs}
    cycles = jobs[0].member.settings.cycles
    with Engine(workers) as engine:
        for cycle in range(1, math.ceil(cycles)):
            packs = pack(alive, f"{prefix}cycle-{cycle}-")
            _announce(reporter, data, packs, cycle)
            now = []
            for one in packs:
                population = _population(run, data, one, engine, before)
                until = min(2 * cycle * population.half_cycle, population.total_updates)
                _spend(seconds, one, advance(run, one, population, reporter, until))
                population.state.save(run.checkpoint(one.name))
                now.append(_Lanes(one, population))
            kept = survivors(_values(now), keep)
            for lanes in now:
                _drop(run, lanes, kept, seconds, reporter)
            alive, before = [job for job in alive if job.arm in kept], now
            if not alive:
                break
        packs = pack(alive, prefix)
        _announce(reporter, data, packs, cycles)
        for one in packs:
            population = _population(run, data, one, engine, before)
            _spend(seconds, one, advance(run, one, population, reporter))
            _store(run, one, population, seconds, reporter)


def _announce(reporter: Reporter, data: Standardised, packs: list[Pack], cycle: float) -> None:
    settings = [one.jobs[0].member.settings for one in packs]
    share = [min(1, cycle / one.cycles) for one in settings]
    reporter.start(
        packs, [round(updates(data, one) * part) for one, part in zip(settings, share, strict=True)]
    )


def _spend(seconds: dict, one: Pack, spent: float) -> None:
    for job in one.jobs:
        seconds[job.key] += spent / len(one.jobs)


def _population(
    run: Run, data: Standardised, one: Pack, engine: Engine, before: list[_Lanes]
) -> Population:
    """Return a population at its checkpoint, else at the last cycle's end, else at the start."""
    checkpoint = run.checkpoint(one.name)
    if checkpoint.exists():
        state = TrainingState.load(checkpoint)
        return Population(data, [job.member for job in one.jobs], state, engine)
    for lanes in before:
        if one.jobs[0].key in lanes.lanes:
            return lanes.take(one.jobs)
    return Population(data, [job.member for job in one.jobs], None, engine)


def _values(now: list[_Lanes]) -> dict[str, float]:
    """Return the mean validation accuracy of each arm; NaN if one of its seeds diverged."""
    seeds: dict[str, list[float]] = {}
    for lanes in now:
        accuracy = lanes.population.evaluate("validation")["accuracy"]
        for job, value in zip(lanes.pack.jobs, accuracy, strict=True):
            seeds.setdefault(job.arm, []).append(float(value))
    return {arm: float(np.mean(values)) for arm, values in seeds.items()}


def _drop(run: Run, lanes: _Lanes, kept: Sequence[str], seconds: dict, reporter: Reporter) -> None:
    dropped = tuple(job for job in lanes.pack.jobs if job.arm not in kept)
    if dropped:
        one = Pack(f"{lanes.pack.name}-pruned", dropped)
        _store(run, one, lanes.take(dropped), seconds, reporter, lanes.pack)


def _store(
    run: Run,
    one: Pack,
    population: Population,
    seconds: dict,
    reporter: Reporter,
    shown: Pack | None = None,
) -> None:
    """Append a population's networks to the run, with their weights."""
    spent = [seconds[job.key] for job in one.jobs]
    records = network_records(one, population, False, spent, pruned=shown is not None)
    run.save_population(one.name, population)
    run.append(records)
    reporter.finish(shown or one, records)
