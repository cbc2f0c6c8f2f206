"""Published accuracies beside measured ones: whether they agree, and what the seeds say about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from klayer.study.statistics import Cell, Estimate, percent, t_factor

__all__ = ["UNEXPLAINED", "Fidelity", "fidelity"]

UNEXPLAINED = "; not explained by these data"
# Published accuracies are given to four digits or so: half a unit of the last is no disagreement.
_ROUNDING = 5e-5


@dataclass(frozen=True)
class Fidelity:
    """A published accuracy beside the measured one."""

    source: str
    arm: str
    published: float
    measured: Cell
    difference: float | None  # published minus measured mean; None where the cell is mixed
    sds: float | None  # the difference in standard deviations of the seeds
    # Where one more run would land in 95 % of cases: mean -+ t(n-1) * sd * sqrt(1 + 1/n).
    low: float | None
    high: float | None
    # None where there are too few seeds to say, or where they lie so far apart that nearly any run
    # would agree.
    agrees: bool | None
    explanation: str  # what the data say about it
    note: str = ""  # what the study's author says about it


def fidelity(
    published: float,
    measured: Cell,
    *,
    source: str = "",
    arm: str = "",
    chance: float = 0.0,
    note: str = "",
) -> Fidelity:
    """Set one published run beside the seeds of the arm that matches.

    It agrees if it lies in the 95 % prediction interval for one more run, or, for a mixed cell, in the
    range of one of its two groups. A network up to an accuracy of ``chance`` counts as never having left
    it; ``note`` is what the study's author says.
    """
    value = measured.estimate
    difference = sds = low = high = agrees = None
    if value.mean is not None:
        difference = published - value.mean
        if value.sd is not None:
            half = t_factor(value.n) * value.sd * math.sqrt(1 + 1 / value.n)
            low, high = value.mean - half, value.mean + half
            agrees = low - _ROUNDING <= published <= high + _ROUNDING
            sds = difference / value.sd if value.sd > 0 else None
            if agrees and measured.far_apart:
                agrees = None
    if measured.kind == "mixed":
        agrees = any(_within(published, group) for group in (measured.result, measured.chance))
    text = _explain(published, measured, agrees, (low, high), chance)
    return Fidelity(
        source, arm, published, measured, difference, sds, low, high, agrees, text, note
    )


def _within(value: float, found: Estimate) -> bool:
    """Whether a published value lies between the least and the greatest, but for its rounding."""
    if found.least is None or found.greatest is None:
        return False
    return found.least - _ROUNDING <= value <= found.greatest + _ROUNDING


def _explain(
    published: float,
    measured: Cell,
    agrees: bool | None,
    interval: tuple[float | None, float | None],
    chance: float,
) -> str:
    n, kind = measured.n, measured.kind
    if kind == "empty" or (agrees is None and not measured.far_apart):
        return "too few seeds to judge" if n else ""
    if kind == "mixed":
        text = f"seeds differ: {measured.trained} of {n} trained"
        if published <= chance:
            return f"{text}; the published run is one that did not"
        group = measured.result
        if _within(published, group):
            return f"{text}; the published run is like them"
        side = "below" if group.greatest is None or published <= group.greatest else "above"
        return f"{text}; the published run lies {side} all that trained"
    if kind in ("at chance", "diverged") and published > chance:
        became = "leaves chance" if kind == "at chance" else "stays finite"
        return f"with the stated settings none of {n} seeds {became}; the published run did"
    if kind == "trained" and published <= chance:
        return f"all {n} seeds train; the published run did not"
    value = measured.estimate
    if agrees is None:
        return (
            f"our {n} seeds lie far apart ({percent(value.least)} to {percent(value.greatest)}), so "
            "that one run says little"
        )
    if _within(published, value):
        return f"within the range of our {n} seeds"
    if agrees:
        return (
            f"outside the range of our {n} seeds, but where one more run could land "
            f"({percent(interval[0])} to {percent(interval[1])})"
        )
    side = "below" if value.least is None or published < value.least else "above"
    return f"{side} all {n} seeds{UNEXPLAINED}"
