"""A lock between processes: one at a time may write a folder, for as long as it gives signs of life."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from pathlib import Path
from types import ModuleType

from klayer.errors import KlayerError
from klayer.files.claims import Claims, beat_seconds, lease_seconds
from klayer.files.writing import named

__all__ = ["UNLOCKED", "Lock", "LockHeld", "Pulse"]

# The environment variable that says: this file system has no locks, I take care myself.
UNLOCKED = "KLAYER_UNLOCKED"

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class LockHeld(KlayerError):
    """Another process holds the lock."""


class Lock:
    """A file that one process at a time holds; it is there while it is held.

    A thread of the holder touches it every second, so that a :class:`Pulse` of another process sees
    whether it lives. The holder removes the file before it lets go. Whoever waits with the removed file
    in hand finds another one, or none, in its place and begins again: never do two hold it at once.

    Parameters
    ----------
    path : Path
        Of the file, in a folder that exists.
    what : str
        What is held, for the message.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self._handle: int | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Hold the lock.

        Raises
        ------
        LockHeld
            If another process holds it.
        KlayerError
            If the file system has no locks, or the lease is none.
        NotWritten
            If the file can't be made.
        """
        fcntl, every = _fcntl(), beat_seconds(lease_seconds())
        while True:
            with named(self.path):
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
            try:
                if fcntl and not os.environ.get(UNLOCKED):
                    self._lock(fcntl, handle)
                if self._is_in_place(handle):
                    self._hold(handle, every)
                    return
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def require(self) -> None:
        """Do nothing if the lock is still this process's, or it never was.

        Raises
        ------
        LockHeld
            If another process has taken it, since this one gave no sign of life.
        """
        lockless = _fcntl() is None or os.environ.get(UNLOCKED)
        if self._handle is not None and not lockless and not self._is_in_place(self._handle):
            raise LockHeld(
                f"another process writes {self.what} by now, since this one gave no sign of life for "
                "a while: what it had stored is kept there."
            )

    def _hold(self, handle: int, every: float) -> None:
        self._handle, self._over = handle, threading.Event()
        over = self._over

        def beat() -> None:
            while not over.wait(every):
                with contextlib.suppress(OSError):
                    os.utime(handle)

        if os.utime in os.supports_fd:
            self._thread = threading.Thread(target=beat, daemon=True, name="lock")
            self._thread.start()

    def _lock(self, fcntl: ModuleType, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise LockHeld(
                    f"one process at a time may write a run, but another one is writing {self.what}: "
                    "wait until it is over."
                ) from None
            raise KlayerError(
                f"one process at a time may write a run, but the file system of {self.what} has no "
                f"locks ({error.strerror}): choose another, or set {UNLOCKED}=1 and take care "
                "yourself that no second process writes there."
            ) from None

    def _is_in_place(self, handle: int) -> bool:
        """Whether the file that is held is the one that others find."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(handle))

    def release(self) -> None:
        """Let go, if it is held."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        try:
            with contextlib.suppress(OSError):
                if self._is_in_place(handle):
                    self.path.unlink(missing_ok=True)
        finally:
            os.close(handle)


class Pulse:
    """Watches for signs of life of whoever holds a lock, and frees it where there are none.

    Parameters
    ----------
    path : Path
        Of the lock's file.
    lease : float, in seconds, > 0
        How long the holder may be silent.
    """

    def __init__(self, path: Path, lease: float) -> None:
        self.path, self.lease = path, lease
        self._last: tuple[int, int] | None = None
        self._since = self._looked = float("-inf")

    def is_silent(self, now: float | None = None) -> bool:
        """Whether the holder has given no sign of life for a lease, in which this was asked often.

        Parameters
        ----------
        now : float, in seconds, optional
            By default of a clock that never goes back. It is this machine's alone: no two are compared.
        """
        now = time.monotonic() if now is None else now
        sign = self._sign()
        asleep = now - self._looked > self.lease / 2  # whoever asks was silent itself
        if sign != self._last or asleep:
            self._last, self._since = sign, now
        self._looked = now
        return sign is not None and now - self._since > self.lease

    def free(self) -> bool:
        """Free the lock if its holder is still silent; return whether this process did.

        Of several that do so at once, a claim chooses one.
        """
        claims = Claims(self.path.parent, self.lease)
        claim = claims.take(self.path.name)
        claims.clock.unlink(missing_ok=True)
        if claim is None:
            return False
        with claim:
            silent = self._last is not None and self._sign() == self._last
            if silent:
                self.path.unlink(missing_ok=True)
            claims.forget(self.path.name, claims.numbers().get(self.path.name, 0))
        return silent

    def _sign(self) -> tuple[int, int] | None:
        try:
            with self.path.open("rb") as file:  # opened anew, a network's file system looks again
                about = os.fstat(file.fileno())
        except OSError:
            return None
        return about.st_ino, about.st_mtime_ns


def _fcntl() -> ModuleType | None:
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    return fcntl
