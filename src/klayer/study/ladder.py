"""A ladder: settings of which each adds to the one before, so that the steps say what brought what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from klayer.study.factors import Level, coordinates
from klayer.train import Settings
from klayer.train.settings import SETTINGS

__all__ = ["ladder"]

# Two arms are a comparison; with three it matters that they build on one another.
LEAST_ARMS = 3


def ladder(everyone: Sequence[Settings]) -> list[dict[str, Level]]:
    """Return what each of some settings adds to the one before it; empty if they are no ladder.

    Each differs from the first in all that the one before it does, with the same values, and in
    something more: nothing is taken back. A list may grow, as in ``mirror`` and ``mirror,crop:4``. There
    must be three at least.

    Parameters
    ----------
    everyone : sequence of Settings
        In their order.

    Returns
    -------
    added : list of dict
        The levels that are new, by setting; of the first none. What only comes into effect with them,
        at its default, is not among them.

    Examples
    --------
    >>> def settings(**chosen):
    ...     return Settings(hidden=(20, 10), **chosen)
    >>> ladder([settings(), settings(batch_norm="hidden"),
    ...         settings(batch_norm="hidden", optimiser="nesterov", lr_max=0.05)])
    [{}, {'batch_norm': 'hidden'}, {'lr_max': 0.05, 'optimiser': 'nesterov'}]
    >>> ladder([settings(), settings(batch_norm="hidden"), settings(dropout=0.1)])
    []
    """
    if len(everyone) < LEAST_ARMS:
        return []
    rows = coordinates(everyone)
    found: list[dict[str, Level]] = [{}]
    changed = set[str]()
    for before, row in pairwise(rows):
        new = {name for name in row if row[name] != before[name]}
        if not new or any(not _grows(before[name], row[name]) for name in new & changed):
            return []
        changed |= new
        found.append(
            {name: row[name] for name in row if name in new and _is_said(name, before, row)}
        )
    return found


def _grows(before: Level, now: Level) -> bool:
    """Whether a level is a list with commas that has all of another, and more."""
    if not (isinstance(before, str) and isinstance(now, str)):
        return False
    return set(before.split(",")) < set(now.split(","))


def _is_said(name: str, before: dict[str, Level], row: dict[str, Level]) -> bool:
    """Whether somebody chose a level, rather than that it came into effect with another."""
    if row[name] is None:
        return False
    return before[name] is not None or name not in SETTINGS or row[name] != SETTINGS[name].default
