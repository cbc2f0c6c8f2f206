"""What all commands have: help that can be read in any terminal, whole numbers that are read as such."""

from __future__ import annotations

import re
import shutil
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["HelpedCommand", "HelpedGroup"]

# Narrower panels would cut names of options.
PANELS = 100

_WHOLE = re.compile(r"\s*[+-]?\d+(_\d+)*(\.0*)?\s*")


class _Helped:
    """Shows the help without panels where they would cut words."""

    rich_markup_mode: Any

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, or print it at once if it is in panels."""
        if shutil.get_terminal_size().columns >= PANELS:
            super().format_help(ctx, formatter)  # type: ignore[misc]
            return
        mode, self.rich_markup_mode = self.rich_markup_mode, None
        try:
            super().format_help(ctx, formatter)  # type: ignore[misc]
        finally:
            self.rich_markup_mode = mode
        # Brackets that are no markup are marked for the panels.
        formatter.buffer[:] = [part.replace("\\[", "[") for part in formatter.buffer]


class HelpedCommand(_Helped, TyperCommand):
    """A command with such a help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; refuse what Pydantic wrongly takes for a whole number, as 0-2."""
        written, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        rest: list[str] = super().parse_args(ctx, args)
        for parameter in self.get_params(ctx):
            text, value = written.get(parameter.name), ctx.params.get(parameter.name)
            number = isinstance(value, int) and not isinstance(value, bool)
            if number and isinstance(text, str) and not _WHOLE.fullmatch(text):
                rule = f"must be a whole number, but got {text!r:.80}."
                raise typer.BadParameter(rule, ctx, parameter)  # type: ignore[arg-type]
        return rest


class HelpedGroup(_Helped, TyperGroup):
    """A group of commands with such a help."""
