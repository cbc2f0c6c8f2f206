"""Claims: who of several processes, on one machine or many, works on what; by files alone.

A claim on ``part`` is a file ``part.claim-1``, which one process alone can make. Its holder writes into
it every few seconds. One that has been silent for longer than the lease is over, and whoever makes
``part.claim-2`` holds the part from then on; a holder that wakes up finds that, and leaves it alone. So
the number in the name counts who had it, and no file is ever taken from another.

Two may hold one part for a moment, if the first was only slow. Claims save work; that two do the same
must do no harm.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from klayer.errors import KlayerError
from klayer.files.writing import named

__all__ = ["LEASE", "Claim", "Claims", "Holder", "beat_seconds", "lease_seconds"]

# The environment variable with another number of seconds after which a silent holder is given up.
LEASE = "KLAYER_LEASE"
USUAL_LEASE = 30.0
# Signs of life in a lease, and seconds between two at the most.
BEATS, MOST_SECONDS = 6, 1.0

_NAME = re.compile(r"(?P<what>.+)\.claim-(?P<number>\d+)")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)


def lease_seconds() -> float:
    """Return after how many seconds without a sign of life a holder is given up.

    Raises
    ------
    KlayerError
        If the environment variable :data:`LEASE` holds no number > 0.
    """
    said = os.environ.get(LEASE)
    try:
        found = float(said) if said else USUAL_LEASE
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise KlayerError(f"{LEASE} must be a number of seconds > 0, but got {said!r}.")
    return found


def beat_seconds(lease: float) -> float:
    """Return the seconds between two signs of life.

    Examples
    --------
    >>> beat_seconds(30.0), beat_seconds(3.0)
    (1.0, 0.5)
    """
    return min(MOST_SECONDS, lease / BEATS)


def _place() -> str:
    """Name this machine, and within it the processes that have numbers in common."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def _born(process: int) -> str:
    """Return when a process of this machine began; empty if there is none, or none that lives."""
    try:
        about = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if about[0] in "ZX" else about[19]


@dataclass(frozen=True)
class Holder:
    """What the file of a claim says.

    Attributes
    ----------
    who : str
        Machine and process.
    place, process, born : str, int, str
        By which others on the same machine see whether it lives.
    begun, kept : int
        The update at which it began, -1 until it knows; and the one that it kept last.
    update : float
        How far it is.
    why : str
        What ended it, if it could say so.
    """

    who: str = ""
    place: str = ""
    process: int = 0
    born: str = ""
    begun: int = -1
    kept: int = -1
    update: float = 0.0
    why: str = ""

    @classmethod
    def here(cls) -> Holder:
        """Return what this process says of itself."""
        process = os.getpid()
        return cls(f"{socket.gethostname()}:{process}", _place(), process, _born(process))

    @property
    def in_vain(self) -> bool:
        """Whether it kept nothing beyond what it began with."""
        return self.kept <= self.begun

    @property
    def gone(self) -> bool:
        """Whether its process is known to be over: that is known on its own machine alone."""
        return bool(self.born) and self.place == _place() and _born(self.process) != self.born


class Claim:
    """A part that this process holds, while the ``with`` block lasts; a thread says that it lives.

    Attributes
    ----------
    lost : bool
        Whether it is another's by now: then nothing more may be written.
    """

    def __init__(self, path: Path, following: Path, handle: int, every: float) -> None:
        self.path, self.following, self._handle = path, following, handle
        self._says = Holder.here()
        self._every, self._lock, self._over = every, threading.Lock(), threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="claim")

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._handle)

    @property
    def lost(self) -> bool:
        """Whether it is another's by now, or its part is wanted no more."""
        return not self.path.exists() or self.following.exists()

    def say(self, **news: float) -> None:
        """Write down what is new: ``begun``, ``kept``, ``update``."""
        self._says = replace(self._says, **news)  # type: ignore[arg-type]
        self._write()

    def hear(self, update: float) -> None:
        """Take down how far it is; it is written with the next sign of life."""
        self._says = replace(self._says, update=update)

    def fail(self, why: str) -> None:
        """Say what went wrong; the next one may try at once."""
        self._says = replace(self._says, why=why[:500])
        self._write()
        with self._lock:
            self._over.set()
            with contextlib.suppress(OSError):
                os.utime(self.path, (0, 0))

    def release(self) -> None:
        """Let go, as if it had never been held."""
        self._over.set()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _beat(self) -> None:
        while not self._over.wait(self._every):
            self._write()

    def _write(self) -> None:
        content = json.dumps(asdict(self._says)).encode()
        with self._lock, contextlib.suppress(OSError):
            if not self._over.is_set():
                os.lseek(self._handle, 0, os.SEEK_SET)
                os.write(self._handle, content)
                os.ftruncate(self._handle, len(content))


