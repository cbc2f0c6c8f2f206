"""Run a search: stages of trials, each in lockstep, then the finalists and the test split."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from klayer.data import load
from klayer.data.dataset import Dataset
from klayer.errors import KlayerError
from klayer.study.config import StudyConfig
from klayer.study.run import Run, write_json
from klayer.study.runner import Reporter, train_jobs
from klayer.study.search.auto import next_space
from klayer.study.search.config import SearchConfig, read_search
from klayer.study.search.draw import draw
from klayer.study.search.halving import train_halving
from klayer.study.search.plan import Finalist, Plan, StagePlan, Trial
from klayer.study.search.storage import Mirror, hide_password, reach
from klayer.study.search.tables import trial_table, write_tables
from klayer.study.study import open_run, resumable
from klayer.study.summary import summarise
from klayer.train import Settings, Standardised

__all__ = ["Watcher", "resume_search", "run_search", "search"]


class Watcher(Protocol):
    """Hears of a search's stages; the command prints them."""

    def stage_begins(self, stage: StagePlan) -> None:
        """A stage is planned, with its reason."""

    def stage_ends(self, stage: StagePlan, rows: list[dict]) -> None:
        """A stage is over; ``rows`` are its trials, as in ``trial_table``."""


def run_search(
    config: StudyConfig,
    run: Run,
    data: Standardised,
    *,
    storage: str | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    watcher: Watcher | None = None,
) -> list[Path]:
    """Run the search of a study, or go on with it, in a run that is open.

    A stage's trials are drawn, written to ``search.json``, trained as populations, and told to
    Optuna. At any moment ``search.json`` and ``networks.jsonl`` are enough to go on: what is drawn
    is not drawn again, what is trained is not trained again.

    Parameters
    ----------
    config : StudyConfig
        With a table ``search``.
    run : Run
        Held open for appending (``with run:``).
    data : Standardised
        Of the dtype that the search's settings name. Its test split is touched for the finalists.
    storage : str, optional
        URL of Optuna's storage; wins over the configuration's.
    workers : int, optional
    reporter : Reporter, optional
    watcher : Watcher, optional

    Returns
    -------
    written : list of Path
        The tables.
    """
    search, base = read_search(config)
    plan = Plan(run)
    training = {"workers": workers, "reporter": reporter}
    with Mirror(run, plan, search, storage or search.storage) as mirror:
        plan.save()
        mirror.follow()
        for number in range(1, len(search.stages) + search.auto + 1):
            stage = _stage(number, plan, search, run)
            if stage is None:
                break
            if watcher:
                watcher.stage_begins(stage)
            _train_stage(stage, search, base, run, data, mirror, training)
            write_tables(run, search.published)
            if watcher:
                rows = [row for row in trial_table(run) if row["stage"] == number]
                watcher.stage_ends(stage, rows)
    _finish(plan, search, base, run, data, training)
    return write_tables(run, search.published)


def _stage(number: int, plan: Plan, search: SearchConfig, run: Run) -> StagePlan | None:
    """Return a stage, planned before or now; None if it can't be derived."""
    if number > len(plan.stages):
        if number <= len(search.stages):
            space, reason = search.space(number), "given"
        else:
            last = plan.stages[-1]
            rows = [row for row in trial_table(run) if row["stage"] == last.stage]
            bounds = plan.stages[0].space
            found = next_space(last.space, rows, bounds, search.quantile, last.stage)
            if found is None:
                plan.stopped = (
                    f"stage {number} needs two trials of stage {last.stage} that ran to their end"
                )
                plan.save()
                return None
            space, reason = found
        plan.stages.append(StagePlan(number, space, search.trials_of(number), reason))
        plan.save()
    return plan.stages[number - 1]


def _train_stage(
    stage: StagePlan,
    search: SearchConfig,
    base: Settings,
    run: Run,
    data: Standardised,
    mirror: Mirror,
    training: dict,
) -> None:
    size = search.batch_size or stage.wanted
    for first in range(0, stage.wanted, size):
        if len(stage.trials) <= first:
            points = draw(
                stage.space,
                min(size, stage.wanted - first),
                sampler=search.sampler,
                seed=(search.seed, stage.stage, first),
                history=_history(run) if search.sampler in ("tpe", "gp") else (),
            )
            mirror.plan.add_trials(stage, points, search)
            mirror.follow()
        jobs = [job for trial in stage.trials[first : first + size] for job in trial.jobs(base)]
        prefix = (
            f"stage-{stage.stage}-" if size >= stage.wanted else f"stage-{stage.stage}-{first}-"
        )
        if search.prune:
            train_halving(run, data, jobs, keep=search.keep, prefix=prefix, **training)
        else:
            train_jobs(run, data, jobs, prefix=prefix, test=False, **training)
        for left in (run.path / "checkpoints").glob(f"{prefix}*"):
            left.unlink()
        mirror.follow()


