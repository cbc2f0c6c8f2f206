"""`klayer search`: stages of trials in lockstep, coarse to fine, then the finalists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.complete import complete_data, complete_presets, complete_samplers, complete_studies
from klayer.cli.echo import echo
from klayer.cli.options import (
    DataDir,
    Json,
    Out,
    PageToo,
    Quiet,
    Resume,
    Scheduler,
    Workers,
    placed,
    said,
)
from klayer.cli.output import (
    number,
    print_files,
    print_led_by_another,
    print_search,
    print_table,
    require_none_lost,
    require_one_alive,
    written_score,
)
from klayer.errors import KlayerError

if TYPE_CHECKING:
    from klayer.study import Bars, Study

__all__ = ["search"]


def _option(panel: str) -> Callable[..., Any]:
    """Return what declares an option in a panel of the help: its sentence, its default in words."""

    def option(help: str, default: str | bool = True, *flags: str, **about: Any) -> Any:
        return typer.Option(*flags, help=help, show_default=default, rich_help_panel=panel, **about)

    return option


_what = _option("What to search")
_base = _option("What all trials share")
_how = _option("How to search")
_run_of = _option("The run")


def search(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SEARCH]",
            help="A TOML file, or a preset: report, quick.",
            autocompletion=complete_studies,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        _what("Like SEARCH, for a preset: report, quick.", autocompletion=complete_presets),
    ] = None,
    data: Annotated[
        str | None,
        _base("Data set.", "the preset's or the file's; digits", autocompletion=complete_data),
    ] = None,
    data_dir: DataDir = None,
    trials: Annotated[int | None, _how("Trials a stage.", "30")] = None,
    stages: Annotated[int | None, _how("Only the first N stages that are given.")] = None,
    auto: Annotated[
        int | None,
        _how("N more stages, each derived from the best quarter of the last.", "0"),
    ] = None,
    quantile: Annotated[float | None, _how("Another share than a quarter, for --auto.")] = None,
    sampler: Annotated[
        str | None, _how("{samplers}.", "random", autocompletion=complete_samplers)
    ] = None,
    batch: Annotated[
        int | None, _how("Trials drawn at a time by {learning}, which learn.", "10")
    ] = None,
    seed: Annotated[int | None, _how("Of the sampler and of trial 0.", "0")] = None,
    seeds: Annotated[int | None, _how("Networks a trial; their mean decides.", "1")] = None,
    common_seeds: Annotated[
        bool | None,
        _how(
            "Whether all trials have the same seeds, for a paired comparison.",
            "own-seeds",
            "--common-seeds/--own-seeds",
        ),
    ] = None,
    prune: Annotated[
        bool | None,
        _how("After each cycle keep only the better trials.", "no-prune", "--prune/--no-prune"),
    ] = None,
    keep_share: Annotated[float | None, _how("The share that --prune keeps.", "0.5")] = None,
    finalists: Annotated[
        int | None, _how("How many of the best are trained for longer and tested.", "2")
    ] = None,
    final_cycles: Annotated[float | None, _how("Their length.", "7")] = None,
    final_seeds: Annotated[int | None, _how("Networks each.", "3")] = None,
    storage: Annotated[
        str | None,
        _run_of(
            "Optuna's storage.",
            "search.db in the run directory",
            metavar="URL",
            envvar="KLAYER_STORAGE",
        ),
    ] = None,
    out: Out = None,
    resume: Resume = None,
    workers: Workers = None,
    scheduler: Scheduler = "local",
    page: PageToo = True,
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
    options: dict[str, Any] = {
        "auto": auto,
        "quantile": quantile,
        "sampler": sampler,
        "batch": batch,
        "seed": seed,
        "seeds": seeds,
        "common_seeds": common_seeds,
        "prune": prune,
        "keep": keep_share,
        "storage": storage,
    }
    final = {"top": finalists, "cycles": final_cycles, "seeds": final_seeds}
    options, final = _given(options), _given(final)
    if resume:
        options.pop("storage", None)
        given = (source, preset, data, said(ctx), out, trials, stages, ctx.obj, options, final)
        if any(one is not None and one != {} for one in given):
            raise KlayerError(
                "a run goes on with its own configuration: --resume takes no other flag but "
                "--storage, --data-dir, --workers, --scheduler, --json and --quiet."
            )
        return _run(resume, None, storage, data_dir, workers, as_json, quiet, page, scheduler)
    if source and preset:
        raise KlayerError(
            f"a search has one source, but got both {source!r} and --preset {preset!r}."
        )
    from klayer.train.laid_over import laid_over
    from klayer.train.settings import ALIASES, current_names

    fixed, space = _split(ctx.obj)
    values, where = _values(source or preset, data, space)
    changed = {**values["search"], **options}
    if space:
        changed["stages"] = [space]
    varied = {name for stage in changed.get("stages", []) for name in current_names(stage, where)}
    varied |= {row.stands_for for name, row in ALIASES.items() if name in varied}
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
            for stage in changed.get("stages", [])
        ]
    if stages is not None:
        given_stages = len(changed.get("stages", []))
        if not 1 <= stages <= given_stages:
            raise KlayerError(
                f"`--stages` must be from 1 to {given_stages}, the number of those given,"
                f" but got {stages}: for more stages use --auto."
            )
        changed["stages"] = changed["stages"][:stages]
    changed["settings"] = laid_over(current_names(changed.get("settings", {}), where), fixed)
    changed["finalists"] = {**changed.get("finalists", {}), **final}
    from klayer.study.study import Study

    study = Study.from_values({**values, **said(ctx), "search": changed}, placed(where, data))
    return _run(study, out, None, data_dir, workers, as_json, quiet, page, scheduler)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what the flags fix from what they search: ranges, and lists of several."""
    from klayer.train.settings import ALIASES, SEARCHABLE, without_aliases

    fixed: dict[str, Any] = {}
    space: dict[str, Any] = {}
    for name, value in given.items():
        if name not in SEARCHABLE:
            fixed[name] = value
        elif isinstance(value, list):
            (fixed if len(value) == 1 else space)[name] = value[0] if len(value) == 1 else value
        elif ":" in value:
            space[name] = value
        else:
            try:
                fixed[name] = float(value)
            except ValueError:
                raise KlayerError(
                    f"`{SEARCHABLE[name].flags[0]}` must be a number, or a range like 1e-5:1e-1, "
                    f"but got {value!r}."
                ) from None
    for name, row in ALIASES.items():
        if name in fixed and row.stands_for in fixed:
            raise KlayerError(f"`--{name}` stands for --{row.stands_for}, so give one of the two.")
    return without_aliases(fixed), space


