"""The command ``klayer``.

Modules of this room import nothing heavy at the top, so that ``klayer --help`` answers at once.
"""

from klayer.cli.app import app, main

__all__ = ["app", "main"]