def _history(run: Run) -> list[tuple[dict, float]]:
    """Return points and values for the samplers to learn from; a diverged one is like the worst."""
    rows = trial_table(run)
    values = [row["validation_accuracy"] for row in rows]
    worst = min((value for value in values if value is not None), default=0.0)
    return [
        (row, worst if value is None else value) for row, value in zip(rows, values, strict=True)
    ]


def _finish(
    plan: Plan,
    search: SearchConfig,
    base: Settings,
    run: Run,
    data: Standardised,
    training: dict,
) -> None:
    """Choose the finalists by validation accuracy, train them and, only here, test them."""
    if plan.finalists is None:
        plan.finalists = _finalists(plan.trials, trial_table(run), search)
        plan.save()
    jobs = [job for one in plan.finalists for job in one.jobs(base)]
    if jobs:
        train_jobs(run, data, jobs, prefix="finalists-", **training)


def _finalists(
    trials: Sequence[Trial], rows: Sequence[dict], search: SearchConfig
) -> list[Finalist]:
    """Return the best different settings among the trials that ran to their end."""
    params = {trial.number: trial.params for trial in trials}
    done = [row for row in rows if row["state"] in ("trained", "at chance")]
    done.sort(key=lambda row: (-row["validation_accuracy"], row["trial"]))
    chosen: list[Finalist] = []
    seeds = tuple(range(search.finalists.seeds))
    for row in done:
        point = params[row["trial"]]
        if len(chosen) < search.finalists.top and point not in [one.params for one in chosen]:
            rank, cycles = len(chosen) + 1, search.finalists.cycles
            chosen.append(Finalist(rank, row["trial"], point, cycles, seeds))
    return chosen


def search(
    config: StudyConfig,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Search, and write a run directory.

    Parameters
    ----------
    config : StudyConfig
        With a table ``search``.
    out : path, optional
        The run directory, new or empty; by default ``runs/DATE-TIME-search``.
    data_dir : path, optional
        Where the data set lies.
    workers : int, optional
        Threads; by default all cores.
    reporter : Reporter, optional
    watcher : Watcher, optional

    Returns
    -------
    run : Run
        Finished, with ``trials.csv``, ``finalists.csv`` and ``summary.json``. After an
        interruption, :func:`resume_search` goes on.
    """
    url = read_search(config)[0].storage
    stored = config.model_dump(exclude_none=True)
    if url:
        stored["search"] = {**stored["search"], "storage": hide_password(url)}
    dataset = load(config.data, data_dir=data_dir)
    if url:
        reach(url)
    run = Run.create(out, "search", {**stored, "data_dir": data_dir}, dataset)
    if url and run.info["command"]:
        # A password isn't written down, not even as part of the command.
        command = [part.replace(url, hide_password(url)) for part in run.info["command"]]
        run.info["command"] = command
        write_json(run.path / "run.json", run.info)
    return _go_on(run, config, dataset, url, workers, reporter, watcher)


def resume_search(
    path: str | Path,
    *,
    storage: str | None = None,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Go on with an interrupted search: finished trials are kept, the others trained.

    The result is the same, bit for bit, as without the interruption.

    Parameters
    ----------
    path : path
        The run directory.
    storage : str, optional
        URL of the storage: needed again if it holds a password, which isn't written down.
    data_dir, workers, reporter, watcher
        As in :func:`search`.

    Raises
    ------
    KlayerError
        If the run isn't a search, or its storage needs a password.
    """
    run, config, dataset = open_run(path, ("search",), data_dir=data_dir)
    url = storage or read_search(config)[0].storage
    if url and ":***@" in url:
        raise KlayerError(
            f"the storage {url} needs its password, which a run directory doesn't hold: "
            "give --storage URL again, or set KLAYER_STORAGE."
        )
    return _go_on(run, config, dataset, url, workers, reporter, watcher)


def _go_on(
    run: Run,
    config: StudyConfig,
    dataset: Dataset,
    url: str | None,
    workers: int | None,
    reporter: Reporter | None,
    watcher: Watcher | None,
) -> Run:
    started = time.monotonic()
    data = Standardised(dataset, read_search(config)[1].dtype)
    with run, resumable(run):
        run_search(
            config, run, data, storage=url, workers=workers, reporter=reporter, watcher=watcher
        )
        summarise(run, time.monotonic() - started)
    return run
