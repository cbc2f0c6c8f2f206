"""A hand: claims an open part, trains it, lays its result down. All that work by folder do this."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from klayer.errors import KlayerError
from klayer.files import Claim, Damaged, NotWritten
from klayer.study.checkpoints import Checkpoints
from klayer.study.execute.bench import Bench
from klayer.study.execute.carried_data import read_data
from klayer.study.execute.keeper import Keeper
from klayer.study.execute.local import Local
from klayer.study.execute.part import PartResult
from klayer.study.provenance import made_by
from klayer.train import TrainingState

__all__ = ["IDLE_SECONDS", "Hand", "idle_seconds", "main"]

# Between two looks at a bench with nothing to do.
IDLE_SECONDS = 0.1
# On a slow file system so many times as long as a look takes; no more, since a look in which the process
# was frozen took long too.
LOOKS, MOST_IDLE = 5, 10.0
# Writes that are tried again: another machine may have cleared what this one had begun to write.
TRIES = 3


def idle_seconds(took: float) -> float:
    """Return how long to wait after a look at a bench that took so many seconds.

    Examples
    --------
    >>> idle_seconds(0.001), idle_seconds(1.0), idle_seconds(3600.0)
    (0.1, 5.0, 10.0)
    """
    return min(MOST_IDLE, max(IDLE_SECONDS, LOOKS * took))


class _Stopped(KeyboardInterrupt):
    """The hand was told to stop: what it has is kept, and its part let go."""


class _PartGone(Exception):
    """The part is another's by now."""


class Hand:
    """Works on the parts of one run.

    Parameters
    ----------
    run : Path
        The run directory.
    threads : int, >= 1
        On which a part is trained.
    stop : threading.Event, optional
        Set, it makes the hand keep what it has and let go.
    beside : Hand, optional
        Another hand of this process: they share the data.
    """

    def __init__(
        self,
        run: Path,
        threads: int,
        stop: threading.Event | None = None,
        beside: Hand | None = None,
    ) -> None:
        self.run, self.threads, self.stop = run, threads, stop or threading.Event()
        self.bench = Bench(run)
        self._local: Local | None = None
        self._beside = beside

    def work_once(self) -> str | None:
        """Claim an open part and bring it to its end; return its name, or None if none is open."""
        for name, number in self.bench.open_parts():
            try:
                claim = self.bench.claims.take(name, number)
            except NotWritten:
                if self.bench.is_there:
                    raise
                return None
            if claim is not None:
                with claim:
                    self._work(name, claim, number)
                return name
        return None

    def work(self, is_over: Callable[[], bool]) -> int:
        """Work until there is no more to do for good; return how many parts were trained."""
        done = 0
        while not self.stop.is_set() and not is_over():
            started = time.monotonic()
            if self.work_once() is None:
                took = time.monotonic() - started
                self.stop.wait(idle_seconds(took))
            else:
                done += 1
        return done

    def _work(self, name: str, claim: Claim, before: int) -> None:
        checkpoints = Checkpoints(self.run, sealed=True)
        try:
            try:
                spec = self.bench.spec(name)
            except (FileNotFoundError, Damaged):  # it is wanted no more
                claim.release()
                return
            state = checkpoints.load(name, lambda text: print(text, file=sys.stderr))
            begun = state.update if state else 0
            claim.say(begun=begun, kept=begun)
            # One that was lost before keeps every state that it can: then it does get further.
            keeper = _Claimed(
                checkpoints, name, claim, self._is_called_off, 0.0 if before else None
            )
            with self._opened() as local:
                result = local.work(spec, state, keeper)
            if not claim.lost:
                _again(lambda: self.bench.keep(name, _made_here(result)))
        except _PartGone:
            return
        except _Stopped:
            claim.release()
        except KeyboardInterrupt:
            claim.release()
            raise
        except Exception as error:
            if not self.bench.is_there:  # the run is over
                return
            claim.fail(_why(error))

    def _is_called_off(self, name: str) -> bool:
        return self.stop.is_set() or not self.bench.is_laid_out(name)

    def _opened(self) -> Local:
        """Return what trains here; the data are read the first time."""
        if self._local is None:
            other = self._beside._local if self._beside else None
            data = other.dataset if other else read_data(self.bench.folder)
            self._local = Local(data, self.threads, other)
        return self._local


def _made_here(result: PartResult) -> PartResult:
    return PartResult(result.state, result.scores, result.seconds, _machine())


def _machine() -> Mapping[str, Any]:
    return {**made_by(), "who": socket.gethostname()}


def _why(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory ({error})"
    return str(error) if isinstance(error, KlayerError) else f"{type(error).__name__}: {error}"


def _again(write: Callable[[], None]) -> None:
    for _ in range(TRIES - 1):
        with contextlib.suppress(NotWritten):
            return write()
    return write()


class _Claimed(Keeper):
    """Keeps the state of a part for as long as it is this hand's."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        name: str,
        claim: Claim,
        is_called_off: Callable[[str], bool],
        seconds: float | None,
    ) -> None:
        super().__init__(checkpoints, name, seconds)
        self.claim, self.is_called_off = claim, is_called_off

    def progress(self, update: float) -> None:
        self.claim.hear(update)
        if self.claim.lost:
            raise _PartGone
        if self.is_called_off(self.name):
            raise _Stopped

    def interrupted(self, state: TrainingState) -> None:
        if self.claim.lost:
            raise _PartGone
        _again(lambda: super(_Claimed, self).interrupted(state))
        self.claim.say(kept=state.update, update=state.update)


def main() -> None:
    """Work on a run until the process that leads it ends: ``python -c ... RUN THREADS LEADER``."""
    run, threads, leader = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        while not stop.wait(0.5):
            if os.getppid() != leader:  # it was killed: nobody takes in results
                stop.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        Hand(run, threads, stop).work(lambda: False)
    except KlayerError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
