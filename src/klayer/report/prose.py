"""Sentences that follow from the statistics, and hold back where the data don't carry them."""

from __future__ import annotations

from collections.abc import Sequence

from klayer.report.comparisons import ArmComparison, Comparisons, Effect
from klayer.report.ladder import steps_said
from klayer.report.layout import Group
from klayer.report.run_view import ArmView, RunView, compare_arms
from klayer.report.words import (
    MOST_NAMED,
    THIN,
    Sentence,
    capital,
    in_numbers,
    interval_said,
    is_shown,
    listed,
    p_said,
    plural,
)
from klayer.study.factors import Factor
from klayer.study.statistics import holm

__all__ = ["answer", "conclusion", "effect", "overall"]

# Claims on the first screen.
MOST_SHORT = 3


# The first screen.


def answer(view: RunView, found: Comparisons) -> list[str]:
    """Return the first lines of the page: the best arm with those that tie, then what varies."""
    lines = _top(view)
    said = [one.short for one in conclusion(view, found) if one.short]
    return lines + said[:MOST_SHORT]


def overall(view: RunView) -> str:
    """Count the networks, and say what all arms have in common."""
    arms, records = view.with_results, view.records
    if not records:
        return ""
    seeds = sorted({len(arm.records) for arm in arms})
    many = plural(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    text = f"{plural(len(records), 'network')}: {plural(len(arms), 'arm')}, {many} each."
    states = {"at chance": "never left chance", "diverged": "diverged"}
    counts = {state: sum(record.state == state for record in records) for state in states}
    told = [f"{counts[state]} {words}" for state, words in states.items() if counts[state]]
    if told:
        text += f" {listed(told)}."
    elif view.task == "classification":
        text += " All of them left chance."
    if view.constant:
        text += f" The same in all arms: {view.constant}."
    return text


def _top(view: RunView) -> list[str]:
    """Name the arm with the highest mean, and those that are not told apart from it."""
    arms = [arm for arm in view.with_results if arm.cell.kind == "trained" and arm.cell.result.n]
    if not arms:
        return _none(view)
    measure = view.measure
    best = max(arm.cell.result.mean or 0.0 for arm in arms)
    ties = [arm for arm in arms if arm.cell.result.mean == best]
    top, result = ties[0], ties[0].cell.result
    if len(view.with_results) == 1:
        line = capital(view.judged)
    elif len(ties) > 1:
        tied = f"{_number(len(ties))} of {len(view.with_results)} arms tie"
        line = f"{tied} for the highest mean {view.judged}"
        if len(ties) <= MOST_NAMED:
            line += f" ({listed([arm.label for arm in ties])})"
    else:
        line = f"The highest mean {view.judged} has {top.label}"
    line += f": {measure.show(result.mean)}"
    if result.sd is None:
        line += ", one seed, so nothing is known about its spread"
    else:
        low, high = measure.show(result.low), measure.show(result.high)
        line += (
            f" ± {measure.spread(result.sd)} (n\u00a0=\u00a0{result.n}, 95{THIN}% interval of the mean "
            f"{low} to {high})"
        )
    lines = [f"{line}."]
    others = [arm for arm in arms if arm not in ties]
    if others and result.sd is not None:
        lines[0] += f" {_near(top, others)}"
    return lines


def _none(view: RunView) -> list[str]:
    """Say what became of the networks where no arm has a mean."""
    left = [one for one in view.records if one.state == "trained"]
    if not view.records:
        return []
    if not left:
        states = {"at chance": "left chance", "diverged": "stayed finite"}
        kinds = {one.state for one in view.records}
        became = " and ".join(words for state, words in states.items() if state in kinds)
        return [f"None of the {plural(len(view.records), 'network')} {became}."]
    most = max(view.with_results, key=lambda arm: arm.cell.trained / max(1, arm.cell.n))
    return [
        f"There is no arm of which every network left chance. Most did with {most.label}: "
        f"{most.describe()}."
    ]


def _near(top: ArmView, others: list[ArmView]) -> str:
    """Say which arms the best one is not told apart from."""
    results = holm([compare_arms(top, arm) for arm in others])
    near = [arm.label for arm, one in zip(others, results, strict=True) if not is_shown(one)]
    if not near:
        return f"It is told apart from all {len(others)} others." if len(others) > 1 else ""
    if len(near) <= MOST_NAMED:
        return f"Not told apart from it: {listed(near)}."
    if len(near) == len(others):
        return f"None of the {len(others)} others is told apart from it."
    return f"{len(near)} of the {len(others)} others are not told apart from it."


def _number(n: int) -> str:
    words = ("Two", "Three", "Four", "Five", "Six")
    return words[n - 2] if 2 <= n <= 6 else str(n)


# The conclusion.


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
            sentences += _baseline(view, found) + _depth(view, found) + _elsewhere(view, found)
        else:
            sentences += _effects(view, found, factor)
    if not sentences:
        return []
    sentences += _exceptions(view)
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
            f"Against {_level(factor)}, with one seed and so without an interval: {listed(told)}."
        )
        sentences.append(Sentence(text, carried=False, short=text))
    return sentences + _left_chance(factor, effects)


