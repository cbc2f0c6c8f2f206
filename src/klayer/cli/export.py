"""`klayer export`: networks of a run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.complete import choices, complete_runs
from klayer.cli.echo import echo

if TYPE_CHECKING:
    from klayer.export import Written

__all__ = ["export"]


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run directory.", autocompletion=complete_runs)
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="safetensors (klayer reads it again), onnx (any runtime of ONNX), or csv (tables).",
            autocompletion=choices(("safetensors", "onnx", "csv")),
        ),
    ],
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="best, all, an arm, a seed, or ARM:SEED; again for several, which answer by their "
            "mean. \\[default: best]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A folder, or a file with the format's ending. \\[default: RUN/export/FORMAT]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON.")
    ] = False,
) -> None:
    """Export stored networks, with a model card: raw rows in, probabilities or values out.

    What is written was asked first: its answers are those of the networks on rows of the data, to
    1e-5. The card, README.md, has the scores and how to use it from NumPy, PyTorch, onnxruntime.

    Example: klayer export runs/mine --to onnx

    Example: klayer export runs/mine --to safetensors --network all --out mine
    """
    from klayer.export.formats import format_of
    from klayer.export.of_run import data_of_run, of_run
    from klayer.export.verify import rows_of_run
    from klayer.export.write import write_export
    from klayer.files import json_text
    from klayer.progress import Meter
    from klayer.study import Run

    form = format_of(to, out or Path())
    stored = Run(run)
    with Meter("off" if as_json else None) as meter:
        meter.phase("reading the networks and their data")
        dataset, why = data_of_run(stored)
        what = of_run(stored, network or (), dataset)
        rows = rows_of_run(stored, dataset)
        target = out or stored.path / "export" / form.name
        meter.phase("asking what is to be written")
        written = write_export(what, target, form.name, rows, force=force)
    if as_json:
        echo(json_text(_plain(written, len(what.ensemble)), indent=1))
        return
    if why:
        echo(f"{why} The file was asked about drawn rows.", err=True)
    echo(written.verified.in_words())
    for path in written.files if len(written.files) < 4 else _few(written):
        echo(str(path))


def _few(written: Written) -> list[Path]:
    """Return the folder, for files that are too many to be named, and the card."""
    return [written.files[-1].parent, written.files[-1]]


def _plain(written: Written, networks: int) -> dict[str, Any]:
    verified = written.verified
    return {
        "format": written.format,
        "networks": networks,
        "files": [str(path) for path in written.files],
        "largest_difference": verified.difference,
        "tolerance": verified.tolerance,
        "rows": verified.rows,
        "verified_on": verified.what,
    }
