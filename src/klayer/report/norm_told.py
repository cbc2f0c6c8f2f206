"""What batch normalisation does, where depth or initialisation vary too."""

from __future__ import annotations

from klayer.report.comparisons import Comparisons, Effect
from klayer.report.comparisons_told import about, tests_of
from klayer.report.phrases import (
    Sentence,
    first_few,
    is_shown,
    listed,
    numbers_of,
)
from klayer.report.run_view import ArmView, RunView

__all__ = ["baseline", "by_depth", "elsewhere", "exceptions"]


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


def baseline(view: RunView, found: Comparisons) -> list[Sentence]:
    """Say what batch normalisation does at the reference initialisation, in each network."""
    sentences, measure = [], view.measure
    for one in found.arms:
        result = one.result
        if one.factor.name != "batch_norm" or not one.primary or not result.test:
            continue
        series, where = one.factor.label(one.b.levels["batch_norm"]), _where(view, found, one.b)
        by = measure.amount(result.difference.mean)
        if result.test == "Fisher":
            text = f"{where}: {about(one)}"
        elif is_shown(result):
            verb = "raises" if result.verdict == "higher" else "lowers"
            by = measure.amount(result.difference.mean, sign=False)
            text = f"{where}, {series} {verb} {view.judged} by {by} {numbers_of(result, measure)}."
        else:
            text = f"{where}, no effect of {series} is shown: {by} {numbers_of(result, measure)}."
        sentences.append(Sentence(text, is_shown(result), short=text if is_shown(result) else ""))
    if sentences and not any(one.carried for one in sentences):
        sentences[0] = Sentence(sentences[0].text, carried=False, short=sentences[0].text)
    return sentences


def by_depth(view: RunView, found: Comparisons) -> list[Sentence]:
    """Say whether it gains more in deeper networks."""
    sentences, measure = [], view.measure
    factor, init = view.factor("depth") or view.factor("hidden"), view.factor("init")
    at = f" with {init.label(init.reference)} initialisation" if init else ""
    for series, result in found.interactions.items():
        assert factor is not None
        shallow, deep = factor.labels[0], factor.labels[-1]
        numbers = f"{measure.amount(result.difference.mean)} {numbers_of(result, measure)}"
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


def elsewhere(view: RunView, found: Comparisons) -> list[Sentence]:
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
        text += f"{tests_of([one])}."
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


def exceptions(view: RunView) -> list[Sentence]:
    """Name the arms with batch normalisation that still fail, and those whose seeds differ."""
    stuck = [
        f"{arm.label} ({arm.cell.n - arm.cell.trained} of {arm.cell.n})"
        for arm in view.with_results
        if arm.settings.batch_norm != "none" and arm.cell.trained < arm.cell.n
    ]
    texts = []
    if stuck and view.factor("batch_norm"):
        saved = "Batch normalisation doesn't save every network."
        texts.append(f"{saved} Never left chance: {listed(first_few(stuck))}.")
    apart = [arm for arm in view.with_results if arm.cell.kind == "mixed" or arm.cell.far_apart]
    if apart:
        told = "; ".join(first_few([f"{arm.label}: {arm.describe()}" for arm in apart]))
        texts.append(f"Where seeds of one arm differ widely, a single run says little. {told}.")
    return [Sentence(text) for text in texts]
