"""The user's cache folder: what takes long to make or to fetch."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from klayer.files.writing import NotWritten, write_text

__all__ = ["cache_folder", "cached"]


def cache_folder() -> Path:
    """Return the user's cache folder of klayer, where downloads are put; it need not exist."""
    import pooch

    return Path(pooch.os_cache("klayer")).expanduser()


def cached(name: str, make: Callable[[], str]) -> str:
    """Return a text that takes long to make: from the user's cache folder, if it is whole there.

    A folder that can't be written is no error: the text is made again each time.

    Parameters
    ----------
    name : str
        Of the file; it must change with whatever ``make`` depends on.
    make : callable
    """
    path = cache_folder() / name
    with contextlib.suppress(OSError, UnicodeDecodeError):
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        if digest == hashlib.sha256(text.encode()).hexdigest():
            return text
    text = make()
    with contextlib.suppress(OSError, NotWritten):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    return text
