"""`klayer train` and `klayer study`: networks trained into a run directory."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.complete import complete_data, complete_presets, complete_settings, complete_studies
from klayer.cli.echo import echo
from klayer.cli.options import (
    DataDir,
    Json,
    Out,
    PageToo,
    Quiet,
    Resume,
    Scheduler,
    Seed,
    Seeds,
    Workers,
    placed,
    said,
    with_seeds,
)
from klayer.cli.output import (
    print_files,
    print_led_by_another,
    print_search,
    print_summary,
    print_table,
    require_none_lost,
    require_one_alive,
)
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
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings that come with klayer, in the place of a file: small, best, patient (for "
            "cifar10).",
            autocompletion=complete_settings,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: digits, cifar10, fashion_mnist, synthetic, a table (.csv, .parquet, ...), a "
            ".npz file or a folder of images. \\[default: digits]",
            autocompletion=complete_data,
        ),
    ] = None,
    data_dir: DataDir = None,
    seeds: Seeds = None,
    seed: Seed = None,
    depth: Depth = None,
    width: Width = None,
    out: Out = None,
    resume: Resume = None,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Train nothing: let the learning rate grow for some hundred updates, draw the loss, "
            "and suggest a rate.",
        ),
    ] = False,
    workers: Workers = None,
    scheduler: Scheduler = "local",
    page: PageToo = True,
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
    from klayer.study.toml_values import anchored, read_toml
    from klayer.train.laid_over import laid_over
    from klayer.train.presets import read_preset
    from klayer.train.seeds import seeds_of
    from klayer.train.settings import current_names

    flags = {**ctx.obj, **_hidden(ctx.obj, depth, width)}
    if resume:
        asked = flags or said(ctx) or config or preset or data or seeds or seed is not None or out
        if asked or find_lr:
            raise KlayerError(
                "a run goes on with its own settings: --resume takes no other flag but --data-dir, "
                "--workers, --scheduler, --json and --quiet."
            )
        return _run(
            resume, "train", None, data_dir, workers, as_json, quiet, page, scheduler=scheduler
        )
    if config and preset:
        raise KlayerError(
            f"settings have one source, but got --config {config} and --preset {preset}: leave one away."
        )
    file = anchored(read_toml(config), config.parent) if config else {}
    file = read_preset(preset) if preset else file
    where = f"preset {preset}" if preset else str(config or "")
    own: dict[str, Any] = {
        name: file.pop(name) for name in ("data", "networks", "seeds", "seed") if name in file
    }
    if {"networks", "seeds"} <= own.keys():
        raise located(where, "`networks` and `seeds` are one thing, so give one of the two.")
    own = with_seeds(own, seeds, seed)
    name = "networks" if "networks" in own else "seeds"
    try:
        numbers = seeds_of(own.get(name, 1), own.get("seed"), name)
    except KlayerError as error:
        raise located(where, str(error)) from None
    of_data = {name: file.pop(name) for name in OPTIONS if name in file} | said(ctx)
    chosen = {
        "name": "train",
        "data": own.get("data", "digits") if data is None else data,
        **of_data,
        "seeds": list(numbers),
        "arms": [laid_over(current_names(file, where), flags)],
    }
    study = Study.from_values(chosen, placed(where, data))
    if find_lr:
        from klayer.cli.find_lr import range_test

        return range_test(study, out, data_dir, workers, as_json, quiet)
    return _run(study, "train", out, data_dir, workers, as_json, quiet, page, scheduler=scheduler)


def study(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A TOML file, or a preset: report, quick, ablation, ablation-best.",
            autocompletion=complete_studies,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="The same as STUDY, for a preset.", autocompletion=complete_presets),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Another data set than the study's. \\[default: the study's]",
            autocompletion=complete_data,
        ),
    ] = None,
    data_dir: DataDir = None,
    seeds: Seeds = None,
    seed: Seed = None,
    search: Annotated[
        bool, typer.Option("--search/--no-search", help="Run the study's search, if it has one.")
    ] = True,
    out: Out = None,
    resume: Resume = None,
    workers: Workers = None,
    scheduler: Scheduler = "local",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print arms, populations and updates; train nothing.")
    ] = False,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print the page to PDF too, by Chromium.")
    ] = False,
    page: PageToo = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a study: every arm with every seed, and one page with the results.

    Without STUDY it is the preset made for the data set: report for cifar10, else quick.

    Example: klayer study --data cifar10 --seeds 4
    """
    if resume:
        if source or preset or data or said(ctx) or seeds or seed is not None or out or dry_run:
            raise KlayerError(
                "a run goes on with its own configuration: --resume takes no other flag but "
                "--data-dir, --workers, --scheduler, --json and --quiet."
            )
        return _run(resume, "study", None, data_dir, workers, as_json, quiet, page, pdf, scheduler)
    if pdf and not page:
        raise KlayerError("`--pdf` prints the page, so it can't go with --no-report.")
    if source and preset:
        raise KlayerError(
            f"a study has one source, but got both {source!r} and --preset {preset!r}."
        )
    from klayer.study.study import Study, read_document

    values, where = read_document(source or preset or ("report" if data == "cifar10" else "quick"))
    values = with_seeds(values, seeds, seed)
    if data is not None:
        values["data"] = data
    values |= said(ctx)
    if not search:
        values["search"] = None
    found = Study.from_values(values, placed(where, data))
    if dry_run:
        return _print_plan(found, data_dir, workers, as_json, quiet, scheduler)
    return _run(found, "study", out, data_dir, workers, as_json, quiet, page, pdf, scheduler)


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
    page: bool,
    pdf: bool = False,
    scheduler: str = "local",
) -> None:
    """Run a study, or go on with a run; with progress; then pictures, page, table."""
    from klayer.cli.progress import progress
    from klayer.study.launch import resume_study, run_study

    data = None if isinstance(source, Path) else source.data
    with progress(data, data_dir, quiet) as bars:
        common: dict[str, Any] = {
            "data_dir": data_dir,
            "workers": workers,
            "reporter": bars,
            "scheduler": scheduler,
        }
        if isinstance(source, Path):
            run = resume_study(source, storage=os.environ.get("KLAYER_STORAGE"), **common)
        else:
            run = run_study(source, out=out, kind=kind, **common)
        written = [run.path]
        if page and not run.led_by_another:
            from klayer.report import write_report

            bars.meter.phase("writing the page")
            written = write_report(run, pdf=pdf)
    if run.led_by_another:
        print_led_by_another(run, quiet=quiet)
        return
    summary = run.result("summary.json")
    if as_json:
        from klayer.files import json_text

        echo(json_text({"run": str(run.path), **summary}, indent=1))
    elif not quiet:
        print_summary(run)
        if run.study.search:
            print_search(run, run.result("trials.json"))
        print_files(written)
    require_one_alive(run)
    require_none_lost(run)


