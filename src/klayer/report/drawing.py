"""Charts are drawn in a process of their own: if the library ends it, the page is written without them.

Some texts and numbers, and any limit on a process's addresses (``ulimit -v``, as on clusters), make the
library abort. That costs a picture, not what was trained.
"""

from __future__ import annotations

import atexit
import base64
import json
import math
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from klayer.errors import KlayerError
from klayer.printable import printable
from klayer.report import chart_worker

__all__ = ["NotDrawn", "javascript_bundle", "newest_version", "pdf", "png", "svg"]

# Seconds that a picture may take, and processes that may be lost before no more are begun.
SECONDS, DEATHS = 120, 3


class NotDrawn(KlayerError):
    """A picture that the chart library didn't draw; the message is a sentence for the page."""


class _Worker:
    """The process, begun when it is first needed and again when it is lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._deaths = 0

    def ask(self, work: str, **asked: Any) -> str:
        """Return what the library made."""
        with self._lock:
            if self._deaths >= DEATHS:
                raise NotDrawn(
                    "This picture is missing: the chart library ended several times before."
                )
            line = self._answer(json.dumps({"work": work, **asked}))
        answer = json.loads(line)
        if "refused" in answer:
            raise NotDrawn(
                f"This picture is missing: the chart library refused it: {answer['refused']}"
            )
        found: str = answer["found"]
        return found

    def _answer(self, line: str) -> str:
        process = self._process = self._process or self._begin()
        assert process.stdin
        assert process.stdout
        late = threading.Timer(SECONDS, process.kill)
        late.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        except BaseException:  # half an answer would be taken for that to the next question
            self.end()
            raise
        finally:
            late.cancel()
        if answer.endswith("\n"):
            return answer
        self._deaths += 1
        raise NotDrawn(f"This picture is missing: the chart library ended ({self._last_word()}).")

    def _begin(self) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                # -P: the worker's folder is no place to import from.
                [sys.executable, "-P", str(Path(chart_worker.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                start_new_session=True,  # a Ctrl-C is for the command alone
            )
        except OSError as error:
            self._deaths += 1
            raise NotDrawn(
                f"This picture is missing: no process could be begun to draw it ({error.strerror})."
            ) from None

    def _last_word(self) -> str:
        code = self.end()
        if code is None or code >= 0:
            return f"status {code}"
        return f"{signal.Signals(-code).name}; a limit such as `ulimit -v`, or too little memory"

    def end(self) -> int | None:
        """End the process; return its status."""
        process, self._process = self._process, None
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe:
                    pipe.close()
            except OSError:
                pass
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


_WORKER = _Worker()
atexit.register(_WORKER.end)


def _drawable(value: Any) -> Any:
    """Return a specification without what the chart library ends the process on.

    Control characters in a text, whole numbers that no float holds, numbers that are not finite.
    """
    if isinstance(value, dict):
        return {printable(key): _drawable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_drawable(item) for item in value]
    if isinstance(value, str):
        return printable(value, keep="\n")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return float(value) if abs(value) < 10**300 else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@cache
def newest_version() -> str:
    """Return the newest Vega-Lite release that there is to render with."""
    import vl_convert

    known: list[str] = vl_convert.get_vegalite_versions()
    return max(known, key=lambda version: [int(part) for part in version.split(".")])


def svg(spec: dict[str, Any]) -> str:
    """Draw a specification as SVG.

    Raises
    ------
    NotDrawn
        If the library ends or refuses it.
    """
    return _WORKER.ask("svg", spec=_drawable(spec), version=newest_version())


def png(svg: str, scale: float) -> bytes:
    """Draw an SVG as PNG, so many pixels for one of its own.

    Raises
    ------
    NotDrawn
        As :func:`svg`.
    """
    return base64.b64decode(_WORKER.ask("png", svg=svg, scale=scale))


def pdf(svg: str) -> bytes:
    """Draw an SVG as PDF.

    Raises
    ------
    NotDrawn
        As :func:`svg`.
    """
    return base64.b64decode(_WORKER.ask("pdf", svg=svg))


def javascript_bundle(snippet: str) -> str:
    """Return Vega, Vega-Lite, Vega-Embed and a snippet as one script.

    Raises
    ------
    NotDrawn
        As :func:`svg`.
    """
    return _WORKER.ask("bundle", snippet=snippet, version=newest_version())