def _level(factor: Factor) -> str:
    return factor.label(factor.reference)


def _told(view: RunView, one: Effect) -> str:
    """Say what one level does."""
    result, measure = one.result, view.measure
    by = measure.amount(result.difference.mean, sign=False)
    return (
        f"with {one.factor.label(one.level)}, {view.judged} is {by} {result.verdict} than with "
        f"{_level(one.factor)} {in_numbers(result, measure)}"
    )


def _averaged(view: RunView, one: Effect) -> str:
    """Say over how many pairs of arms an effect is a mean."""
    if len(one.cells) < 2:
        return ""
    others = [factor.plural for factor in view.factors if factor != one.factor]
    if one.used == len(one.cells):
        return f": means over {one.used} settings of {listed(others)}"
    return (
        f": means over those {one.used} of {len(one.cells)} settings of {listed(others)} with which "
        "every network left chance"
    )


def _not_shown(view: RunView, factor: Factor, rest: list[Effect], *, alone: bool) -> Sentence:
    measure = view.measure
    named = [
        f"{one.factor.label(one.level)} ({measure.amount(one.result.difference.mean)}, interval "
        f"{interval_said(one.result.difference, measure)})"
        for one in rest[:MOST_NAMED]
    ]
    if len(rest) > MOST_NAMED:
        named.append(f"{len(rest) - MOST_NAMED} more")
    what = "No difference" if alone else "No further difference"
    text = f"{what} in {view.judged} to {_level(factor)} is shown for {listed(named)}"
    if all(one.result.identical for one in rest):
        same = listed([one.factor.label(one.level) for one in rest[:MOST_NAMED]])
        text = f"{capital(_level(factor))} and {same} have the same {view.judged}, seed by seed."
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
        text += f", after Holm's correction for all of them ({p_said(least)} at the least)"
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
        f"Networks that left chance: {first.trained[0]} of {first.networks} with {_level(factor)}, "
        f"{listed(told[:MOST_NAMED])}{_tests(effects)}."
    )
    return [Sentence(text, carried, short=text if carried else "")]


def _tests(effects: Sequence[Effect]) -> str:
    """Say in how many comparisons of the tables the numbers that left chance differ."""
    all_cells = [c for one in effects for c in one.cells]
    cells = [one for one in all_cells if one.result.test == "Fisher"]
    shown = [one for one in cells if is_shown(one.result)]
    if not cells:
        return ""
    if len(all_cells) == 1:
        return f" (Fisher's exact test, {p_said(cells[0].result)})"
    least = min(cells, key=lambda one: one.result.p_holm or 1.0)
    return (
        f"; arm by arm, Fisher's exact test shows a difference in {len(shown)} of "
        f"{plural(len(cells), 'comparison')} after Holm's correction (the least {p_said(least.result)})"
    )


def effect(found: Comparisons, group: Group) -> str:
    """Say what the factor of the colours does in one figure."""
    members = {arm.name for arm in group.arms}
    inside = [one for one in found.arms if {one.a.name, one.b.name} <= members]
    return " ".join(_about(one) for one in inside[: MOST_NAMED + 2])


def _about(one: ArmComparison) -> str:
    """Say what one comparison shows."""
    result, measure, factor = one.result, one.b.measure, one.factor
    b, a = factor.label(one.b.levels[factor.name]), factor.label(one.a.levels[factor.name])
    if result.test == "Fisher":
        return (
            f"With {b}, {result.trained[1]} of {result.n} seeds left chance; "
            f"with {a}, {result.trained[0]} (Fisher's exact test, {p_said(result)})."
        )
    if result.identical:
        return f"{capital(b)} and {a} have the same values, seed by seed."
    if result.test == "paired t":
        test = f", paired t, {p_said(result)}" if result.p is not None else ""
        text = (
            f"{capital(b)} against {a}: {measure.amount(result.difference.mean)} (95{THIN}% interval "
            f"{interval_said(result.difference, measure)}, n\u00a0=\u00a0{result.n}{test})."
        )
        return text if is_shown(result) else f"{text} No difference is shown."
    if result.n < 2:
        return f"{capital(b)} against {a}: one seed, so no interval."
    became = (
        "No seed of either left chance" if result.trained == (0, 0) else "All seeds left chance"
    )
    return f"{became}: {b} and {a}."


# What batch normalisation does, where depth or initialisation vary too.


