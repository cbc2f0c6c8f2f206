"""The picture of all arms: against a number that varies, or as a grid with a stripe for each seed."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Sequence

from klayer.report.run_view import ArmView, RunView
from klayer.report.vega import (
    HEAT,
    INK,
    Figure,
    Key,
    Panel,
    Spec,
    channel,
    layers,
    mark,
    on_heat,
    series_colour,
)
from klayer.study.factors import Factor
from klayer.study.record import NetworkRecord

__all__ = ["overview"]

# Of the grid: height of a row, space between blocks of rows, in pixels.
ROW, GAP = 46, 18
# What fits into a picture; the rest stands in the table of all arms.
MOST_ROWS, MOST_COLUMNS, MOST_COLOURS, MOST_PANELS = 14, 6, 6, 6
# So many numbers make a course that is worth a line.
LEAST_NUMBERS = 3
# On a phone there is no room for "σ = 0.0001" above a column, but for two lines.
_TWO_LINES = (
    "width < 420 && indexof(datum.label, '= ') > 0 "
    "? ['σ =', split(datum.label, '= ')[1]] : datum.label"
)


def overview(view: RunView) -> Figure | None:
    """Draw all arms, by what varies; None where there is nothing to compare."""
    if len(view.with_results) < 2 or not view.factors:
        return None
    numbers = [one for one in view.factors if one.numeric and len(one.levels) >= LEAST_NUMBERS]
    if numbers:
        found = _against(view, max(numbers, key=lambda one: len(one.levels)))
        if found is not None:
            return found
    return _grid(view)


def _spoken(arms: Sequence[ArmView]) -> str:
    return "; ".join(
        f"{arm.label}: {arm.describe()}"
        + (f", mean {arm.measure.show(arm.cell.result.mean)}" if arm.cell.kind == "trained" else "")
        for arm in arms
    )


# Against a number.


def _against(view: RunView, x: Factor) -> Figure | None:
    """Draw what networks reach against one number: colours and panels are the other factors."""
    others = [factor for factor in view.factors if factor != x]
    few = [factor for factor in others if len(factor.levels) <= MOST_COLOURS]
    colour = max(few, key=lambda one: len(one.levels), default=None)
    outer = [factor for factor in others if factor != colour]
    keys = list(itertools.product(*(factor.levels for factor in outer)))
    drawn = [arm for arm in view.with_results if arm.levels.get(x.name) is not None]
    seen = [value for arm in drawn for value in _values(arm)]
    scale = view.measure.axis(seen)  # one for all panels: they are there to be compared
    panels: list[Panel] = []
    for key in keys:
        arms = [
            arm for arm in drawn if tuple(arm.levels.get(factor.name) for factor in outer) == key
        ]
        if arms:
            title = ", ".join(f.label(level) for f, level in zip(outer, key, strict=True))
            panels.append(_course(view, x, colour, arms, title, scale))
    if len(panels) > MOST_PANELS or not panels:
        return None
    series = list(colour.labels) if colour else []
    legend = [Key(name, series_colour(series, name)) for name in series]
    judged = _capital(view.judged)
    caption = (
        f"{judged} against {x.title}: a dot is a seed, hollow where it never left chance; lines join "
        "the means, with their 95\u202f% intervals over seeds."
    )
    caption += view.measure.beyond(seen)
    left = [arm for arm in view.with_results if arm.levels.get(x.name) is None]
    if left:
        caption += f" Without {x.title}, and so in the table alone: {left[0].label}" + (
            f" and {len(left) - 1} more." if len(left) > 1 else "."
        )
    width = 300 if len(panels) > 1 else 560
    return Figure("overview", caption, panels, legend, width)


def _values(arm: ArmView) -> list[float]:
    """Return what a picture shows of an arm: its networks, the ends of its mean's interval."""
    found = [arm.value(record) for record in arm.records]
    ends = [arm.cell.result.low, arm.cell.result.high]
    return [value for value in (*found, *ends) if value is not None]


