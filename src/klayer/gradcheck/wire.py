"""Messages between a checker and the process that holds a model: JSON and plain arrays, no pickles.

A message is its length, a JSON object and the bytes of the arrays that it names. What the other side
says is not trusted: nothing of it is run, and sizes are held to a limit.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from klayer.gradcheck.objective import Array

__all__ = ["WireError", "receive", "send"]

_LENGTH = struct.Struct("<Q")
_HEADER_LIMIT = 1 << 24
_CHUNK = 1 << 20
_DTYPES = {name: np.dtype(name) for name in ("float16", "float32", "float64", "complex64",
                                             "complex128", "int64", "longdouble",
                                             "clongdouble")}  # fmt: skip


class WireError(Exception):
    """The other side is gone, or says something that is no message."""


def send(sock: socket.socket, message: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Send a message with arrays."""
    contents = [(key, np.ascontiguousarray(value)) for key, value in arrays.items()]
    listed = [(key, one.dtype.name, np.shape(arrays[key])) for key, one in contents]
    header = json.dumps({**message, "arrays": listed}).encode()
    sock.sendall(_LENGTH.pack(len(header)) + header)
    for _, one in contents:
        sock.sendall(one.reshape(-1).view(np.uint8).data)


def receive(
    sock: socket.socket, limit: int, waiting: Callable[[], None] | None = None
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the next message and its arrays, of ``limit`` bytes at most.

    ``waiting`` is called whenever the socket's timeout has passed without a byte.

    Raises
    ------
    WireError
    """

    def read(size: int) -> bytearray:
        found = bytearray()
        while len(found) < size:
            try:
                part = sock.recv(min(size - len(found), _CHUNK))
            except TimeoutError:
                if waiting is None:
                    raise
                waiting()
                continue
            except OSError as error:
                raise WireError(str(error)) from error
            if not part:
                raise WireError("the other side is gone")
            found += part
        return found

    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    if length > _HEADER_LIMIT:
        raise WireError("no message")
    try:
        header = json.loads(read(length))
        listed = [(str(key), _DTYPES[dtype], tuple(map(int, shape)))
                  for key, dtype, shape in header.pop("arrays")]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WireError("no message") from error
    sizes = [prod(shape) * dtype.itemsize for _, dtype, shape in listed]
    if any(size < 0 for size in sizes) or sum(sizes) > limit:
        raise WireError("more data than agreed")
    arrays = {
        key: np.frombuffer(read(size), dtype).reshape(shape).copy()
        for (key, dtype, shape), size in zip(listed, sizes, strict=True)
    }
    return header, arrays
