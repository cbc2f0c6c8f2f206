"""Plain values, as TOML files and flags give them, checked: every mistake is named with its place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from klayer.errors import KlayerError, invalid

__all__ = ["read_toml", "validate"]

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
        If it is missing or is not TOML, with the line.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KlayerError(f"no such file: {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KlayerError(f"{path} must be TOML, but: {error}.") from None
    except OSError as error:
        raise KlayerError(f"{path} can't be read: {error.strerror}.") from None
