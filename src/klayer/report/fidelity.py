"""Published accuracies beside measured ones: whether they agree, and what the seeds say about it."""

from __future__ import annotations

from dataclasses import dataclass

from klayer.study.cell import Cell
from klayer.study.statistics import SHARE, percent, prediction_interval

__all__ = ["Fidelity"]

# Published accuracies are given to four digits or so: half a unit of the last is no disagreement.
_ROUNDING = 5e-5
_UNEXPLAINED = "; not explained by these data"


@dataclass(frozen=True)
class Fidelity:
    """A published accuracy, of one run, beside the seeds of the arm that matches."""

    published: float
    measured: Cell
    source: str = ""
    arm: str = ""
    chance: float = 0.0  # a network up to this accuracy counts as never having left it
    note: str = ""  # what the study's author says about it
    fits: str = ""  # another reading of the published run, where that agrees

    @property
    def difference(self) -> float | None:
        """Published minus measured mean; None where the cell is mixed."""
        mean = self.measured.estimate.mean
        return None if mean is None else self.published - mean

    @property
    def sds(self) -> float | None:
        """The difference in standard deviations of the seeds."""
        difference, sd = self.difference, self.measured.estimate.sd
        return difference / sd if difference is not None and sd else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Where one more run would land in 95 % of cases: ``mean -+ t(n-1) * sd * sqrt(1 + 1/n)``."""
        return prediction_interval(self.measured.estimate, SHARE)

    @property
    def agrees(self) -> bool | None:
        """Whether it lies in the interval or, for a mixed cell, in the range of one of its two groups.

        None where there are too few seeds to say, or where they lie so far apart that nearly any run
        would agree.
        """
        cell = self.measured
        if cell.kind == "mixed":
            groups = (cell.result, cell.chance)
            return any(self._within(group.least, group.greatest) for group in groups)
        if self.interval[0] is None:
            return None
        inside = self._within(*self.interval)
        return None if inside and cell.far_apart else inside

    def _within(self, low: float | None, high: float | None) -> bool:
        if low is None or high is None:
            return False
        return low - _ROUNDING <= self.published <= high + _ROUNDING

    @property
    def explanation(self) -> str:
        """What the data say about it."""
        text = self._seeds_say()
        return (
            f"{text.removesuffix(_UNEXPLAINED)}; the reading {self.fits} fits"
            if self.fits
            else text
        )

    def _seeds_say(self) -> str:
        published, measured, agrees = self.published, self.measured, self.agrees
        n, kind = measured.n, measured.kind
        if kind == "empty" or (agrees is None and not measured.far_apart):
            return "too few seeds to judge" if n else ""
        if kind == "mixed":
            text = f"seeds differ: {measured.trained} of {n} left chance"
            if published <= self.chance:
                return f"{text}; the published run is one that did not"
            greatest = measured.result.greatest
            if self._within(measured.result.least, greatest):
                return f"{text}; the published run is like them"
            side = "below" if greatest is None or published <= greatest else "above"
            return f"{text}; the published run lies {side} all that left chance"
        if kind in ("at chance", "diverged") and published > self.chance:
            became = "leaves chance" if kind == "at chance" else "stays finite"
            return f"with the stated settings none of {n} seeds {became}; the published run did"
        if kind == "trained" and published <= self.chance:
            return f"all {n} seeds train; the published run did not"
        value = measured.estimate
        if agrees is None:
            return (
                f"our {n} seeds lie far apart ({percent(value.least)} to {percent(value.greatest)}), "
                "so that one run says little"
            )
        if self._within(value.least, value.greatest):
            return f"within the range of our {n} seeds"
        if agrees:
            low, high = self.interval
            return (
                f"outside the range of our {n} seeds, but where one more run could land "
                f"({percent(low)} to {percent(high)})"
            )
        side = "below" if value.least is None or published < value.least else "above"
        return f"{side} all {n} seeds{_UNEXPLAINED}"
