"""The results of a search as tables: a row a trial, a row a finalist."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from klayer.files import plain, write_csv, write_text
from klayer.study.measure import MEASURES, Measure
from klayer.study.record import NetworkRecord
from klayer.study.run_dir import Run
from klayer.study.search.optuna_space import import_optuna, quiet_optuna, to_choice, whole_space
from klayer.study.search.search_file import FINALISTS, Trial
from klayer.study.summary import spread
from klayer.train.metrics import METRICS, main_metric

__all__ = [
    "finalist_table",
    "importance",
    "measure_in",
    "score_in",
    "sorted_rows",
    "stage_table",
    "trial_row",
    "trial_table",
    "write_tables",
]


def trial_table(run: Run) -> list[dict[str, Any]]:
    """Return a row for each finished trial of a run's search, in the order of their numbers.

    A trial is finished when all its networks are. What is asked for but not trained has no row.

    Returns
    -------
    rows : list of dict
        ``stage`` (from 1), ``trial`` (from 0, over all stages), a key for each searched parameter
        (``l2``, ...), ``validation_accuracy`` and ``train_accuracy`` (means over seeds, 0 to 1; None
        if the trial diverged; of another task its main score, as ``validation_r2``),
        ``validation_sd`` and ``train_sd`` (None for one seed), ``state`` (``trained``, ``at chance``,
        ``pruned``, ``diverged``), ``failure`` (the reason, or None), ``seeds``, ``updates`` (done
        before the end or the pruning) and ``arm``, its name in the run. Empty if the run has no
        search.
    """
    rows = []
    for trial in run.asked.trials:
        records = [record for key in trial.keys if (record := run.find(key))]
        if len(records) == len(trial.keys):
            rows.append(trial_row(trial, records))
    return rows


def trial_row(trial: Trial, records: Sequence[NetworkRecord]) -> dict[str, Any]:
    """Return the row of one trial from the records of its networks."""
    state, failure = _state(records)
    accuracies = {}
    for split in ("validation", "train"):
        values = spread([record.score(split) for record in records])
        whole = state != "diverged"
        accuracies[f"{split}_{records[0].score_name}"] = values["mean"] if whole else None
        accuracies[f"{split}_sd"] = values["sd"] if whole else None
    return {
        "stage": trial.stage,
        "trial": trial.number,
        **trial.params,
        **accuracies,
        "state": state,
        "failure": failure,
        "seeds": list(trial.seeds),
        "updates": max(record.updates for record in records),
        "arm": trial.arm,
    }


def _state(records: Sequence[NetworkRecord]) -> tuple[str, str | None]:
    """Return the state of a trial: one seed that diverged, or was pruned, decides."""
    states = [record.state for record in records]
    if "diverged" in states:
        failed = [record for record in records if record.state == "diverged"]
        reason = failed[0].failure
        if len(records) > 1:
            reason = f"{len(failed)} of {len(records)} seeds: {reason}"
        return "diverged", reason
    for state in ("pruned", "trained"):
        if state in states:
            return state, None
    return states[0], None


def measure_in(rows: Sequence[Mapping[str, Any]]) -> Measure:
    """Return what the trials, or finalists, of these rows are judged by: their columns name it.

    Examples
    --------
    >>> measure_in([{"trial": 0, "validation_r2": 0.5}]).word
    'R²'
    """
    names = (main_metric(metric.task) for metric in METRICS.values())
    keys = rows[0] if rows else {}
    return MEASURES[next((one for one in names if f"validation_{one}" in keys), "accuracy")]


def score_in(row: Mapping[str, Any], split: str = "validation") -> float | None:
    """Return the main score of a row on a split; None if it diverged."""
    found: float | None = row[f"{split}_{measure_in([row]).name}"]
    return found


def sorted_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort trials by validation score, the best last as in the report, the diverged first."""

    def key(row: dict[str, Any]) -> float:
        found = score_in(row)
        return -math.inf if found is None else found

    return sorted(rows, key=key)