def _where(view: RunView, found: Comparisons, arm: ArmView) -> str:
    depth, init = found.depth_of(arm), view.factor("init")
    text = f"In the {depth} network" if depth else "Here"
    text += f" with {init.label(init.reference)} initialisation" if init else ""
    rest = [
        factor.label(arm.levels[factor.name])
        for factor in view.factors
        if factor.name not in ("depth", "hidden", "batch_norm", "init")
    ]
    return ", ".join([text, *filter(None, rest)])


def _baseline(view: RunView, found: Comparisons) -> list[Sentence]:
    """Say what batch normalisation does at the reference initialisation, in each network."""
    sentences, measure = [], view.measure
    for one in found.arms:
        result = one.result
        if one.factor.name != "batch_norm" or not one.primary or not result.test:
            continue
        series, where = one.factor.label(one.b.levels["batch_norm"]), _where(view, found, one.b)
        by = measure.amount(result.difference.mean)
        if result.test == "Fisher":
            text = f"{where}: {_about(one)}"
        elif is_shown(result):
            verb = "raises" if result.verdict == "higher" else "lowers"
            by = measure.amount(result.difference.mean, sign=False)
            text = f"{where}, {series} {verb} {view.judged} by {by} {in_numbers(result, measure)}."
        else:
            text = f"{where}, no effect of {series} is shown: {by} {in_numbers(result, measure)}."
        sentences.append(Sentence(text, is_shown(result), short=text if is_shown(result) else ""))
    if sentences and not any(one.carried for one in sentences):
        sentences[0] = Sentence(sentences[0].text, carried=False, short=sentences[0].text)
    return sentences


def _depth(view: RunView, found: Comparisons) -> list[Sentence]:
    sentences, measure = [], view.measure
    factor, init = view.factor("depth") or view.factor("hidden"), view.factor("init")
    at = f" with {init.label(init.reference)} initialisation" if init else ""
    for series, result in found.interactions.items():
        assert factor is not None
        shallow, deep = factor.labels[0], factor.labels[-1]
        numbers = f"{measure.amount(result.difference.mean)} {in_numbers(result, measure)}"
        if is_shown(result):
            more = "more" if result.verdict == "higher" else "less"
            text = (
                f"{series} gains {more} in the {deep} than in the {shallow} network{at}: {numbers}."
            )
        else:
            text = (
                f"That {series} gains more in the {deep} than in the {shallow} network is not shown"
                f"{at}: {numbers}."
            )
        sentences.append(Sentence(text, is_shown(result)))
    return sentences


def _elsewhere(view: RunView, found: Comparisons) -> list[Sentence]:
    """Count the networks that left chance with other initialisations, and say how far they came."""
    sentences = []
    for one in found.robustness:
        init, series = view.factor("init"), one.factor.label(one.level)
        depth = found.depth_of(one.cells[0].b)
        assert init is not None
        where = f"With other initialisations than {init.label(init.reference)}"
        where += f", {depth} networks" if depth else ", networks"
        without, with_bn = one.trained
        text = f"{where} that left chance: {with_bn} of {one.networks} with {series}"
        if with_bn:
            text += f" ({_reach(view, one)})"
        text += f", {without} of {one.networks} without"
        carried = any(is_shown(c.result) for c in one.cells if c.result.test == "Fisher")
        if without == with_bn:
            carried = False
        text += f"{_tests([one])}."
        sentences.append(Sentence(text, carried, short=text if carried else ""))
    return sentences


def _reach(view: RunView, one: Effect) -> str:
    """Say between which values the networks of some arms lie that left chance."""
    values = [
        value
        for c in one.cells
        for record in c.b.records
        if record.state == "trained" and (value := c.b.value(record)) is not None
    ]
    low, high = view.measure.show(min(values)), view.measure.show(max(values))
    return f"at {low}" if low == high else f"at {low} to {high}"


def _exceptions(view: RunView) -> list[Sentence]:
    """Name the arms with batch normalisation that still fail, and those whose seeds differ."""
    stuck = [
        f"{arm.label} ({arm.cell.n - arm.cell.trained} of {arm.cell.n})"
        for arm in view.with_results
        if arm.settings.batch_norm != "none" and arm.cell.trained < arm.cell.n
    ]
    texts = []
    if stuck and view.factor("batch_norm"):
        saved = "Batch normalisation doesn't save every network."
        texts.append(f"{saved} Never left chance: {listed(_some(stuck))}.")
    apart = [arm for arm in view.with_results if arm.cell.kind == "mixed" or arm.cell.far_apart]
    if apart:
        told = "; ".join(_some([f"{arm.label}: {arm.describe()}" for arm in apart]))
        texts.append(f"Where seeds of one arm differ widely, a single run says little. {told}.")
    return [Sentence(text) for text in texts]


def _some(words: list[str]) -> list[str]:
    """Keep those that a sentence can name, and count the others."""
    if len(words) <= MOST_NAMED + 2:
        return words
    return [*words[: MOST_NAMED + 1], f"{len(words) - MOST_NAMED - 1} more arms"]
