"""What the command prints when a run is over: tables, files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klayer.study import Run

__all__ = ["number", "percent", "print_files", "print_search", "print_summary", "terminal_width"]


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


def print_files(paths: Sequence[Path]) -> None:
    """Name the files that were written, a line each."""
    from rich.console import Console

    for path in paths:
        Console().print(str(path), style="green", soft_wrap=True)


def print_summary(run: Run) -> None:
    """Print the table of a training or a study: a line for each network, or for each arm."""
    from rich.console import Console
    from rich.table import Table

    from klayer.report.run_view import RunView
    from klayer.report.table import columns

    arms = RunView(run).with_results
    single = len(arms) == 1
    shown = [one for one in columns(arms) if one.word and not (single and one.word == "n")]
    table = Table(title=f"{run.info['kind']} on {run.info['data']['name']}")
    for column in shown:
        word = "seed" if single and column.word == "arm" else column.word
        left = column.words and word != "seed"
        table.add_column(word, justify="left" if left else "right", no_wrap=bool(column.split))
    for arm in arms:
        if single:
            for record in arm.records:
                table.add_row(*(one.plain(arm.alone(record)) for one in shown))
            arm = replace(arm, name="mean")
        table.add_row(*(one.plain(arm) for one in shown), style="bold" if single else None)
    Console().print(table)


def print_search(run: Run, results: Mapping[str, Any]) -> None:
    """Print the end of a search: what mattered, and the finalists beside what was published."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if results["stopped"]:
        console.print(f"no further stage: {results['stopped']}", highlight=False)
    if results["importance"]:
        parts = [f"{name} {value:.0%}" for name, value in results["importance"].items()]
        console.print(f"importance for the validation accuracy: {', '.join(parts)}")
    if results["finalists"]:
        names = [name for name in results["trials"][0] if name in results["stages"][0]["space"]]
        splits = [
            split
            for split in ("train", "validation", "test")
            if any(row[f"{split}_accuracy"] is not None for row in results["finalists"])
        ]
        table = Table(title=f"finalists on {run.info['data']['name']}: mean ± sd over n seeds")
        for name in ("trial", *names, "cycles", "n", *splits):
            table.add_column(name, justify="right")
        for row in results["finalists"]:
            table.add_row(
                str(row["trial"]),
                *(number(row[name]) for name in names),
                f"{row['cycles']:g}",
                str(row["n"]) + (f", {row['diverged']} diverged" if row["diverged"] else ""),
                *(percent(row[f"{split}_accuracy"], row[f"{split}_sd"]) for split in splits),
            )
        for row in results["published"]:
            table.add_row(
                "published",
                *(number(row[name]) if name in row else "" for name in names),
                f"{row['cycles']:g}" if "cycles" in row else "",
                "1",
                *(percent(row.get(split)) for split in splits),
                style="dim",
            )
        console.print(table)
