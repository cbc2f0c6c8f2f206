"""Bytes on the disk: every write is atomic, and outlasts a power cut when it returns.

A file is written beside its place, flushed to the disk, renamed, and the folder is flushed too: after a
crash or a power cut it holds the old content or the new one, never half of either. What could not be
written is named, with the cause and what to do.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from klayer.errors import KlayerError

__all__ = [
    "NotWritten",
    "append_bytes",
    "cut",
    "flush_folder",
    "is_part",
    "make_folder",
    "move",
    "named",
    "own_folder",
    "read_bytes",
    "remove",
    "remove_parts",
    "require_name",
    "write_bytes",
    "write_text",
]

Content = bytes | memoryview

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# Without it, opening a named pipe waits until somebody writes to it.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)

_NEXT_STEPS = {
    errno.ENOSPC: "Free some space on its disk.",
    errno.EDQUOT: "Free some of your quota.",
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EPERM: "Choose a folder that you may write to.",
    errno.EROFS: "Choose a folder that can be written to.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOENT: "Its folder is gone: put it back, or choose another.",
    errno.ENOTDIR: "A folder is needed where a file is: choose another place.",
    errno.EISDIR: "A folder of that name is in the way: move it, or choose another name.",
    errno.ELOOP: "It is a symbolic link, which is not followed: remove it.",
    errno.EIO: "The disk fails: check it, or choose another.",
    errno.EFBIG: "The file system takes no file of that size: choose another.",
    errno.EMFILE: "Too many files are open: close some, or raise `ulimit -n`.",
    errno.ENFILE: "Too many files are open: close some, or raise `ulimit -n`.",
}

# A file under way: the name that it shall have, the machine, the process and a number.
_PART = re.compile(r".*\.(?:([0-9a-f]{8})-)?(\d+)-\d+\.part", re.DOTALL)
_MACHINE = f"{zlib.crc32(socket.gethostname().encode()):08x}"
# Seconds after which another machine has surely written what it began to write.
_LONG = 3600.0
_numbers = itertools.count()
_under_way: set[str] = set()


class NotWritten(KlayerError):
    """The system refused to write a file; what was there before is as it was."""


def require_name(path: Path) -> None:
    """Refuse a path with a byte 0, which no file's name has: the system's calls raise ValueError."""
    if "\0" in str(path):
        raise KlayerError(
            f"{str(path)!r} is no path: no name of a file has a byte 0. Choose another name."
        )


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn a refusal of the system into an error that names the file, the cause and the next step."""
    try:
        require_name(path)
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        step = _NEXT_STEPS.get(error.errno or 0, "Choose another place.")
        raise NotWritten(f"{path} can't be written: {cause}. {step}") from error


def write_bytes(path: Path, *content: Content) -> None:
    """Write a file, whole or not at all; it is on the disk when this returns.

    A symbolic link at ``path`` is replaced, not followed.

    Parameters
    ----------
    path : Path
    *content : bytes-like
        One after another.

    Raises
    ------
    NotWritten
        If the system refuses. The old file is untouched, unless only the flush of its folder failed.
    """
    require_name(path)
    under_way = f"{path.name[:60]}.{_MACHINE}-{os.getpid()}-{next(_numbers)}.part"
    part = path.with_name(under_way)
    _under_way.add(str(part))
    try:
        with named(path):
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY, 0o666)
            try:
                _write(handle, content)
                os.fsync(handle)
            finally:
                os.close(handle)
            part.replace(path)
            flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        _under_way.discard(str(part))


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def append_bytes(path: Path, content: bytes) -> None:
    """Append to a file; what was added is on the disk when this returns, the rest is untouched.

    Raises
    ------
    NotWritten
        If the system refuses, or ``path`` is a symbolic link. What was added is taken back.
    """
    with named(path):
        new = not path.exists()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_LINK | _BINARY
        handle = os.open(path, flags, 0o666)
        try:
            before = os.fstat(handle).st_size
            try:
                _write(handle, [content])
                os.fsync(handle)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)
        if new:
            flush_folder(path.parent)


def _write(handle: int, content: Sequence[Content]) -> None:
    for one in content:
        rest = memoryview(one).cast("B")
        while rest:  # a call may write less than it was given
            rest = rest[os.write(handle, rest) :]


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Return what a file holds.

    Parameters
    ----------
    path : Path
    most : int, optional
        In bytes.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is none.
    KlayerError
        If it can't be read, is no plain file (a pipe would wait for ever), or is larger than ``most``.
    """
    require_name(path)
    try:
        handle = os.open(path, os.O_RDONLY | _NO_WAIT | _BINARY)
        with os.fdopen(handle, "rb") as file:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise KlayerError(f"{path} must be a file, but is none: remove it.")
            if most is not None and about.st_size > most:
                raise KlayerError(
                    f"{path} must have {most:,} bytes at the most, but has {about.st_size:,}."
                )
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise KlayerError(f"{path} can't be read: {error.strerror or error}.") from error


def move(path: Path, to: Path) -> None:
    """Rename a file, over another one if there is one; the folder is flushed with the next write."""
    with named(to):
        path.replace(to)


def cut(path: Path, size: int) -> None:
    """Shorten a file to so many bytes."""
    with named(path):
        handle = os.open(path, os.O_WRONLY | _NO_LINK | _BINARY)
        try:
            os.ftruncate(handle, size)
            os.fsync(handle)
        finally:
            os.close(handle)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with named(path):
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder that the user named, and those above it."""
    with named(folder):
        folder.mkdir(parents=True, exist_ok=True)


def own_folder(folder: Path, name: str) -> Path:
    """Return the folder ``folder / name``, made if need be.

    Raises
    ------
    NotWritten
        If it can't be made, or is a symbolic link: what is written into a folder that somebody else
        made must not land elsewhere.
    """
    path = folder / name
    with named(path):
        try:
            path.mkdir()
        except FileExistsError:
            if path.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
            if not path.is_dir():
                raise
        else:
            flush_folder(folder)
    return path


def is_part(path: Path) -> bool:
    """Return whether a file is one that a kill left half written: whoever wrote it is gone.

    Examples
    --------
    >>> is_part(Path("run.json.part")), is_part(Path("run.json"))
    (True, False)
    """
    found = _PART.fullmatch(path.name)
    if not found:
        return path.name.endswith(".part")
    if found[1] not in (None, _MACHINE):  # what runs there is not known here
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime > _LONG
        return False
    if int(found[2]) == os.getpid():
        return str(path) not in _under_way
    try:
        os.kill(int(found[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it is there, but another user's
        pass
    return False


def remove_parts(folder: Path) -> None:
    """Remove files that a kill left half written, here and in the folders below."""
    for path in folder.rglob("*.part"):
        if is_part(path):
            remove(path)


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: a new or renamed file outlasts a power cut."""
    try:
        handle = os.open(folder, os.O_RDONLY | _BINARY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
