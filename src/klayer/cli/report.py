"""`klayer report`: a run's page again, or two runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from klayer.cli.complete import complete_runs
from klayer.cli.echo import echo
from klayer.errors import KlayerError

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN [OTHER]",
            help="One run directory, or two.",
            autocompletion=complete_runs,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Page that compares two runs. [default: compare-RUN-OTHER.html]"),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print the page to PDF too, by Chromium.")
    ] = False,
    png: Annotated[
        bool, typer.Option("--png", help="Draw every figure as PNG too; that takes a while.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Render a run's page again from its results, or compare two runs.

    Of one run: RUN/report.html, with figures/ (SVG) and tables/ (CSV) beside it. An
    unfinished run shows what is there so far.

    Example: klayer report runs/monday runs/tuesday --out both.html
    """
    from klayer.progress import Meter

    if len(runs) > 2:
        raise KlayerError(f"a report shows one run or compares two, but got {len(runs)}.")
    if len(runs) == 1 and out:
        raise KlayerError(
            "`--out` is for comparing two runs: the page of one run lies in its directory."
        )
    if len(runs) == 2 and png:
        raise KlayerError("`--png` draws the figures of one run, but got two: leave it away.")
    with Meter() as meter:
        meter.phase("writing the page")
        written = _write(runs, out, pdf, png)
    for path in written:
        echo(str(path))
    if show:
        typer.launch(str(written[0]))


def _write(runs: list[Path], out: Path | None, pdf: bool, png: bool) -> list[Path]:
    from klayer.report import compare_runs, write_report
    from klayer.study import Run

    if len(runs) == 1:
        return write_report(Run(runs[0]), pdf=pdf, png=png)
    names = [run.resolve().name for run in runs]
    target = out or Path(f"compare-{names[0]}-{names[1]}.html")
    written = [compare_runs(runs[0], runs[1], target)]
    if pdf:
        from klayer.report.pdf import print_pdf

        written.append(print_pdf(target))
    return written