def _course(
    view: RunView,
    x: Factor,
    colour: Factor | None,
    arms: Sequence[ArmView],
    title: str,
    heights: Spec,
) -> Panel:
    series = list(colour.labels) if colour else ["all"]
    colours = [series_colour(series, name) for name in series] if colour else ["#1c6bb0"]
    measure = view.measure
    dots: list[Spec] = []
    means: list[Spec] = []
    for arm in arms:
        level = arm.levels[x.name]
        name = colour.label(arm.levels.get(colour.name)) if colour else "all"
        for record in arm.records:
            value = arm.value(record)
            if value is not None:
                dots.append({
                    "x": level, "v": value, "g": name, "seed": record.seed, "state": record.state,
                    "shown": measure.show(value, 2), "arm": arm.label,
                    "fill": 0.55 if record.state == "trained" else 0.0,
                })  # fmt: skip
        found = arm.cell.result
        if found.mean is not None:
            low = found.mean if found.low is None else found.low
            high = found.mean if found.high is None else found.high
            means.append({
                "x": level, "v": found.mean, "a": low, "b": high, "g": name, "n": found.n,
                "shown": measure.mean_sd(found.mean, found.sd, 2), "arm": arm.label,
            })  # fmt: skip
    levels = [float(level) for level in x.levels]
    log = min(levels) > 0 and max(levels) / min(levels) >= 8
    ticks = {
        "values": levels,
        "labelExpr": _chosen(levels, x.shorts),
        "grid": False,
        "labelOverlap": True,
        "labelAngle": 0,
    }
    scale: Spec = {"type": "log" if log else "linear", "nice": False, "padding": 22}
    scale |= {} if log else {"zero": False}
    across = channel("x:Q", title=x.title, scale=scale, axis=ticks)
    axis = {"format": "~%" if measure.share else ".6~g", "title": None, "tickCount": 6}
    up = channel("v:Q", scale=heights, axis=axis)
    tint = channel("g:N", scale={"domain": series, "range": colours}, legend=None)
    tips = [
        channel("arm:N", title="arm"),
        channel("seed:N", title="seed"),
        channel("shown:N", title=view.judged),
        channel("state:N", title="state"),
    ]
    at = {"x": across, "y": up}
    ends = {"x": across, "y": {**channel("a:Q"), "title": None}, "y2": {"field": "b"}}
    seen = {
        **at,
        "stroke": tint,
        "fill": tint,
        "fillOpacity": channel("fill:Q", scale=None, legend=None),
        "tooltip": tips,
    }
    dot = {"size": 34, "strokeWidth": 1.3, "strokeOpacity": 0.8, "filled": False}
    drawn: list[Spec] = [{"data": {"values": dots}, **mark("point", seen, **dot)}]
    if means:
        line = mark("line", {**at, "color": tint}, strokeWidth=1.6)
        rule = mark("rule", {**ends, "color": tint}, strokeWidth=1.6)
        drawn = [{"data": {"values": means}, **one} for one in (line, rule)] + drawn
    spec = layers(*drawn)
    judged = _capital(view.judged)
    where = f", {title}" if title else ""
    alt = f"{judged} against {x.title}{where}. {_spoken(arms)}."
    return Panel(title or judged, 260, alt, spec)


