"""The command's entry: subcommands, and what becomes of errors."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from klayer.cli import data, runs
from klayer.cli.cluster import cluster
from klayer.cli.echo import CLOSED_PIPE, echo, require_heard
from klayer.cli.export import export
from klayer.cli.gradcheck import gradcheck
from klayer.cli.grade import grade
from klayer.cli.help import HelpedCommand, HelpedGroup
from klayer.cli.mistakes import UsageError, told
from klayer.cli.options import DataCommand, SearchCommand, TrainCommand
from klayer.cli.predict import predict
from klayer.cli.report import report
from klayer.cli.search import search
from klayer.cli.train import study, train
from klayer.errors import KlayerError

__all__ = ["app", "main"]

app = typer.Typer(
    name="klayer",
    cls=HelpedGroup,
    help="Train fully connected networks hundreds at a time, prove their gradients, "
    "turn a study into one report.\n\nExample: klayer train --data digits --seeds 5",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=DataCommand)(study)
app.command(cls=TrainCommand)(train)
app.command(cls=SearchCommand)(search)
app.command(cls=HelpedCommand)(gradcheck)
app.command(cls=HelpedCommand)(grade)
app.command(cls=HelpedCommand)(report)
app.command(cls=HelpedCommand)(predict)
app.command(cls=HelpedCommand)(cluster)
app.command(cls=HelpedCommand)(export)
app.add_typer(runs.app, name="runs")
app.add_typer(data.app, name="data")

_state = {"debug": False}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        echo(f"klayer {metadata.version('klayer')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    _state["debug"] = debug


def main() -> None:
    """Run the command: a user's mistake becomes one message on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal can't write is escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(prog_name="klayer", standalone_mode=False)
        if isinstance(status, int) and status:
            sys.exit(status)
        require_heard()
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.ctx.get_help()
        else:
            echo(f"klayer: {told(error)}", err=True)
        sys.exit(2)
    except typer.Abort:
        echo("klayer: nothing was done.", err=True)
        sys.exit(1)
    except KlayerError as error:
        if _state["debug"]:
            raise
        echo(f"klayer: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # the help, which Rich prints
        sys.stderr.close()
        sys.exit(CLOSED_PIPE)
    except MemoryError as error:
        echo(f"klayer: out of memory ({error}): try fewer networks.", err=True)
        sys.exit(1)
    except OSError as error:
        if _state["debug"]:
            raise
        where = f"{error.filename}: " if error.filename else ""
        echo(f"klayer: {where}{error.strerror or error}.", err=True)
        sys.exit(1)
