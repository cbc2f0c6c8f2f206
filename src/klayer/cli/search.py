"""`klayer search`: stages of trials in lockstep, coarse to fine, then the finalists."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from klayer.cli.output import interruptible, number, percent, print_files, print_search, widths
from klayer.cli.train import DataDir, Json, Out, Quiet, Resume, Workers
from klayer.errors import KlayerError

__all__ = ["search"]

_WHAT = "What to search"
_BASE = "What all trials share"
_HOW = "How to search"
_RUN = "The run"

_Number = "One number for all trials, or a range LOW:HIGH[:log|linear] to search."


def search(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SEARCH]", help="A TOML file, or a preset: report, quick."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Like SEARCH, for a preset: report, quick.", rich_help_panel=_WHAT),
    ] = None,
    l2: Annotated[
        str | None,
        typer.Option("--l2", "--lambda", help=f"Penalty. {_Number}", rich_help_panel=_WHAT),
    ] = None,
    lr_min: Annotated[str | None, typer.Option(help=_Number, rich_help_panel=_WHAT)] = None,
    lr_max: Annotated[str | None, typer.Option(help=_Number, rich_help_panel=_WHAT)] = None,
    sigma: Annotated[
        str | None,
        typer.Option(help=f"Of a Gaussian initialisation. {_Number}", rich_help_panel=_WHAT),
    ] = None,
    hidden: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WIDTHS",
            help="Hidden widths, as in 50,50; given more than once, they are searched.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    batch_norm: Annotated[
        list[str] | None,
        typer.Option(
            "--batch-norm",
            "--bn",
            help="none, hidden or all; given more than once, they are searched.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(
            help="In samples; given more than once, they are searched.", rich_help_panel=_WHAT
        ),
    ] = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            help="he, xavier or gaussian:SIGMA; given more than once, they are searched.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set.",
            show_default="the preset's or the file's; digits",
            rich_help_panel=_BASE,
        ),
    ] = None,
    data_dir: DataDir = None,
    cycles: Annotated[
        float | None,
        typer.Option(help="Length of a trial, in cycles.", show_default="2", rich_help_panel=_BASE),
    ] = None,
    half_cycle: Annotated[
        str | None,
        typer.Option(
            help="Like '5 epochs' or '2250 updates'.",
            show_default="5 epochs",
            rich_help_panel=_BASE,
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials a stage.", show_default="30", rich_help_panel=_HOW)
    ] = None,
    stages: Annotated[
        int | None,
        typer.Option(help="Only the first N stages that are given.", rich_help_panel=_HOW),
    ] = None,
    auto: Annotated[
        int | None,
        typer.Option(
            help="N more stages, each derived from the best quarter of the last.",
            show_default="0",
            rich_help_panel=_HOW,
        ),
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(help="Another share than a quarter, for --auto.", rich_help_panel=_HOW),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="random, qmc, tpe or gp.", show_default="random", rich_help_panel=_HOW),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            help="Trials drawn at a time by tpe and gp, which learn.",
            show_default="10",
            rich_help_panel=_HOW,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of the sampler and of trial 0.", show_default="0", rich_help_panel=_HOW),
    ] = None,
    seeds_per_trial: Annotated[
        int | None,
        typer.Option(
            help="Networks a trial; their mean decides.", show_default="1", rich_help_panel=_HOW
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="own: each trial its own seeds; common: all the same, for a paired comparison.",
            show_default="own",
            rich_help_panel=_HOW,
        ),
    ] = None,
    prune: Annotated[
        bool | None,
        typer.Option(
            "--prune/--no-prune",
            help="After each cycle keep only the better trials.",
            show_default="no-prune",
            rich_help_panel=_HOW,
        ),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            help="The share that --prune keeps.", show_default="0.5", rich_help_panel=_HOW
        ),
    ] = None,
    finalists: Annotated[
        int | None,
        typer.Option(
            help="How many of the best are trained for longer and tested.",
            show_default="2",
            rich_help_panel=_HOW,
        ),
    ] = None,
    final_cycles: Annotated[
        float | None, typer.Option(help="Their length.", show_default="7", rich_help_panel=_HOW)
    ] = None,
    final_seeds: Annotated[
        int | None, typer.Option(help="Networks each.", show_default="3", rich_help_panel=_HOW)
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="KLAYER_STORAGE",
            help="Optuna's storage.",
            show_default="search.db in the run directory",
            rich_help_panel=_RUN,
        ),
    ] = None,
    out: Out = None,
    resume: Resume = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for hyperparameters: each stage's trials are trained in lockstep.

    The best by validation accuracy are trained for longer with several seeds; only they are tested.
    Without SEARCH and without a range it is the preset made for the data set.

    Example, the report's search: klayer search --preset report --data cifar10

    Example, its first stage, then three that follow from it: klayer search --l2 1e-5:1e-1 --auto 3
    --batch-norm hidden
    """
    point = {
        "l2": l2,
        "lr_min": lr_min,
        "lr_max": lr_max,
        "sigma": sigma,
        "hidden": hidden and [widths(one) for one in hidden],
        "batch_norm": batch_norm,
        "batch_size": batch_size,
        "init": init,
    }
    shared = {"cycles": cycles, "half_cycle": half_cycle}
    options = {
        "auto": auto,
        "quantile": quantile,
        "sampler": sampler,
        "batch": batch,
        "seed": seed,
        "seeds_per_trial": seeds_per_trial,
        "seeds": seeds,
        "prune": prune,
        "keep": keep,
        "storage": storage,
    }
    final = {"top": finalists, "cycles": final_cycles, "seeds": final_seeds}
    point, shared, options, final = map(_given, (point, shared, options, final))
    if resume:
        options.pop("storage", None)
        given = (source, preset, data, out, trials, stages, point, shared, options, final)
        if any(one is not None and one != {} for one in given):
            raise KlayerError(
                "a run goes on with its own configuration: --resume takes no other flag but "
                "--storage, --data-dir, --workers, --json and --quiet."
            )
        return _run(None, None, resume, storage, data_dir, workers, as_json, quiet)
    if source and preset:
        raise KlayerError(
            f"a search has one source, but got both {source!r} and --preset {preset!r}."
        )
    fixed, space = _split(point)
    config = _config(source or preset, data, space)
    changed = {**config.search, **options}
    if space:
        changed["stages"] = [space]
    varied = {name for stage in changed.get("stages", []) for name in stage}
    if "sigma" in varied:
        varied.add("init")
    for name in fixed:
        if name in varied:
            raise KlayerError(
                f"`{name}` is what this search varies, so it can't be {fixed[name]} for all "
                "trials: give a range, or leave it away."
            )
    if trials is not None:
        changed["trials"] = trials
        changed["stages"] = [
            {name: value for name, value in stage.items() if name != "trials"}
            for stage in changed["stages"]
        ]
    if stages is not None:
        if not 1 <= stages <= len(changed["stages"]):
            raise KlayerError(
                f"`--stages` must be from 1 to {len(changed['stages'])}, the number of those given,"
                f" but got {stages}: for more stages use --auto."
            )
        changed["stages"] = changed["stages"][:stages]
    changed["settings"] = {**changed.get("settings", {}), **shared, **fixed}
    changed["finalists"] = {**changed.get("finalists", {}), **final}
    config = config.model_copy(update={"search": changed})
    return _run(config, out, None, None, data_dir, workers, as_json, quiet)


