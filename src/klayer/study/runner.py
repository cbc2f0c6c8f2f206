"""Train jobs into a run directory: what `klayer train`, `study` and `search` all do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from klayer.study.arms import Job, Pack, pack
from klayer.study.run import Run, record_key
from klayer.train import Engine, Member, Population, Settings, Standardised, TrainingState
from klayer.train.state import CURVES

__all__ = ["Reporter", "Silent", "advance", "network_records", "train_jobs", "updates"]

# Seconds between two checkpoints of a population under way: what a kill costs at the most, give or
# take the time between two recorded points.
CHECKPOINT_SECONDS = 10.0
# A network whose training accuracy is within this of the largest class's share never left chance.
CHANCE_MARGIN = 0.02


class Reporter(Protocol):
    """Hears how training goes; the command draws a progress bar from it."""

    def start(self, packs: Sequence[Pack], updates: Sequence[int]) -> None:
        """Populations to be trained, with the number of updates of each."""

    def progress(self, pack: Pack, update: float) -> None:
        """A population has done so many updates."""

    def record(self, pack: Pack, state: TrainingState) -> None:
        """A population has recorded a point of its curves."""

    def finish(self, pack: Pack, records: list[dict]) -> None:
        """A population is finished and stored."""


class Silent:
    """A reporter that says nothing."""

    def start(self, packs: Sequence[Pack], updates: Sequence[int]) -> None: ...

    def progress(self, pack: Pack, update: float) -> None: ...

    def record(self, pack: Pack, state: TrainingState) -> None: ...

    def finish(self, pack: Pack, records: list[dict]) -> None: ...


def train_jobs(
    run: Run,
    data: Standardised,
    jobs: Iterable[Job],
    *,
    workers: int | None = None,
    reporter: Reporter | None = None,
    prefix: str = "",
    test: bool = True,
) -> list[dict]:
    """Train networks, population by population, and append each to the run when it is finished.

    Networks that the run already holds are not trained again; a population that was interrupted goes
    on from its checkpoint, to the same bits as if nothing had happened.

    Parameters
    ----------
    run : Run
        Held open for appending (``with run:``).
    data : Standardised
    jobs : iterable of Job
    workers : int, optional
        Threads; by default all cores.
    reporter : Reporter, optional
    prefix : str
        Of the populations' names.
    test : bool
        Whether to evaluate the test split. A search leaves it alone until the end.

    Returns
    -------
    records : list of dict
        The jobs' networks, in the order of ``jobs``.
    """
    jobs, reporter = list(jobs), reporter or Silent()
    done = {record_key(record) for record in run.networks}
    packs = [one for one in pack(jobs, prefix) if not all(job.key in done for job in one.jobs)]
    reporter.start(packs, [updates(data, one.jobs[0].member.settings) for one in packs])
    with Engine(workers) as engine:
        for one in packs:
            records = _train(run, one, _population(run, data, one, engine), reporter, test)
            reporter.finish(one, records)
    found = {record_key(record): record for record in run.networks}
    return [found[job.key] for job in jobs]


def updates(data: Standardised, settings: Settings) -> int:
    """Return how many updates these settings train for on these data."""
    return settings.total_updates(settings.batches(len(data.dataset.splits["train"])).per_epoch)


def _population(run: Run, data: Standardised, one: Pack, engine: Engine) -> Population:
    checkpoint = run.checkpoint(one.name)
    state = TrainingState.load(checkpoint) if checkpoint.exists() else None
    members: list[Member] = [job.member for job in one.jobs]
    return Population(data, members, state, engine)


def _train(
    run: Run, one: Pack, population: Population, reporter: Reporter, test: bool
) -> list[dict]:
    seconds = advance(run, one, population, reporter)
    records = network_records(one, population, test, [seconds / len(one.jobs)] * len(one.jobs))
    run.save_population(one.name, population)
    run.append(records)
    run.checkpoint(one.name).unlink(missing_ok=True)
    return records


def advance(
    run: Run, one: Pack, population: Population, reporter: Reporter, until: int | None = None
) -> float:
    """Train a population, by default to its end, with checkpoints; return the seconds it took."""
    checkpoint = run.checkpoint(one.name)
    started = saved = time.monotonic()

    def on_record(state: TrainingState) -> None:
        nonlocal saved
        reporter.record(one, state)
        if time.monotonic() - saved >= CHECKPOINT_SECONDS:
            state.save(checkpoint)
            saved = time.monotonic()

    try:
        population.train(
            until, on_progress=lambda t: reporter.progress(one, t), on_record=on_record
        )
    except KeyboardInterrupt:
        if population.consistent:
            population.state.save(checkpoint)
        raise
    return time.monotonic() - started


def network_records(
    one: Pack, population: Population, test: bool, seconds: Sequence[float], pruned: bool = False
) -> list[dict]:
    """Evaluate a population and return a record for each network, ready to be appended to a run.

    Parameters
    ----------
    one : Pack
    population : Population
        Its networks are those of ``one.jobs``, in that order.
    test : bool
        Whether to evaluate the test split.
    seconds : sequence of float
        What each network cost.
    pruned : bool
        Whether training ends here because others were better.
    """
    splits = ("train", "validation", "test") if test else ("train", "validation")
    final = {split: population.evaluate(split) for split in splits}
    labels = population.data["train"][1]
    chance = np.bincount(labels).max() / len(labels) + CHANCE_MARGIN
    state, records = population.state, []
    rates = np.array([population.learning_rates(t) for t in state.recorded]).T
    for p, job in enumerate(one.jobs):
        failure = state.failures[p]
        accuracy = final["train"]["accuracy"][p]
        learned = "pruned" if pruned else "trained" if accuracy > chance else "at chance"
        records.append(
            {
                "part": job.part,
                "arm": job.arm,
                "seed": job.member.seed,
                "state": learned if failure is None else "diverged",
                "failure": failure and str(failure),
                **{
                    f"{split}_{name}": values[name][p]
                    for split, values in final.items()
                    for name in ("accuracy", "loss", "cost")
                },
                "settings": job.member.settings.as_dict(),
                "population": one.name,
                "lane": p,
                "seconds": seconds[p],
                "history": {
                    "update": state.recorded,
                    "epoch": [t / population.updates_per_epoch for t in state.recorded],
                    "lr": rates[p],
                    **{curve: state.history[curve][p] for curve in CURVES},
                },
            }
        )
    return records
