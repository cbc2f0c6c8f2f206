"""Sentences that follow from the statistics, and hold back where the data don't carry them."""

from __future__ import annotations

from dataclasses import dataclass

from klayer.report.findings import Finding, Findings
from klayer.report.view import RunView
from klayer.study.statistics import LEVEL, Comparison, Estimate, percent

__all__ = ["Sentence", "conclusion", "headline", "p_text", "points", "section"]

THIN = "\u202f"


@dataclass(frozen=True)
class Sentence:
    """A statement.

    Attributes
    ----------
    text : str
    carried : bool
        Whether the data carry it; if not, the text says that something is not shown.
    """

    text: str
    carried: bool = True


def points(value: float) -> str:
    """Write a difference of shares in percentage points, with its sign.

    Examples
    --------
    >>> points(0.0415), points(-0.003)
    ('+4.2', '−0.3')
    """
    shown = f"{100 * value:+.1f}"
    return shown.replace("-", "\u2212").replace("+0.0", "0.0").replace("\u22120.0", "0.0")


def p_text(p: float | None) -> str:
    """Write a p-value.

    Examples
    --------
    >>> p_text(0.0312), p_text(1e-5), p_text(None)
    ('0.031', '< 0.001', '–')
    """
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


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
    stuck = sum(record.state == "at chance" for record in records)
    broken = sum(record.state == "diverged" for record in records)
    told = []
    if stuck:
        told.append(f"{stuck} never left chance")
    if broken:
        told.append(f"{broken} diverged")
    text += f" {_list(told).capitalize()}." if told else " All of them trained."
    lines = [text]
    trained = [arm for arm in arms if arm.cell.kind == "trained"]
    if trained:
        top = max(trained, key=lambda arm: arm.cell.result.mean)
        result = top.cell.result
        which = (
            "Test accuracy" if len(arms) == 1 else f"The highest mean test accuracy has {top.label}"
        )
        line = f"{which}: {percent(result.mean)}"
        if result.sd is not None:
            line += (
                f" ± {100 * result.sd:.1f} (n\u00a0=\u00a0{result.n}, 95{THIN}% interval of the mean "
                f"{percent(result.low)} to {percent(result.high)})"
            )
        else:
            line += ", one seed, so nothing is known about its spread"
        lines.append(line + ".")
    return lines


def section(found: Findings, architecture: str, init: str) -> list[Sentence]:
    """Say what batch normalisation does in one architecture with one initialisation."""
    chosen = [
        one
        for one in found.findings
        if one.factor == "batch_norm"
        and one.b.architecture == architecture
        and one.b.init == one.a.init == init
    ]
    return [Sentence(*_about(one)) for one in chosen]


def _about(one: Finding) -> tuple[str, bool]:
    """Return a clause about one comparison, and whether it shows a difference."""
    result, shown = one.result, one.result.verdict != "not told apart"
    if result.test == "Fisher":
        text = (
            f"With {one.b.series}, {result.trained[1]} of {result.n} seeds left chance; "
            f"with {one.a.series}, {result.trained[0]} (Fisher's exact test, {_p(result)})."
        )
        return text, shown
    if result.test == "paired t":
        n, difference = result.n, result.difference
        text = (
            f"{one.b.series} against {one.a.series}: {points(difference.mean)} points "
            f"(95{THIN}% interval {_interval(difference)}, n\u00a0=\u00a0{n}"
        )
        text += f", paired t, {_p(result)})." if result.p is not None else ")."
        return text if shown else f"{text} No difference is shown.", shown
    if result.n < 2:
        text = f"{one.b.series} against {one.a.series}: one seed, so no interval."
        return text, False
    became = "No seed of either trained" if result.trained == (0, 0) else "All seeds trained"
    return f"{became}: {one.b.series} and {one.a.series}.", False


def conclusion(view: RunView, found: Findings) -> list[Sentence]:
    """Derive what a study concludes, claim by claim.

    Each claim rests on one comparison, whose numbers it states. Where the interval or the test
    doesn't carry the claim, the sentence says that it isn't shown.
    """
    sentences = _baseline(view, found) + _depth(view, found) + _robust(view, found)
    sentences += _exceptions(view) + _other(found)
    if not sentences:
        return []
    sentences.sort(key=lambda one: not one.carried)
    if any(one.factor == "batch_norm" for one in found.findings):
        sentences.append(
            Sentence(
                "The study measures accuracies. Why batch normalisation helps, where it helps, it "
                "doesn't measure.",
                carried=False,
            )
        )
    return sentences


