"""Sentences that follow from the statistics, and hold back where the data don't carry them."""

from __future__ import annotations

from dataclasses import dataclass

from klayer.report.comparisons import ArmComparison, Comparisons
from klayer.report.run_view import RunView
from klayer.report.table import p_text, points
from klayer.study.statistics import LEVEL, Comparison, Estimate, percent

__all__ = ["Sentence", "conclusion", "effect", "headline"]

THIN = "\u202f"


@dataclass(frozen=True)
class Sentence:
    """A statement; where the data don't carry it, it says that something is not shown."""

    text: str
    carried: bool = True


def _p(result: Comparison) -> str:
    value = p_text(result.p if result.p_holm is None else result.p_holm)
    text = f"p {value}" if value.startswith("<") else f"p = {value}"
    return text.replace(" ", "\u00a0")


def _interval(found: Estimate) -> str:
    return f"{points(found.low)} to {points(found.high)}"


def _plural(n: int, word: str) -> str:
    return f"{n} {word}" + ("" if n == 1 else "s")


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def headline(view: RunView) -> list[str]:
    """Return the first lines of the page: what was trained, and what stands out."""
    arms, records = view.with_results, view.records
    if not records:
        return []
    seeds = sorted({len(arm.records) for arm in arms})
    many = _plural(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    text = f"{_plural(len(records), 'network')}: {_plural(len(arms), 'arm')}, {many} each."
    states = {"at chance": "never left chance", "diverged": "diverged"}
    counts = {state: sum(record.state == state for record in records) for state in states}
    told = [f"{counts[state]} {words}" for state, words in states.items() if counts[state]]
    lines = [f"{text} {_list(told).capitalize()}." if told else f"{text} All of them trained."]
    trained = [arm for arm in arms if arm.cell.kind == "trained" and arm.cell.result.n]
    if trained:
        top = max(trained, key=lambda arm: arm.cell.result.mean or 0.0)
        result = top.cell.result
        line = f"{view.judge.capitalize()} accuracy"
        if len(arms) > 1:
            line = f"The highest mean {view.judge} accuracy has {top.label}"
        line += f": {percent(result.mean)}"
        if result.sd is None:
            line += ", one seed, so nothing is known about its spread"
        else:
            line += (
                f" ± {100 * result.sd:.1f} (n\u00a0=\u00a0{result.n}, 95{THIN}% interval of the mean "
                f"{percent(result.low)} to {percent(result.high)})"
            )
        lines.append(f"{line}.")
    return lines


def effect(found: Comparisons, architecture: str, init: str) -> str:
    """Say what batch normalisation does in one architecture with one initialisation."""
    return " ".join(
        _about(one)
        for one in found.arms
        if one.factor == "batch_norm"
        and one.b.architecture == architecture
        and one.b.init == one.a.init == init
    )


def _shown(result: Comparison) -> bool:
    return result.verdict != "not told apart"


def _numbers(result: Comparison) -> str:
    """Write the interval of a paired difference, the number of seeds and p."""
    found = f"95{THIN}% interval {_interval(result.difference)}"
    return f"({found}; {_plural(result.n, 'seed')}, {_p(result)})"


def _about(one: ArmComparison) -> str:
    """Say what one comparison shows."""
    result, b, a = one.result, one.b.series, one.a.series
    if result.test == "Fisher":
        return (
            f"With {b}, {result.trained[1]} of {result.n} seeds left chance; "
            f"with {a}, {result.trained[0]} (Fisher's exact test, {_p(result)})."
        )
    if result.test == "paired t":
        test = f", paired t, {_p(result)}" if result.p is not None else ""
        text = (
            f"{b} against {a}: {points(result.difference.mean)} points (95{THIN}% interval "
            f"{_interval(result.difference)}, n\u00a0=\u00a0{result.n}{test})."
        )
        return text if _shown(result) else f"{text} No difference is shown."
    if result.n < 2:
        return f"{b} against {a}: one seed, so no interval."
    became = "No seed of either trained" if result.trained == (0, 0) else "All seeds trained"
    return f"{became}: {b} and {a}."


def conclusion(view: RunView, found: Comparisons) -> list[Sentence]:
    """Derive what a study concludes, claim by claim.

    Each claim rests on one comparison, whose numbers it states. Where the interval or the test
    doesn't carry the claim, the sentence says that it isn't shown.
    """
    sentences = _baseline(view, found) + _depth(view, found) + _robust(view, found)
    sentences += _exceptions(view) + _other(view, found)
    if not sentences:
        return []
    sentences.sort(key=lambda one: not one.carried)
    if any(one.factor == "batch_norm" for one in found.arms):
        text = (
            "The study measures accuracies. Why batch normalisation helps, where it helps, it "
            "doesn't measure."
        )
        sentences.append(Sentence(text, carried=False))
    return sentences


def _baseline(view: RunView, found: Comparisons) -> list[Sentence]:
    sentences = []
    for one in found.arms:
        result, series = one.result, one.b.series
        if one.factor != "batch_norm" or not one.primary or not result.test:
            continue
        where = f"In the {one.b.architecture} network with {view.baseline} initialisation"
        by = points(result.difference.mean)
        if result.test == "Fisher":
            text = f"{where}: {_about(one)}"
        elif _shown(result):
            verb = "raises" if result.verdict == "higher" else "lowers"
            by = by.lstrip("+\u2212")
            text = (
                f"{where}, {series} {verb} {view.judge} accuracy by {by} points {_numbers(result)}."
            )
        else:
            text = f"{where}, no effect of {series} is shown: {by} points {_numbers(result)}."
        sentences.append(Sentence(text, _shown(result)))
    return sentences


def _depth(view: RunView, found: Comparisons) -> list[Sentence]:
    sentences = []
    for series, result in found.interactions.items():
        shallow, deep = view.architectures[0], view.architectures[-1]
        numbers = f"{points(result.difference.mean)} points {_numbers(result)}"
        if _shown(result):
            more = "more" if result.verdict == "higher" else "less"
            text = (
                f"With {view.baseline} initialisation, {series} gains {more} in the {deep} than in "
                f"the {shallow} network: {numbers}."
            )
        else:
            text = (
                f"That {series} gains more in the {deep} than in the {shallow} network is not shown "
                f"with {view.baseline} initialisation: {numbers}."
            )
        sentences.append(Sentence(text, _shown(result)))
    return sentences


def _robust(view: RunView, found: Comparisons) -> list[Sentence]:
    sentences = []
    for (architecture, series), result in found.robustness.items():
        n, (without, with_bn) = result.n, result.trained
        if without == with_bn:
            became = f"{with_bn} of {n} {architecture} networks trained, with {series} and without"
            text = f"With other initialisations than {view.baseline}, {became}."
            sentences.append(Sentence(text, carried=False))
            continue
        numbers = f"{with_bn} of {n} trained with {series}, {without} of {n} without ({_p(result)})"
        others, name = "to the other initialisations", f"the {architecture} network"
        if not _shown(result):
            text = f"That {series} makes {name} more robust is not shown"
        elif result.verdict == "lower":
            text = f"{series} makes {name} less robust"
        elif with_bn == n:
            text = f"{series} makes the training of {name} robust {others}"
        else:
            text = f"{series} makes {name} more robust {others}, but not to all"
        sentences.append(Sentence(f"{text}: {numbers}.", _shown(result)))
    return sentences


def _exceptions(view: RunView) -> list[Sentence]:
    """Name the arms with batch normalisation that still fail, and those whose seeds differ."""
    stuck = [
        f"{arm.label} ({arm.cell.n - arm.cell.trained} of {arm.cell.n})"
        for arm in view.with_results
        if arm.settings.batch_norm != "none" and arm.cell.trained < arm.cell.n
    ]
    texts = []
    if stuck:
        saved = "Batch normalisation doesn't save every network."
        texts.append(f"{saved} Not trained: {_list(stuck)}.")
    apart = [arm for arm in view.with_results if arm.cell.kind == "mixed" or arm.cell.far_apart]
    if apart:
        told = "; ".join(f"{arm.label}: {arm.cell.describe()}" for arm in apart)
        texts.append(f"Where seeds of one arm differ widely, a single run says little. {told}.")
    return [Sentence(text) for text in texts]


def _other(view: RunView, found: Comparisons) -> list[Sentence]:
    """Say which other settings made a difference, and for how many none is shown."""
    sentences = []
    for factor in dict.fromkeys(one.factor for one in found.arms):
        ones = [one for one in found.arms if one.factor == factor]
        compared = [one for one in ones if one.result.test == "paired t"]
        if factor == "batch_norm" or not compared:
            continue
        word = {"init": "initialisations", "l2": "values of lambda", "hidden": "architectures"}
        what = word.get(factor, f"values of {factor.replace('_', ' ')}")
        shown = [one for one in compared if _shown(one.result)]
        text = (
            f"Of {_plural(len(compared), 'comparison')} of {what} in which every network trained, "
            f"{len(shown) or 'none'} {'show' if len(shown) > 1 else 'shows'} a difference in "
            f"{view.judge} accuracy at the {100 * (1 - LEVEL):.0f}{THIN}% level after Holm's correction"
        )
        if shown:
            against = {"init": " against {}"}.get(factor, "")
            told = [
                f"{one.b.label} ({points(one.result.difference.mean)} points"
                f"{against.format(one.a.init)})"
                for one in shown
            ]
            text += f": {_list(told)}"
        sentences.append(Sentence(f"{text}.", carried=bool(shown)))
    return sentences
