"""JSON and arrays with a digest over every byte: damage is found when they are read.

A JSON file ends in a member ``digest``, a line of JSON likewise; a safetensors file has it in its
metadata. It is the BLAKE2b (16 bytes) of all that is not the digest itself. Files of older versions have
none, and are taken as they are unless the reader insists.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError
from klayer.files.writing import read_bytes, write_bytes

__all__ = [
    "BLANK",
    "Damaged",
    "json_text",
    "packed_arrays",
    "parse_json",
    "plain",
    "read_arrays",
    "read_json",
    "require_seal",
    "sealed_at",
    "sealed_line",
    "unpacked_arrays",
    "write_arrays",
    "write_json",
]

# Bytes of a file of JSON, at the most: parsed, it takes some ten times as much memory.
MOST_JSON = 1 << 27

_SIZE = 16
# What stands where a digest will be.
BLANK = b"0" * 2 * _SIZE
_HEX = rb"([0-9a-f]{32})"
# The ends of a file and of a line, to the byte.
_FILE_END = re.compile(rb',?\n "digest": "' + _HEX + rb'"\n\}\n\Z')
_LINE_END = re.compile(rb',? ?"digest": "' + _HEX + rb'"\}\n\Z')
# In a safetensors header, where it stands in a string of JSON.
_IN_HEADER = re.compile(rb'\\"digest\\": \\"' + _HEX + rb'\\"\}"')


class Damaged(KlayerError):
    """A file that klayer wrote is missing, or not as it was written."""


def plain(value: Any) -> Any:
    """Turn arrays, NumPy numbers, tuples and paths into what JSON knows; NaN becomes None.

    Examples
    --------
    >>> plain({"a": (np.float32(0.5), float("nan")), "b": np.arange(2), "c": Path("x")})
    {'a': [0.5, None], 'b': [0, 1], 'c': 'x'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value if value is None else str(value)


def json_text(value: Any, **options: Any) -> str:
    """Write a value as JSON that every reader takes: no NaN; see :func:`plain`.

    Examples
    --------
    >>> json_text({"loss": float("nan"), "seed": np.int64(3)})
    '{"loss": null, "seed": 3}'
    """
    return json.dumps(plain(value), allow_nan=False, **options)


def _digest(*parts: bytes | memoryview) -> bytes:
    state = blake2b(digest_size=_SIZE)
    for part in parts:
        state.update(part)
    return state.hexdigest().encode()


# JSON.


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all, with its digest; its values go through :func:`plain`."""
    head = _open_end(values, indent=1)
    comma = b"," if len(values) else b""
    end = b'%b\n "digest": "%b"\n}\n' % (comma, _digest(head))
    write_bytes(path, head, end)


def sealed_line(values: Mapping[str, Any]) -> bytes:
    r"""Return a line of JSON with its digest.

    Examples
    --------
    >>> sealed_line({"a": 1})
    b'{"a": 1, "digest": "f15462fc27d2f54782a02a456e3aeeca"}\n'
    """
    head = _open_end(values, indent=None)
    comma = b", " if len(values) else b""
    return b'%b%b"digest": "%b"}\n' % (head, comma, _digest(head))


def _open_end(values: Mapping[str, Any], indent: int | None) -> bytes:
    text = json_text(values, indent=indent)
    return text[: text.rindex("}")].rstrip().encode()


def read_json(path: Path, *, sealed: bool = False) -> Any:
    """Read a JSON file; its digest, if it has one, is checked and left out.

    Parameters
    ----------
    path : Path
    sealed : bool
        Whether it must have a digest.

    Raises
    ------
    Damaged
        If it is not JSON, or not as it was written; a missing file is a FileNotFoundError.
    """
    try:
        content = read_bytes(path, MOST_JSON)
    except KlayerError as error:
        raise Damaged(str(error)) from None
    return parse_json(content, str(path), sealed=sealed)


def parse_json(content: bytes, where: str, *, sealed: bool = False) -> Any:
    """Parse JSON, always as UTF-8; ``where`` names its place, ``sealed`` is as in :func:`read_json`.

    Raises
    ------
    Damaged
        If it is not JSON, or not as it was written.
    """
    found = _FILE_END.search(content[-80:]) or _LINE_END.search(content[-80:])
    if found:
        end = len(content) - len(found[0])
        if _digest(memoryview(content)[:end]) != found[1]:
            raise Damaged(f"{where} is damaged: it is not as klayer wrote it.")
    try:
        values = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise Damaged(f"{where} must be JSON, but: {error}.") from None
    if sealed and not found:
        raise Damaged(f"{where} is damaged: its end is not as klayer wrote it.")
    if found:
        del values["digest"]
    return values


# Arrays.


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], plain_values: Mapping[str, Any]
) -> None:
    """Write arrays and plain values to one safetensors file, whole or not at all, with its digest."""
    write_bytes(path, *packed_arrays(arrays, plain_values))


def packed_arrays(
    arrays: Mapping[str, NDArray[Any]], plain_values: Mapping[str, Any]
) -> tuple[memoryview | bytes, ...]:
    """Return the content of such a file, one part after another."""
    from safetensors.numpy import save

    arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    values = json_text({**plain_values, "digest": BLANK.decode()})
    content = memoryview(save(arrays, metadata={"klayer": values}))
    at = _place(content)
    assert at is not None
    return sealed_at(content, at)


def read_arrays(
    path: Path, *, sealed: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_arrays` wrote.

    Parameters
    ----------
    path : Path
    sealed : bool
        Whether it must have a digest.

    Raises
    ------
    Damaged
        If the file is missing, or not as it was written.
    """
    try:
        content = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(f"no stored networks at {path}: is this a finished run?") from None
    except KlayerError as error:
        raise _unreadable(str(path), error) from None
    return unpacked_arrays(content, str(path), sealed=sealed)


def unpacked_arrays(
    content: bytes, where: str, *, sealed: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the content of such a file; ``where`` names it.

    Raises
    ------
    Damaged
        If it is not as it was written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        whole = memoryview(content)
        at = _place(whole)
        if at is None and sealed:
            raise Damaged(
                f"{where} must be a whole file that klayer wrote, but has no digest: "
                "it was cut, or another program wrote it."
            )
        if at is not None:
            require_seal(whole, at, where)
        values = json.loads(json.loads(_header(whole))["__metadata__"]["klayer"])
        if not isinstance(values, dict):
            raise KeyError("klayer")
        values.pop("digest", None)
        return load(content), values
    except Damaged:
        raise
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _unreadable(where, error) from None


def sealed_at(content: bytes | memoryview, at: int) -> tuple[bytes | memoryview, ...]:
    """Return content, in parts, with the digest of it all where :data:`BLANK` stands."""
    whole = memoryview(content)
    before, after = whole[:at], whole[at + len(BLANK) :]
    return before, _digest(before, BLANK, after), after


def require_seal(content: bytes | memoryview, at: int, where: str) -> None:
    """Refuse content whose digest, which stands at a place of it, is another.

    Raises
    ------
    Damaged
    """
    whole, end = memoryview(content), at + len(BLANK)
    if _digest(whole[:at], BLANK, whole[end:]) != whole[at:end]:
        raise Damaged(
            f"{where} must be a whole file that klayer wrote, but is not as it was written."
        )


def _unreadable(where: str, error: Exception) -> Damaged:
    return Damaged(
        f"{where} must be a whole file that klayer wrote, but reading it failed: {error}."
    )


def _header(content: memoryview) -> bytes:
    length = int.from_bytes(content[:8], "little")
    return bytes(content[8 : 8 + length])


def _place(content: memoryview) -> int | None:
    """Return where the digest begins: the last such place of the header."""
    found = list(_IN_HEADER.finditer(_header(content)))
    return 8 + found[-1].start(1) if found else None
