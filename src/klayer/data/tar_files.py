"""The files of a tar archive, gzipped or not, in one pass: nothing of it is believed, or kept."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from klayer.data.regular_file import require_file
from klayer.errors import KlayerError

__all__ = ["tar_files"]

_BLOCK = 512
_CHUNK = 1 << 20
_MOST_BYTES = 2**31  # of an archive unpacked; CIFAR's have 185 MB
_REGULAR = (b"0", b"\0", b"7")


def tar_files(
    path: Path, wanted: Callable[[str], bool], largest: int, again: str
) -> Iterator[tuple[str, bytes]]:
    """Read the wanted files of an archive, without unpacking it to disk.

    Extended headers, which may claim any size, are passed over, links are not followed, and a file
    is read by its last name alone, wherever in the archive it lies.

    Parameters
    ----------
    path : Path
        A .tar.gz, .tgz or .tar file; what it is shows in its first bytes.
    wanted : callable
        Takes the last part of a name.
    largest : int
        More bytes are refused unread.
    again : str
        What to do about a damaged archive, the end of every message.

    Yields
    ------
    name, content : str, bytes

    Raises
    ------
    KlayerError
        If the archive is cut or damaged, or one of its files too large.
    """
    require_file(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                yield from _members(file, path, wanted, largest, again)
    except (EOFError, zlib.error, OSError, ValueError) as error:
        if isinstance(error, KlayerError):
            raise
        raise KlayerError(f"{path}: the archive is cut or damaged ({error}). {again}") from None


def _members(
    file: IO[bytes] | Any, path: Path, wanted: Callable[[str], bool], largest: int, again: str
) -> Iterator[tuple[str, bytes]]:
    total = 0
    while True:
        header = file.read(_BLOCK)
        if len(header) < _BLOCK:
            raise ValueError("it ends without its end mark")
        if not any(header):
            break
        if _number(header[148:156]) != sum(header[:148]) + 8 * 32 + sum(header[156:]):
            raise ValueError("bad checksum of a header")
        size = _number(header[124:136])
        total += size
        if total > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        name = header[:100].partition(b"\0")[0].decode("utf-8", "replace").rpartition("/")[2]
        rest = -(-size // _BLOCK) * _BLOCK
        if header[156:157] in _REGULAR and wanted(name):
            if size > largest:
                raise KlayerError(
                    f"{path}: {name} must have less than {largest:,} bytes, "
                    f"but has {size:,}. {again}"
                )
            content = file.read(size)
            if len(content) < size:
                raise ValueError("unexpected end of data")
            yield name, content
            rest -= size
        while rest > 0:
            part = file.read(min(rest, _CHUNK))
            if not part:
                raise ValueError("unexpected end of data")
            rest -= len(part)
    while part := file.read(_CHUNK):  # to the end, where gzip keeps its checksum
        total += len(part)
        if total > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")


def _number(field: bytes) -> int:
    """A number of a header: octal digits, or binary where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.partition(b"\0")[0].strip() or b"0", 8)
