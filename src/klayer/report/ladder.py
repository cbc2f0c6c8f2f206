"""Steps that build on one another: what each changes, what it brought, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from klayer.report.comparisons import Comparisons
from klayer.report.comparisons_told import about
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
    plural,
)
from klayer.report.run_view import ArmView, RunView, compare_arms
from klayer.study.comparison import Comparison
from klayer.study.statistics import Estimate, estimate

__all__ = ["Rung", "rungs", "steps_said"]


@dataclass(frozen=True)
class Rung:
    """An arm of a ladder, with what brought it there.

    Attributes
    ----------
    arm : ArmView
    step : Comparison or None
        Against the arm before it, corrected for all steps together; None of the first.
    """

    arm: ArmView
    step: Comparison | None = None

    @property
    def title(self) -> str:
        """What it is called, here as everywhere."""
        return self.arm.label

    @property
    def seconds(self) -> Estimate:
        """Seconds that a network took for an epoch: its share of its population's time."""
        return estimate(
            record.seconds / epochs
            for record in self.arm.records
            if (epochs := float(record.history["epoch"][-1])) > 0
        )


def rungs(view: RunView, found: Comparisons) -> list[Rung]:
    """Return the steps of a ladder that have results, in their order; of other runs none."""
    arms = [arm for arm in view.with_results if arm.name in view.ladder]
    if len(arms) < 2:
        return []
    steps = [None, *(one.result for one in found.arms if one.primary)]
    return [Rung(arm, step) for arm, step in zip(arms, steps, strict=True)]


def steps_said(view: RunView, found: Comparisons) -> list[Sentence]:
    """Return what the whole ladder brought, and which of its steps are shown to bring something."""
    steps = rungs(view, found)
    if not steps:
        return []
    tested = [one for one in steps if one.step and one.step.test]
    sentences = [_whole(view, steps)]
    for verdict, verb in (("higher", "raise"), ("lower", "lower")):
        told = [_told(view, one) for one in tested if one.step and one.step.verdict == verdict]
        if told:
            verb += "s" if len(told) == 1 else ""
            text = f"Beyond the step before it, {listed(told)} {verb} {view.judged}."
            sentences.append(Sentence(text, short=text))
    rest = [one for one in tested if one.step and not is_shown(one.step)]
    if rest:
        sentences.append(_not_shown(view, rest))
    alone = [one for one in steps if one.step and not one.step.test]
    if alone:
        named = listed([one.title for one in alone])
        text = (
            f"Nothing can be tested of {named}: it takes two seeds that left chance on both sides."
        )
        sentences.append(Sentence(text, carried=False))
    text = (
        "A step's gain is what it brings on top of those before it: in another order, or left out of "
        "the whole, it may be another."
    )
    return [*sentences, Sentence(text, carried=False), *_beside(found)]


def _beside(found: Comparisons) -> list[Sentence]:
    """Set the arms that are no steps against the last step."""
    others = [one for one in found.arms if not one.primary]
    sentences = [Sentence(about(one), is_shown(one.result)) for one in others[:MOST_NAMED]]
    if len(others) > MOST_NAMED:
        text = f"{len(others) - MOST_NAMED} more arms beside the steps are in the tables."
        sentences.append(Sentence(text, carried=False))
    return sentences


def _whole(view: RunView, steps: list[Rung]) -> Sentence:
    """Say what all steps together brought."""
    first, last, measure = steps[0].arm, steps[-1].arm, view.measure
    result = compare_arms(first, last)
    over = f"over {plural(len(steps) - 1, 'step')}, from {steps[0].title} to {steps[-1].title}"
    if result.test == "Fisher":
        text = (
            f"{capital(over)}: {result.trained[0]} of {result.n} networks left chance at the start, "
            f"{result.trained[1]} at the end (Fisher's exact test, {p_value(result)})."
        )
        return Sentence(text, is_shown(result), short=text)
    if result.difference.mean is None:
        text = f"{capital(over)}, nothing can be compared: no network left chance on both sides."
        return Sentence(text, carried=False)
    ends = f"{measure.show(first.cell.result.mean)} to {measure.show(last.cell.result.mean)}"
    by = measure.amount(result.difference.mean)
    if result.n < 2:
        text = f"{capital(view.judged)} goes from {ends} {over}: {by}, one seed, so no interval."
        return Sentence(text, carried=False, short=text)
    if is_shown(result):
        goes = "rises" if result.verdict == "higher" else "falls"
        text = f"{capital(view.judged)} {goes} from {ends} {over}: {by}"
    else:
        text = f"{capital(view.judged)} is not shown to change {over}: from {ends}, {by}"
    text += f" {numbers_of(result, measure)}."
    return Sentence(text, is_shown(result), short=text)


def _told(view: RunView, one: Rung) -> str:
    assert one.step
    result, measure = one.step, view.measure
    if result.test == "Fisher":
        return (
            f"{one.title} ({result.trained[0]} → {result.trained[1]} of {result.n} left chance, "
            f"{p_value(result)})"
        )
    by = measure.amount(result.difference.mean)
    return f"{one.title} ({by}, {interval_of(result.difference, measure)}, {p_value(result)})"


def _not_shown(view: RunView, rest: list[Rung]) -> Sentence:
    """Name the steps that the data don't carry, with what they could have shown."""
    measure, told = view.measure, list[str]()
    results = [one.step for one in rest if one.step]
    for one, result in zip(rest, results, strict=True):
        by, ends = measure.amount(result.difference.mean), result.difference
        fisher = result.test == "Fisher"
        told.append(
            _told(view, one) if fisher else f"{one.title} ({by}, {interval_of(ends, measure)})"
        )
    text = f"No difference to the step before is shown for {listed(told)}"
    if any((one.difference.low or 0) * (one.difference.high or 0) > 0 for one in results):
        # An interval is of one comparison alone, and this one leaves 0 out.
        least = min(results, key=lambda one: 1.0 if one.p is None else one.p)
        text += f", after Holm's correction for all of them ({p_value(least)} at the least)"
    could = max((one.smallest_shown or 0.0 for one in results), default=0.0)
    if could:
        size = measure.amount(could, sign=False)
        text += f"; these seeds would have shown differences from {size} on in 80{THIN}% of cases"
    return Sentence(f"{text}.", carried=False, short=f"{text}.")