def _baseline(view: RunView, found: Findings) -> list[Sentence]:
    sentences = []
    for one in found.findings:
        if one.factor != "batch_norm" or not one.primary:
            continue
        result, where = (
            one.result,
            f"{one.b.architecture} network with {view.baseline} initialisation",
        )
        if result.test == "paired t" and result.verdict != "not told apart":
            verb = "raises" if result.verdict == "higher" else "lowers"
            text = (
                f"In the {where}, {one.b.series} {verb} test accuracy by "
                f"{points(abs(result.difference.mean)).lstrip('+')} points "
                f"(95{THIN}% interval {_interval(result.difference)}; {_plural(result.n, 'seed')}, "
                f"{_p(result)})."
            )
            sentences.append(Sentence(text))
        elif result.test == "paired t":
            text = (
                f"In the {where}, no effect of {one.b.series} is shown: "
                f"{points(result.difference.mean)} points "
                f"(95{THIN}% interval {_interval(result.difference)}; {_plural(result.n, 'seed')}, "
                f"{_p(result)})."
            )
            sentences.append(Sentence(text, carried=False))
        elif result.test == "Fisher":
            text, shown = _about(one)
            sentences.append(Sentence(f"In the {where}: {text}", carried=shown))
    return sentences


def _depth(view: RunView, found: Findings) -> list[Sentence]:
    sentences = []
    for series, result in found.interactions.items():
        shallow, deep = view.architectures[0], view.architectures[-1]
        numbers = (
            f"{points(result.difference.mean)} points (95{THIN}% interval "
            f"{_interval(result.difference)}; {_plural(result.n, 'seed')}, {_p(result)})"
        )
        if result.verdict == "not told apart":
            text = (
                f"That {series} gains more in the {deep} than in the {shallow} network is not shown "
                f"with {view.baseline} initialisation: {numbers}."
            )
        else:
            more = "more" if result.verdict == "higher" else "less"
            text = (
                f"With {view.baseline} initialisation, {series} gains {more} in the {deep} than in "
                f"the {shallow} network: {numbers}."
            )
        sentences.append(Sentence(text, result.verdict != "not told apart"))
    return sentences


def _robust(view: RunView, found: Findings) -> list[Sentence]:
    sentences = []
    for (architecture, series), result in found.robustness.items():
        n, (without, with_bn) = result.n, result.trained
        if without == with_bn:
            became = f"{with_bn} of {n} {architecture} networks trained, with {series} and without"
            text = f"With other initialisations than {view.baseline}, {became}."
            sentences.append(Sentence(text, carried=False))
            continue
        numbers = f"{with_bn} of {n} trained with {series}, {without} of {n} without ({_p(result)})"
        if result.verdict == "higher":
            text = (
                f"{series} makes the training of the {architecture} network robust to the other "
                f"initialisations: {numbers}."
                if with_bn == n
                else f"{series} makes the {architecture} network more robust to the other "
                f"initialisations, but not to all: {numbers}."
            )
        elif result.verdict == "lower":
            text = f"{series} makes the {architecture} network less robust: {numbers}."
        else:
            text = f"That {series} makes the {architecture} network more robust is not shown: {numbers}."
        sentences.append(Sentence(text, result.verdict != "not told apart"))
    return sentences


def _exceptions(view: RunView) -> list[Sentence]:
    """Name the arms with batch normalisation that still fail, and those whose seeds differ."""
    stuck = [
        f"{arm.label} ({arm.cell.n - arm.cell.trained} of {arm.cell.n})"
        for arm in view.with_results
        if arm.settings.batch_norm != "none" and arm.cell.trained < arm.cell.n
    ]
    sentences = []
    if stuck:
        sentences.append(
            Sentence(
                f"Batch normalisation doesn't save every network. Not trained: {_list(stuck)}."
            )
        )
    apart = [arm for arm in view.with_results if arm.cell.kind == "mixed" or arm.cell.far_apart]
    if apart:
        told = "; ".join(f"{arm.label}: {arm.cell.describe()}" for arm in apart)
        sentences.append(
            Sentence(f"Where seeds of one arm differ widely, a single run says little. {told}.")
        )
    return sentences


def _other(found: Findings) -> list[Sentence]:
    """Say which other settings made a difference, and for how many none is shown."""
    sentences = []
    for factor in dict.fromkeys(one.factor for one in found.findings):
        ones = [one for one in found.findings if one.factor == factor]
        if factor == "batch_norm" or not any(one.result.test == "paired t" for one in ones):
            continue
        word = {"init": "initialisations", "l2": "values of lambda", "hidden": "architectures"}
        what = word.get(factor, f"values of {factor.replace('_', ' ')}")
        compared = [one for one in ones if one.result.test == "paired t"]
        shown = [one for one in compared if one.result.verdict != "not told apart"]
        text = (
            f"Of {_plural(len(compared), 'comparison')} of {what} in which every network trained, "
            f"{len(shown) or 'none'} shows a difference in test accuracy at the "
            f"{100 * (1 - LEVEL):.0f}{THIN}% level after Holm's correction"
        )
        if shown:
            text = text.replace(" shows ", " show " if len(shown) > 1 else " shows ")
            told = [
                f"{one.b.label} ({points(one.result.difference.mean)} points against {one.a.init})"
                if factor == "init"
                else f"{one.b.label} ({points(one.result.difference.mean)} points)"
                for one in shown
            ]
            text += f": {_list(told)}"
        sentences.append(Sentence(f"{text}.", carried=bool(shown)))
    return sentences
