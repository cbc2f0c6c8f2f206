"""Plain values, as TOML files and flags give them, checked: every mistake is named with its place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from klayer.data.catalogue import anchored_data
from klayer.data.options import OPTIONS
from klayer.errors import KlayerError, invalid

__all__ = ["anchored", "read_toml", "validate"]

Table = TypeVar("Table", bound=BaseModel)


def validate(table: type[Table], values: Mapping[str, Any], where: str) -> Table:
    """Make a checked record from plain values; a mistake names ``where``, the key and the rule."""
    try:
        return table.model_validate(values)
    except ValidationError as error:
        raise invalid(error, where, table.model_fields) from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    KlayerError
        If it is missing, holds nothing, or is not TOML, with the line.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KlayerError(f"no such file: {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KlayerError(f"{path} must be TOML, but: {error}.") from None
    except OSError as error:
        raise KlayerError(f"{path} can't be read: {error.strerror}.") from None
    if not values:
        raise KlayerError(
            f"{path} must hold at least one line like name = value, but holds none: nothing would come "
            "of it that the defaults don't do."
        )
    return values


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
