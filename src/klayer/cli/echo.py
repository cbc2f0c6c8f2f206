"""The one way to the terminal: nothing in a name or a path acts there, and no work ends for its words.

Whoever has read enough (``klayer study ... | head -1``), a terminal that is gone, a log on a full disk:
what is under way goes on, the rest isn't said, and the status tells so in the end.
"""

from __future__ import annotations

import os
import sys

import typer

from klayer.printable import printable

__all__ = ["echo", "require_heard"]

# What a program's status is that writes to a closed pipe: 128 + SIGPIPE.
CLOSED_PIPE = 141

# Why results could not be printed, if they couldn't.
_unheard: list[OSError] = []


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a text and a line end; what a terminal would act on is escaped, but for line ends and tabs.

    Parameters
    ----------
    text : object
    err : bool
        Whether it goes to stderr.
    """
    try:
        typer.echo(printable(text, keep="\n\t"), err=err)
    except OSError as error:
        if not err:
            _unheard.append(error)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
        os.close(nowhere)


def require_heard() -> None:
    """End the command with a status of its own if its results could not be printed."""
    if not _unheard:
        return
    if isinstance(_unheard[0], BrokenPipeError):
        sys.exit(CLOSED_PIPE)
    echo(f"klayer: what is printed could not be written: {_unheard[0].strerror}.", err=True)
    sys.exit(1)
