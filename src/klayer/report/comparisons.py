"""Which arms are compared with which, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from klayer.report.fidelity import Fidelity
from klayer.report.run_view import SPLITS, ArmView, RunView, compare_arms
from klayer.study.chance import least_learnt
from klayer.study.comparison import Comparison, holm, paired
from klayer.study.factors import Factor, Level, differing

__all__ = ["ArmComparison", "Comparisons", "Effect"]


@dataclass(frozen=True)
class ArmComparison:
    """A comparison of two arms that differ in one factor: b minus a, the reference.

    Of a ladder, a is the step that b builds on; of an arm beside its steps, the last of them.
    """

    factor: Factor
    a: ArmView
    b: ArmView
    # The first question, corrected by itself: the reference initialisation is kept; b is a step.
    primary: bool
    result: Comparison

    @property
    def family(self) -> tuple[str, bool]:
        """The comparisons that it is corrected together with."""
        return self.factor.name, self.primary


@dataclass(frozen=True)
class Effect:
    """A level of a factor against the reference, averaged over all that else varies.

    ``result`` compares over seeds the mean of the differences of those pairs of arms of which every
    network left chance; ``trained`` counts the networks of all pairs.
    """

    factor: Factor
    level: Level
    cells: list[ArmComparison]
    used: int  # how many of them went into the mean
    trained: tuple[int, int]  # networks that left chance, of the reference and of the level
    networks: int  # of each
    result: Comparison


@dataclass
class Comparisons:
    """All comparisons of a run, corrected after Holm within each question."""

    view: RunView

    @cached_property
    def arms(self) -> list[ArmComparison]:
        """Those of arms that differ in one factor; families stay together, in order."""
        view, corrected = self.view, []
        found = [
            ArmComparison(factor, a, b, _is_primary(view, a, b), compare_arms(a, b))
            for factor, a, b in _pairs(view)
        ]
        for family in dict.fromkeys(one.family for one in found):
            members = [one for one in found if one.family == family]
            results = holm([one.result for one in members])
            corrected += [replace(one, result=r) for one, r in zip(members, results, strict=True)]
        return corrected

    def of(self, a: ArmView, b: ArmView) -> ArmComparison | None:
        """Return the comparison of two arms; None if there is none."""
        return next((one for one in self.arms if one.a is a and one.b is b), None)

    @cached_property
    def effects(self) -> list[Effect]:
        """What each level of each factor does on average, corrected within the factor."""
        corrected = []
        for factor in self.view.factors:
            found = [
                _effect(factor, level, cells)
                for level in factor.levels
                if (cells := self._cells(factor, level))
            ]
            results = holm([one.result for one in found])
            corrected += [replace(one, result=r) for one, r in zip(found, results, strict=True)]
        return corrected

    def _cells(self, factor: Factor, level: Level) -> list[ArmComparison]:
        return [
            one
            for one in self.arms
            if one.factor == factor and one.b.levels.get(factor.name) == level
        ]

    @cached_property
    def robustness(self) -> list[Effect]:
        """Of each kind of batch normalisation and depth: how many left chance elsewhere than at the
        reference initialisation."""
        init, norm = self.view.factor("init"), self.view.factor("batch_norm")
        if not (init and norm):
            return []
        groups: dict[tuple[str, Level], list[ArmComparison]] = {}
        for one in self.arms:
            if one.factor == norm and not one.primary:
                key = self.depth_of(one.b), one.b.levels["batch_norm"]
                groups.setdefault(key, []).append(one)
        return [_effect(norm, level, cells) for (_, level), cells in groups.items()]

    @cached_property
    def interactions(self) -> dict[str, Comparison]:
        """What batch normalisation gains in the deepest network minus what it gains in the shallowest.

        By the label of the kind, at the reference initialisation.
        """
        norm, depth = self.view.factor("batch_norm"), self._depth()
        if not (norm and depth):
            return {}
        found = {}
        for level in norm.levels:
            ends = [self._gains(level, depth, depth.levels[end]) for end in (0, -1)]
            seeds = [seed for seed in ends[0] if seed in ends[1]]
            if len(seeds) > 1:
                found[norm.label(level)] = paired([ends[1][seed] - ends[0][seed] for seed in seeds])
        return dict(zip(found, holm(list(found.values())), strict=True))

    def depth_of(self, arm: ArmView) -> str:
        """Say which network an arm is, where that varies: ``"9-layer"``."""
        depth = self._depth()
        return depth.label(arm.levels[depth.name]) if depth else ""

    def _depth(self) -> Factor | None:
        return self.view.factor("depth") or self.view.factor("hidden")

    def _gains(self, level: Level, depth: Factor, at: Level) -> dict[int, float]:
        """Return by seed what batch normalisation gains, where all networks of both arms trained."""
        for one in self.arms:
            here = (one.b.levels["batch_norm"], one.b.levels.get(depth.name)) == (level, at)
            if one.factor.name == "batch_norm" and one.primary and here:
                return _differences(one)
        return {}

    @cached_property
    def fidelity(self) -> list[Fidelity]:
        """Every published accuracy beside the arms that it may stand for.

        Where one published run matches several arms (it doesn't say which), and some agree and others
        don't, the explanation says which reading fits.
        """
        view, found = self.view, []
        for one in view.run.study.published:
            given = {split: getattr(one, split) for split in reversed(SPLITS)}
            split = next((name for name, value in given.items() if value is not None), None)
            arms = [arm for arm in view.with_results if one.matches(arm.settings)]
            if split not in view.splits or not arms:
                continue
            rows_judged = view.info["data"]["samples"].get(split) or 1
            chance = least_learnt(view.chance, rows_judged)
            rows = [
                Fidelity(given[split], arm.measured(split), one.source, arm.label, chance, one.note)
                for arm in arms
            ]
            agreeing = [arm.label for row, arm in zip(rows, arms, strict=True) if row.agrees]
            fits = " and ".join(agreeing)
            found += [replace(row, fits=fits) if row.agrees is False else row for row in rows]
        return found


def _is_primary(view: RunView, a: ArmView, b: ArmView) -> bool:
    if view.ladder:
        return b.name in view.ladder
    init = view.factor("init")
    return init is None or a.levels["init"] == b.levels["init"] == init.reference


def _pairs(view: RunView) -> Iterator[tuple[Factor, ArmView, ArmView]]:
    """Yield (factor, a, b) for arms that differ in the factor alone, a having the reference level.

    Of a ladder, each step with the one before it, and every arm beside the steps with the last of them.
    """
    arms, names = view.with_results, [factor.name for factor in view.factors]
    if view.ladder:
        steps = [arm for arm in arms if arm.name in view.ladder]
        yield from ((view.factors[0], a, b) for a, b in pairwise(steps))
        yield from ((view.factors[0], a, b) for a in steps[-1:] for b in arms if b not in steps)
        return
    # Batch normalisation and initialisation first: their questions are the oldest.
    order = {"batch_norm": 0, "init": 1}
    for factor in sorted(view.factors, key=lambda one: order.get(one.name, 2)):
        for a in arms:
            if a.levels[factor.name] != factor.reference:
                continue
            for b in arms:
                if differing(a.levels, b.levels, names) == [factor.name]:
                    yield factor, a, b


def _differences(one: ArmComparison) -> dict[int, float]:
    """Return the differences by seed, where every network of both arms left chance."""
    if not one.a.cell.kind == one.b.cell.kind == "trained":
        return {}
    before = {record.seed: one.a.value(record) for record in one.a.records}
    return {
        record.seed: value - other
        for record in one.b.records
        if (value := one.b.value(record)) is not None
        and (other := before.get(record.seed)) is not None
    }


def _effect(factor: Factor, level: Level, cells: list[ArmComparison]) -> Effect:
    trained = tuple(sum(one.result.trained[i] for one in cells) for i in (0, 1))
    networks = sum(one.result.n for one in cells)
    used = [found for one in cells if (found := _differences(one))]
    seeds = [seed for seed in used[0] if all(seed in one for one in used)] if used else []
    means = [sum(one[seed] for one in used) / len(used) for seed in seeds]
    measure = cells[0].b.measure
    width = measure.bounds[1] - measure.bounds[0]
    result = paired(means, (-width, width))
    return Effect(factor, level, cells, len(used), (trained[0], trained[1]), networks, result)
