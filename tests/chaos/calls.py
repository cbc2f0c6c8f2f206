"""Harm at the n-th call that changes the disk: a kill, or a refusal of the system."""

import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path

# What changes the disk, by the module `os`; SQLite's own calls are traced from outside.
CALLS = ("open", "write", "fsync", "replace", "ftruncate", "mkdir", "unlink", "rmdir")


@dataclass
class AtCall:
    """Do something at a call: before it, after it, or instead of it.

    Parameters
    ----------
    nth : int
        From 0; counted over all of `CALLS` that change the disk.
    harm : str
        ``kill before``, ``kill after``, ``short`` (half is written, then the disk is full), or the name
        of an error.
    log : path, optional
        A file to which the names of all calls are appended.
    """

    nth: int
    harm: str = ""
    log: str | None = None

    def __call__(self):
        """Wrap the functions of `os` in this process."""
        self.count = 0
        for name in CALLS:
            setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, real):
        def call(*args, **kwargs):
            if name == "open" and not args[1] & (os.O_CREAT | os.O_WRONLY):
                return real(*args, **kwargs)
            here, self.count = self.count == self.nth, self.count + 1
            if self.log:
                with Path(self.log).open("a") as log:
                    log.write(f"{name}\n")
            if not here:
                return real(*args, **kwargs)
            if self.harm == "kill before":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.harm == "short" and name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            if self.harm != "kill after":
                number = getattr(errno, self.harm, errno.ENOSPC)
                raise OSError(number, os.strerror(number))
            found = real(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
            return found

        return call


def count(processes, run_child, scene, path):
    """Return the calls of a whole run, in order."""
    log = Path(f"{path}.calls")
    run_child(processes, scene, path, AtCall(-1, log=str(log)))
    return log.read_text(encoding="utf-8").split()
