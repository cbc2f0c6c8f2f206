"""What the command prints when a run is over: tables, files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from klayer.cli.echo import echo

if TYPE_CHECKING:
    from klayer.shown import ShownColumn
    from klayer.study import Run

__all__ = [
    "number",
    "percent",
    "print_files",
    "print_led_by_another",
    "print_search",
    "print_summary",
    "print_table",
    "require_none_lost",
    "require_one_alive",
    "terminal_width",
    "written_score",
]


def terminal_width() -> int:
    """Return how many columns tables may take: those of the terminal, 100 of a file or a pipe."""
    return shutil.get_terminal_size((100, 24)).columns


def number(value: object) -> str:
    """Write a number short, anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def percent(mean: float | None, sd: float | None = None) -> str:
    """Write an accuracy, with its standard deviation where there is one."""
    if mean is None:
        return "-"
    return f"{mean:.2%}" if sd is None else f"{100 * mean:.2f} ± {sd:.2%}"


def written_score(row: Mapping[str, Any], split: str) -> str:
    """Write what trials or finalists are judged by, with its standard deviation where there is one."""
    from klayer.study.search.tables import measure_in, score_in

    mean, sd = score_in(row, split), row[f"{split}_sd"]
    if measure_in([row]).share:
        return percent(mean, sd)
    if mean is None:
        return "-"
    return f"{mean:.4g}" if sd is None else f"{mean:.4g} ± {sd:.2g}"


def print_table(title: str, columns: Sequence[ShownColumn]) -> None:
    """Print a table that fits the terminal, under its title."""

    from klayer.shown import ShownTable, to_text

    rows = len(columns[0].cells)
    table = ShownTable(columns, [title] * rows, [False] * rows, announced=True)
    echo(to_text([table], "", terminal_width()) + "\n")


def print_files(paths: Sequence[Path]) -> None:
    """Name the files that were written, a line each."""

    for path in paths:
        echo(str(path))


def print_summary(run: Run) -> None:
    """Print the table of a training or a study: a line for each network, or for each arm."""
    from klayer.report.run_view import RunView
    from klayer.report.table import columns
    from klayer.shown import ShownColumn

    arms = RunView(run).with_results
    single = len(arms) == 1
    shown = [one for one in columns(arms) if one.word and not (single and one.word == "n")]
    rows = list(arms)
    if single:
        rows = [arms[0].alone(record) for record in arms[0].records]
        rows += [replace(arms[0], name="mean", label="mean")] if len(rows) > 1 else []
    if not any(one.word == "state" and one.plain(arm) for one in shown for arm in rows):
        shown = [one for one in shown if one.word != "state"]
    title = f"{run.info['kind']} on {run.info['data']['name']}"
    measure = arms[0].measure
    print_table(
        title if measure.share else f"{title}, {measure.word}",
        [
            ShownColumn(
                "seed" if single and one.word == "arm" else one.word,
                [one.plain(arm) for arm in rows],
                words=one.words and not (single and one.word == "arm"),
                rank=_RANKS.get(one.word, 0),
            )
            for one in shown
        ],
    )


# What goes first where a line is too short: the more, the sooner.
_RANKS = {
    "macro f1": 5,
    "balanced": 4,
    "exact match": 4,
    "rmse": 4,
    "n": 3,
    "train": 2,
    "validation": 1,
}


def require_one_alive(run: Run) -> None:
    """End with exit status 1 if every network of a run diverged, and say what helps."""
    import typer

    networks = run.networks
    if networks and all(record.state == "diverged" for record in networks):
        many = f"all {len(networks)} networks" if len(networks) > 1 else "the network"
        echo(f"klayer: {many} diverged ({networks[0].failure}): lower lr_max, or l2.", err=True)
        raise typer.Exit(1)


def require_none_lost(run: Run) -> None:
    """End with exit status 1 if networks could not be trained; name them, and say how to try again."""
    import typer

    if not run.lost:
        return
    from klayer.study.execute.bench import MOST_TRIES

    reasons: dict[str, dict[str, list[int]]] = {}
    for (_, arm, seed), reason in run.lost.items():
        reasons.setdefault(reason, {}).setdefault(arm, []).append(seed)
    for reason, arms in reasons.items():
        named = [f"{arm} (seeds {', '.join(map(str, seeds))})" for arm, seeds in arms.items()]
        many = sum(map(len, arms.values()))
        echo(
            f"klayer: {many} network{'s' * (many > 1)} could not be trained: {'; '.join(named)}. Tried "
            f"until {MOST_TRIES} workers in a row got no further: {reason}",
            err=True,
        )
    echo(f"klayer: {run.resume_command} tries again.", err=True)
    raise typer.Exit(1)


def print_led_by_another(run: Run, *, quiet: bool) -> None:
    """Say that a run is finished to which this process only lent a hand."""
    if not quiet:
        echo(f"{run.path} is finished; the process that led it writes the page.")


def print_search(run: Run, results: Mapping[str, Any]) -> None:
    """Print the end of a search: what mattered, and the finalists beside what was published."""

    from klayer.shown import ShownColumn
    from klayer.study.search.tables import measure_in, score_in

    if results["stopped"]:
        echo(f"no further stage: {results['stopped']}")
    if results["importance"]:
        parts = [f"{name} {value:.0%}" for name, value in results["importance"].items()]
        word = measure_in(results["trials"]).word
        echo(f"importance for the validation {word}: {', '.join(parts)}")
    if not results["finalists"]:
        return
    names = [name for name in results["trials"][0] if name in results["stages"][0]["space"]]
    finalists, published = results["finalists"], results["published"]
    splits = [
        split
        for split in ("train", "validation", "test")
        if any(score_in(row, split) is not None for row in finalists)
    ]

    def column(head: str, own: list[str], others: list[str], **about: Any) -> ShownColumn:
        return ShownColumn(head, [*own, *others], **about)

    def counted(row: Mapping[str, Any]) -> str:
        return str(row["n"]) + (f", {row['diverged']} diverged" if row["diverged"] else "")

    print_table(
        f"finalists on {run.info['data']['name']}: mean ± sd over n seeds",
        [
            column(
                "trial", [str(row["trial"]) for row in finalists], ["published"] * len(published)
            ),
            *(
                column(
                    name,
                    [number(row[name]) for row in finalists],
                    [number(row[name]) if name in row else "" for row in published],
                )
                for name in names
            ),
            column(
                "cycles",
                [f"{row['cycles']:g}" for row in finalists],
                [f"{row['cycles']:g}" if "cycles" in row else "" for row in published],
                rank=2,
            ),
            column("n", [counted(row) for row in finalists], ["1"] * len(published), rank=2),
            *(
                column(
                    split,
                    [written_score(row, split) for row in finalists],
                    [percent(row.get(split)) for row in published],
                    rank=_RANKS.get(split, 0),
                )
                for split in splits
            ),
        ],
    )
