"""How far something is, said on stderr: live in a terminal, in place in a notebook, by lines elsewhere.

A terminal or a notebook shows what is under way, and every finished part leaves a line behind. A pipe, a
file or a dumb terminal gets a line when something begins, and every half a minute one that says what is
under way, how far it is and how much time is left. Whoever doesn't listen any more (a closed pipe, a
terminal that is gone, a log on a full disk) ends nothing: the rest isn't said.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal, Protocol, TextIO

from klayer.printable import printable
from klayer.shown import cell_len

__all__ = ["EVERY", "PATIENCE", "Meter", "clock", "meanwhile", "unasked_way", "way_to_show"]

Way = Literal["live", "notebook", "lines", "off"]

# Seconds between two lines where nothing can be shown in place; and between two pictures where it can.
EVERY, REFRESH = 30.0, 0.25
BAR = 20
# Lines beside, at the most.
MOST_BESIDE = 16
# Seconds before a call shows progress that nobody asked for: what is over at once shows nothing.
PATIENCE = 0.5


def clock(seconds: float) -> str:
    """Write a duration.

    Examples
    --------
    >>> clock(7.2), clock(90), clock(3700)
    ('0:07', '1:30', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None and hasattr(shell, "get_ipython") else None
    return found is not None and hasattr(found, "kernel")


def way_to_show(file: TextIO | None = None) -> Way:
    """Return how progress is best shown where this process runs."""
    if in_notebook():
        return "notebook"
    file = file or sys.stderr
    if file is None:  # closed from the start
        return "off"
    terminal = hasattr(file, "isatty") and file.isatty()
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown", "")
    return "live" if terminal and (not dumb or os.name == "nt") else "lines"


def unasked_way() -> Way:
    """Return how a call shows progress if nobody said whether: a log is left alone."""
    way = way_to_show()
    return "off" if way == "lines" else way


# Those that say something at this moment.
_OPEN: weakref.WeakSet[Meter] = weakref.WeakSet()
# Seconds after which what holds everything up is named.
HELD_UP = 1.5


@contextlib.contextmanager
def meanwhile(what: str) -> Iterator[None]:
    """Let all meters say what holds up whatever is under way, if it takes a while.

    Parameters
    ----------
    what : str

    Examples
    --------
    >>> with Meter("off"), meanwhile("compiling the kernel, once"):
    ...     pass
    """

    def say(what: str) -> None:
        for one in set(_OPEN):
            one.hold_up(what)

    timer = threading.Timer(HELD_UP, say, (what,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may be saying so at this moment
        say("")


class _View(Protocol):
    """Where lines can be replaced."""

    @property
    def width(self) -> int:
        """How many columns a line may have."""

    def show(self, lines: list[str]) -> None:
        """Replace what was shown."""

    def leave(self, line: str) -> None:
        """Leave a line behind, above what is replaced."""

    def close(self) -> None:
        """Take away what was shown."""


class Meter:
    """Says what is under way and how far it is.

    Parameters
    ----------
    way : {"live", "notebook", "lines", "off"}, optional
        By default what suits the place: see :func:`way_to_show`.
    file : text file, optional
        By default stderr.
    patience : float, in seconds
        How long nothing is shown: what is over by then has shown nothing.

    Examples
    --------
    >>> import sys
    >>> with Meter("lines", sys.stdout) as meter:
    ...     meter.phase("reading digits")
    ...     meter.begin("5 networks", total=10)
    ...     meter.move(5, "validation 91.2%")
    ...     meter.leave("5 networks: trained")
    reading digits ...
    5 networks: trained
    """

    def __init__(
        self, way: Way | None = None, file: TextIO | None = None, patience: float = 0.0
    ) -> None:
        self._first = time.monotonic() + patience
        self.file = file or sys.stderr
        self.way: Way = way or way_to_show(self.file)
        self._what, self._note, self._begun = "", "", time.monotonic()
        self._done, self._total = 0.0, 0.0
        self._beside: list[str] = []
        self._all_done, self._all_total, self._all_begun = 0.0, 0.0, 0.0
        self._held_up, self._held_since = "", 0.0
        self._view: _View | None = None
        self._ended = threading.Event()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Meter:
        if self.way != "off":
            _OPEN.add(self)
            self._ended.clear()
            self._thread = threading.Thread(target=self._keep_saying, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _OPEN.discard(self)
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.pause()

    def phase(self, what: str) -> None:
        """Begin something whose end can't be foreseen."""
        self._set(what, 0.0)
        self.whole(0.0)
        if self.way == "lines":
            self._print(f"{what} ...")
        self._refresh()

    def whole(self, total: float) -> None:
        """Say how much there is to do in all, beyond what is begun next; 0 if that is all."""
        with self._lock:
            self._all_done, self._all_total, self._all_begun = 0.0, total, time.monotonic()

    def begin(self, what: str, total: float) -> None:
        """Begin something of which there is ``total`` to do."""
        self._set(what, total)
        self._refresh()

    def move(self, done: float, note: str | None = None) -> None:
        """Say how much of it is done, and what there is to know."""
        with self._lock:
            self._done = done
            self._note = self._note if note is None else note

    def beside(self, lines: list[str]) -> None:
        """Say what else is under way, a line each: who works on it, when several do."""
        with self._lock:
            self._beside = lines

    def hold_up(self, what: str) -> None:
        """Say what holds it up; empty when that is over."""
        with self._lock:
            self._held_up, self._held_since = what, time.monotonic()
        if what and self.way == "lines":
            self._print(f"{what} ...")
        self._refresh()

    def end(self) -> None:
        """What was begun is done."""
        with self._lock:
            self._all_done += self._total
            self._done = self._total = 0.0

    def leave(self, line: str) -> None:
        """Leave a line behind."""
        with self._lock, self._listened_to():
            if self._view is not None:
                self._view.leave(line)
            elif self.way != "off":
                self._print(line)

    def pause(self) -> None:
        """Take away what is shown, so that something else can be printed, until something begins."""
        with self._lock, self._listened_to():
            view, self._view, self._what = self._view, None, ""
            if view is not None:
                view.close()

    def lines(self, width: int = 80) -> list[str]:
        """Return what is under way as lines that fit: a name, how far, the time, a note."""
        with self._lock:
            if not self._what:
                return []
            now = time.monotonic()
            found = _fitted(
                self._what, self._done, self._total, now - self._begun, self._note, width
            )
            if self._all_total > self._total:
                done = self._all_done + self._done
                spent = now - self._all_begun
                found += _fitted("in all", done, self._all_total, spent, "", width)
            if self._held_up:
                found += _fitted(self._held_up, 0.0, 0.0, now - self._held_since, "", width)
            shown = self._beside[:MOST_BESIDE]
            rest = len(self._beside) - len(shown)
            return [*found, *shown, *([f"and {rest} more"] if rest else [])]

    def _set(self, what: str, total: float) -> None:
        with self._lock:
            self._what, self._note, self._begun = what, "", time.monotonic()
            self._done, self._total, self._beside = 0.0, total, []

    def _keep_saying(self) -> None:
        while not self._ended.wait(EVERY if self.way == "lines" else REFRESH):
            if self.way == "lines":
                line = self._in_words()
                if line:
                    self._print(line)
            else:
                self._refresh()

    def _in_words(self) -> str:
        """Return one line for a log: what is under way, how far it is, how much time is left."""
        with self._lock:
            if not self._what:
                return ""
            now = time.monotonic()
            whole = self._all_total > self._total
            done = self._all_done + self._done if whole else self._done
            total = self._all_total if whole else self._total
            spent = now - (self._all_begun if whole else self._begun)
            parts = [f"{self._what} ..."] if not total else [self._what]
            if self._total and whole:
                parts.append(f"{self._done / self._total:.0%}")
            if total:
                parts.append(f"{done / total:.0%} of all" if whole else f"{done / total:.0%}")
            parts.append(f"{clock(spent)} so far")
            if total and done:
                parts.append(f"about {clock(spent * (total - done) / done)} left")
            many = len(self._beside)
            parts += [f"{many} at work: {'; '.join(self._beside[:MOST_BESIDE])}"] if many else []
            parts += [self._held_up] if self._held_up else []
            return ", ".join([*parts, *([self._note] if self._note else [])])

    def _refresh(self) -> None:
        with self._lock, self._listened_to():
            if self.way not in ("live", "notebook") or not self._what:
                return
            if time.monotonic() < self._first:
                return
            if self._view is None:
                self._view = _Notebook() if self.way == "notebook" else _Terminal(self.file)
            self._view.show(self.lines(self._view.width))

    def _print(self, line: str) -> None:
        with self._lock, self._listened_to():
            if self.way != "off":
                print(printable(line), file=self.file, flush=True)

    @contextlib.contextmanager
    def _listened_to(self) -> Iterator[None]:
        """Fall silent once nothing can be written any more: what is under way goes on."""
        try:
            yield
        except (OSError, ValueError):  # ValueError: the file is closed
            self.way, self._view = "off", None


def _fitted(what: str, done: float, total: float, spent: float, note: str, width: int) -> list[str]:
    """Lay out what is known in one line, or in several where it is too long: nothing is cut."""
    numbers = [clock(spent)]
    if total:
        share = min(1.0, done / total)
        numbers = [f"{share:4.0%}", clock(spent)]
        if done:
            numbers.append(f"left {clock(spent * (total - done) / done)}")
    counted = "  ".join(numbers)
    line = f"{what}  {counted}"
    if cell_len(line) > width:
        rows = [what[i : i + width] for i in range(0, len(what), width)]
        return [*rows, *([counted] if len(counted) <= width else numbers)]
    if note and cell_len(f"{line}  {note}") <= width:
        line = f"{line}  {note}"
    if total and cell_len(line) + BAR + 2 <= width:
        full = round(BAR * share)
        line = line.replace(counted, f"{'━' * full}{'─' * (BAR - full)}  {counted}", 1)
    return [line]


class _Terminal:
    """Lines at the bottom of a terminal that are written over."""

    def __init__(self, file: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self.console = Console(file=file, markup=False, highlight=False, emoji=False)
        self.live = Live(console=self.console, transient=True, auto_refresh=False)
        self.live.start()

    @property
    def width(self) -> int:
        return self.console.width

    def show(self, lines: list[str]) -> None:
        from rich.text import Text

        self.live.update(Text("\n".join(map(printable, lines))), refresh=True)

    def leave(self, line: str) -> None:
        self.console.print(printable(line), soft_wrap=True)

    def close(self) -> None:
        self.live.stop()


class _Notebook:
    """An output of a notebook's cell that is replaced."""

    width = 100

    def __init__(self) -> None:
        self.left: list[str] = []
        self.now: list[str] = []
        self.handle: Any = None

    def show(self, lines: list[str]) -> None:
        self.now = lines
        self._draw()

    def leave(self, line: str) -> None:
        self.left.append(line)
        self._draw()

    def close(self) -> None:
        self.now = []
        self._draw()

    def _draw(self) -> None:
        from html import escape

        from IPython.display import HTML, display

        text = escape("\n".join([*self.left, *self.now]))
        shown = HTML(f'<pre role="status" style="margin:0">{text}</pre>')
        if self.handle is None:
            self.handle = display(shown, display_id=True)
        else:
            self.handle.update(shown)
