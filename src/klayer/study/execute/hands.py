"""Hands: the processes that train parts, started and watched by whoever leads the run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Protocol

from klayer.errors import KlayerError
from klayer.files.lock import UNLOCKED
from klayer.study.execute.hand import Hand
from klayer.train import available_cores

__all__ = ["Hands", "Joined", "Processes"]

# Seconds that a process has for keeping what it has, once it was asked to end.
END_SECONDS = 30.0
# Processes that end one after the other without a part coming to its end: then something is wrong.
MOST_ENDS = 10

_COMMAND = "from klayer.study.execute.hand import main; main()"


class Hands(Protocol):
    """Whoever trains the parts of a run."""

    @property
    def count(self) -> int:
        """How many parts are trained at once."""

    @property
    def threads(self) -> int:
        """On how many threads each is trained."""

    def open(self, run: Path) -> None:
        """Begin with the parts of a run, unless they are at it."""

    def tend(self, done: int, left: int) -> None:
        """Keep them at work: so many parts are done, so many are left."""

    def close(self) -> None:
        """End: what is under way is kept, and let go."""

    def shut(self) -> None:
        """Leave for good."""


class Processes:
    """Processes of this machine; one that ends is replaced.

    Parameters
    ----------
    count : int, >= 1
    workers : int, optional
        Threads in all; by default the cores that this process may use.
    """

    def __init__(self, count: int, workers: int | None = None) -> None:
        self.count = count
        self.threads = max(1, (workers or available_cores()) // count)
        self._running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
        self._ended = self._done = 0
        self._said = ""

    def open(self, run: Path) -> None:
        self._run, self._ended = run, 0
        self.tend(self._done, self.count)

    def tend(self, done: int, left: int) -> None:
        if done != self._done:
            self._done, self._ended = done, 0
        for process, said in list(self._running):
            if process.poll() is not None:
                said.seek(0)
                self._said = said.read().decode(errors="replace").strip()[-1000:]
                said.close()
                self._running.remove((process, said))
                self._ended += 1
        if self._ended > MOST_ENDS * self.count:
            raise KlayerError(
                f"a process that trains must not end before its work, but {self._ended} ended one after "
                f"the other: {self._said or 'they were killed'}"
            )
        while len(self._running) < min(self.count, left):
            self._running.append(self._started())

    def _started(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        said = tempfile.TemporaryFile()  # noqa: SIM115
        about = [str(self._run), str(self.threads), str(os.getpid())]
        command = [sys.executable, "-c", _COMMAND, *about]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        return process, said

    def close(self) -> None:
        for process, _ in self._running:
            process.terminate()
        latest = time.monotonic() + END_SECONDS
        for process, said in self._running:
            try:
                process.wait(max(0.0, latest - time.monotonic()))
            except subprocess.TimeoutExpired:  # it is stopped, or hangs in a file system
                process.kill()
                process.wait()
            said.close()
        self._running = []

    def shut(self) -> None: ...


class Joined:
    """A thread of this process; others that run the same command take part by themselves.

    Parameters
    ----------
    count : int, >= 1
        How many are expected in all.
    workers : int, optional
        Threads of this process.
    """

    def __init__(self, count: int, workers: int | None = None) -> None:
        if os.environ.get(UNLOCKED):
            raise KlayerError(
                f"one of the processes that join leads the run, which takes a lock, but {UNLOCKED} is "
                "set: choose a folder whose file system has locks."
            )
        self.count, self.threads = count, workers or available_cores()
        self._thread: threading.Thread | None = None
        self._wrong: BaseException | None = None

    def open(self, run: Path) -> None:
        if self._thread is not None:
            return
        self._stop = threading.Event()
        hand = Hand(run, self.threads, self._stop)

        def work() -> None:
            try:
                hand.work(lambda: False)
            except BaseException as error:
                self._wrong = error

        self._thread = threading.Thread(target=work, daemon=True, name="hand")
        self._thread.start()

    def tend(self, done: int, left: int) -> None:  # noqa: ARG002
        if self._wrong is not None:
            raise self._wrong

    def close(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def shut(self) -> None: ...
