"""The curves of training."""

from __future__ import annotations

import itertools
from functools import partial

import altair as alt

from klayer.report.figures import (
    MUTED,
    RATE,
    SERIES,
    Figure,
    Key,
    Panel,
    rows,
    series_colour,
)
from klayer.report.view import ArmView, Group, RunView
from klayer.study.statistics import estimate, percent

__all__ = ["curves", "hover", "ruler", "zoom"]

CURVES = (("cost", "Cost"), ("loss", "Loss"), ("accuracy", "Accuracy"))
SPLITS = ("train", "validation")
MOST_SERIES = 6


def zoom(view: str) -> dict:
    """Zoom by Ctrl or Cmd and the wheel, pan by dragging with a mouse, double-click to go back.

    The bare wheel and touch stay with the page, so that it can be scrolled over a chart.
    """
    mouse = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
    select = {
        "type": "interval",
        "encodings": ["x", "y"],
        "zoom": "wheel![event.ctrlKey || event.metaKey]",
        "translate": mouse,
    }
    return {"name": "zoom", "select": select, "bind": "scales", "views": [view]}


def hover(view: str, field: str) -> dict:
    """Choose what the pointer is over, by the value of a field."""
    select = {"type": "point", "on": "pointerover", "clear": "pointerout", "fields": [field]}
    return {"name": "hover", "select": select, "views": [view]}


def ruler(values: list[dict], tooltips: list[alt.Tooltip]) -> alt.LayerChart:
    """Make the layer that shows all values at the epoch nearest to the pointer.

    Invisible stripes, each reaching half-way to the next epoch, catch the pointer; a line marks the
    epoch. (Vega-Lite's own "nearest" drops the words from tooltips.)

    Parameters
    ----------
    values : list of dict
        ``e``, the epoch, ascending, and what the tooltips show.
    tooltips : list of altair.Tooltip
    """
    at = [value["e"] for value in values]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(at)]
    ends = zip(values, [at[0], *middles], [*middles, at[-1]], strict=True)
    base = alt.Chart(rows([{**value, "from": low, "to": high} for value, low, high in ends]))
    shown = alt.condition({"param": "hover", "empty": False}, alt.value(0.7), alt.value(0))
    line = base.mark_rule(color=MUTED, strokeWidth=1, tooltip=None)
    stripe = base.mark_rect(opacity=0, clip=True)
    return alt.layer(
        line.encode(alt.X("e:Q", title="epoch"), opacity=shown),
        stripe.encode(alt.X("from:Q", title="epoch"), alt.X2("to:Q"), tooltip=tooltips).properties(
            name="stripes"
        ),
    )


def curves(view: RunView, group: Group) -> list[Figure]:
    """Draw cost, loss and accuracy of arms that share architecture and initialisation.

    A line is the mean over the seeds, a band reaches from the least to the greatest. The learning
    rate lies behind, on the same time axis.

    Returns
    -------
    figures : list of Figure
        One, or more where there are too many arms for one.
    """
    arms = group.arms
    chunks = [arms[i : i + MOST_SERIES] for i in range(0, len(arms), MOST_SERIES)]
    figures = []
    for number, chunk in enumerate(chunks, start=1):
        suffix = f"-{number}" if len(chunks) > 1 else ""
        figures.append(_curves(view, group, chunk, f"curves-{group.slug}{suffix}"))
    return figures


def _curves(view: RunView, group: Group, arms: list[ArmView], name: str) -> Figure:
    alone = len(arms) == 1 and len(view.series) == 1
    colours = {}
    for arm in arms:
        for i, split in enumerate(SPLITS):
            colour = SERIES[1 - i] if alone else series_colour(view.series, arm.series)
            colours[arm.series, split] = colour
    panels = [
        Panel(
            partial(_curve_chart, arms, curve, colours),
            title,
            210,
            _curve_alt(group, arms, curve, title),
            [zoom("lines"), hover("stripes", "e")],
            partial(_hover, arms, curve),
        )
        for curve, title in CURVES
    ]
    if alone:
        legend = [
            Key(split, colours[arms[0].series, split], dash=i > 0) for i, split in enumerate(SPLITS)
        ]
    else:
        legend = [Key(arm.series, colours[arm.series, "train"]) for arm in arms]
        legend += [Key("train", MUTED), Key("validation", MUTED, dash=True)]
    legend.append(Key("learning rate", RATE, area=True))
    seeds = sorted({len(arm.records) for arm in arms})
    n = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    spread = "Lines are means over {n} seeds, bands reach from the least to the greatest seed."
    caption = (
        f"{group.architecture} network, {group.init}: cost, loss and accuracy during training. "
        + (spread.format(n=n) if seeds[-1] > 1 else "One seed.")
    )
    return Figure(name, caption, panels, legend)


def _points(arm: ArmView, curve: str) -> list[dict]:
    """Return mean, least and greatest of the seeds at each recorded point, for both splits."""
    history = arm.records[0].history
    found = []
    for split in SPLITS:
        lines = [record.history[f"{split}_{curve}"] for record in arm.records]
        for i, epoch in enumerate(history["epoch"]):
            values = estimate(line[i] for line in lines if i < len(line))
            if values.n:
                found.append(
                    {
                        "e": _short(epoch),
                        "s": f"{arm.series}, {split}",
                        "m": _short(values.mean),
                        "a": _short(values.least),
                        "b": _short(values.greatest),
                    }
                )
    return found


