"""A run as a reader sees it: its curves as a table, and what a notebook shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.shown import Facts, Part, ShownColumn, ShownTable
from klayer.study.measure import MEASURES
from klayer.study.record import NetworkRecord
from klayer.train.metrics import METRICS

if TYPE_CHECKING:
    from klayer.study.stored_run import StoredRun

__all__ = ["run_curves", "run_parts", "told_score"]

# Arms that a notebook lists.
SHOWN = 30


def run_curves(run: StoredRun) -> dict[str, NDArray[Any]]:
    """Return the curves of a run's finished networks: see :meth:`Run.curves`."""
    records = run.networks
    lengths = [len(one.history["update"]) for one in records]
    names = list(dict.fromkeys(name for one in records for name in one.history))

    def column(name: str) -> NDArray[Any]:
        kind = np.int64 if name == "update" else float
        values = [
            one.history.get(name, [None] * n) for one, n in zip(records, lengths, strict=True)
        ]
        return np.array([value for several in values for value in several], kind)

    return {
        "part": np.repeat(np.array([one.part for one in records], str), lengths),
        "arm": np.repeat(np.array([one.arm for one in records], str), lengths),
        "seed": np.repeat(np.array([one.seed for one in records], np.int64), lengths),
        **{name: column(name) for name in names},
    }


def told_score(records: Sequence[NetworkRecord], split: str) -> str:
    """Write the main score of some networks on a split: mean, and spread where there are several.

    What is no share says what it is: runs of different tasks stand in one table.
    """
    scores = [one.scores[split] for one in records if split in one.scores]
    values = [score.main for score in scores if score.main is not None]
    if not values:
        return "-"
    name = next(
        (name for score in scores for name in METRICS if getattr(score, name, None) == score.main),
        "",
    )
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
    if name and METRICS[name].share:
        return f"{mean:.2%}" if sd is None else f"{100 * mean:.2f} ± {sd:.2%}"
    measure = MEASURES.get(name)
    return f"{measure.word} {measure.mean_sd(mean, sd, 2)}" if measure else f"{mean:.6g}"


def run_parts(run: StoredRun) -> list[Part]:
    """Return what a notebook shows of a run."""
    about = run.info["data"]
    facts = [
        ("where", str(run.path)),
        ("made", str(run.info["created"]).replace("T", " ")[:16]),
        ("data", about["name"]),
        ("state", run.state_in_words),
        ("networks", str(len(run.networks))),
    ]
    arms: dict[tuple[str, str], list[NetworkRecord]] = {}
    for record in run.networks:
        arms.setdefault((record.part, record.arm), []).append(record)
    shown = list(arms.items())[:SHOWN]
    if not shown:
        return [Facts(facts)]
    names = {} if run.kind == "search" else run.study.labels
    # A search's trials have not seen the test split.
    splits = [
        split for split in ("train", "validation", "test")
        if any(split in one.scores for one in run.networks)
    ]  # fmt: skip
    columns = [
        ShownColumn("arm", [names.get(arm, arm) for (_, arm), _ in shown], words=True, header=True),
        ShownColumn("n", [str(len(records)) for _, records in shown]),
        *(
            ShownColumn(split, [told_score(records, split) for _, records in shown])
            for split in splits
        ),
    ]
    caption = "Mean ± standard deviation over n seeds"
    caption += f"; the first {SHOWN} of {len(arms)} arms" if len(arms) > SHOWN else ""
    return [Facts(facts), ShownTable(columns, [caption] * len(shown), [False] * len(shown))]
