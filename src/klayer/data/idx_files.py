"""IDX files, as MNIST and its kin are published: found under their many names, read strictly."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from klayer.data.locations import existing
from klayer.data.regular_file import require_file
from klayer.errors import KlayerError

__all__ = ["IMAGES", "LABELS", "find_idx", "read_idx"]

IMAGES, LABELS = 0x00000803, 0x00000801  # unsigned bytes, three dimensions and one
_MOST_BYTES = 2**31  # of a file unpacked; the largest published one, EMNIST's, has 550 MB


def find_idx(folder: Path, prefixes: Sequence[str], part: str) -> Path | None:
    """Find an IDX file under one of the names that it goes by.

    For ``train`` and ``images`` these are ``train-images-idx3-ubyte`` and
    ``train-images.idx3-ubyte``, plain or gzipped, in the folder or, as unpackers leave it, in a
    folder of that name.

    Parameters
    ----------
    folder : Path
    prefixes : sequence of str
        ``["train"]``.
    part : {"images", "labels"}

    Returns
    -------
    Path or None
    """
    axes = 3 if part == "images" else 1
    names = [f"{prefix}-{part}{dot}idx{axes}-ubyte" for prefix in prefixes for dot in "-."]
    for name in names:
        inside = [folder / name / other for other in (*names, f"{prefixes[0]}-{part}")]
        for path in (folder / name, folder / f"{name}.gz", *inside):
            if existing(path):
                return path
    return None


def read_idx(
    path: Path, magic: int, shape: tuple[int | None, ...], again: str = "Get the file anew."
) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped (by its ending).

    The format: a magic number, one size per dimension, each 4 bytes with the highest first, then
    the bytes themselves, the last dimension running fastest.

    Parameters
    ----------
    path : Path
    magic : int
        ``0x0801`` for a vector of bytes, ``0x0803`` for a stack of images.
    shape : tuple of int or None
        The sizes that the header must state; None stands for any.
    again : str
        What to do about a damaged file, the end of every message.

    Returns
    -------
    array of uint8, of the stated shape

    Raises
    ------
    KlayerError
        Naming the file and the part of the header, or the length, that is wrong.
    """
    header = 4 + 4 * len(shape)
    require_file(path)
    opener = gzip.open if path.suffix == ".gz" else Path.open
    try:
        with opener(path, "rb") as file:
            head = file.read(header)
            if len(head) < header:
                raise KlayerError(
                    f"{path}: an IDX header must have {header} bytes, but the file has {len(head)}. "
                    f"{again}"
                )
            found, *sizes = struct.unpack(f">{1 + len(shape)}I", head)
            if found != magic:
                raise KlayerError(
                    f"{path}: the IDX magic number must be {magic:#010x}, but got {found:#010x}. "
                    f"{again}"
                )
            if any(want not in (None, have) for want, have in zip(shape, sizes, strict=True)):
                raise KlayerError(
                    f"{path}: the IDX header must state the shape {_stated(shape)}, but got "
                    f"{tuple(sizes)}. {again}"
                )
            expected = prod(sizes)
            if not 0 < expected <= _MOST_BYTES:
                raise KlayerError(
                    f"{path}: an IDX file must hold 1 to {_MOST_BYTES:,} bytes, but its header states "
                    f"the shape {tuple(sizes)}. {again}"
                )
            data = file.read(expected + 1)  # one byte more shows a file that is too long
    except (OSError, EOFError, zlib.error) as error:
        raise KlayerError(f"{path}: can't be read ({error}). {again}") from None
    if len(data) != expected:
        whole, length = header + expected, header + len(data)
        words = f"more than {whole:,}" if length > whole else f"{length:,}"
        raise KlayerError(f"{path}: must have {whole:,} bytes, but got {words}. {again}")
    return np.frombuffer(data, np.uint8).reshape(sizes)


def _stated(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
