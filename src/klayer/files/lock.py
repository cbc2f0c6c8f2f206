"""A lock between processes: one at a time may write a folder."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from types import ModuleType

from klayer.errors import KlayerError
from klayer.files.writing import named

__all__ = ["UNLOCKED", "Lock", "LockHeld"]

# The environment variable that says: this file system has no locks, I take care myself.
UNLOCKED = "KLAYER_UNLOCKED"

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class LockHeld(KlayerError):
    """Another process holds the lock."""


class Lock:
    """A file that one process at a time holds; it is there while it is held.

    The holder removes the file before it lets go. Whoever waits with the removed file in hand finds
    another one, or none, in its place and begins again: never do two hold it at once.

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

    def take(self) -> None:
        """Hold the lock.

        Raises
        ------
        LockHeld
            If another process holds it.
        KlayerError
            If the file system has no locks.
        NotWritten
            If the file can't be made.
        """
        fcntl = _fcntl()
        while True:
            with named(self.path):
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
            try:
                if fcntl and not os.environ.get(UNLOCKED):
                    self._lock(fcntl, handle)
                if self._is_in_place(handle):
                    self._handle = handle
                    return
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

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
        try:
            with contextlib.suppress(OSError):
                if self._is_in_place(handle):
                    self.path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _fcntl() -> ModuleType | None:
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    return fcntl
