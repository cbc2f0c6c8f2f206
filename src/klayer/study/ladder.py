"""A ladder: arms of which each builds on the one before, so that the steps say what brought what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from klayer.study.arms import Arm
from klayer.study.factors import Level, coordinates, describe_level, labels
from klayer.train.settings import SETTINGS

__all__ = ["arm_labels", "ladder", "told"]

# Two arms are a comparison; with three it matters that they build on one another. Who writes steps
# has said so.
LEAST_ARMS, LEAST_STEPS = 3, 2


def ladder(arms: Sequence[Arm]) -> dict[str, dict[str, Level]]:
    """Return what each step changes of the one before it, by its name; empty if there is no ladder.

    The arms that were written as steps are one, whatever they change, and no other arm belongs to it.
    Where none was, all arms are one if they are three at least, and each differs from the first in all
    that the one before it does, with the same values, and in something more: nothing is taken back. A
    list may grow, as in ``mirror`` and ``mirror,crop:4``.

    Parameters
    ----------
    arms : sequence of Arm
        In their order.

    Returns
    -------
    added : dict of dict
        The levels that are new, by setting; of the first step none. What only comes into effect with
        them, at its default, is not among them.

    Examples
    --------
    >>> from klayer.train import Settings
    >>> def arm(name, **chosen):
    ...     return Arm(name, Settings(hidden=(20, 10), **chosen))
    >>> ladder([arm("a"), arm("b", batch_norm="hidden"),
    ...         arm("c", batch_norm="hidden", optimiser="nesterov", lr_max=0.05)])
    {'a': {}, 'b': {'batch_norm': 'hidden'}, 'c': {'lr_max': 0.05, 'optimiser': 'nesterov'}}
    >>> ladder([arm("a"), arm("b", batch_norm="hidden"), arm("c", dropout=0.1)])
    {}
    """
    steps = [arm for arm in arms if arm.step]
    climbed, least = (steps, LEAST_STEPS) if steps else (arms, LEAST_ARMS)
    if len(climbed) < least:
        return {}
    rows = coordinates([arm.settings for arm in climbed])
    found: dict[str, dict[str, Level]] = {climbed[0].name: {}}
    changed = set[str]()
    for arm, (before, row) in zip(climbed[1:], pairwise(rows), strict=True):
        new = {name for name in row if row[name] != before[name]}
        taken_back = any(not _grows(before[name], row[name]) for name in new & changed)
        if not steps and (not new or taken_back):
            return {}
        changed |= new
        found[arm.name] = {
            name: row[name] for name in row if name in new and _is_said(name, before, row)
        }
    return found


def told(added: dict[str, Level]) -> str:
    """Say what a step changes: ``"BN, dropout 0.1"``."""
    return ", ".join(describe_level(name, level) for name, level in added.items())


def arm_labels(arms: Sequence[Arm]) -> dict[str, str]:
    """Return what each arm is called wherever it is shown, by its name.

    That is the name that somebody gave it; of a step what it changes; else what tells it from the
    others.

    Examples
    --------
    >>> from klayer.train import Settings
    >>> arms = [Arm("plain", Settings(), named=True, step=True),
    ...         Arm("3-layer", Settings(batch_norm="hidden"), step=True)]
    >>> arm_labels(arms)
    {'plain': 'plain', '3-layer': '+ BN'}
    """
    steps, given = ladder(arms), dict[int, str]()
    for i, arm in enumerate(arms):
        if arm.named:
            given[i] = arm.name
        elif words := told(steps.get(arm.name, {})):
            given[i] = f"+ {words}"
    called = labels([arm.settings for arm in arms], given)[0]
    return dict(zip([arm.name for arm in arms], called, strict=True))


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
