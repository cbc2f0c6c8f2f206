"""Which arms are compared with which, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from klayer.report.fidelity import Fidelity
from klayer.report.run_view import SPLITS, ArmView, RunView, compare_arms
from klayer.study.statistics import Comparison, counts, holm, paired

__all__ = ["ArmComparison", "Comparisons"]

# What an arm is compared against, where the study has it: no normalisation, He.
_REFERENCE = {"batch_norm": "none", "init": "he"}


@dataclass(frozen=True)
class ArmComparison:
    """A comparison of two arms that differ in one setting, ``factor``: b minus a, the reference.

    ``primary`` says whether the baseline initialisation is kept: the first question, corrected by
    itself.
    """

    factor: str
    a: ArmView
    b: ArmView
    primary: bool
    result: Comparison

    @property
    def family(self) -> tuple[str, bool]:
        """The comparisons that it is corrected together with."""
        return self.factor, self.primary


@dataclass
class Comparisons:
    """All comparisons of a run, corrected after Holm within each question."""

    view: RunView

    @cached_property
    def arms(self) -> list[ArmComparison]:
        """Those of arms that differ in one setting; families stay together, in order."""
        view, corrected = self.view, []
        found = [
            ArmComparison(factor, a, b, a.init == b.init == view.baseline, compare_arms(a, b))
            for factor, a, b in _pairs(view)
        ]
        for family in dict.fromkeys(one.family for one in found):
            members = [one for one in found if one.family == family]
            results = holm([one.result for one in members])
            corrected += [replace(one, result=r) for one, r in zip(members, results, strict=True)]
        return corrected

    @cached_property
    def robustness(self) -> dict[tuple[str, str], Comparison]:
        """How many networks trained without batch normalisation against with it.

        By (architecture, series), of those with another initialisation than the baseline.
        """
        totals: dict[tuple[str, str], list[int]] = {}
        for without, arm in _without_and_with(self.view):
            if arm.init != self.view.baseline:
                total = totals.setdefault((arm.architecture, arm.series), [0, 0, 0, 0])
                for i, one in enumerate((without, arm)):
                    total[i] += one.cell.trained
                    total[2 + i] += one.cell.n
        found = {
            key: counts((k0, k1), (n0, n1), ("no BN", key[1]))
            for key, (k0, k1, n0, n1) in totals.items()
        }
        return dict(zip(found, holm(list(found.values())), strict=True))

    @cached_property
    def interactions(self) -> dict[str, Comparison]:
        """What batch normalisation gains in the deepest network minus what it gains in the shallowest.

        By series, at the baseline initialisation.
        """
        view = self.view
        if len(view.architectures) < 2:
            return {}
        ends = (view.architectures[0], view.architectures[-1])
        found = {}
        for series in view.series:
            gains = [_gains(view, architecture, series) for architecture in ends]
            seeds = [seed for seed in gains[0] if seed in gains[1]]
            if len(seeds) > 1:
                found[series] = paired([gains[1][seed] - gains[0][seed] for seed in seeds])
        return dict(zip(found, holm(list(found.values())), strict=True))

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
            chance = view.chance + 0.02
            rows = [
                Fidelity(given[split], arm.measured(split), one.source, arm.label, chance, one.note)
                for arm in arms
            ]
            agreeing = [arm.series for row, arm in zip(rows, arms, strict=True) if row.agrees]
            fits = " and ".join(agreeing)
            found += [replace(row, fits=fits) if row.agrees is False else row for row in rows]
        return found


def _pairs(view: RunView) -> Iterator[tuple[str, ArmView, ArmView]]:
    """Yield (factor, a, b) for arms that differ in the factor alone, a having the reference value."""
    arms = view.with_results
    plain = [arm.settings.as_dict() for arm in arms]
    factors = [
        key for key in (plain[0] if plain else {}) if any(p[key] != plain[0][key] for p in plain)
    ]
    if len(factors) > 1 and "hidden" in factors:
        # Depth has no reference value and is seen in the picture; other factors are the question.
        factors.remove("hidden")
    for factor in sorted(factors, key=lambda f: (f != "batch_norm", f != "init")):
        values = [p[factor] for p in plain]
        reference = _REFERENCE.get(factor)
        reference = reference if reference in values else values[0]
        for a, pa in zip(arms, plain, strict=True):
            if pa[factor] != reference:
                continue
            for b, pb in zip(arms, plain, strict=True):
                if pb[factor] != reference and pb == {**pa, factor: pb[factor]}:
                    yield factor, a, b


def _without_and_with(view: RunView) -> Iterator[tuple[ArmView, ArmView]]:
    """Yield each arm with batch normalisation, after the one that differs in having none."""
    plain = {arm.settings: arm for arm in reversed(view.with_results)}
    for arm in view.with_results:
        without = plain.get(replace(arm.settings, batch_norm="none"))
        if without and arm.settings.batch_norm != "none":
            yield without, arm


def _gains(view: RunView, architecture: str, series: str) -> dict[int, float]:
    """Return by seed what batch normalisation gains, where all networks of both arms trained."""
    for without, arm in _without_and_with(view):
        here = (arm.architecture, arm.series, arm.init) == (architecture, series, view.baseline)
        if here and arm.cell.kind == without.cell.kind == "trained":
            before = {one.seed: one.score(view.judge) for one in without.records}
            return {
                one.seed: value - other
                for one in arm.records
                if (value := one.score(view.judge)) is not None
                and (other := before.get(one.seed)) is not None
            }
    return {}
