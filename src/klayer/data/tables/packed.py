"""Files that may be packed: plain, .gz, .bz2 or .xz, never unpacked beyond what memory holds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from klayer.errors import KlayerError

__all__ = ["PACKINGS", "ending", "is_packed", "memory_bound", "read_all", "read_head"]

PACKINGS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

_BLOCK = 2**24


def memory_bound() -> int:
    """Return half of this machine's memory in bytes: what one table may take."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 2**32


def is_packed(path: Path) -> bool:
    """Say whether a file's name says that it is packed."""
    return path.suffix.lower() in PACKINGS


def ending(path: Path) -> str:
    """Return the ending that names the format: ``.csv`` of ``a.csv.gz``.

    Examples
    --------
    >>> ending(Path("houses.CSV.gz")), ending(Path("a9a"))
    ('.csv', '')
    """
    return (Path(path.stem) if is_packed(path) else path).suffix.lower()


def _open(path: Path) -> IO[bytes]:
    opened = PACKINGS.get(path.suffix.lower(), open)(path, "rb")
    return cast("IO[bytes]", opened)


def read_head(path: Path, size: int = 2**16) -> bytes:
    """Return the first bytes of a file, unpacked."""
    return _guarded(path, lambda file: file.read(size))


def read_all(path: Path) -> bytes:
    """Return a whole file, unpacked.

    Raises
    ------
    KlayerError
        If it can't be read or unpacked, or would fill more than half of the memory.
    """

    def read(file: IO[bytes]) -> bytes:
        bound, content = memory_bound(), bytearray()
        while block := file.read(_BLOCK):
            content += block
            if len(content) > bound:
                raise KlayerError(
                    f"{path}: a table must fit into half of the memory, {bound:,} bytes, but this "
                    "one is larger: give it in parts, or as .npz."
                )
        return bytes(content)

    return _guarded(path, read)


def _guarded(path: Path, read: Callable[[IO[bytes]], bytes]) -> bytes:
    try:
        with _open(path) as file:
            return read(file)
    except FileNotFoundError:
        raise KlayerError(f"{path}: no such file.") from None
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        if isinstance(error, KlayerError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise KlayerError(f"{path}: can't be read ({reason}).") from None
    except Exception as error:  # zlib.error is no OSError
        raise KlayerError(f"{path}: can't be unpacked ({error}).") from None
