"""`klayer train` and `klayer study`: networks trained into a run directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.options import DataDir, Json, Out, Quiet, Resume, Workers, said
from klayer.cli.output import print_files, print_search, print_summary
from klayer.errors import KlayerError, located

if TYPE_CHECKING:
    from klayer.study import Study

__all__ = ["study", "train"]

Depth = Annotated[
    int | None,
    typer.Option(
        help="Number of layers, hidden ones of --width units.", rich_help_panel="Settings"
    ),
]
Width = Annotated[
    int | None,
    typer.Option(
        help="Units of a hidden layer, with --depth. \\[default: 50]", rich_help_panel="Settings"
    ),
]


def train(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file of settings; flags win over it."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: digits, cifar10, fashion_mnist, synthetic, a table (.csv, .parquet, ...), a "
            ".npz file or a folder of images. \\[default: digits]"
        ),
    ] = None,
    data_dir: DataDir = None,
    networks: Annotated[
        int | None, typer.Option(help="Number of networks, trained in lockstep. \\[default: 1]")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the first network; the others count up. \\[default: 0]"),
    ] = None,
    depth: Depth = None,
    width: Width = None,
    out: Out = None,
    resume: Resume = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one network, or many of one kind at once.

    The run directory holds the resolved configuration, the seeds, every curve, the weights, a
    summary.json and the curves as a picture.

    Example: klayer train --data cifar10 --networks 8 --batch-norm hidden --l2 0.005
    """
    from klayer.data.options import OPTIONS
    from klayer.study.study import Study
    from klayer.study.toml_values import read_toml
    from klayer.train.settings import current_names

    flags = {**ctx.obj, **_hidden(ctx.obj, depth, width)}
    if resume:
        if flags or said(ctx) or config or data or networks or seed is not None or out:
            raise KlayerError(
                "a run goes on with its own settings: --resume takes no other flag but --data-dir, "
                "--workers, --json and --quiet."
            )
        return _run(resume, "train", None, data_dir, workers, as_json, quiet)
    if networks is not None and networks < 1:
        raise KlayerError(f"`--networks` must be >= 1, but got {networks}.")
    where = str(config or "")
    file = read_toml(config) if config else {}
    of_file: dict[str, Any] = {"data": "digits", "networks": 1, "seed": 0}
    of_file |= {name: file.pop(name) for name in of_file if name in file}
    for name, least in (("networks", 1), ("seed", 0)):
        if type(of_file[name]) is not int or of_file[name] < least:
            raise located(
                where, f"`{name}` must be a whole number >= {least}, but got {of_file[name]!r}."
            )
    of_data = {name: file.pop(name) for name in OPTIONS if name in file} | said(ctx)
    first = of_file["seed"] if seed is None else seed
    chosen = {
        "name": "train",
        "data": of_file["data"] if data is None else data,
        **of_data,
        "seeds": list(range(first, first + (networks or of_file["networks"]))),
        "arms": [{**current_names(file, where), **flags}],
    }
    return _run(Study.from_values(chosen, where), "train", out, data_dir, workers, as_json, quiet)


def study(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="A TOML file, or a preset: report, quick."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="The same as STUDY, for a preset: report, quick.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Another data set than the study's. \\[default: the study's]"),
    ] = None,
    data_dir: DataDir = None,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds. \\[default: the study's]")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search/--no-search", help="Run the study's search, if it has one.")
    ] = True,
    out: Out = None,
    resume: Resume = None,
    workers: Workers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print arms, populations and updates; train nothing.")
    ] = False,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print the page to PDF too, by Chromium.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a study: every arm with every seed, and one page with the results.

    Without STUDY it is the preset made for the data set: report for cifar10, else quick.

    Example: klayer study --data cifar10 --seeds 4
    """
    if resume:
        if source or preset or data or said(ctx) or seeds or out or dry_run:
            raise KlayerError(
                "a run goes on with its own configuration: --resume takes no other flag but "
                "--data-dir, --workers, --json and --quiet."
            )
        return _run(resume, "study", None, data_dir, workers, as_json, quiet, pdf)
    if source and preset:
        raise KlayerError(
            f"a study has one source, but got both {source!r} and --preset {preset!r}."
        )
    from klayer.study.study import read_study

    changes: dict[str, Any] = {
        name: value for name, value in (("data", data), ("seeds", seeds)) if value is not None
    }
    changes |= said(ctx)
    if not search:
        changes["search"] = None
    source = source or preset or ("report" if data == "cifar10" else "quick")
    found = read_study(source, **changes)
    if dry_run:
        return _print_plan(found, data_dir, workers)
    return _run(found, "study", out, data_dir, workers, as_json, quiet, pdf)


def _hidden(given: dict[str, Any], depth: int | None, width: int | None) -> dict[str, Any]:
    """Make hidden layers of --depth and --width, if one of them is given."""
    if depth is None and width is None:
        return {}
    if "hidden" in given:
        raise KlayerError("give the hidden layers by --hidden, or by --depth and --width.")
    if depth is not None and depth < 1:
        raise KlayerError(f"`--depth` must be >= 1, but got {depth}.")
    return {"hidden": [50 if width is None else width] * ((3 if depth is None else depth) - 1)}


def _run(
    source: Study | Path,
    kind: str,
    out: Path | None,
    data_dir: Path | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    pdf: bool = False,
) -> None:
    """Run a study, or go on with a run; with progress; then pictures, page, table."""
    from klayer.cli.progress import progress
    from klayer.report import write_report
    from klayer.study.launch import resume_study, run_study

    data = None if isinstance(source, Path) else source.data
    with progress(data, data_dir, quiet or as_json) as bars:
        common: dict[str, Any] = {"data_dir": data_dir, "workers": workers, "reporter": bars}
        if isinstance(source, Path):
            run = resume_study(source, **common)
        else:
            run = run_study(source, out=out, kind=kind, **common)
    written = write_report(run, pdf=pdf)
    summary = run.result("summary.json")
    if as_json:
        typer.echo(json.dumps({"run": str(run.path), **summary}, indent=1))
    elif not quiet:
        print_summary(run)
        if run.study.search:
            print_search(run, run.result("trials.json"))
        print_files(written)


def _print_plan(study: Study, data_dir: Path | None, workers: int | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from klayer.study.duration import durations

    found = durations(study, study.load_data(data_dir), workers)
    console = Console()
    table = Table(title=f"{study.name} on {study.data}: {len(study.arms)} arms")
    table.add_column("arm")
    table.add_column("seeds", justify="right")
    for arm in study.arms:
        table.add_row(arm.name, str(len(study.seeds)))
    console.print(table)
    table = Table(title="populations, in order")
    for column in ("population", "networks", "updates each", "seconds, about"):
        table.add_column(column, justify="left" if column == "population" else "right")
    for one in found:
        table.add_row(one.name, str(one.networks), f"{one.updates:,}", f"{one.seconds:.0f}")
    console.print(table)
    total = sum(one.seconds for one in found)
    console.print(
        f"about {total / 60:.1f} minutes of training on this machine; nothing was trained."
    )
