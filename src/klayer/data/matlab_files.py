"""Matrices of numbers out of a Matlab file of format 5, read by a small reader of our own.

The usual reader is a general one, in C: a changed byte can end the process. Here every length is
compared with what is there before anything is taken.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

__all__ = ["read_matrices"]

_HEADER = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
# What a matrix holds, by its class; cells, structs, texts and sparse matrices are passed over.
_CLASSES = dict(enumerate(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"], start=6))
_COMPLEX = 0x0800


def read_matrices(
    data: bytes, wanted: Sequence[str], where: str, largest: int
) -> dict[str, NDArray[Any]]:
    """Read matrices of numbers by their names.

    Source: MAT-File Format, MathWorks, level 5.

    Parameters
    ----------
    data : bytes
        The content of the file.
    wanted : sequence of str
        Names of variables; others are passed over.
    where : str
        How to name the file in a message.
    largest : int
        Bytes that one variable may have unpacked.

    Returns
    -------
    dict of str to array
        Those that are there.

    Raises
    ------
    KlayerError
        If the file is not of this format, or a length or type in it can't be.

    Examples
    --------
    >>> import io
    >>> from scipy.io import savemat
    >>> file = io.BytesIO()
    >>> savemat(file, {"a": np.array([[1, 2], [3, 4]], np.uint8), "b": "text"}, do_compression=True)
    >>> read_matrices(file.getvalue(), ["a", "b"], "file", largest=1000)
    {'a': array([[1, 2],
           [3, 4]], dtype=uint8)}
    """
    try:
        order = {b"IM": "<", b"MI": ">"}[data[126:128]]
        if struct.unpack(f"{order}H", data[124:126])[0] != 0x0100:
            raise ValueError("another format than 5")
        found = {}
        for kind, content in _elements(data, _HEADER, order):
            if kind == _COMPRESSED:
                unpacked = zlib.decompressobj().decompress(content, largest + 1000)
                (kind, content), *_ = _elements(unpacked, 0, order)
            if kind == _MATRIX:
                name, values = _matrix(content, wanted, order, largest)
                if values is not None:
                    found[name] = values
        return found
    except (KeyError, ValueError, IndexError, struct.error, zlib.error) as error:
        reason = "no header of one" if isinstance(error, KeyError) else str(error)
        raise KlayerError(f"{where}: not a readable Matlab file ({reason}).") from None


def _elements(data: bytes, start: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each data element; small ones have both in eight bytes."""
    while start + 8 <= len(data):
        first, second = struct.unpack(f"{order}2I", data[start : start + 8])
        if first >> 16:
            kind, length, content = first & 0xFFFF, first >> 16, start + 4
            if length > 4:
                raise ValueError(f"a small element of {length} bytes")
            start += 8
        else:
            kind, length, content = first, second, start + 8
            padding = 0 if kind == _COMPRESSED else -length % 8
            start += 8 + length + padding
        if content + length > len(data):
            raise ValueError(
                f"an element of {length:,} bytes where {len(data) - content:,} are left"
            )
        yield kind, data[content : content + length]


def _matrix(
    data: bytes, wanted: Sequence[str], order: str, largest: int
) -> tuple[str, NDArray[Any] | None]:
    parts = _elements(data, 0, order)
    kinds, contents = zip(*(next(parts, (0, b"")) for _ in range(3)), strict=True)
    if kinds != (_UINT32, _INT32, _INT8) or len(contents[0]) != 8:
        raise ValueError("a matrix without flags, sizes or name")
    flags = struct.unpack(f"{order}I", contents[0][:4])[0]
    sizes = np.frombuffer(contents[1], f"{order}i4").tolist()
    name = contents[2].decode("latin-1")
    if name not in wanted or flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return name, None
    dtype = np.dtype(_CLASSES[flags & 0xFF])
    kind, content = next(parts, (0, b""))
    if kind not in _TYPES:
        raise ValueError(f"numbers of the unknown type {kind}")
    stored = np.dtype(order + _TYPES[kind])  # may be a smaller type than the matrix's own
    count = prod(sizes)
    if len(sizes) < 2 or min(sizes) < 0 or count * stored.itemsize != len(content):
        raise ValueError(f"{len(content):,} bytes for a matrix of {sizes!s:.60}")
    if count * dtype.itemsize > largest:
        raise ValueError(f"more than {largest:,} bytes")
    values = np.frombuffer(content, stored).reshape(sizes[::-1]).T
    with np.errstate(invalid="ignore"):
        return name, values.astype(dtype)