def _chosen(levels: Sequence[float], shorts: Sequence[str]) -> str:
    """Return the expression that writes ticks as the levels are written."""
    return (
        "".join(
            f"abs(datum.value-({level!r}))<={abs(level) * 1e-9!r}?{json.dumps(short)}:"
            for level, short in zip(levels, shorts, strict=True)
        )
        + "''"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# As a grid.


def _grid(view: RunView) -> Figure:
    """Draw a cell for each arm: rows and columns are factors, a stripe is a seed."""
    column = _column(view)
    lines, hidden = _rows(view, column)
    spec, height = _chart(view, column, lines)
    shown = [arm for _, _, arms in lines for arm in arms]
    judged = _capital(view.judged)
    panel = Panel(judged, height, f"{judged} of all arms. {_spoken(shown)}.", spec)
    caption = (
        f"{judged} of every arm. Each stripe is one seed, sorted; pale red is "
        f"{'chance' if _from_chance(view) else 'the least'}, blue the best. Numbers are the mean and "
        "standard deviation where all seeds left chance; where some did not, how many did."
    )
    if any(arm.cell.far_apart for arm in shown):
        caption += (
            f" Far apart: seeds with a standard deviation above "
            f"{view.measure.amount(view.measure.apart, sign=False)}, shown as their range."
        )
    if hidden:
        caption += (
            f" The best {len(lines)} of {len(lines) + hidden} rows; all arms are in the table."
        )
    return Figure("overview", caption, [panel], width=560)


def _from_chance(view: RunView) -> bool:
    """Whether the colours begin at chance: else they follow the data."""
    return any(record.state == "at chance" for record in view.records)


def _column(view: RunView) -> Factor | None:
    """Return the factor of the columns: the one with most levels of those that fit; not the only one."""
    fit = [one for one in view.factors if len(one.levels) <= MOST_COLUMNS]
    if len(view.factors) < 2 or not fit:
        return None
    most = max(len(one.levels) for one in fit)
    return [one for one in fit if len(one.levels) == most][-1]


Line = tuple[str, int, list[ArmView]]  # what stands before a row, its top in pixels, its arms


def _rows(view: RunView, column: Factor | None) -> tuple[list[Line], int]:
    """Return the rows, with gaps between levels of the first factor, and how many didn't fit."""
    outer = [factor for factor in view.factors if factor != column]
    found: dict[tuple[str, ...], list[ArmView]] = {
        key: [] for key in itertools.product(*(factor.labels for factor in outer))
    }
    for arm in view.with_results:
        named = arm.name == arm.label
        key = (arm.label,) if named else tuple(f.label(arm.levels.get(f.name)) for f in outer)
        found.setdefault(key, []).append(arm)
    kept = {key: arms for key, arms in found.items() if arms}
    hidden = max(0, len(kept) - MOST_ROWS)
    if hidden:
        best = sorted(kept, key=lambda key: -_best(kept[key]))[:MOST_ROWS]
        kept = {key: kept[key] for key in best}
    lines, top, before = list[Line](), 0, None
    for key, arms in kept.items():
        if len(key) > 1 and not hidden and before not in (None, key[0]):
            top += GAP
        before = key[0]
        lines.append((" · ".join(filter(None, key)), top, arms))
        top += ROW
    return lines, hidden


def _best(arms: Sequence[ArmView]) -> float:
    values = [arm.everything(arm.judge).mean for arm in arms]
    return max((value for value in values if value is not None), default=float("-inf"))


def _chart(view: RunView, column: Factor | None, lines: Sequence[Line]) -> tuple[Spec, int]:
    """Return the picture and its height."""
    height = lines[-1][1] + ROW
    stripes, labels = list[Spec](), list[Spec]()
    values = [v for _, _, arms in lines for arm in arms for one in arm.records
              if (v := arm.value(one)) is not None]  # fmt: skip
    best = max(values, default=1.0)
    least = view.chance if _from_chance(view) else min(values, default=0.0)
    for _, top, arms in lines:
        for arm in arms:
            where = column.label(arm.levels.get(column.name)) if column else ""
            stripes += _stripes(arm, top, where, least, best)
            labels.append(_cell_label(arm, top, where))
    plain = {"domain": False, "ticks": False, "labelColor": INK, "labelFontSize": 12}
    columns = [name for name in (column.labels if column else [""])
               if any(one["c"] == name for one in labels)]  # fmt: skip
    top_axis: Spec | None = {
        **plain,
        "orient": "top",
        "labelAngle": 0,
        "labelExpr": _TWO_LINES,
        "labelPadding": {"expr": "width < 420 ? 16 : 3"},
    }
    x = channel(
        "c:N",
        title=None,
        scale={"domain": columns, "paddingInner": 0.04, "paddingOuter": 0},
        axis=top_axis if column else None,
    )
    middle = {top + (ROW - 4) // 2: name for name, top, _ in lines}
    label = "".join(f"datum.value=={at}?{_wrapped(text)}:" for at, text in middle.items())
    axis = {**plain, "values": list(middle), "labelExpr": f"{label}''", "labelLimit": 190,
            "grid": False, "title": None, "labelBaseline": "middle"}  # fmt: skip
    scale = {"domain": [0, height], "reverse": True, "nice": False, "zero": False}
    slots = [str(i) for i in range(max(len(arm.records) for arm in view.with_results))]
    cells = {
        "x": x,
        "y": channel("a:Q", scale=scale, axis=axis),
        "y2": {"field": "b"},
        "xOffset": channel("k:N", sort=slots, scale={"domain": slots, "padding": 0}),
        "color": channel("h:N", scale={"domain": list(HEAT), "range": list(HEAT)}, legend=None),
        "tooltip": [
            channel("arm:N", title="arm"),
            channel("seed:N", title="seed"),
            channel("shown:N", title=view.judged),
            channel("state:N", title="state"),
        ],
    }
    words = {"x": x, "y": channel("y:Q", scale=scale, axis=axis)}
    above = {**words, "text": channel("main:N")}
    below = {**words, "text": channel("small:N")}
    spec = layers(
        {"data": {"values": stripes}, **mark("rect", cells)},
        layers(
            mark("text", above, dy=-7, fontSize=14, fontWeight=600, color="#16181c", tooltip=None),
            mark("text", below, dy=9, fontSize=10, color="#16181c", tooltip=None),
            values=labels,
        ),
    )
    return spec, height


def _wrapped(text: str) -> str:
    """Return a label in as many lines as it needs, at most three."""
    lines = textwrap.wrap(text, 26)
    lines = [*lines[:2], textwrap.shorten(" ".join(lines[2:]), 26, placeholder=" …")][:3] if (
        len(lines) > 3
    ) else lines  # fmt: skip
    return json.dumps(lines if len(lines) > 1 else text)


def _stripes(arm: ArmView, top: int, where: str, least: float, best: float) -> list[Spec]:
    def order(record: NetworkRecord) -> float:
        value = arm.value(record)
        return float("-inf") if value is None else value

    return [
        {
            "a": top,
            "b": top + ROW - 4,
            "c": where,
            "k": str(k),
            "h": on_heat(arm.value(record), least, best),
            "seed": record.seed,
            "state": record.state,
            "shown": arm.measure.show(arm.value(record), 2),
            "arm": arm.label,
        }
        for k, record in enumerate(sorted(arm.records, key=order))
    ]


def _cell_label(arm: ArmView, top: int, where: str) -> Spec:
    found, measure = arm.cell, arm.measure
    result = found.result
    if found.far_apart:
        low, high = (_bare(arm, end, digits=0) for end in (result.least, result.greatest))
        main, small = f"{low}–{high}", "far apart"
    elif found.kind == "trained":
        main = _bare(arm, result.mean)
        small = "1 seed" if result.sd is None else f"± {measure.spread(result.sd)}"
    elif found.kind == "at chance":
        main, small = _bare(arm, found.chance.mean), "chance"
    elif found.kind == "diverged":
        main, small = "✕", "diverged"
    else:
        main, small = f"{found.trained} of {found.n}", "left chance"
    return {"y": top + (ROW - 4) // 2, "c": where, "main": main, "small": small}


def _bare(arm: ArmView, value: float | None, digits: int = 1) -> str:
    """Write a value without its unit."""
    return arm.measure.show(value, digits).removesuffix("\u202f%")