def stage_table(run: Run) -> list[dict[str, Any]]:
    """Return a row for each stage: ``stage``, ``space``, ``wanted``, ``reason``."""
    return [
        {
            "stage": stage.stage,
            "space": stage.space.as_dict(),
            "wanted": stage.wanted,
            "reason": stage.reason,
        }
        for stage in run.asked.stages
    ]


def finalist_table(run: Run) -> list[dict[str, Any]]:
    """Return a row for each finalist, the best first by the accuracy that made it one.

    Returns
    -------
    rows : list of dict
        ``rank``, ``trial``, a key for each searched parameter, ``cycles``, ``n`` (networks that
        did not diverge), ``diverged``, then ``train_accuracy``, ``train_sd`` and likewise for
        validation and test, ``seeds`` and ``arm``. Empty until the finalists are trained.
    """
    rows = []
    for one in run.asked.finalists or []:
        keys = [(FINALISTS, one.arm, seed) for seed in one.seeds]
        records = [record for key in keys if (record := run.find(key))]
        if len(records) < len(one.seeds):
            continue
        values = {
            split: spread([record.score(split) for record in records])
            for split in ("train", "validation", "test")
        }
        rows.append(
            {
                "rank": one.rank,
                "trial": one.trial,
                **one.params,
                "cycles": one.cycles,
                "n": values["test"]["n"],
                "diverged": sum(record.state == "diverged" for record in records),
                **{
                    f"{split}_{name}": value[key]
                    for split, value in values.items()
                    for name, key in ((records[0].score_name, "mean"), ("sd", "sd"))
                },
                "seeds": list(one.seeds),
                "arm": one.arm,
            }
        )
    return rows


def importance(run: Run) -> dict[str, float]:
    """Return the importance of each parameter for the validation accuracy, summing to 1.

    By functional analysis of variance over a random forest (Hutter, Hoos & Leyton-Brown 2014), on
    the trials of all stages that ran to their end. Empty if fewer than two parameters were
    searched, or fewer than ten such trials ran.
    """
    rows = [row for row in trial_table(run) if row["state"] in ("trained", "at chance")]
    if len(run.asked.names) < 2 or len(rows) < 10:
        return {}
    optuna = import_optuna()
    wanted = whole_space(stage.space for stage in run.asked.stages)
    with quiet_optuna():
        study = optuna.create_study(direction="maximize")
        for row in rows:
            study.add_trial(
                optuna.trial.create_trial(
                    params={name: to_choice(row[name]) for name in wanted},
                    distributions=wanted,
                    value=score_in(row),
                )
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(value) for name, value in found.items()}


def write_tables(run: Run, published: Sequence[Mapping[str, Any]] = ()) -> list[Path]:
    """Write ``trials.csv``, ``trials.json`` and, once there are some, ``finalists.csv``."""
    rows, finalists = trial_table(run), finalist_table(run)
    # Importances take longer than all else here, and follow from the trials.
    before = run.written("trials.json") or {}
    known = before["importance"] if before.get("trials") == plain(rows) else None
    run.write_result(
        "trials.json",
        {
            "stages": stage_table(run),
            "stopped": run.asked.stopped,
            "trials": rows,
            "importance": importance(run) if known is None else known,
            "finalists": finalists,
            "published": list(published),
        },
    )
    written = [run.path / "trials.csv", run.path / "trials.json"]
    names = run.asked.names
    _write_rows(written[0], [_flat(row, names) for row in rows])
    if finalists:
        written.append(run.path / "finalists.csv")
        _write_rows(written[-1], finalists)
    return written


def _flat(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Turn a trial's row into one of cells: its value or values as one, its seeds with spaces."""
    params = {name: row[name] for name in names if name in row}
    several = ", ".join(f"{name}={value}" for name, value in params.items())
    value = next(iter(params.values())) if len(params) == 1 else several
    rest = {key: cell for key, cell in row.items() if key not in ("stage", "trial", "seeds")}
    seed = " ".join(map(str, row["seeds"]))
    return {"stage": row["stage"], "trial": row["trial"], "value": value, **rest, "seed": seed}


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        write_csv(path, list(rows[0]), (list(row.values()) for row in rows))
    else:
        write_text(path, "")
