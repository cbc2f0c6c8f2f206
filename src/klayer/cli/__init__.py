"""The command ``klayer``.

Modules of this room import nothing heavy at the top, so that ``klayer --help`` answers at once; signals
are listened to before anything else is imported.
"""

from klayer.cli.signals import main

__all__ = ["main"]
