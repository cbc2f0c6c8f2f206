"""Read CIFAR's Python batches without trusting them.

A pickle is a program: ``pickle.load`` calls whatever the file names. The published batches, written
by Python 2 and NumPy, need exactly one kind of object beside numbers, texts, lists and dicts: an
array of bytes. Here the four names that build one lead to stand-ins that can do nothing else, and
any other name is refused before it is looked up.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

__all__ = ["read_byte_pickle"]

# How numpy's byte dtype describes itself in a pickle: nothing that its name doesn't say already.
_PLAIN_STATE = (3, "|", None, None, None, -1, -1, 0)
_NDARRAY = object()  # stands for the class numpy.ndarray; it is only ever passed on


def _text(value: object) -> object:
    """Undo what Python 2 left as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _ByteType:
    """Stands for ``numpy.dtype("u1")``."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if tuple(map(_text, state)) != _PLAIN_STATE:
            raise ValueError(f"dtype state {state!r}")


class _ByteArray:
    """Stands for a ``numpy.ndarray`` of bytes until its content comes."""

    value: NDArray[np.uint8]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _ByteType) or fortran or not isinstance(raw, bytes):
            raise ValueError("an array that is not of bytes in C order")
        if prod(shape) != len(raw):
            raise ValueError(f"{len(raw)} bytes for shape {shape}")
        self.value = np.frombuffer(raw, np.uint8).reshape(shape)


class _Builder:
    """Stands for a function that a pickle may call; unlike a function, it can't be altered."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., object]) -> None:
        self._build = build

    def __call__(self, *args: object) -> object:
        return self._build(*args)

    def __setstate__(self, state: object) -> None:
        raise ValueError("an attempt to alter a function")


def _dtype(name: object, *_: object) -> _ByteType:
    if _text(name) != "u1":
        raise ValueError(f"dtype {name!r} instead of 'u1'")
    return _ByteType()


def _reconstruct(kind: object, *_: object) -> _ByteArray:
    if kind is not _NDARRAY:
        raise ValueError("an array of another class than numpy.ndarray")
    return _ByteArray()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Python 3 writes bytes into old pickle protocols as latin-1 text and a call to encode it."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"encoding {encoding!r}")
    return text.encode("latin-1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Builder(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Builder(_reconstruct),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Builder(_dtype),
    ("_codecs", "encode"): _Builder(_encode),
}


class _ByteUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._where = where

    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise KlayerError(
                f"{self._where}: a CIFAR batch must hold arrays of bytes alone, but this file asks "
                f"for {module}.{name}, which was not run. Don't trust it: get the official archive."
            ) from None


# What a dict of numbers, texts, lists and arrays is pickled with, by any version of Python. Sets, whose
# elements are hashed, objects of other kinds and references to the outside are not among it.
_KNOWN = """
PROTO FRAME STOP MARK POP POP_MARK DUP
INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT NONE NEWTRUE NEWFALSE
STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
LIST EMPTY_LIST APPEND APPENDS DICT EMPTY_DICT SETITEM SETITEMS
TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3
PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_OPCODES = frozenset(_KNOWN.split())
# A tuple in a tuple in a tuple, thousands deep, as a key: hashing it ends the process.
_MOST_TUPLES = 100


def _check_opcodes(data: bytes) -> None:
    """Refuse what could end the process, or make the unpickler reserve gigabytes, before it runs.

    `pickletools` compares the lengths that a pickle states with what is left of it, but not the
    numbers under which objects are kept; the unpickler's table is as long as the highest.
    """
    tuples = 0
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in _OPCODES:
            raise ValueError(f"opcode {opcode.name}")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(data):
            raise ValueError(f"memo index {argument}")
        tuples += "TUPLE" in opcode.name
        if tuples > _MOST_TUPLES:
            raise ValueError(f"more than {_MOST_TUPLES} tuples")


def read_byte_pickle(data: bytes, where: str) -> dict[str, object]:
    """Read a pickled dict of numbers, texts, lists and byte arrays; build nothing else.

    Parameters
    ----------
    data : bytes
        The content of the file.
    where : str
        How to name the file in a message.

    Returns
    -------
    dict of str to object
        Keys as texts, byte arrays as ``numpy.ndarray`` of uint8.

    Raises
    ------
    KlayerError
        If the pickle names any other object, or is not such a dict.

    Examples
    --------
    >>> image = np.array([[1, 2], [3, 4]], np.uint8)
    >>> read_byte_pickle(pickle.dumps({b"data": image}, protocol=2), "batch")
    {'data': array([[1, 2],
           [3, 4]], dtype=uint8)}
    >>> read_byte_pickle(pickle.dumps(print), "batch")
    Traceback (most recent call last):
    klayer.errors.KlayerError: batch: a CIFAR batch must hold arrays of bytes alone, but this file \
asks for builtins.print, which was not run. Don't trust it: get the official archive.
    """
    try:
        _check_opcodes(data)
        content = _ByteUnpickler(data, where).load()
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__} instead of a dict")
        return {
            str(_text(key)): value.value if isinstance(value, _ByteArray) else value
            for key, value in content.items()
        }
    except KlayerError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise KlayerError(
            f"{where}: not a readable CIFAR-10 Python batch ({' '.join(str(error).split()):.200}). "
            "Get the file anew."
        ) from None
