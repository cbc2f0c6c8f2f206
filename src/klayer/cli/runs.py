"""`klayer runs`: what lies in the folder of runs, several side by side, one checked or removed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from klayer.cli.complete import complete_runs
from klayer.cli.echo import echo
from klayer.cli.help import HelpedCommand, HelpedGroup
from klayer.cli.output import print_table, terminal_width
from klayer.errors import KlayerError

__all__ = ["app"]

app = typer.Typer(
    cls=HelpedGroup,
    name="runs",
    help="List run directories, compare several, check or remove one.\n\nExample: klayer runs",
    invoke_without_command=True,
)

Folder = Annotated[
    Path, typer.Argument(metavar="[FOLDER]", help="Folder that holds run directories.")
]
Several = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Run directories.", autocompletion=complete_runs),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
USUAL = Path("runs")


@app.callback()
def runs(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List what lies in ``runs/``, if no command says otherwise."""
    if ctx.invoked_subcommand is None:
        _list(USUAL, as_json)


@app.command("list", cls=HelpedCommand)
def list_runs(folder: Folder = USUAL, as_json: AsJson = False) -> None:
    """List the runs in a folder, the newest first: what, when, data, best, state.

    Example: klayer runs list runs
    """
    _list(folder, as_json)


def _list(folder: Path, as_json: bool) -> None:
    from klayer.shown import ShownColumn
    from klayer.study.run_list import find_runs, run_line

    found = find_runs(folder) if folder != USUAL or folder.exists() else []
    lines = [run_line(path) for path in found]
    if as_json:
        echo(json.dumps([{**asdict(one), "path": str(one.path)} for one in lines], indent=1))
        return
    if not lines:
        echo(f"no run directories in {folder}: `klayer train`, `study` and `search` make them.")
        return
    print_table(
        f"{len(lines)} run{'s' * (len(lines) > 1)} in {folder}",
        [
            ShownColumn("run", [one.path.name for one in lines], words=True),
            ShownColumn("what", [one.kind for one in lines], words=True, rank=3),
            ShownColumn("when", [one.created for one in lines], rank=1),
            ShownColumn("data", [one.data for one in lines], words=True),
            ShownColumn("networks", [str(one.networks) for one in lines], rank=4),
            ShownColumn("best", [one.best for one in lines], rank=2),
            ShownColumn("state", [one.state for one in lines], words=True),
        ],
    )
    for one in lines:
        if one.problem:
            echo(one.problem)


@app.command(cls=HelpedCommand)
def compare(several: Several, as_json: AsJson = False) -> None:
    """Set the arms of several runs side by side, each named by what varies.

    `klayer report RUN OTHER` makes a page of two.

    Example: klayer runs compare runs/monday runs/tuesday runs/friday
    """
    from klayer.shown import ShownColumn
    from klayer.study import Run
    from klayer.study.run_list import compare_lines

    if len(several) < 2:
        raise KlayerError(f"two runs or more are compared, but got {len(several)}: name another.")
    notes, rows = compare_lines([Run(path) for path in several])
    if as_json:
        plain = [{k: v for k, v in row.items() if k != "shown"} for row in rows]
        echo(json.dumps({"notes": notes, "rows": plain}, indent=1))
        return
    for note in notes:
        echo(note)
    splits = [
        split for split in ("train", "validation", "test")
        if any(row[split] is not None for row in rows)
    ]  # fmt: skip

    def counted(row: dict[str, Any]) -> str:
        return str(row["n"]) + (f", {row['diverged']} diverged" if row["diverged"] else "")

    columns = [ShownColumn("run", _told_apart([Path(row["run"]) for row in rows]), words=True)]
    if any(row["arm"] for row in rows):
        columns.append(ShownColumn("networks", [row["arm"] for row in rows], words=True))
    ranks = {"train": 2, "validation": 1, "test": 0}
    print_table(
        "mean ± standard deviation over n seeds",
        [
            *columns,
            ShownColumn("n", [counted(row) for row in rows], rank=3),
            *(
                ShownColumn(split, [row["shown"][split] for row in rows], rank=ranks[split])
                for split in splits
            ),
        ],
    )


@app.command(cls=HelpedCommand)
def remove(
    several: Several,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove run directories, after a question; files that klayer didn't write stay.

    Example: klayer runs remove runs/2026-01-31-120000-train
    """
    import sys

    from klayer.study.run_list import is_written, remove_run, run_line

    for path in several:
        if not (path / "run.json").exists():
            raise KlayerError(
                f"a run directory holds a file run.json, but {path} has none: nothing was removed."
            )
        if is_written(path):
            raise KlayerError(f"{path} is being written by another process: stop that first.")
    for path in several:
        line = run_line(path)
        size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        what = f"{line.kind or 'damaged'}, {line.data or 'data unknown'}, "
        what += f"{line.networks} network{'s' * (line.networks != 1)}"
        about = f"{path} ({what}, {line.created or 'no date'}, {size / 1e6:.1f} MB)"
        if not yes:
            if not sys.stdin.isatty():
                raise KlayerError(
                    f"removing {about} needs a yes, and nobody can be asked here: say --yes."
                )
            if not typer.confirm(f"Remove {about}?"):
                echo(f"{path}: kept")
                continue
        left = remove_run(path)
        rest = f", but not what klayer didn't write: {', '.join(left)}" if left else ""
        echo(f"{path}: removed{rest}")


@app.command(cls=HelpedCommand)
def check(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run directory.", autocompletion=complete_runs)
    ],
    as_json: AsJson = False,
) -> None:
    """Read every file of a run, and say which are damaged and how their content can be had again.

    Nothing is changed. Exit status 1 if anything is damaged.

    Example: klayer runs check runs/2026-01-31-120000-train
    """
    from klayer.shown import Facts, to_text
    from klayer.study.checking import check_run

    found = check_run(run)
    damaged = [one for one in found if one.damage]
    if as_json:
        echo(json.dumps([asdict(one) for one in found], indent=1))
    elif damaged:
        facts = [(one.path, f"{one.damage} {one.again}".strip()) for one in damaged]
        lead = f"{len(damaged)} of {len(found)} files of {run} are damaged."
        echo(to_text([Facts(facts, lead)], "", terminal_width()))
    else:
        echo(f"{run}: {len(found)} files, all whole.")
    if damaged:
        raise typer.Exit(1)


def _told_apart(paths: list[Path]) -> list[str]:
    """Write paths as short as they can be told apart."""
    names = {path: path.name for path in paths}
    alike = len(set(names.values())) < len(set(paths))
    return [str(path) if alike else names[path] for path in paths]
