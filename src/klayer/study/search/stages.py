"""Run a search: stages of trials, each in lockstep, then the finalists and the test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from klayer.study.execute import Executor
from klayer.study.run_dir import Run
from klayer.study.search.halving import train_halving
from klayer.study.search.next_space import next_space
from klayer.study.search.options import Search
from klayer.study.search.optuna_mirror import OptunaMirror
from klayer.study.search.samplers import SAMPLERS, draw
from klayer.study.search.search_file import Finalist, SearchFile, Stage, Trial
from klayer.study.search.tables import score_in, trial_table, write_tables
from klayer.study.training import Reporter, train_jobs

__all__ = ["Watcher", "search_stages"]


class Watcher(Protocol):
    """Hears of a search's stages; the command prints them."""

    def stage_begins(self, stage: Stage) -> None:
        """A stage is planned, with its reason."""

    def stage_ends(self, stage: Stage, rows: list[dict[str, Any]]) -> None:
        """A stage is over; ``rows`` are its trials, as in ``trial_table``."""


def search_stages(
    run: Run,
    search: Search,
    executor: Executor,
    *,
    storage: str | None = None,
    reporter: Reporter | None = None,
    watcher: Watcher | None = None,
) -> list[Path]:
    """Run the stages of a search and its finalists, or go on with them, in a run that is open.

    A stage's trials are drawn, written to ``search.json``, trained as populations, and told to
    Optuna. At any moment ``search.json`` and ``networks.jsonl`` are enough to go on: what is drawn
    is not drawn again, what is trained is not trained again.

    Parameters
    ----------
    run : Run
        Held open for appending (``with run:``).
    search : Search
    executor : Executor
        Open, with the run's data. Their test split is touched for the finalists.
    storage : str, optional
        URL of Optuna's storage; wins over the search's.
    reporter : Reporter, optional
    watcher : Watcher, optional

    Returns
    -------
    written : list of Path
        The tables.
    """
    asked = run.asked
    asked.save()  # with the name of the study, before the storage has it
    with OptunaMirror(run, search, storage or search.storage) as mirror:
        mirror.follow()
        for number in range(1, search.n_stages + 1):
            stage = _stage(number, asked, search, run)
            if stage is None:
                break
            if watcher:
                watcher.stage_begins(stage)
            _train_stage(stage, search, run, executor, mirror, reporter)
            write_tables(run, search.published)
            if watcher:
                rows = [row for row in trial_table(run) if row["stage"] == number]
                watcher.stage_ends(stage, rows)
    _finish(asked, search, run, executor, reporter)
    return write_tables(run, search.published)


def _stage(number: int, asked: SearchFile, search: Search, run: Run) -> Stage | None:
    """Return a stage, planned before or now; None if it can't be derived."""
    if number > len(asked.stages):
        if number <= len(search.stages):
            space, reason = search.space(number), "given"
        else:
            last = asked.stages[-1]
            rows = [row for row in trial_table(run) if row["stage"] == last.stage]
            bounds = asked.stages[0].space
            found = next_space(last.space, rows, bounds, search.quantile, last.stage)
            if found is None:
                asked.stopped = (
                    f"stage {number} needs two trials of stage {last.stage} that ran to their end"
                )
                asked.save()
                return None
            space, reason = found
        asked.stages.append(Stage(number, space, search.trials_of(number), reason))
        asked.save()
    return asked.stages[number - 1]


def _train_stage(
    stage: Stage,
    search: Search,
    run: Run,
    executor: Executor,
    mirror: OptunaMirror,
    reporter: Reporter | None,
) -> None:
    size = search.batch_size or stage.wanted
    for first in range(0, stage.wanted, size):
        if len(stage.trials) <= first:
            points = draw(
                stage.space,
                min(size, stage.wanted - first),
                sampler=search.sampler,
                seed=(search.seed, stage.stage, first),
                history=_history(run) if SAMPLERS[search.sampler].learns else (),
            )
            run.asked.add_trials(stage, points, search)
            mirror.follow()
        drawn = stage.trials[first : first + size]
        jobs = [job for trial in drawn for job in trial.jobs(search.base)]
        prefix = (
            f"stage-{stage.stage}-" if size >= stage.wanted else f"stage-{stage.stage}-{first}-"
        )
        if search.prune:
            train_halving(run, executor, jobs, keep=search.keep, reporter=reporter, prefix=prefix)
        else:
            train_jobs(run, executor, jobs, reporter=reporter, prefix=prefix, test=False)
        run.checkpoints.clear(prefix)
        mirror.follow()


def _history(run: Run) -> list[tuple[dict[str, Any], float]]:
    """Return points and values for the samplers to learn from; a diverged one is like the worst."""
    rows = trial_table(run)
    values = [score_in(row) for row in rows]
    worst = min((value for value in values if value is not None), default=0.0)
    return [
        (row, worst if value is None else value) for row, value in zip(rows, values, strict=True)
    ]


def _finish(
    asked: SearchFile,
    search: Search,
    run: Run,
    executor: Executor,
    reporter: Reporter | None,
) -> None:
    """Choose the finalists by validation accuracy, train them and, only here, test them."""
    if asked.finalists is None:
        asked.finalists = _finalists(asked.trials, trial_table(run), search)
        asked.save()
    jobs = [job for one in asked.finalists for job in one.jobs(search.base)]
    if jobs:
        train_jobs(run, executor, jobs, reporter=reporter, prefix="finalists-")


def _finalists(
    trials: Sequence[Trial], rows: Sequence[dict[str, Any]], search: Search
) -> list[Finalist]:
    """Return the best different settings among the trials that ran to their end."""
    params = {trial.number: trial.params for trial in trials}
    done = [row for row in rows if row["state"] in ("trained", "at chance")]
    done.sort(key=lambda row: (-(score_in(row) or 0.0), row["trial"]))
    chosen: list[Finalist] = []
    seeds = tuple(range(search.finalists.seeds))
    for row in done:
        point = params[row["trial"]]
        if len(chosen) < search.finalists.top and point not in [one.params for one in chosen]:
            rank, cycles = len(chosen) + 1, search.finalists.cycles
            chosen.append(Finalist(rank, row["trial"], point, cycles, seeds))
    return chosen
