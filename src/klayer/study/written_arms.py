"""The arms that a document writes down: a grid, a list, steps that build on one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from klayer.errors import KlayerError
from klayer.study.arms import Arm, describe
from klayer.study.document import StudyKeys
from klayer.train import Settings
from klayer.train.laid_over import laid_over
from klayer.train.settings import has_effect

__all__ = ["Make", "Values", "written_arms"]

Values = Mapping[str, Any]
Make = Callable[[Values, str], Settings]


def written_arms(document: StudyKeys, make: Make) -> Iterator[Arm]:
    """Return the arms of a document, whose names must differ.

    Parameters
    ----------
    document : StudyKeys
    make : callable
        Makes settings of a table's values, of which it is told what the table is called.
    """
    names, arms = set(), list(_all_arms(document, make))
    if make == Settings.from_values:  # what a run stored was taken when it was made
        _require_new([arm for arm in arms if arm.step])
    for arm in arms:
        if arm.name in names:
            raise KlayerError(
                f"arms must have different names, but two are called {arm.name!r}: "
                "give one a `name`, or drop it."
            )
        names.add(arm.name)
        yield arm


def _all_arms(document: StudyKeys, make: Make) -> Iterator[Arm]:
    grid, arms = document.grid, [*document.arms, *_climbed(document.steps)]
    if grid or not arms:
        where, made = "grid" if grid else "settings", set[Settings]()
        points = [
            dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
        ]
        shared = _effective(document.settings, points)
        for point, rest in zip(_effective_points(points), shared, strict=True):
            chosen = {**rest, **point}
            settings = make(chosen, where)
            if settings in made and len(point) < len(grid):
                continue  # it differs from another in a setting that has no effect on it
            if settings in made:  # 0 and 0.0
                raise KlayerError(
                    f"{where}: a list must have each value once, but two arms have the same "
                    f"settings, {point!r:.200}: leave one away."
                )
            made.add(settings)
            yield Arm(", ".join([describe(settings), *_extra(point)]), settings)
    shared = _effective(document.settings, arms)
    found = list[tuple[Arm, Values]]()
    for place, (one, rest) in enumerate(zip(arms, shared, strict=True)):
        chosen, step = {**rest, **one}, place >= len(document.arms)
        name = chosen.pop("name", None)
        table = "steps" if step else "arms"
        settings = make(chosen, table if grid or len(arms) > 1 else "")
        called = describe(settings) if name is None else str(name)
        found.append((Arm(called, settings, named=name is not None, step=step), one))
    names = [arm.name for arm, _ in found]
    for arm, one in found:
        # Where the usual name is another's, all that the arm sets.
        extra = [] if arm.named or names.count(arm.name) == 1 else _extra(one)
        yield replace(arm, name=", ".join([arm.name, *extra]))


def _require_new(steps: Sequence[Arm]) -> None:
    """Refuse a step that would be trained a second time."""
    called = [
        repr(arm.name) if arm.named else f"number {number}"
        for number, arm in enumerate(steps, start=1)
    ]
    first: dict[Settings, str] = {}
    for arm, name in zip(steps, called, strict=True):
        if arm.settings in first:
            raise KlayerError(
                f"steps: each must have settings that none before it has, but {name:.80} adds none: "
                f"it has those of {first[arm.settings]:.80} again. Say what it changes, or leave it "
                "away."
            )
        first[arm.settings] = name


def _climbed(steps: Sequence[Values]) -> Iterator[Values]:
    """Return each of some steps with what those before it have, where that still has an effect."""
    before: dict[str, Any] = {}
    for step in steps:
        own = {name: value for name, value in step.items() if name != "name"}
        before = laid_over(before, own)
        yield {**before, "name": step["name"]} if "name" in step else dict(before)


def _extra(point: Values) -> list[str]:
    """Name what the usual name of an arm leaves out."""
    return [
        f"{name} {value}"
        for name, value in point.items()
        if name not in ("hidden", "batch_norm", "init")
    ]


def _effective(shared: Values, points: Sequence[Values]) -> list[Values]:
    """Return what is shared by all points, for each without what has no effect on it alone.

    What has an effect on none of them stays, to be refused.
    """
    kept = [{name for name in shared if has_effect(name, {**shared, **one})} for one in points]
    some = set().union(*kept) if kept else set()
    return [
        {name: value for name, value in shared.items() if name in own or name not in some}
        for own in kept
    ]


def _effective_points(points: Sequence[Values]) -> list[Values]:
    """Return a grid's points, each without what has no effect on it, though on others."""
    some = {name for one in points for name in one if has_effect(name, one)}
    return [
        {name: value for name, value in one.items() if has_effect(name, one) or name not in some}
        for one in points
    ]
