"""`klayer train` and `klayer study`: networks trained into a run directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from klayer.cli.output import interruptible, print_files, print_search, print_summary, widths
from klayer.errors import KlayerError

__all__ = ["study", "train"]

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder that holds the data set. \\[default: $KLAYER_DATA, the user's cache]"
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Run directory, new or empty. \\[default: runs/DATE-TIME-COMMAND]"),
]
Resume = Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")]
Workers = Annotated[int | None, typer.Option(help="Threads. \\[default: all cores]")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]


def train(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file of settings; flags win over it."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: digits, cifar10, fashion_mnist, synthetic, a .npz file or a folder of "
            "images. \\[default: digits]"
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
    hidden: Annotated[
        str | None,
        typer.Option(metavar="WIDTHS", help="Hidden widths, as in 50,30,20. \\[default: 50,50]"),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Number of layers, hidden ones of --width units.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Units of a hidden layer, with --depth. \\[default: 50]")
    ] = None,
    batch_norm: Annotated[
        str | None,
        typer.Option("--batch-norm", "--bn", help="none, hidden or all. \\[default: none]"),
    ] = None,
    bn_eps: Annotated[
        float | None, typer.Option(help="Added to the variance in the root. \\[default: 1e-8]")
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="he, xavier or gaussian:SIGMA. \\[default: he]")
    ] = None,
    l2: Annotated[
        float | None,
        typer.Option(
            "--l2", "--lambda", help="Penalty lambda, in loss + lambda * sum W². \\[default: 0.005]"
        ),
    ] = None,
    lr_min: Annotated[float | None, typer.Option(help="\\[default: 1e-5]")] = None,
    lr_max: Annotated[float | None, typer.Option(help="\\[default: 0.1]")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="triangular, cosine or constant. \\[default: triangular]")
    ] = None,
    cycles: Annotated[
        float | None, typer.Option(help="Length, in cycles of two half-cycles. \\[default: 2]")
    ] = None,
    half_cycle: Annotated[
        str | None,
        typer.Option(help="Like '5 epochs', '2250 updates' or 2250. \\[default: 5 epochs]"),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="\\[default: 100]")] = None,
    last_batch: Annotated[
        str | None,
        typer.Option(help="An epoch's smaller last batch: drop or keep. \\[default: drop]"),
    ] = None,
    points_per_cycle: Annotated[
        int | None, typer.Option(help="How often the curves are recorded. \\[default: 10]")
    ] = None,
    curve_samples: Annotated[
        int | None, typer.Option(help="Samples a split behind a curve's point. \\[default: 5000]")
    ] = None,
    order_seed: Annotated[
        int | None, typer.Option(help="Seed of the mini-batch order. \\[default: 0]")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64. \\[default: float32]")
    ] = None,
    updates_at_once: Annotated[
        int | None,
        typer.Option(help="Updates of a large first layer carried out at once. \\[default: 2]"),
    ] = None,
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
    from klayer.study.config import StudyConfig, read_toml, validate

    flags = {
        "batch_norm": batch_norm,
        "bn_eps": bn_eps,
        "init": init,
        "l2": l2,
        "lr_min": lr_min,
        "lr_max": lr_max,
        "schedule": schedule,
        "cycles": cycles,
        "half_cycle": half_cycle,
        "batch_size": batch_size,
        "last_batch": last_batch,
        "points_per_cycle": points_per_cycle,
        "curve_samples": curve_samples,
        "order_seed": order_seed,
        "dtype": dtype,
        "updates_at_once": updates_at_once,
        "hidden": _hidden(hidden, depth, width),
    }
    flags = {name: value for name, value in flags.items() if value is not None}
    if resume:
        if flags or config or data or networks or seed is not None or out:
            raise KlayerError(
                "a run goes on with its own settings: --resume takes no other flag but --data-dir, "
                "--workers, --json and --quiet."
            )
        return _run(None, "train", None, resume, data_dir, workers, as_json, quiet)
    file = read_toml(config) if config else {}
    if networks is not None and networks < 1:
        raise KlayerError(f"`--networks` must be >= 1, but got {networks}.")
    chosen = {
        "name": "train",
        "data": data or file.pop("data", "digits"),
        "seeds": list(range(seed or 0, (seed or 0) + (networks or file.pop("networks", 1)))),
        "arms": [{**file, **flags}],
    }
    if config and seed is None and "seed" in file:
        first = chosen["arms"][0].pop("seed")
        chosen["seeds"] = [first + s for s in chosen["seeds"]]
    where = str(config) if config else "klayer train"
    study_config = validate(StudyConfig, chosen, where)
    return _run(study_config, "train", out, None, data_dir, workers, as_json, quiet)


def study(
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
        if source or preset or data or seeds or out or dry_run:
            raise KlayerError(
                "a run goes on with its own configuration: --resume takes no other flag but "
                "--data-dir, --workers, --json and --quiet."
            )
        return _run(None, "study", None, resume, data_dir, workers, as_json, quiet, pdf)
    if source and preset:
        raise KlayerError(
            f"a study has one source, but got both {source!r} and --preset {preset!r}."
        )
    from klayer.study.config import read_study

    config = read_study(source or preset or ("report" if data == "cifar10" else "quick"))
    changes = {"data": data, "seeds": seeds}
    config = config.model_copy(
        update={name: value for name, value in changes.items() if value is not None}
    )
    if not search:
        config.search = None
    config.seed_list()
    if dry_run:
        return _print_plan(config, data_dir, workers)
    return _run(config, "study", out, None, data_dir, workers, as_json, quiet, pdf)


def _hidden(hidden: str | None, depth: int | None, width: int | None) -> list[int] | None:
    if hidden is not None:
        if depth is not None or width is not None:
            raise KlayerError("give the hidden layers by --hidden, or by --depth and --width.")
        return widths(hidden)
    if depth is None and width is None:
        return None
    if depth is not None and depth < 1:
        raise KlayerError(f"`--depth` must be >= 1, but got {depth}.")
    return [50 if width is None else width] * ((3 if depth is None else depth) - 1)


def _run(config, kind, out, resume, data_dir, workers, as_json, quiet, pdf: bool = False) -> None:
    """Run or resume, with progress; then pictures, page, table."""
    from klayer.cli.progress import Bars, prepare
    from klayer.report import finish
    from klayer.study.study import resume_study, run_study

    bars = Bars(quiet=quiet or as_json)
    if config:
        prepare(config.data, data_dir, quiet or as_json)
    with interruptible(bars):
        if resume:
            run = resume_study(resume, data_dir=data_dir, workers=workers, reporter=bars)
        else:
            run = run_study(
                config, out=out, kind=kind, data_dir=data_dir, workers=workers, reporter=bars
            )
    written = finish(run, pdf=pdf)
    summary = json.loads((run.path / "summary.json").read_text(encoding="utf-8"))
    if as_json:
        typer.echo(json.dumps({"run": str(run.path), **summary}, indent=1))
    elif not quiet:
        print_summary(run)
        if run.info["config"].get("search"):
            print_search(run, json.loads((run.path / "trials.json").read_text(encoding="utf-8")))
        print_files(written)


def _print_plan(config, data_dir, workers) -> None:
    from rich.console import Console
    from rich.table import Table

    from klayer.data import load
    from klayer.study.estimate import estimate
    from klayer.train import Standardised

    arms = config.arm_list()
    found = estimate(config, Standardised(load(config.data, data_dir=data_dir)), workers)
    console = Console()
    table = Table(title=f"{config.name} on {config.data}: {len(arms)} arms")
    table.add_column("arm")
    table.add_column("seeds", justify="right")
    for arm in arms:
        table.add_row(arm.name, str(len(config.seed_list())))
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