def _short(value: float) -> float:
    """Round to what a chart can show: pages stay small."""
    return float(f"{value:.5g}")


def _curve_chart(
    arms: list[ArmView], curve: str, colours: dict[tuple[str, str], str]
) -> alt.LayerChart:
    points = [point for arm in arms for point in _points(arm, curve)]
    names = [f"{series}, {split}" for series, split in colours]
    colour = alt.Color(
        "s:N", scale=alt.Scale(domain=names, range=list(colours.values())), legend=None
    )
    dash = alt.StrokeDash(
        "s:N",
        scale=alt.Scale(
            domain=names, range=[[4, 3] if name.endswith(SPLITS[1]) else [1, 0] for name in names]
        ),
        legend=None,
    )
    share = curve == "accuracy"
    axis = alt.Axis(format="~%" if share else "~g", tickCount=5, title=None, grid=True)
    y = {"scale": _scale(points, share), "axis": axis}
    x = _epochs()
    base = alt.Chart(rows(points))
    many = any(len(arm.records) > 1 for arm in arms)
    line = base.mark_line(strokeWidth=1.8, clip=True)
    layers = [line.encode(x, alt.Y("m:Q", **y), colour, dash).properties(name="lines")]
    if many:
        band = base.mark_area(opacity=0.16, clip=True)
        layers.insert(0, band.encode(x, alt.Y("a:Q", **y), alt.Y2("b:Q"), colour))
    return alt.layer(_rates(arms, x), alt.layer(*layers)).resolve_scale(y="independent")


def _epochs() -> alt.X:
    return alt.X(
        "e:Q",
        title="epoch",
        axis=alt.Axis(tickCount=5, grid=False),
        scale=alt.Scale(nice=False, domainMin=0),
    )


def _scale(points: list[dict], share: bool) -> alt.Scale:
    """Keep a huge cost before the first epoch from flattening all that follows."""
    if share:
        return alt.Scale(zero=True)
    later = [point["b"] for point in points if point["e"] > 0]
    first = [point["b"] for point in points if point["e"] <= 0]
    if later and first and max(first) > 2 * max(later):
        return alt.Scale(zero=True, domainMax=1.4 * max(later), nice=True)
    return alt.Scale(zero=True)


def _rates(arms: list[ArmView], x: alt.X) -> alt.Chart:
    """Draw the learning rate behind the curves: an area, with its own axis on the right."""
    schedules = {}
    for arm in arms:
        history = arm.records[0].history
        schedules.setdefault(tuple(history["lr"]), history["epoch"])
    values = [
        {"e": _short(epoch), "lr": _short(rate), "k": str(k)}
        for k, (rates, epochs) in enumerate(schedules.items())
        for epoch, rate in zip(epochs, rates, strict=True)
    ]
    top = max(value["lr"] for value in values) or 1
    y = alt.Y(
        "lr:Q",
        scale=alt.Scale(domain=[0, 2.6 * top], nice=False),
        axis=alt.Axis(
            orient="right", grid=False, values=[0, top], format="~g", title=None, ticks=False
        ),
        stack=None,
    )
    mark = alt.Chart(rows(values)).mark_area(color=RATE, opacity=0.9 / len(schedules), clip=True)
    return mark.encode(x, y, alt.Detail("k:N"))


def _hover(arms: list[ArmView], curve: str) -> alt.LayerChart:
    """Show all values at the epoch nearest to the pointer."""
    at: dict[float, dict] = {}
    titles, share = {}, curve == "accuracy"
    for i, arm in enumerate(arms):
        history = arm.records[0].history
        for epoch, rate in zip(history["epoch"], history["lr"], strict=True):
            at.setdefault(_short(epoch), {"e": _short(epoch)}).setdefault("lr", f"{rate:.3g}")
        for point in _points(arm, curve):
            split = point["s"].rsplit(", ", 1)[1]
            key = f"v{i}{split[0]}"
            titles[key] = split if len(arms) == 1 else point["s"]
            at[point["e"]][key] = _spread_text(point, share)
    tooltips = [alt.Tooltip("e:Q", title="epoch", format=".3~g")]
    tooltips += [alt.Tooltip(f"{key}:N", title=title) for key, title in titles.items()]
    tooltips.append(alt.Tooltip("lr:N", title="learning rate"))
    return ruler(list(at.values()), tooltips)


def _spread_text(point: dict, share: bool) -> str:
    def number(value: float) -> str:
        return percent(value) if share else f"{value:.3g}"

    text = number(point["m"])
    if point["a"] == point["b"]:
        return text
    return f"{text} ({number(point['a'])} to {number(point['b'])})"


def _curve_alt(group: Group, arms: list[ArmView], curve: str, title: str) -> str:
    ends = []
    for arm in arms:
        for split in SPLITS:
            last = estimate(r.history[f"{split}_{curve}"][-1] for r in arm.records)
            if last.n:
                shown = percent(last.mean) if curve == "accuracy" else f"{last.mean:.3g}"
                ends.append(f"{arm.series}, {split}: {shown}")
    return (
        f"{title} against epoch, {group.architecture} network, {group.init}. "
        f"At the end, mean over seeds: {'; '.join(ends)}."
    )
