"""`klayer grade`: a folder of submissions, each checked in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from klayer.cli.echo import echo
from klayer.cli.gradcheck import STATUS, require_writable, write_file, write_page
from klayer.cli.output import terminal_width
from klayer.errors import KlayerError

__all__ = ["grade"]


def grade(
    submissions: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER|FILE.py ...",
            help="Files, or folders: of a folder each Python file, and each sub-folder with one.",
        ),
    ],
    function: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The function of each file that returns its model; by default `model`, or the only "
            "one that takes no arguments.",
        ),
    ] = None,
    harness: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:FUNCTION",
            help="Yours: called with the module of a submission, it returns the model to be checked.",
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option(metavar="NAME", help="The file to be checked of each sub-folder.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(metavar="SECONDS", help="For each submission, from its start on.")
    ] = 20.0,
    jobs: Annotated[int, typer.Option(metavar="N", help="Submissions checked at once.")] = 2,
    method: Annotated[
        str, typer.Option(help="auto, complex, central, forward or direction.")
    ] = "auto",
    entries: Annotated[
        int | None,
        typer.Option(metavar="N", help="Entries of each array to check; all of a small model."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="E", help="Largest scaled error of a right gradient, 0 < E < 1."),
    ] = None,
    seed: Annotated[int, typer.Option(help="For whatever is drawn at random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as CSV, too.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as a web page, too.")
    ] = None,
) -> None:
    """Check the gradients of many submissions: who is right, which array is wrong, the likely cause.

    Each runs in a process of its own, for a limited time; nothing of it runs in the checker's. Exit
    status 0: all are right; 1: one is wrong, or could not be checked; 3: one is undecided; 2: wrong use.

    Example: klayer grade submissions --harness harness.py:model
    """
    from klayer.gradcheck import find_submissions
    from klayer.gradcheck import grade as grade_all
    from klayer.gradcheck.options import validate
    from klayer.progress import Meter

    options = {"method": method, "entries": entries, "tolerance": tolerance, "seed": seed}
    validate(**options, time_limit=time_limit, jobs=jobs)
    for path in (csv, html):
        require_writable(path)
    if csv is not None and html is not None and csv.resolve() == html.resolve():
        raise KlayerError(f"--csv and --html must be two files, but both are {csv}.")
    found = find_submissions(submissions, file)
    with Meter() as meter:
        meter.begin(f"{len(found)} submissions", len(found))
        done: list[str] = []

        def progress(one: object) -> None:
            done.append(str(one))
            meter.move(len(done))

        grades = grade_all(
            found,
            function=function,
            harness=harness,
            time_limit=time_limit,
            jobs=jobs,
            progress=progress,
            **options,
        )
    echo(grades.to_json() if as_json else grades.text(terminal_width()))
    if csv is not None:
        write_file(csv, grades.to_csv())
    write_page(html, grades, "Gradient checks of submissions")
    raise typer.Exit(STATUS[grades.verdict])
