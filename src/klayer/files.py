"""Files that are whole or not there: every write is atomic, and on the disk when it returns.

A file is written beside its place, flushed to the disk, renamed, and the folder is flushed too: after a
crash or a power cut it holds the old content or the new one, never half of either.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

__all__ = [
    "Damaged",
    "append_bytes",
    "cache_folder",
    "cached",
    "json_text",
    "parse_json",
    "plain",
    "read_arrays",
    "read_json",
    "write_arrays",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_text",
]


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


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; it is on the disk when this returns."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as out:
            out.write(content)
            _flush(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON as :func:`write_bytes` does; what JSON doesn't know goes through :func:`plain`."""
    write_text(path, json_text(value, indent=1) + "\n")


def write_csv(
    path: Path, head: Sequence[object], rows: Iterable[Sequence[object]], separator: str = ","
) -> None:
    """Write a table as :func:`write_bytes` does; no text in it is taken for a formula.

    A text that a spreadsheet would calculate, since it begins with ``=``, ``+``, ``-`` or ``@`` and is
    no number, gets an apostrophe in front. None becomes an empty cell, a list JSON.
    """
    text = io.StringIO()
    out = csv.writer(text, delimiter=separator, lineterminator="\n")
    out.writerow(map(_cell, head))
    out.writerows(map(_cell, row) for row in rows)
    write_text(path, text.getvalue())


def _cell(value: object) -> object:
    """Return what stands in a cell.

    Examples
    --------
    >>> _cell("=1+1"), _cell("-0.5"), _cell(-0.5), _cell(None), _cell([1])
    ("'=1+1", '-0.5', -0.5, '', '[1]')
    """
    if isinstance(value, list):
        value = json.dumps(value)
    if not isinstance(value, str):
        return "" if value is None else value
    if value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        with contextlib.suppress(ValueError):
            float(value)
            return value
        return "'" + value
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    Damaged
        If it is not JSON; a missing file is a FileNotFoundError.
    """
    return parse_json(path.read_bytes(), str(path))


def parse_json(content: bytes, where: str) -> Any:
    """Parse JSON, always as UTF-8; ``where`` names its place.

    Raises
    ------
    Damaged
        If it is not JSON.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise Damaged(f"{where} must be JSON, but: {error}.") from None


def append_bytes(path: Path, content: bytes) -> None:
    """Append to a file; what was added is on the disk when this returns, the rest is untouched."""
    new = not path.exists()
    with path.open("ab") as out:
        out.write(content)
        _flush(out.fileno())
    if new:
        flush_folder(path.parent)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], plain_values: Any) -> None:
    """Write arrays and plain values to one safetensors file as :func:`write_bytes` does."""
    from safetensors.numpy import save

    arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    write_bytes(path, save(arrays, metadata={"klayer": json_text(plain_values)}))


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_arrays` wrote.

    Raises
    ------
    Damaged
        If the file is missing, or is not whole.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            values = json.loads((stored.metadata() or {})["klayer"])
            if not isinstance(values, dict):
                raise KeyError("klayer")
            return {key: stored.get_tensor(key) for key in stored.keys()}, values  # noqa: SIM118
    except FileNotFoundError:
        raise Damaged(f"no stored networks at {path}: is this a finished run?") from None
    except (SafetensorError, KeyError, ValueError, RecursionError, OSError) as error:
        raise Damaged(
            f"{path} must be a whole file that klayer wrote, but reading it failed: {error}."
        ) from None


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
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    return text


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: a new or renamed file outlasts a power cut."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            _flush(handle)
        finally:
            os.close(handle)


def _flush(handle: int) -> None:
    os.fsync(handle)
