"""Train jobs into a run directory: what `klayer train`, `study` and `search` all do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.study.arms import Job, Pack, pack
from klayer.study.chance import constant_score, least_balanced, least_learnt
from klayer.study.execute import Executor, PartSpec
from klayer.study.record import NetworkRecord, Score, numbers
from klayer.study.run_dir import Run
from klayer.study.weights import snapshot_name
from klayer.train import Settings, TrainingState
from klayer.train.metrics import main_metric
from klayer.train.schedules import learning_rates

__all__ = [
    "Reporter",
    "Silent",
    "part_of",
    "planned",
    "store",
    "train_jobs",
    "train_pack",
    "updates",
    "updates_per_epoch",
]

# Seconds after which a population under way is kept again, at its next pause; pauses are some 2 seconds
# apart, so that a kill costs 10 seconds at the most.
CHECKPOINT_SECONDS = 6.0


class Reporter(Protocol):
    """Hears how training goes; the command draws a progress bar from it."""

    def note(self, text: str) -> None:
        """Something that the user should know: of the data, of a damaged run, of a setting."""

    def phase(self, what: str) -> None:
        """Something begins whose end can't be foreseen."""

    def start(self, packs: Sequence[Pack], updates: Sequence[int]) -> None:
        """Populations to be trained, with the number of updates of each."""

    def progress(self, pack: Pack, update: float) -> None:
        """A population has done so many updates."""

    def record(self, pack: Pack, state: TrainingState) -> None:
        """A population has recorded a point of its curves."""

    def finish(self, pack: Pack, records: list[NetworkRecord]) -> None:
        """A population is finished and stored."""


class Silent:
    """A reporter that says nothing."""

    def note(self, text: str) -> None: ...

    def phase(self, what: str) -> None: ...

    def start(self, packs: Sequence[Pack], updates: Sequence[int]) -> None: ...

    def progress(self, pack: Pack, update: float) -> None: ...

    def record(self, pack: Pack, state: TrainingState) -> None: ...

    def finish(self, pack: Pack, records: list[NetworkRecord]) -> None: ...


def train_jobs(
    run: Run,
    executor: Executor,
    jobs: Iterable[Job],
    *,
    reporter: Reporter | None = None,
    prefix: str = "",
    test: bool = True,
) -> list[NetworkRecord]:
    """Train networks, population by population, and append each to the run when it is finished.

    Networks that the run already holds are not trained again; a population that was interrupted goes
    on from its checkpoint, to the same bits as if nothing had happened.

    Parameters
    ----------
    run : Run
        Held open for appending (``with run:``).
    executor : Executor
        Open, with the run's data.
    jobs : iterable of Job
    reporter : Reporter, optional
    prefix : str
        Of the populations' names.
    test : bool
        Whether to evaluate the test split. A search leaves it alone until the end.

    Returns
    -------
    records : list of NetworkRecord
        The jobs' networks, in the order of ``jobs``.
    """
    jobs, reporter = list(jobs), reporter or Silent()
    packs = [
        (one, length)
        for one, length in planned(jobs, executor.dataset, prefix)
        if not all(run.find(job.key) for job in one.jobs)
    ]
    reporter.start([one for one, _ in packs], [length for _, length in packs])
    for one, _ in packs:
        state = run.checkpoints.load(one.name, reporter.note)
        state, seconds = train_pack(run, executor, one, state, reporter)
        spent = [seconds / len(one.jobs)] * len(one.jobs)
        records = store(run, executor, one, state, spent, test=test)
        run.checkpoints.forget(one.name)
        reporter.finish(one, records)
    return [record for job in jobs if (record := run.find(job.key))]


def planned(jobs: Iterable[Job], dataset: Dataset, prefix: str = "") -> list[tuple[Pack, int]]:
    """Return the populations of some networks, each with its number of updates."""
    return [(one, updates(dataset, one.settings)) for one in pack(jobs, prefix)]


def updates_per_epoch(dataset: Dataset, settings: Settings) -> int:
    """Return how many mini-batches these settings make of the training split."""
    return settings.batches(len(dataset.splits["train"])).per_epoch


def updates(dataset: Dataset, settings: Settings) -> int:
    """Return how many updates these settings train for on these data."""
    return settings.total_updates(updates_per_epoch(dataset, settings))


def part_of(one: Pack, dataset: Dataset, until: int | None = None) -> PartSpec:
    """Return what an executor has to know of a population."""
    return PartSpec(tuple(job.member for job in one.jobs), dataset.name, until)


class _Watch:
    """Hears of one population: passes it on to the reporter, and keeps its state."""

    def __init__(self, run: Run, one: Pack, reporter: Reporter) -> None:
        self.run, self.pack, self.reporter = run, one, reporter
        self.saved = time.monotonic()

    def progress(self, update: float) -> None:
        self.reporter.progress(self.pack, update)

    def record(self, state: TrainingState) -> None:
        self.reporter.record(self.pack, state)
        self.paused(state)

    def paused(self, state: TrainingState) -> None:
        self.keep(state, CHECKPOINT_SECONDS)

    def keep(self, state: TrainingState, seconds: float) -> None:
        """Keep a state, unless one was kept in so many seconds."""
        if time.monotonic() - self.saved >= seconds:
            self.interrupted(state)
            self.saved = time.monotonic()

    def interrupted(self, state: TrainingState) -> None:
        self.run.checkpoints.save(self.pack.name, state)


