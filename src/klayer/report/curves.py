"""Curves against epochs, wherever they stand: means with their range, the learning rate behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from klayer.report.vega import RATE, Panel, Spec, channel, hover, layers, mark, ruler, zoom
from klayer.study.measure import MEASURES, Measure
from klayer.study.statistics import Estimate, percent

__all__ = ["Line", "curve_panel", "kinds_of"]

# What there is a curve of in every task; the score that judges comes after.
CURVES = {"cost": "Cost", "loss": "Loss"}


@dataclass(frozen=True)
class Line:
    """One curve: epochs, ascending, each with the values of the networks there, if any.

    ``tip`` is the label in a tooltip, if another.
    """

    label: str
    colour: str
    points: list[tuple[float, Estimate]]
    dash: bool = False
    tip: str = ""


# A learning rate at some epochs.
Rates = Sequence[tuple[float, float]]


def kinds_of(measure: Measure) -> list[str]:
    """Return what curves are drawn of."""
    return [*CURVES, measure.name]


def curve_panel(
    kind: str, lines: Sequence[Line], about: str, *, rates: Sequence[Rates] = (), height: int = 210
) -> Panel:
    """Draw curves: a line is a mean, a band reaches from the least to the greatest.

    ``about`` says what they belong to, for those who don't see it; ``rates`` are the different
    schedules of the learning rate, drawn behind the curves on the same time axis.
    """
    measure = MEASURES.get(kind)
    share = bool(measure and measure.share)
    title = CURVES.get(kind) or (measure.word[:1].upper() + measure.word[1:] if measure else kind)
    rows = [row for line in lines for row in _rows(line)]
    spec = _chart(rows, lines, share)
    if rates:
        spec = layers(_rates(rates), spec) | {"resolve": {"scale": {"y": "independent"}}}
    params = [zoom("lines"), hover("stripes", "e")]
    alt = f"{title} against epoch, {about}."
    ends = [
        f"{line.label}: {_number(line.points[-1][1].mean, share)}"
        for line in lines
        if line.points and line.points[-1][1].n
    ]
    if ends:
        alt += f" At the end, mean over seeds: {'; '.join(ends)}."
    if not rows:
        params = params[:1]
    over = _over(lines, rates, share) if rows else None
    return Panel(title, height, alt, spec, params, over)


def _short(value: float | None) -> float:
    """Round to what a chart can show: pages stay small."""
    return float(f"{value:.5g}")


def _number(value: float | None, share: bool) -> str:
    return percent(value) if share else f"{value:.3g}"


def _rows(line: Line) -> list[Spec]:
    return [
        {
            "e": _short(epoch),
            "s": line.label,
            "m": _short(found.mean),
            "a": _short(found.least),
            "b": _short(found.greatest),
        }
        for epoch, found in line.points
        if found.n
    ]


def _epochs() -> Spec:
    axis = {"tickCount": 5, "grid": False}
    return channel("e:Q", title="epoch", axis=axis, scale={"nice": False, "domainMin": 0})


def _chart(rows: list[Spec], lines: Sequence[Line], share: bool) -> Spec:
    def by(values: list[Any]) -> Spec:
        scale = {"domain": [line.label for line in lines], "range": values}
        return channel("s:N", scale=scale, legend=None)

    axis = {"format": "~%" if share else ".6~g", "tickCount": 5, "title": None, "grid": True}
    y = {"scale": _scale(rows, share), "axis": axis}
    common = {"x": _epochs(), "color": by([line.colour for line in lines])}
    dash = {"strokeDash": by([[4, 3] if line.dash else [1, 0] for line in lines])}
    drawn = []
    if any(found.n > 1 for line in lines for _, found in line.points):
        band = {**common, "y": channel("a:Q", **y), "y2": {"field": "b"}}
        drawn.append(mark("area", band, opacity=0.16, clip=True))
    means = {**common, **dash, "y": channel("m:Q", **y)}
    drawn.append({"name": "lines", **mark("line", means, strokeWidth=1.8, clip=True)})
    return layers(*drawn, values=rows)


def _scale(rows: list[Spec], share: bool) -> Spec:
    """Follow the data: a huge cost before the first epoch must not flatten all that follows.

    Nor must the chance that accuracies begin at, where they end close to one another.
    """
    later = [row for row in rows if row["e"] > 0]
    if not later:
        return {"zero": True}
    low, high = min(row["a"] for row in later), max(row["b"] for row in later)
    if share or low < 0:
        begin = max(low, -0.25) if high > 0 else low  # R² may be far below 0 at first
        margin = 0.04 * (high - begin) or 0.01
        top = min(1.0, high + margin) if high <= 1 else high + margin
        return {"domain": [_short(max(0.0, begin - margin) if share else begin - margin), _short(top)],
                "nice": False}  # fmt: skip
    first = max((row["b"] for row in rows if row["e"] <= 0), default=None)
    if first is None or first <= 2 * high:
        return {"zero": True}
    return {"zero": True, "domainMax": 1.4 * high, "nice": True}


def _rates(schedules: Sequence[Rates]) -> Spec:
    """Draw the learning rate behind the curves: an area, with its own axis on the right."""
    values: list[Spec] = [
        {"e": _short(epoch), "lr": _short(rate), "k": str(k)}
        for k, schedule in enumerate(schedules)
        for epoch, rate in schedule
    ]
    top = max(value["lr"] for value in values) or 1
    axis = {"orient": "right", "grid": False, "values": [0, top], "format": ".6~g", "title": None,
            "ticks": False}  # fmt: skip
    scale = {"domain": [0, 2.6 * top], "nice": False}
    y = channel("lr:Q", scale=scale, axis=axis, stack=None)
    encoding = {"x": _epochs(), "y": y, "detail": channel("k:N")}
    area = mark("area", encoding, color=RATE, opacity=0.9 / len(schedules), clip=True)
    return {"data": {"values": values}, **area}


def _over(lines: Sequence[Line], schedules: Sequence[Rates], share: bool) -> Spec:
    """Show all values at the epoch nearest to the pointer."""
    at: dict[float, Spec] = {}
    tips = [channel("e:Q", title="epoch", format=".3~g")]
    for i, line in enumerate(lines):
        tips.append(channel(f"v{i}:N", title=line.tip or line.label))
        for epoch, found in line.points:
            e = _short(epoch)
            row = at.setdefault(e, {"e": e})
            if found.n:
                row[f"v{i}"] = _spread(found, share)
    for schedule in schedules:
        for epoch, rate in schedule:
            at.setdefault(_short(epoch), {"e": _short(epoch)}).setdefault("lr", f"{rate:.3g}")
    if schedules:
        tips.append(channel("lr:N", title="learning rate"))
    return ruler([at[e] for e in sorted(at)], tips)


def _spread(found: Estimate, share: bool) -> str:
    text = _number(found.mean, share)
    if found.least == found.greatest:
        return text
    return f"{text} ({_number(found.least, share)} to {_number(found.greatest, share)})"
