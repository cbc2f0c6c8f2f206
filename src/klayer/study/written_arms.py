"""The arms that a document writes down: a grid, a list, steps that build on one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from klayer.errors import KlayerError
from klayer.study.arms import Arm, describe
from klayer.study.document import StudyKeys
from klayer.train import Settings
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
    names = set()
    for arm in _all_arms(document, make):
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
    found = []
    for one, rest in zip(arms, shared, strict=True):
        chosen = {**rest, **one}
        name = chosen.pop("name", None)
        table = "arms" if document.arms or not document.steps else "steps"
        settings = make(chosen, table if grid or len(arms) > 1 else "")
        found.append((str(name or describe(settings)), settings, name is not None, one))
    names = [name for name, *_ in found]
    for name, settings, given, one in found:
        # Where the usual name is another's, all that the arm sets.
        extra = [] if given or names.count(name) == 1 else _extra(one)
        yield Arm(", ".join([name, *extra]), settings, named=given)


def _climbed(steps: Sequence[Values]) -> Iterator[Values]:
    """Return each of some steps with what those before it have, where that still has an effect."""
    before: dict[str, Any] = {}
    for number, step in enumerate(steps, start=1):
        own = {name: value for name, value in step.items() if name != "name"}
        if number > 1 and all(before.get(name) == value for name, value in own.items()):
            called = step.get("name", f"number {number}")
            raise KlayerError(
                f"steps: each must add a setting to those before it, but {str(called)!r:.80} adds none: "
                "say what it changes, or leave it away."
            )
        kept = {
            name: value
            for name, value in before.items()
            if name in own or has_effect(name, {**before, **own})
        }
        before = {**kept, **own}
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
