"""The command's options: those that subcommands share, and those made from the table of settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.core import TyperArgument, TyperOption

from klayer.cli.complete import choices, complete_runs
from klayer.cli.help import HelpedCommand

if TYPE_CHECKING:
    from klayer.train.setting import Setting

__all__ = [
    "DataCommand",
    "DataDir",
    "Json",
    "Out",
    "PageToo",
    "Quiet",
    "Resume",
    "Scheduler",
    "SearchCommand",
    "Seed",
    "Seeds",
    "TrainCommand",
    "Workers",
    "placed",
    "said",
    "with_seeds",
]

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
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN", help="Go on with an interrupted run.", autocompletion=complete_runs
    ),
]
Scheduler = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Who trains: local, processes:N, a Dask scheduler's tcp://HOST:PORT, or join: whoever runs "
        "this same command.",
        autocompletion=choices(["local", "processes:", "join", "tcp://", "tls://"]),
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads. \\[default: all cores]")]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        "--networks",
        metavar="N|LIST",
        help="Number of networks of each kind, each with a seed of its own; or the seeds, as in 3,7,9. "
        "\\[default: the file's; 1]",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help="The first seed; the others count up. \\[default: the file's; 0]"),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the results as JSON on stdout; progress stays on stderr."),
]
PageToo = Annotated[
    bool,
    typer.Option("--report/--no-report", help="Write the page; `klayer report RUN` does so later."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print nothing but mistakes, and what --json asks for."),
]


def placed(where: str, data: str | None) -> str:
    """Return how messages name a file whose data a flag replaced; nothing if there is no file."""
    return f"{where} with --data {data}" if where and data is not None else where


def with_seeds(values: Mapping[str, Any], seeds: str | None, seed: int | None) -> dict[str, Any]:
    """Return a file's values with the seeds that flags ask for; they win over the file's."""
    from klayer.train.seeds import parse_seeds

    found = dict(values)
    if seeds is not None:
        found.pop("networks", None)
        found["seeds"] = parse_seeds(seeds)
        if isinstance(found["seeds"], list):
            found.pop("seed", None)
    if seed is not None:
        found["seed"] = seed
    return found


class DataCommand(HelpedCommand):
    """A command with an option for whatever may be said of data; :func:`said` has those given.

    They are made when the command is used, so that ``klayer --help`` does without NumPy.
    """

    _of_data: tuple[str, ...] = ()

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the function's own options, then those of the data."""
        if not self._of_data:
            from klayer.data.options import OPTIONS

            kinds = {"names": list[str], "count": int}
            options = {
                row.name: Annotated[
                    Optional[kinds.get(row.kind, str)],  # noqa: UP045
                    typer.Option(
                        row.flag, metavar=row.metavar, help=row.help, rich_help_panel="Tables"
                    ),
                ]
                for row in OPTIONS.values()
            }
            self.params += _options(options)
            self._of_data = tuple(OPTIONS)
        return super().get_params(ctx)

    def invoke(self, ctx: Any) -> Any:
        """Put what was said of the data aside."""
        given = {name: ctx.params.pop(name) for name in self._of_data}
        ctx.meta[_SAID] = {
            name: list(value) if isinstance(value, list | tuple) else value
            for name, value in given.items()
            if value not in (None, (), [])
        }
        return super().invoke(ctx)


_SAID = "klayer: said of the data"


def said(ctx: typer.Context) -> dict[str, Any]:
    """Return what was said of the data on the command line, by name."""
    found: dict[str, Any] = ctx.meta[_SAID]
    return found


