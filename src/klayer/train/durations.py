"""Lengths of time as users write them: ``5 epochs``, ``2250 updates`` or ``2250``."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from klayer.errors import KlayerError

__all__ = ["duration_updates", "read_duration"]

_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(epochs?|updates?)?\s*$")
_MANY = 1_000_000
_LONGEST = 40  # characters: a long row of digits takes for ever to be read
MOST_EPOCHS, MOST_UPDATES = 10**6, 10**10


def duration_updates(name: str, value: Any, per_epoch: int, at_least: int = 1) -> int:
    """Return how many updates a duration is, for a number of updates per epoch.

    Raises
    ------
    KlayerError
        Naming the setting: for a value that can't be read, and for one that is too short.

    Examples
    --------
    >>> duration_updates("half_cycle", "5 epochs", per_epoch=450)
    2250
    """
    if isinstance(value, np.integer):
        value = int(value)
    readable = isinstance(value, str) or type(value) is int
    readable = readable and (value < 10**_LONGEST if type(value) is int else len(value) <= _LONGEST)
    found = _DURATION.match(str(value)) if readable else None
    if not found or not math.isfinite(float(found[1]) * per_epoch):
        raise KlayerError(
            f"`{name}` must read like '5 epochs', '2250 updates' or 2250, but got {value!r:.80}."
        )
    number, unit = float(found[1]), found[2] or "updates"
    updates = round(number * per_epoch) if unit.startswith("epoch") else round(number)
    most = MOST_EPOCHS * per_epoch if unit.startswith("epoch") else MOST_UPDATES
    if updates > most:
        raise KlayerError(
            f"`{name}` must be at most {MOST_EPOCHS:,} epochs or {MOST_UPDATES:,} updates, but got "
            f"{value!r}."
        )
    if updates < at_least:
        raise KlayerError(f"`{name}` must be at least one update, but {value!r} is less.")
    return updates


def read_duration(name: str, at_least: int = 1) -> Any:
    """Return what checks a duration and leaves it as it is."""

    def read(value: Any) -> Any:
        value = int(value) if isinstance(value, np.integer) else value
        duration_updates(name, value, _MANY, at_least)
        return value

    return read
