"""What a study says about its factors, and where it holds back."""

from __future__ import annotations

from klayer.report.comparisons import Comparisons, Effect
from klayer.report.comparisons_told import about, level_of, tests_of
from klayer.report.ladder import steps_said
from klayer.report.layout import Group
from klayer.report.norm_told import baseline, by_depth, elsewhere, exceptions
from klayer.report.phrases import (
    MOST_NAMED,
    THIN,
    Sentence,
    capital,
    interval_of,
    is_shown,
    listed,
    numbers_of,
    p_value,
)
from klayer.report.run_view import RunView
from klayer.study.factors import Factor

__all__ = ["conclusion", "effect"]


def conclusion(view: RunView, found: Comparisons) -> list[Sentence]:
    """Return what the study says about its factors, each claim from the numbers that carry it.

    A claim is made where the corrected p-value is below 0.05. Where the numbers don't carry the claim,
    the sentence says that it isn't shown, and what these seeds could have shown.
    """
    if view.ladder:
        return steps_said(view, found)
    sentences: list[Sentence] = []
    for factor in view.factors:
        if factor.name == "batch_norm" and {"depth", "hidden", "init"} & {
            one.name for one in view.factors
        }:
            sentences += baseline(view, found) + by_depth(view, found) + elsewhere(view, found)
        else:
            sentences += _effects(view, found, factor)
    if not sentences:
        return []
    sentences += exceptions(view)
    sentences.sort(key=lambda one: not one.carried)
    if view.factor("batch_norm"):
        text = (
            "The study measures accuracies. Why batch normalisation helps, where it helps, it "
            "doesn't measure."
        )
        sentences.append(Sentence(text, carried=False))
    return sentences


def _effects(view: RunView, found: Comparisons, factor: Factor) -> list[Sentence]:
    """Say what the levels of one factor do, averaged over all that else varies."""
    effects = [one for one in found.effects if one.factor == factor]
    tested = [one for one in effects if one.result.difference.n > 1]
    shown = [one for one in tested if is_shown(one.result)]
    rest = [one for one in tested if not is_shown(one.result)]
    sentences = []
    if shown:
        shown.sort(key=lambda one: -abs(one.result.difference.mean or 0))
        told = [_told(view, one) for one in shown[:MOST_NAMED]]
        text = "; ".join(told)
        if len(shown) > MOST_NAMED:
            text += f"; and {len(shown) - MOST_NAMED} more, in the tables"
        text += _averaged(view, shown[0])
        short = told[0] + (f"; {told[1]}" if len(told) > 1 else "")
        sentences.append(Sentence(f"{capital(text)}.", short=f"{capital(short)}."))
    if rest:
        sentences.append(_not_shown(view, factor, rest, alone=not shown))
    single = [one for one in effects if one.result.difference.n == 1]
    if single and not tested:
        told = [
            f"{one.factor.label(one.level)} {view.measure.amount(one.result.difference.mean)}"
            for one in single[:MOST_NAMED]
        ]
        text = (
            f"Against {level_of(factor)}, with one seed and so without an interval: {listed(told)}."
        )
        sentences.append(Sentence(text, carried=False, short=text))
    return sentences + _left_chance(factor, effects)


def _told(view: RunView, one: Effect) -> str:
    """Say what one level does."""
    result, measure = one.result, view.measure
    by = measure.amount(result.difference.mean, sign=False)
    return (
        f"with {one.factor.label(one.level)}, {view.judged} is {by} {result.verdict} than with "
        f"{level_of(one.factor)} {numbers_of(result, measure)}"
    )


def _averaged(view: RunView, one: Effect) -> str:
    """Say over how many pairs of arms an effect is a mean."""
    if len(one.cells) < 2:
        return ""
    others = [factor.plural for factor in view.factors if factor != one.factor]
    # Arms may differ in nothing else: of a study that has the same settings twice.
    kinds = f"settings of {listed(others)}" if others else "pairs of arms"
    if one.used == len(one.cells):
        return f": means over {one.used} {kinds}"
    return (
        f": means over those {one.used} of {len(one.cells)} {kinds} with which every network left "
        "chance"
    )


def _not_shown(view: RunView, factor: Factor, rest: list[Effect], *, alone: bool) -> Sentence:
    measure = view.measure
    named = [
        f"{one.factor.label(one.level)} ({measure.amount(one.result.difference.mean)}, interval "
        f"{interval_of(one.result.difference, measure)})"
        for one in rest[:MOST_NAMED]
    ]
    if len(rest) > MOST_NAMED:
        named.append(f"{len(rest) - MOST_NAMED} more")
    what = "No difference" if alone else "No further difference"
    text = f"{what} in {view.judged} to {level_of(factor)} is shown for {listed(named)}"
    if all(one.result.identical for one in rest):
        same = listed([one.factor.label(one.level) for one in rest[:MOST_NAMED]])
        text = f"{capital(level_of(factor))} and {same} have the same {view.judged}, seed by seed."
        return Sentence(text, carried=False, short=text if alone else "")
    if all(one.result.p is None for one in rest):
        text += (
            "; the difference is the same with every seed, so there is no spread to judge it by."
        )
        return Sentence(text, carried=False, short=text if alone else "")
    if any(
        (one.result.difference.low or 0) * (one.result.difference.high or 0) > 0 for one in rest
    ):
        # An interval is of one comparison alone, and this one leaves 0 out.
        least = min((one.result for one in rest), key=lambda one: 1.0 if one.p is None else one.p)
        text += f", after Holm's correction for all of them ({p_value(least)} at the least)"
    smallest = max((one.result.smallest_shown or 0.0 for one in rest), default=0.0)
    n = rest[0].result.n
    if smallest:
        could = measure.amount(smallest, sign=False)
        text += (
            f"; these {n} seeds would have shown differences from {could} on in 80{THIN}% of cases"
        )
    return Sentence(f"{text}.", carried=False, short=f"{text}." if alone else "")


def _left_chance(factor: Factor, effects: list[Effect]) -> list[Sentence]:
    """Say where levels differ in how many networks left chance, as the tables test it."""
    told, carried = [], False
    for one in effects:
        if one.trained[0] != one.trained[1]:
            carried |= any(is_shown(c.result) for c in one.cells if c.result.test == "Fisher")
            told.append(f"{one.trained[1]} of {one.networks} with {factor.label(one.level)}")
    if not told:
        return []
    first = next(one for one in effects if one.trained[0] != one.trained[1])
    text = (
        f"Networks that left chance: {first.trained[0]} of {first.networks} with {level_of(factor)}, "
        f"{listed(told[:MOST_NAMED])}{tests_of(effects)}."
    )
    return [Sentence(text, carried, short=text if carried else "")]


def effect(found: Comparisons, group: Group) -> str:
    """Say what the factor of the colours does in one figure."""
    members = {arm.name for arm in group.arms}
    inside = [one for one in found.arms if {one.a.name, one.b.name} <= members]
    return " ".join(about(one) for one in inside[: MOST_NAMED + 2])
