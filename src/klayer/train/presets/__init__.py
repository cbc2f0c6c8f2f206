"""Settings that come with klayer, by name: a file each, as ``klayer train --config`` takes it."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

from klayer.errors import unknown_name

__all__ = ["preset_names", "read_preset"]


def preset_names() -> list[str]:
    """Return the names of the settings that come with klayer.

    Examples
    --------
    >>> "small" in preset_names()
    True
    """
    folder = resources.files("klayer.train.presets")
    files = (item.name for item in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def read_preset(name: str) -> dict[str, Any]:
    """Return the plain values of a preset: settings, and the data set that they were found for.

    Raises
    ------
    KlayerError
        For an unknown name.

    Examples
    --------
    >>> read_preset("small")["data"]
    'cifar10'
    """
    if name not in preset_names():
        raise unknown_name("preset", name, preset_names())
    text = (resources.files("klayer.train.presets") / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
