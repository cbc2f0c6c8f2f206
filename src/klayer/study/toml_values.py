"""Plain values, as TOML files and flags give them, checked: every mistake is named with its place."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from klayer.errors import KlayerError, unknown_name
from klayer.train import Settings

__all__ = ["at", "read_toml", "settings_from", "stored_settings", "validate"]

Table = TypeVar("Table", bound=BaseModel)


@cache
def _settings_adapter() -> TypeAdapter[Settings]:
    return TypeAdapter(Settings)


def settings_from(values: Mapping[str, Any], where: str) -> Settings:
    """Make settings from plain values, as a TOML file or flags give them.

    Raises
    ------
    KlayerError
        Naming ``where``, the setting and the rule.

    Examples
    --------
    >>> settings_from({"hidden": [20], "l2": 0}, "settings").hidden
    (20,)
    >>> settings_from({"batchnorm": "all"}, "settings")
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: settings: unknown setting 'batchnorm': did you mean 'batch_norm'? ...
    """
    for name in values:
        if name not in Settings.names():
            raise at(where, str(unknown_name("setting", name, Settings.names())))
    try:
        return _settings_adapter().validate_python(dict(values))
    except ValidationError as error:
        raise _located(error, where, Settings.names()) from None


def stored_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Make settings from what a run stored; one that this version doesn't know is refused."""
    for name in values:
        if name not in Settings.names():
            raise at(
                where,
                f"the setting {name!r} is unknown to this version of klayer: was the run made by a "
                "later one? Install that.",
            )
    return settings_from(values, where)


def validate(table: type[Table], values: Mapping[str, Any], where: str) -> Table:
    """Make a checked record from plain values; a mistake names ``where``, the key and the rule."""
    try:
        return table.model_validate(values)
    except ValidationError as error:
        raise _located(error, where, table.model_fields) from None


def at(where: str, message: str) -> KlayerError:
    """Return an error that begins with its place, where that is known."""
    return KlayerError(f"{where}: {message}" if where else message)


def _located(error: ValidationError, where: str, names: Iterable[str]) -> KlayerError:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        return at(where, str(unknown_name("key", place, names)))
    if isinstance(problem.get("ctx", {}).get("error"), KlayerError):
        return at(where, str(problem["ctx"]["error"]))
    where = ", ".join(part for part in (where, f"`{place}`" if place else "") if part)
    return at(where, f"{problem['msg']}, but got {problem['input']!r}.")


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
