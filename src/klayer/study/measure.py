"""What networks are judged by: its name, its bounds, and how tables and sentences write it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from klayer.study.statistics import percent
from klayer.train.metrics import METRICS, main_metric, metrics_of

__all__ = ["MEASURES", "Measure", "measure_of", "others_of"]

INFINITY = float("inf")
MINUS = "\u2212"
# From here on decimals say nothing.
LARGE = 1000


@dataclass(frozen=True)
class Measure:
    """A number by which networks are judged; more is better.

    Attributes
    ----------
    name : str
        Its name among a network's scores.
    word : str
        In a sentence: ``"accuracy"``.
    share : bool
        Whether it is a share of the rows, written in per cent, its differences in points.
    bounds : (float, float)
        Between which it lies.
    apart : float
        Seeds with a standard deviation above it are not repetitions of one result.
    floor : float
        Lower values say nothing more: a picture has them there.

    Examples
    --------
    >>> MEASURES["accuracy"].show(0.5278), MEASURES["accuracy"].amount(-0.012)
    ('52.8\u202f%', '−1.2 points')
    >>> MEASURES["r2"].show(0.52784), MEASURES["r2"].amount(0.012)
    ('0.528', '+0.012')
    """

    name: str
    word: str
    share: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)
    apart: float = 0.05
    floor: float = 0.0

    def show(self, value: float | None, digits: int = 1) -> str:
        """Write a value; a dash where there is none."""
        return percent(value, digits) if value is None or self.share else self._plain(value, digits)

    def _plain(self, value: float, digits: int) -> str:
        """Write a number that is no share: R² to its last places, others to their first.

        Of a network that grew without bounds R² has any size, and is written as short as others.
        """
        fixed = self.bounds[1] == 1 and abs(value) < LARGE
        shown = f"{value:.{digits + 2}f}" if fixed else f"{value:.{digits + 3}g}"
        return shown.replace("-", MINUS) if float(shown) else shown.lstrip("-")

    def axis(self, values: Iterable[float | None]) -> dict[str, Any]:
        """Return the scale of a chart of such values: as far as they go, and no lower than the floor.

        Examples
        --------
        >>> MEASURES["r2"].axis([0.5, -2e20, None])["domain"]
        [-1.0, 0.5]
        """
        found = [max(self.floor, value) for value in values if value is not None] or [self.floor]
        ends = [min(found), max(*found, min(found) + 0.01)]
        return {"domain": ends, "nice": True, "clamp": True}

    def beyond(self, values: Iterable[float | None]) -> str:
        """Return the sentence of a caption on values below the floor; empty where there are none."""
        low = any(value is not None and value < self.floor for value in values)
        floor = f"{self.floor:g}".replace("-", MINUS)
        return f" What lies below {floor} is drawn there." if low else ""

    def spread(self, sd: float, digits: int = 1) -> str:
        """Write a standard deviation, without a unit."""
        return f"{100 * sd:.{digits}f}" if self.share else self._plain(sd, digits)

    def mean_sd(self, mean: float | None, sd: float | None, digits: int = 1) -> str:
        """Write a mean with its standard deviation, where there is one."""
        shown = self.show(mean, digits)
        return shown if sd is None else f"{shown} ± {self.spread(sd, digits)}"

    def interval(self, low: float | None, high: float | None, digits: int = 1) -> str:
        """Write an interval of values."""
        if low is None:
            return "–"
        first = self.show(low, digits).removesuffix("\u202f%")
        return f"{first} to {self.show(high, digits)}"

    def difference(self, value: float | None) -> str:
        """Write a difference with its sign; of shares in percentage points.

        Examples
        --------
        >>> accuracy = MEASURES["accuracy"]
        >>> accuracy.difference(0.0415), accuracy.difference(-0.0001), accuracy.difference(None)
        ('+4.2', '0.0', '–')
        """
        if value is None:
            return "–"
        digits = ".3f" if abs(value) < LARGE else ".4g"
        shown = f"{100 * value:+.1f}" if self.share else f"{value:+{digits}}"
        if not float(shown):
            return shown[1:]
        return shown.replace("-", MINUS)

    def amount(self, value: float | None, *, sign: bool = True) -> str:
        """Write a difference with its unit."""
        shown = self.difference(value)
        shown = shown if sign else shown.lstrip(f"+{MINUS}")
        return f"{shown} points" if self.share else shown


def _bounds(name: str, *, share: bool) -> tuple[float, float]:
    if share:
        return 0.0, 1.0
    return (-INFINITY, 1.0) if name == "r2" else (0.0, INFINITY)


# Every score of the table of training.
MEASURES = {
    name: Measure(
        name,
        row.title,
        row.share,
        _bounds(name, share=row.share),
        0.05 if row.share else 0.15,
        -1.0 if name == "r2" else 0.0,
    )
    for name, row in METRICS.items()
}


def measure_of(task: str) -> Measure:
    """Return what networks of a task are judged by.

    Examples
    --------
    >>> measure_of("classification").word, measure_of("regression").word
    ('accuracy', 'R²')
    """
    return MEASURES[main_metric(task)]


def others_of(task: str) -> list[Measure]:
    """Return the further scores of a task.

    Examples
    --------
    >>> [[one.word for one in others_of(task)] for task in ("regression", "classification")]
    [['RMSE'], ['balanced accuracy', 'macro F1']]
    """
    return [MEASURES[name] for name in metrics_of(task) if name != main_metric(task)]