def _values(
    source: str | None, data: str | None, space: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """Return the study to search in, and where it stands: a file, a preset, or flags alone."""
    from klayer.study.study import read_document

    if source or not space:
        values, where = read_document(source or ("report" if data == "cifar10" else "quick"))
    else:
        values, where = {"name": "search", "title": "A search", "search": {}}, ""
    if values.get("search") is None:
        raise KlayerError(
            f"{source} has no search: give it a table [search] with stages, or pass a range such "
            "as --l2 1e-5:1e-1."
        )
    return {**values, **({} if data is None else {"data": data})}, where


def _run(
    source: Study | Path,
    out: Path | None,
    storage: str | None,
    data_dir: Path | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    page: bool,
    scheduler: str,
) -> None:
    """Search, or go on with a run; with progress and a table a stage; then pictures, page, finalists."""
    from klayer.cli.progress import progress
    from klayer.study.launch import resume_search, run_search

    data = None if isinstance(source, Path) else source.data
    with progress(data, data_dir, quiet) as bars:
        common: dict[str, Any] = {"data_dir": data_dir, "workers": workers, "reporter": bars}
        common["scheduler"] = scheduler
        common["watcher"] = None if quiet or as_json else _Printer(bars)
        if isinstance(source, Path):
            run = resume_search(source, storage=storage, **common)
        else:
            run = run_search(source, out=out, **common)
        written = [run.path]
        if page and not run.led_by_another:
            from klayer.report import write_report

            bars.meter.phase("writing the page")
            written = write_report(run)
    if run.led_by_another:
        print_led_by_another(run, quiet=quiet)
        return
    results = run.result("trials.json")
    if as_json:
        from klayer.files import json_text

        echo(json_text({"run": str(run.path), **results}, indent=1))
    elif not quiet:
        print_search(run, results)
        print_files([run.path / "trials.csv", *written])
    require_one_alive(run)
    require_none_lost(run)


class _Printer:
    """Prints a stage's reason when it begins and its table when it is over."""

    def __init__(self, bars: Bars) -> None:
        self.meter = bars.meter

    def stage_begins(self, stage: Any) -> None:
        """Say what is drawn, and why."""
        self.meter.pause()
        echo(f"Stage {stage.stage}: {stage.wanted} trials, {stage.space}")
        if stage.reason != "given":
            echo(f"because {stage.reason}")

    def stage_ends(self, stage: Any, rows: list[dict[str, Any]]) -> None:
        """Print the trials, the best last."""
        from klayer.shown import ShownColumn
        from klayer.study.search.tables import measure_in, sorted_rows

        self.meter.pause()
        rows = sorted_rows(rows)
        several = any(row["validation_sd"] is not None for row in rows)
        states = [row["state"] + (f": {row['failure']}" if row["failure"] else "") for row in rows]
        print_table(
            f"stage {stage.stage}, sorted by validation {measure_in(rows).word}",
            [
                ShownColumn("trial", [str(row["trial"]) for row in rows]),
                *(
                    ShownColumn(name, [number(row[name]) for row in rows])
                    for name in stage.space.names
                ),
                *(
                    ShownColumn(
                        split,
                        [written_score(row, split) for row in rows],
                        rank=rank,
                    )
                    for split, rank in (("validation", 0), ("train", 2))
                ),
                ShownColumn(
                    "seeds" if several else "seed",
                    [" ".join(map(str, row["seeds"])) for row in rows],
                    words=several,
                    rank=3,
                ),
                ShownColumn("state", states, words=True, rank=1),
            ],
        )