class Claims:
    """The claims in a folder.

    Parameters
    ----------
    folder : Path
    lease : float, in seconds, > 0
        How long a holder may be silent.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> claims = Claims(Path(folder.name), lease=30.0)
    >>> first, second = claims.take("part"), claims.take("part")
    >>> first is not None, second is None
    (True, True)
    >>> with first:
    ...     first.release()
    >>> folder.cleanup()
    """

    def __init__(self, folder: Path, lease: float) -> None:
        self.folder, self.lease = folder, lease

    def numbers(self) -> dict[str, int]:
        """Return how many have had each part that was ever claimed."""
        found: dict[str, int] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if ".claim-" in entry.name and (name := _NAME.fullmatch(entry.name)):
                    what, number = name["what"], int(name["number"])
                    found[what] = max(number, found.get(what, 0))
        return found

    def take(self, what: str, number: int | None = None) -> Claim | None:
        """Claim a part; None if somebody holds it.

        Parameters
        ----------
        what : str
        number : int, optional
            How many have had it, as :meth:`numbers` returned it; by default it is looked up.
        """
        number = self.numbers().get(what, 0) if number is None else number
        if number and self.is_held(what, number):
            return None
        path = self._path(what, number + 1)
        with named(path):
            try:
                handle = os.open(path, _FLAGS, 0o666)
            except FileExistsError:
                return None
        return Claim(path, self._path(what, number + 2), handle, beat_seconds(self.lease))

    def is_held(self, what: str, number: int, now: float | None = None) -> bool:
        """Whether the last who had a part is still at work; ``now`` spares a look at the clock."""
        path = self._path(what, number)
        try:
            with path.open("rb") as file:  # opened anew, a network's file system looks again
                beat = os.fstat(file.fileno()).st_mtime
        except OSError:  # it was let go
            return False
        now = self.now() if now is None else now
        return now - beat <= self.lease and not self.holder(what, number).gone

    def holder(self, what: str, number: int) -> Holder:
        """Return what a claim says; nothing if it was let go, or ended before it said anything."""
        try:
            return Holder(**json.loads(self._path(what, number).read_bytes()))
        except (OSError, ValueError, TypeError):  # it may be being written at this moment
            return Holder()

    def holders(self, what: str, number: int) -> list[Holder]:
        """Return what all claims on a part said, in their order."""
        return [self.holder(what, one) for one in range(1, number + 1)]

    def forget(self, what: str, number: int) -> None:
        """Remove all claims on a part, the last first."""
        for one in range(number, 0, -1):
            self._path(what, one).unlink(missing_ok=True)

    @property
    def clock(self) -> Path:
        """The file by which this process reads the clock."""
        return self.folder / f".clock-{socket.gethostname()}-{os.getpid()}"

    def now(self) -> float:
        """Return the time by the clock of the file system, which all claims have in common."""
        try:
            with named(self.clock):
                self.clock.touch()
                return self.clock.stat().st_mtime
        except KlayerError:
            return 0.0  # the folder is gone: nobody is given up

    def _path(self, what: str, number: int) -> Path:
        return self.folder / f"{what}.claim-{number}"
