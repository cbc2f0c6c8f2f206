"""The first lines of a page: how many networks, the best arm and its ties, what varies."""

from __future__ import annotations

from klayer.report.comparisons import Comparisons
from klayer.report.conclusion import conclusion
from klayer.report.phrases import (
    MOST_NAMED,
    THIN,
    capital,
    is_shown,
    listed,
    plural,
)
from klayer.report.run_view import ArmView, RunView, compare_arms
from klayer.study.comparison import holm

__all__ = ["answer", "overall"]

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


# What batch normalisation does, where depth or initialisation vary too.
