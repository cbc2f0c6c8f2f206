"""The picture of all arms: rows are networks, columns initialisations, a stripe is a seed."""

from __future__ import annotations

import json

from klayer.report.run_view import ArmView, RunView
from klayer.report.vega import INK, Figure, Panel, Spec, channel, layers, mark
from klayer.study.record import NetworkRecord
from klayer.study.statistics import percent

__all__ = ["overview"]

# Chance is pale red, the best a clear blue; dark text is legible on all of it.
HEAT = ["#f6cdbb", "#f7ebd9", "#c4dfdc", "#86c2cd", "#5fa9c4"]
# Of the picture of all arms: height of a row, space between architectures, in pixels.
ROW, GAP = 46, 18
# On a phone there is no room for "σ = 0.0001" above a column, but for two lines.
_TWO_LINES = (
    "width < 420 && indexof(datum.label, '= ') > 0 "
    "? ['σ =', split(datum.label, '= ')[1]] : datum.label"
)


def overview(view: RunView) -> Figure | None:
    """Draw all arms as a picture: rows are networks, columns initialisations, a stripe is a seed.

    Returns
    -------
    figure : Figure or None
        None where there is nothing to compare.
    """
    if len(view.with_results) < 2:
        return None
    spec, height = _chart(view)
    spoken = "; ".join(
        f"{arm.label}: {arm.cell.describe()}"
        + (f", mean {percent(arm.cell.result.mean)}" if arm.cell.kind == "trained" else "")
        for arm in view.with_results
    )
    judged = f"{view.judge.capitalize()} accuracy"
    panel = Panel(judged, height, f"{judged} of all arms. {spoken}.", spec)
    caption = (
        f"{judged} of every arm. Each stripe is one seed, sorted; pale red is chance, blue the "
        "best. Numbers are the mean and standard deviation where all seeds trained; where some did "
        "not, how many did."
    )
    return Figure("grid", caption, [panel], width=560)


def _rows(view: RunView) -> list[tuple[str, str, int]]:
    """Return (architecture, series, top) of each row, in pixels, with gaps between architectures."""
    found, top = [], 0
    for architecture in view.architectures:
        present = {a.series for a in view.with_results if a.architecture == architecture}
        for series in view.series:
            if series in present:
                found.append((architecture, series, top))
                top += ROW
        top += GAP if present else 0
    return found


def _chart(view: RunView) -> tuple[Spec, int]:
    """Return the picture and its height."""
    lines = _rows(view)
    height = lines[-1][2] + ROW
    stripes, labels = [], []
    for architecture, series, top in lines:
        for arm in view.with_results:
            if (arm.architecture, arm.series) == (architecture, series):
                stripes += _stripes(arm, top)
                labels.append(_cell_label(arm, top))
    plain = {"domain": False, "ticks": False, "labelColor": INK, "labelFontSize": 12}
    x = channel(
        "init:N",
        title=None,
        scale={"domain": view.inits, "paddingInner": 0.04, "paddingOuter": 0},
        axis={
            **plain,
            "orient": "top",
            "labelAngle": 0,
            "labelExpr": _TWO_LINES,
            "labelPadding": {"expr": "width < 420 ? 16 : 3"},
        },
    )
    middle = {top + (ROW - 4) // 2: f"{arch} · {series}" for arch, series, top in lines}
    label = "".join(f"datum.value=={at}?{json.dumps(text)}:" for at, text in middle.items())
    axis = {**plain, "values": list(middle), "labelExpr": f"{label}''", "labelLimit": 170,
            "grid": False, "title": None}  # fmt: skip
    scale = {"domain": [0, height], "reverse": True, "nice": False, "zero": False}
    best = max((one["v"] for one in stripes if one["v"] is not None), default=1)
    heat = {"domain": [view.chance, best], "range": HEAT, "clamp": True, "interpolate": "lab"}
    slots = [str(i) for i in range(max(len(arm.records) for arm in view.with_results))]
    cells = {
        "x": x,
        "y": channel("a:Q", scale=scale, axis=axis),
        "y2": {"field": "b"},
        "xOffset": channel("k:N", sort=slots, scale={"domain": slots, "padding": 0}),
        "color": channel("v:Q", scale=heat, legend=None),
        "tooltip": [
            channel("arm:N", title="network"),
            channel("seed:N", title="seed"),
            channel("shown:N", title=f"{view.judge} accuracy"),
            channel("state:N", title="state"),
        ],
    }
    words = {"x": x, "y": channel("y:Q", scale=scale, axis=axis)}
    above = {**words, "text": channel("main:N")}
    below = {**words, "text": channel("small:N")}
    bold = {"fontSize": 14, "fontWeight": 600, "color": "#16181c"}
    spec = layers(
        {"data": {"values": stripes}, **mark("rect", cells)},
        layers(
            mark("text", above, dy=-7, **bold, tooltip=None),
            mark("text", below, dy=9, fontSize=10, color="#2c3038", tooltip=None),
            values=labels,
        ),
    )
    return spec, height


def _stripes(arm: ArmView, top: int) -> list[Spec]:
    def order(record: NetworkRecord) -> float:
        value = record.score(arm.judge)
        return -1 if value is None else value

    return [
        {
            "a": top,
            "b": top + ROW - 4,
            "init": arm.init,
            "k": str(k),
            "v": record.score(arm.judge),
            "seed": record.seed,
            "state": record.state,
            "shown": percent(record.score(arm.judge), 2),
            "arm": arm.label,
        }
        for k, record in enumerate(sorted(arm.records, key=order))
    ]


def _cell_label(arm: ArmView, top: int) -> Spec:
    found = arm.cell
    result = found.result
    if found.far_apart:
        main, small = f"{_points(result.least, 0)}–{_points(result.greatest, 0)}", "far apart"
    elif found.kind == "trained":
        main = _points(result.mean)
        small = "1 seed" if result.sd is None else f"± {_points(result.sd)}"
    elif found.kind == "at chance":
        main, small = _points(found.chance.mean), "chance"
    elif found.kind == "diverged":
        main, small = "✕", "diverged"
    else:
        main, small = f"{found.trained} of {found.n}", "trained"
    return {"y": top + (ROW - 4) // 2, "init": arm.init, "main": main, "small": small}


def _points(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}"
