"""Help that can be read in any terminal: panels where they fit, plain columns where they don't."""

from __future__ import annotations

import shutil
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["HelpedCommand", "HelpedGroup"]

# Narrower panels would cut names of options.
PANELS = 100


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


class HelpedGroup(_Helped, TyperGroup):
    """A group of commands with such a help."""
