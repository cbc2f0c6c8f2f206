"""Signals: Ctrl-C, a request to end, a closed terminal; what is under way is saved, then said."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["main"]

# What each signal did to the command.
WORDS = {"SIGINT": "interrupted", "SIGTERM": "asked to end", "SIGHUP": "left by its terminal"}
# Seconds until a signal comes again that met code from which no exception gets out.
AGAIN_SECONDS = 0.05


class _Ended(KeyboardInterrupt):
    """A signal: whoever knows how to go on says so in the message, and raises it again."""


class _Listener:
    """Turns the first signal into an exception; the second is answered, the third ends the process."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.stopped = _Ended()
        self._times = 0

    def listen(self) -> None:
        for name in WORDS:
            number = getattr(signal, name, None)
            # One that is ignored (`nohup`, a job in the background) stays ignored.
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self)
        sys.unraisablehook = self.unraisable

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self._times += 1
        if self._times > 2:
            os._exit(128 + number)
        if self._times == 2:
            # Not by `print`, which may be at work at this very moment.
            with contextlib.suppress(OSError):
                os.write(2, b"klayer: what is under way is being saved; once more to leave it.\n")
            return
        self.number = number
        raise self.stopped

    def unraisable(self, lost: UnraisableHookArgs) -> None:
        """Send the signal again if its exception was lost: in a callback of C code, as a compiler's."""
        if lost.exc_value is not self.stopped or self.number is None:
            sys.__unraisablehook__(lost)
            return
        self._times = 0
        again = threading.Timer(AGAIN_SECONDS, signal.raise_signal, (self.number,))
        again.daemon = True
        again.start()


def main() -> None:
    """Run the command, and leave with 128 + the number of the signal if one ended it."""
    listener = _Listener()
    try:
        listener.listen()
        from klayer.cli.app import main as command

        command()
    except BaseException as error:
        if listener.number is None and not isinstance(error, KeyboardInterrupt):
            raise
        listener.number = listener.number or signal.SIGINT
        if isinstance(error, KeyboardInterrupt) and not listener.stopped.args:
            listener.stopped.args = error.args
    if listener.number is not None:
        _leave(listener.number, str(listener.stopped))


def _leave(number: int, message: str) -> None:
    word = WORDS.get(signal.Signals(number).name, "ended")
    try:
        sys.stdout.flush()
        print(f"klayer: {word}{f'; {message}' if message else ''}.", file=sys.stderr, flush=True)
    except OSError:  # the terminal is gone: what is left to be printed would change the status
        os._exit(128 + number)
    sys.exit(128 + number)