def _given(options: dict) -> dict:
    return {name: value for name, value in options.items() if value is not None and value != []}


def _split(point: dict) -> tuple[dict, dict]:
    """Part what the flags fix from what they search: ranges, and lists of several."""
    fixed, space = {}, {}
    for name, value in point.items():
        if isinstance(value, list):
            if len(value) > 1:
                space[name] = value
            else:
                fixed[name] = value[0]
        elif ":" in value:
            space[name] = value
        else:
            try:
                number = float(value)
            except ValueError:
                raise KlayerError(
                    f"`--{name.replace('_', '-')}` must be a number, or a range like 1e-5:1e-1, "
                    f"but got {value!r}."
                ) from None
            if name == "sigma":
                name, number = "init", f"gaussian:{number!r}"
            fixed[name] = number
    return fixed, space


def _config(source: str | None, data: str | None, space: dict):
    """Return the study to search in: a file, a preset, or the defaults if ranges are given."""
    from klayer.study.config import StudyConfig, read_study

    if source or not space:
        config = read_study(source or ("report" if data == "cifar10" else "quick"))
    else:
        config = StudyConfig(name="search", title="A search", search={})
    if config.search is None:
        raise KlayerError(
            f"{source} has no search: give it a table [search] with stages, or pass a range such "
            "as --l2 1e-5:1e-1."
        )
    return config.model_copy(update={"data": data} if data else {})


def _run(config, out, resume, storage, data_dir, workers, as_json, quiet) -> None:
    """Search or resume, with progress and a table a stage; then pictures, page, finalists."""
    from klayer.cli.progress import Bars, prepare
    from klayer.report import finish
    from klayer.study.search import resume_search, search

    silent = quiet or as_json
    bars = Bars(quiet=silent)
    watcher = None if silent else _Printer(bars)
    common = {"data_dir": data_dir, "workers": workers, "reporter": bars, "watcher": watcher}
    if config:
        prepare(config.data, data_dir, silent)
    with interruptible(bars):
        if resume:
            run = resume_search(resume, storage=storage, **common)
        else:
            run = search(config, out=out, **common)
    written = finish(run)
    results = json.loads((run.path / "trials.json").read_text(encoding="utf-8"))
    if as_json:
        typer.echo(json.dumps({"run": str(run.path), **results}, indent=1))
    elif not quiet:
        print_search(run, results)
        print_files([run.path / "trials.csv", *written])


class _Printer:
    """Prints a stage's reason when it begins and its table when it is over."""

    def __init__(self, bars) -> None:
        from rich.console import Console

        self.bars, self.console = bars, Console()

    def stage_begins(self, stage) -> None:
        self.bars.stop()
        self.console.print(f"[bold]Stage {stage.stage}[/]: {stage.wanted} trials, {stage.space}")
        if stage.reason != "given":
            self.console.print(f"because {stage.reason}", highlight=False)

    def stage_ends(self, stage, rows: list[dict]) -> None:
        from rich.table import Table

        from klayer.study.search import sorted_rows

        self.bars.stop()
        several = any(row["validation_sd"] is not None for row in rows)
        table = Table(title=f"stage {stage.stage}, sorted by validation accuracy")
        table.add_column("trial", justify="right")
        for name in (*stage.space.names, "validation", "train"):
            table.add_column(name, justify="right")
        table.add_column("seeds" if several else "seed", justify="right")
        table.add_column("state")
        for row in sorted_rows(rows):
            state = row["state"] + (f": {row['failure']}" if row["failure"] else "")
            table.add_row(
                str(row["trial"]),
                *(number(row[name]) for name in stage.space.names),
                *(
                    percent(row[f"{split}_accuracy"], row[f"{split}_sd"])
                    for split in ("validation", "train")
                ),
                " ".join(map(str, row["seeds"])),
                state,
            )
        self.console.print(table)
