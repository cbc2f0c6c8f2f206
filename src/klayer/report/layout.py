"""How the arms of a study are laid out: which factor gives the colours, which figures there are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from klayer.report.run_view import ArmView, RunView
from klayer.study.factors import Factor, slug

__all__ = ["Arrangement", "Group", "level_label"]

# More levels than this can't be told apart by colour.
MOST_COLOURS = 6
# Up to so many figures stand under one heading each; of more, those of the reference come first.
MOST_HEADINGS = 3


@dataclass(frozen=True)
class Group:
    """Arms that differ in the factor of the colours alone: one figure's curves."""

    title: str  # the levels of the other factors; empty if there are none
    arms: list[ArmView]
    slug: str

    def about(self, view: RunView) -> str:
        """Say what the arms have in common, for a caption."""
        return self.title or (self.arms[0].label if len(view.arms) == 1 else "All arms")


def level_label(arm: ArmView, factor: Factor | None) -> str:
    """Say an arm's level of a factor; its label where there is none."""
    if factor is None:
        return arm.label
    return factor.label(arm.levels.get(factor.name)) or arm.label


@dataclass
class Arrangement:
    """The factors of a run in their roles.

    ``series`` is told apart by colour within a figure, ``outer`` make a figure for each combination of
    their levels.
    """

    view: RunView
    series: Factor | None = field(init=False)
    outer: list[Factor] = field(init=False)

    def __post_init__(self) -> None:
        factors = self.view.factors
        self.series = _series(factors)
        self.outer = [one for one in factors if one is not self.series]

    def series_label(self, arm: ArmView) -> str:
        """What tells an arm from others of its figure."""
        given = arm.name == arm.label and len(self.view.factors) != 0
        return arm.label if given else level_label(arm, self.series)

    @cached_property
    def series_labels(self) -> list[str]:
        """All of these, in order: the order of the colours."""
        known = list(self.series.labels) if self.series else []
        used = [self.series_label(arm) for arm in self.view.with_results]
        return [*(one for one in known if one in used), *(one for one in used if one not in known)]

    @cached_property
    def groups(self) -> list[Group]:
        """The figures, in order of the factors' levels."""
        found: dict[tuple[str, ...], list[ArmView]] = {
            key: [] for key in itertools.product(*(factor.labels for factor in self.outer))
        }
        for arm in self.view.with_results:
            key = tuple(factor.label(arm.levels.get(factor.name)) for factor in self.outer)
            found.setdefault(key, []).append(arm)
        kept = {key: arms for key, arms in found.items() if arms}
        slugs = _different([slug(", ".join(filter(None, key))) for key in kept])
        return [
            Group(", ".join(filter(None, key)), _sorted(arms, self.series), name)
            for (key, arms), name in zip(kept.items(), slugs, strict=True)
        ]

    @property
    def last(self) -> Factor | None:
        """The factor whose other levels come later on the page; None where all groups are few."""
        return self.outer[-1] if self.outer and len(self.groups) > MOST_HEADINGS else None

    def main(self, *, wanted: bool = True) -> list[Group]:
        """Return the groups at the reference of the last factor, or else all others."""
        last = self.last
        if last is None:
            return self.groups if wanted else []
        return [
            group
            for group in self.groups
            if (group.arms[0].levels.get(last.name) == last.reference) is wanted
        ]


def _series(factors: Sequence[Factor]) -> Factor | None:
    names = {factor.name: factor for factor in factors}
    if {"batch_norm", "init"} <= names.keys():
        return names["batch_norm"]  # as the published report has it
    few = [factor for factor in factors if len(factor.levels) <= MOST_COLOURS]
    if few:
        return max(few, key=lambda factor: len(factor.levels))
    return min(factors, key=lambda factor: len(factor.levels), default=None)


def _sorted(arms: list[ArmView], factor: Factor | None) -> list[ArmView]:
    if factor is None:
        return arms
    place = {level: i for i, level in enumerate(factor.levels)}
    return sorted(arms, key=lambda arm: place.get(arm.levels.get(factor.name), len(place)))


def _different(names: Sequence[str]) -> list[str]:
    return [
        name if names.count(name) == 1 else f"{name}-{names[: i + 1].count(name)}"
        for i, name in enumerate(names)
    ]