class TrainCommand(DataCommand):
    """A command with an option for each setting; its context's ``obj`` holds those given, by name.

    The options are made when the command is used, so that ``klayer --help`` does without the table of
    settings, and without NumPy.
    """

    _rows: dict[str, Setting] | None = None

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the function's own options, then those of the settings."""
        if self._rows is None:
            rows = self.rows()
            former = {
                old: replace(row, name=old, flags=(f"--{old.replace('_', '-')}",))
                for row in rows.values()
                for old in row.was
            }
            options = {name: self.option(row) for name, row in (rows | former).items()}
            made = _options(options)
            for option in made:
                option.hidden = option.name in former
            self.params += made
            self._rows = rows | former
            self.complete_help()
        return super().get_params(ctx)

    def invoke(self, ctx: Any) -> Any:
        """Hand over the settings that were given, as plain values under the names of today."""
        from klayer.train.settings import current_names

        given = {name: ctx.params.pop(name) for name in self._rows or ()}
        ctx.obj = current_names(
            {
                name: _plain((self._rows or {})[name], value)
                for name, value in given.items()
                if value not in (None, (), [])
            }
        )
        return super().invoke(ctx)

    def rows(self) -> dict[str, Setting]:
        """Return the settings that become options."""
        from klayer.train.settings import SETTINGS

        return dict(SETTINGS)

    def complete_help(self) -> None:
        """Fill in what the help of the function's own options takes from a table."""

    def option(self, row: Setting) -> Any:
        """Return a setting's type and option."""
        help = f"{row.sentence} \\[default: {row.shown_default}]"
        return _annotated(row, row.flag_type, help=help, rich_help_panel="Settings")


class SearchCommand(TrainCommand):
    """The same for a search: a parameter of it takes a range, or several choices."""

    def rows(self) -> dict[str, Setting]:
        """Return what can be searched, then the other settings."""
        from klayer.train.settings import SEARCHABLE, SETTINGS

        return {**SEARCHABLE, **SETTINGS}

    def complete_help(self) -> None:
        """Name the samplers."""
        from klayer.study.search.options import LEARNING
        from klayer.study.search.samplers import SAMPLERS

        words = {
            "{samplers}": _listed(list(SAMPLERS), "or"),
            "{learning}": _listed(LEARNING, "and"),
        }
        for one in self.params:
            assert isinstance(one, TyperArgument | TyperOption)
            for place, text in words.items():
                one.help = one.help and one.help.replace(place, text)

    def option(self, row: Setting) -> Any:
        """Return a setting's type and option: one value for all trials, or what to draw from."""
        if not row.search:
            panel, default = "What all trials share", row.shown_default
            return _annotated(
                row, row.flag_type, help=row.sentence, show_default=default, rich_help_panel=panel
            )
        panel = "What to search"
        if row.search == "choices":
            help = f"{row.sentence.rstrip('.')}; given more than once, they are searched."
            return _annotated(row, list[row.flag_type], help=help, rich_help_panel=panel)  # type: ignore[name-defined]
        low_high = "LOW:HIGH[:log|linear]" if row.search == "log" else "LOW:HIGH[:linear|log]"
        help = f"{row.sentence} One number for all trials, or a range {low_high} to search."
        return _annotated(row, str, help=help, rich_help_panel=panel)


def _annotated(row: Setting, kind: Any, **about: Any) -> Any:
    words = [*row.choices, *row.words]
    if words:
        about["autocompletion"] = choices(words)
    return Annotated[Optional[kind], typer.Option(*row.flags, metavar=row.metavar, **about)]  # noqa: UP045


def _options(annotations: dict[str, Any]) -> list[Any]:
    """Let Typer make options of annotations, as it does of a function's."""

    def function() -> None: ...

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=one)
        for name, one in annotations.items()
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = annotations
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return list(typer.main.get_command(app).params)


def _listed(names: list[str], word: str) -> str:
    """Write a list: ``random, qmc, tpe or gp``."""
    *first, last = names
    return f" {word} ".join(part for part in (", ".join(first), last) if part)


def _plain(row: Setting, value: Any) -> Any:
    """Read the text of a flag that Click doesn't read itself: widths, and numbers beside words."""
    if isinstance(value, list | tuple):
        return [_plain(row, one) for one in value]
    return row.parse(value) if row.flag_type is str and isinstance(value, str) else value
