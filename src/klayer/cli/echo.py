"""The one way to the terminal: nothing in a name or a path acts there."""

from __future__ import annotations

import typer

from klayer.printable import printable

__all__ = ["echo"]


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a text and a line end; what a terminal would act on is escaped, but for line ends and tabs.

    Parameters
    ----------
    text : object
    err : bool
        Whether it goes to stderr.
    """
    typer.echo(printable(text, keep="\n\t"), err=err)