def train_pack(
    run: Run,
    executor: Executor,
    one: Pack,
    state: TrainingState | None,
    reporter: Reporter,
    until: int | None = None,
) -> tuple[TrainingState, float]:
    """Train a population, by default to its end, with checkpoints; return its state and the seconds."""
    started = time.monotonic()
    part = part_of(one, executor.dataset, until)
    state = state or executor.start_part(part)
    watch = _Watch(run, one, reporter)
    state = executor.train_part(part, state, watch)
    if until is None:  # its evaluation may take a while
        watch.keep(state, CHECKPOINT_SECONDS / 3)
    return state, time.monotonic() - started


def store(
    run: Run,
    executor: Executor,
    one: Pack,
    state: TrainingState,
    seconds: Sequence[float],
    *,
    test: bool,
    pruned: bool = False,
) -> list[NetworkRecord]:
    """Evaluate a population and append its networks to the run, with their weights.

    Parameters
    ----------
    run : Run
    executor : Executor
    one : Pack
    state : TrainingState
        Its networks are those of ``one.jobs``, in that order.
    seconds : sequence of float
        What each network cost.
    test : bool
        Whether to evaluate the test split.
    pruned : bool
        Whether training ends here because others were better.
    """
    dataset = executor.dataset
    part = part_of(one, dataset)
    splits = [split for split in dataset.splits if test or split != "test"]
    scores = {split: executor.evaluate_part(part, state, split) for split in splits}
    records = _records(one, state, dataset, scores, seconds, pruned)
    network = one.settings.network(dataset.n_features, dataset.n_classes, dataset.task)
    seeds = [member.seed for member in part.members]
    run.save_weights(one.name, network, state, seeds)
    for name, kept in state.copies.items():
        if name.startswith("cycle "):
            params, running = (
                {key: kept[key] for key in group} for group in (state.params, state.running)
            )
            then = TrainingState(params, running)
            run.save_weights(snapshot_name(one.name, int(name[6:])), network, then, seeds)
    run.append([record for record in records if not run.find(record.key)])
    return [run.find(record.key) or record for record in records]


def _records(
    one: Pack,
    state: TrainingState,
    dataset: Dataset,
    scores: Mapping[str, Mapping[str, NDArray[Any]]],
    seconds: Sequence[float],
    pruned: bool,
) -> list[NetworkRecord]:
    guessed, score_name = constant_score(dataset), main_metric(dataset.task)
    rows = len(dataset.splits["train"])
    per_epoch = updates_per_epoch(dataset, one.settings)
    records = []
    for p, job in enumerate(one.jobs):
        stopped_at, best_at = _end_of(state, p)
        points = sum(t <= stopped_at for t in state.recorded) if stopped_at else len(state.recorded)
        recorded = state.recorded[:points]
        failure = state.failures[p] or _not_finite(scores, score_name, p)
        first = state.history[f"train_{score_name}"][p][0] if state.recorded[0] == 0 else None
        least = least_learnt(guessed, rows, first, dataset.task)
        learnt = scores["train"][score_name][p] > least or _learnt_evenly(
            one.settings, state, dataset, scores["train"], p
        )
        learned = "trained" if learnt else "at chance"
        score = {
            split: Score(
                **dict(zip(values, numbers(values[name][p] for name in values), strict=True))
            )
            for split, values in scores.items()
        }
        history: dict[str, list[Any]] = {
            "update": [int(t) for t in recorded],
            "epoch": [t / per_epoch for t in recorded],
            "lr": numbers(_learning_rate(job.member.settings, t, per_epoch) for t in recorded),
            **{curve: numbers(values[p, :points]) for curve, values in state.history.items()},
        }
        records.append(
            NetworkRecord(
                part=job.part,
                arm=job.arm,
                seed=int(job.member.seed),
                state="diverged" if failure else "pruned" if pruned else learned,
                failure=str(failure) if failure else None,
                scores=score,
                settings=job.member.settings,
                population=one.name,
                lane=p,
                at_once=state.at_once,
                seconds=float(seconds[p]),
                history=history,
                backend=state.backend,
                stopped_at=stopped_at,
                best_at=best_at,
                temperature=None if state.temperatures is None else float(state.temperatures[p]),
            )
        )
    return records


def _learnt_evenly(
    settings: Settings,
    state: TrainingState,
    dataset: Dataset,
    scores: Mapping[str, NDArray[Any]],
    p: int,
) -> bool:
    """Whether a network with weighted classes got better, and tells its classes apart."""
    if settings.class_weights == "none" or dataset.task != "classification":
        return False
    losses = state.history["train_loss"][p]
    better = (losses[1:] < losses[0]).any()
    return bool(better and scores["balanced_accuracy"][p] > least_balanced(dataset))


def _end_of(state: TrainingState, p: int) -> tuple[int | None, int | None]:
    """Return where a network stopped early, and where its best weights come from."""
    if "stopped" not in state.marks:
        return None, None
    stopped, best = int(state.marks["stopped"][p]), int(state.marks["best_update"][p])
    return (stopped if stopped >= 0 else None), best


def _not_finite(scores: Mapping[str, Mapping[str, NDArray[Any]]], name: str, p: int) -> str | None:
    """Say on which split a network's outputs are not finite; None where all are."""
    wrong = [split for split, values in scores.items() if np.isnan(values[name][p])]
    return f"outputs on the {' and '.join(wrong)} split are not finite" if wrong else None


def _learning_rate(settings: Settings, t: int, per_epoch: int) -> float:
    low, high = settings.lr_min, settings.lr_max
    course = settings.course(per_epoch)
    return float(learning_rates(settings.schedule, t, low, high, course, settings.peak_decay))
