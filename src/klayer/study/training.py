"""Train jobs into a run directory: what `klayer train`, `study` and `search` all do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.study.arms import Job, Pack, pack
from klayer.study.chance import constant_score, least_balanced, least_learnt
from klayer.study.execute import Executor, Order, Outcome, Reporter, Silent, part_of
from klayer.study.record import NetworkRecord, Score, numbers
from klayer.study.run_dir import Run
from klayer.study.weights import snapshot_name
from klayer.train import Settings, TrainingState
from klayer.train.metrics import main_metric
from klayer.train.schedules import learning_rates

__all__ = [
    "Reporter",
    "Silent",
    "orders_of",
    "part_of",
    "planned",
    "splits_of",
    "store",
    "train_jobs",
    "updates",
    "updates_per_epoch",
]


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
    orders = orders_of(run, jobs, executor.dataset, prefix, test=test)
    reporter.start([one.pack for one in orders], [one.updates for one in orders])
    for order, outcome in zip(orders, executor.carry_out(run, orders, reporter), strict=True):
        records = store(run, executor.dataset, outcome)
        run.checkpoints.forget(order.pack.name)
        reporter.finish(order.pack, records)
    return [record for job in jobs if (record := run.find(job.key))]


def orders_of(
    run: Run, jobs: Iterable[Job], dataset: Dataset, prefix: str = "", *, test: bool = True
) -> list[Order]:
    """Return what has to be trained of some jobs: populations of which the run doesn't hold all.

    If some lines are torn, the whole population is trained again into its file; if some networks were
    lost, they alone.
    """
    orders = []
    for whole, length in planned(jobs, dataset, prefix):
        have = [record for job in whole.jobs if (record := run.find(job.key))]
        if len(have) == len(whole.jobs):
            continue
        rest = whole
        if any(record.population != whole.name for record in have):  # the others were lost
            rest = whole.of([job for job in whole.jobs if not run.find(job.key)])
        spec = part_of(rest, dataset, splits=splits_of(dataset, test=test))
        members = tuple(job.member for job in whole.jobs)
        orders.append(Order(rest, spec, length, members))
    return orders


def splits_of(dataset: Dataset, *, test: bool) -> list[str]:
    """Return the splits that networks are evaluated on in the end; ``test`` only if that is wanted."""
    return [split for split in dataset.splits if test or split != "test"]


def planned(jobs: Iterable[Job], dataset: Dataset, prefix: str = "") -> list[tuple[Pack, int]]:
    """Return the populations of some networks, each with its number of updates."""
    return [(one, updates(dataset, one.settings)) for one in pack(jobs, prefix)]


def updates_per_epoch(dataset: Dataset, settings: Settings) -> int:
    """Return how many mini-batches these settings make of the training split."""
    return settings.batches(len(dataset.splits["train"])).per_epoch


def updates(dataset: Dataset, settings: Settings) -> int:
    """Return how many updates these settings train for on these data."""
    return settings.total_updates(updates_per_epoch(dataset, settings))


def store(
    run: Run, dataset: Dataset, outcome: Outcome, *, pruned: bool = False
) -> list[NetworkRecord]:
    """Append the networks of a population to the run, with their weights.

    Parameters
    ----------
    run : Run
    dataset : Dataset
    outcome : Outcome
        With their scores. What was lost is noted in the run.
    pruned : bool
        Whether training ends here because others were better.
    """
    for lost in outcome.lost:
        run.note_lost([job.key for job in lost.jobs], lost.reason)
    one, state = outcome.pack, outcome.state
    if state is None:
        return []
    records = _records(one, state, dataset, outcome.scores, outcome.seconds, pruned)
    network = one.settings.network(dataset.n_features, dataset.n_classes, dataset.task)
    seeds = [job.member.seed for job in one.jobs]
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