def _print_plan(
    study: Study,
    data_dir: Path | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    scheduler: str,
) -> None:
    """Print what a study would train, and how long it would take."""
    from klayer.cli.progress import progress
    from klayer.shown import ShownColumn
    from klayer.study.duration import durations, plan_shared

    with progress(study.data, data_dir, quiet) as bars:
        with study.named():
            dataset = study.load_data(data_dir)
            notes = study.require_updates(len(dataset.splits["train"]))
        for note in notes:
            bars.note(note)
        bars.meter.phase("timing some updates")
        found = durations(study, dataset, workers)
        shared = plan_shared(study, dataset, scheduler, workers)
    total = sum(one.seconds for one in found)
    if as_json:
        plan = {
            "name": study.name,
            "data": study.data,
            "seeds": list(study.seeds),
            "arms": [
                {
                    "arm": arm.name,
                    "label": study.labels[arm.name],
                    "settings": arm.settings.as_dict(),
                }
                for arm in study.arms
            ],
            "populations": [asdict(one) for one in found],
            "seconds": total,
            "scheduler": shared and asdict(shared),
        }
        from klayer.files import json_text

        echo(json_text(plan, indent=1))
    elif not quiet:
        many = f"{len(study.arms)} arms" if len(study.arms) > 1 else "1 arm"
        seeds = f"seeds {', '.join(map(str, study.seeds))}"
        arms = [ShownColumn("arm", list(study.labels.values()), words=True)]
        print_table(f"{study.name} on {study.data}: {many}, {seeds}", arms)
        print_table(
            "populations, in order",
            [
                ShownColumn("population", [one.name for one in found], words=True),
                ShownColumn("networks", [str(one.networks) for one in found], rank=1),
                ShownColumn("updates each", [f"{one.updates:,}" for one in found], rank=2),
                ShownColumn("about", [_about(one.seconds) for one in found]),
            ],
        )
        if shared:
            print_table(
                f"{shared.parts} parts of up to {shared.networks} networks, "
                f"{shared.data_bytes / 1e6:,.1f} MB of data to each worker",
                [
                    ShownColumn("parts at once", [str(n) for n in shared.seconds]),
                    ShownColumn("about", [_about(one) for one in shared.seconds.values()]),
                ],
            )
        echo(f"about {_about(total)} of training on this machine; nothing was trained.")


def _about(seconds: float) -> str:
    """Write a duration that is not known exactly."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
