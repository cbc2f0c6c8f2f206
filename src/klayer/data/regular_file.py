"""Files that are only files: a named pipe would be waited for, a device never ends."""

from __future__ import annotations

import stat
from pathlib import Path

from klayer.errors import KlayerError

__all__ = ["require_file"]

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def require_file(path: Path, remedy: str = "copy its content into a file") -> int:
    """Make sure that `path` is a regular file, before anything opens it.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do about anything that is not a file.

    Returns
    -------
    int
        Its size in bytes.

    Raises
    ------
    KlayerError
        If there is no such file, it can't be looked at, or it is a folder, a pipe or a device.

    Examples
    --------
    >>> require_file(Path("/dev/null"))
    Traceback (most recent call last):
    klayer.errors.KlayerError: /dev/null: must be a file, but is a device: copy its content into a file.
    """
    try:
        about = path.stat()
    except FileNotFoundError:
        raise KlayerError(f"{path}: no such file.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise KlayerError(f"{path}: can't be read ({reason}).") from None
    for is_kind, kind in _KINDS:
        if is_kind(about.st_mode):
            raise KlayerError(f"{path}: must be a file, but is {kind}: {remedy}.")
    return about.st_size
