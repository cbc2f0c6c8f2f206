"""Plain values, as TOML files and flags give them, checked: every mistake is named with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from klayer.data.catalogue import anchored_data
from klayer.data.options import OPTIONS
from klayer.data.regular_file import require_file
from klayer.errors import KlayerError, invalid

__all__ = ["anchored", "read_toml", "validate"]

# A study is a few tables of numbers and names.
MOST_BYTES = 2_000_000
MOST_PARTS = 50
_TOKENS = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'|#[^\n]*|[^\s.=\[\]{},#"\']+|[.=\[\]{},\n]')

Table = TypeVar("Table", bound=BaseModel)


def validate(table: type[Table], values: Mapping[str, Any], where: str) -> Table:
    """Make a checked record from plain values; a mistake names ``where``, the key and the rule."""
    try:
        return table.model_validate(_plain(values))
    except ValidationError as error:
        raise invalid(error, where, table.model_fields) from None


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers, booleans and arrays into Python's, and tuples into lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    return value


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    KlayerError
        If it is missing, holds nothing, or is not TOML, with the line.
    """
    path = Path(path)
    if not path.exists():
        raise KlayerError(f"no such file: {path}.")
    size = require_file(path)
    if size > MOST_BYTES:
        raise KlayerError(f"{path} must have at most {MOST_BYTES:,} bytes, but has {size:,}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        _check_keys(path, text)
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, nested too deeply
        if isinstance(error, KlayerError):
            raise
        raise KlayerError(f"{path} must be TOML, but: {error!s:.300}.") from None
    except OSError as error:
        raise KlayerError(f"{path} can't be read: {error.strerror}.") from None
    if not values:
        raise KlayerError(
            f"{path} must hold at least one line like name = value, but holds none: nothing would come "
            "of it that the defaults don't do."
        )
    return values


def _check_keys(path: Path, text: str) -> None:
    """Refuse a key of very many parts: each is a table in a table, and reading it takes for ever."""
    parts, line, before = 0, 1, ""
    for token in _TOKENS.findall(text):
        if token == ".":
            parts += before not in ("", ".")
        elif token[0] in "=[]{},#\n":
            parts = 0
        line += token == "\n"
        before = token
        if parts > MOST_PARTS:
            raise KlayerError(
                f"{path}, line {line}: a key must have at most {MOST_PARTS} parts with dots between."
            )


def anchored(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a file's values with its paths read from the file's own folder, wherever the user is.

    Paths are ``data``, unless it is a name, and a SQLite file as ``storage`` of a search.

    Examples
    --------
    >>> values = {"data": "birds.npz", "search": {"storage": "sqlite:///trials.db"}}
    >>> found = anchored(values, Path("/studies"))
    >>> found["data"], found["search"]["storage"]
    ('/studies/birds.npz', 'sqlite:////studies/trials.db')
    >>> anchored({"data": "digits"}, Path("/studies"))
    {'data': 'digits'}
    """
    found = dict(values)
    if isinstance(found.get("data"), str):
        found["data"] = anchored_data(found["data"], folder)
    for name, option in OPTIONS.items():
        if option.metavar == "FILE" and isinstance(found.get(name), str):
            found[name] = str(folder.absolute() / Path(found[name]).expanduser())
    search = found.get("search")
    if isinstance(search, Mapping) and isinstance(search.get("storage"), str):
        head, _, path = search["storage"].partition(":///")
        if path and head.startswith("sqlite") and not path.startswith((":memory:", "file:")):
            place = (folder.absolute() / path).as_posix()
            found["search"] = {**search, "storage": f"{head}:///{place}"}
    return found
