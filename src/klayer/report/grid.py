"""The picture of all arms: rows are networks, columns initialisations, a stripe is a seed."""

from __future__ import annotations

import json
import math

import altair as alt

from klayer.report.figures import INK, Figure, Panel, rows
from klayer.report.view import ArmView, RunView
from klayer.study.statistics import percent

__all__ = ["grid"]

# Chance is pale red, the best a clear blue; dark text is legible on all of it.
HEAT = ["#f6cdbb", "#f7ebd9", "#c4dfdc", "#86c2cd", "#5fa9c4"]
# Of the picture of all arms: height of a row, space between architectures, in pixels.
ROW, GAP = 46, 18
# On a phone there is no room for "σ = 0.0001" above a column, but for two lines.
_TWO_LINES = (
    "width < 420 && indexof(datum.label, '= ') > 0 "
    "? ['σ =', split(datum.label, '= ')[1]] : datum.label"
)


def grid(view: RunView) -> Figure | None:
    """Draw all arms as a picture: rows are networks, columns initialisations, a stripe is a seed.

    Returns
    -------
    figure : Figure or None
        None where there is nothing to compare.
    """
    if len(view.with_results) < 2:
        return None
    chart, height = _grid_chart(view)
    spoken = "; ".join(
        f"{arm.label}: {arm.cell.describe()}"
        + (f", mean {percent(arm.cell.result.mean)}" if arm.cell.kind == "trained" else "")
        for arm in view.with_results
    )
    panel = Panel(
        lambda: chart,
        "Test accuracy",
        height,
        f"Test accuracy of all arms. {spoken}.",
    )
    caption = (
        "Test accuracy of every arm. Each stripe is one seed, sorted; pale red is chance, blue the "
        "best. Numbers are the mean and standard deviation where all seeds trained; where some did "
        "not, how many did."
    )
    return Figure("grid", caption, [panel], width=560)


def _grid_rows(view: RunView) -> list[tuple[str, str, int]]:
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


def _grid_chart(view: RunView) -> tuple[alt.LayerChart, int]:
    """Return the picture and its height."""
    lines = _grid_rows(view)
    height = lines[-1][2] + ROW
    stripes, labels = [], []
    for architecture, series, top in lines:
        for arm in view.with_results:
            if (arm.architecture, arm.series) == (architecture, series):
                stripes += _stripes(arm, top)
                labels.append(_cell_label(arm, top))
    x = alt.X(
        "init:N",
        title=None,
        scale=alt.Scale(domain=view.inits, paddingInner=0.04, paddingOuter=0),
        axis=alt.Axis(
            orient="top",
            labelAngle=0,
            labelExpr=_TWO_LINES,
            labelPadding=alt.ExprRef("width < 420 ? 16 : 3"),
            domain=False,
            ticks=False,
            labelColor=INK,
            labelFontSize=12,
        ),
    )
    middle = {top + (ROW - 4) // 2: f"{arch} · {series}" for arch, series, top in lines}
    label = "".join(f"datum.value=={at}?{json.dumps(text)}:" for at, text in middle.items())
    axis = alt.Axis(
        values=list(middle),
        labelExpr=f"{label}''",
        domain=False,
        ticks=False,
        labelColor=INK,
        labelFontSize=12,
        labelLimit=170,
        grid=False,
        title=None,
    )
    scale = alt.Scale(domain=[0, height], reverse=True, nice=False, zero=False)
    best = max((s["v"] for s in stripes if s["v"] is not None), default=1)
    colour = alt.Color(
        "v:Q",
        scale=alt.Scale(domain=[view.chance, best], range=HEAT, clamp=True, interpolate="lab"),
        legend=None,
    )
    slots = [str(i) for i in range(max(len(arm.records) for arm in view.with_results))]
    cells = (
        alt.Chart(rows(stripes))
        .mark_rect()
        .encode(
            x,
            alt.Y("a:Q", scale=scale, axis=axis),
            alt.Y2("b:Q"),
            alt.XOffset("k:N", sort=slots, scale=alt.Scale(domain=slots, padding=0)),
            colour,
            tooltip=[
                alt.Tooltip("arm:N", title="network"),
                alt.Tooltip("seed:N", title="seed"),
                alt.Tooltip("shown:N", title="test accuracy"),
                alt.Tooltip("state:N", title="state"),
            ],
        )
    )
    words = alt.Chart(rows(labels))
    y = alt.Y("y:Q", scale=scale, axis=axis)
    above = words.mark_text(dy=-7, fontSize=14, fontWeight=600, color="#16181c", tooltip=None)
    below = words.mark_text(dy=9, fontSize=10, color="#2c3038", tooltip=None)
    return alt.layer(
        cells, above.encode(x, y, text="main:N"), below.encode(x, y, text="small:N")
    ), height


def _stripes(arm: ArmView, top: int) -> list[dict]:
    ordered = sorted(arm.records, key=lambda r: _or(r.accuracy("test"), -1))
    return [
        {
            "a": top,
            "b": top + ROW - 4,
            "init": arm.init,
            "k": str(k),
            "v": record.accuracy("test"),
            "seed": record.seed,
            "state": record.state,
            "shown": percent(record.accuracy("test"), 2),
            "arm": arm.label,
        }
        for k, record in enumerate(ordered)
    ]


def _or(value: float | None, other: float) -> float:
    return other if value is None or not math.isfinite(value) else value


def _cell_label(arm: ArmView, top: int) -> dict:
    found = arm.cell
    if found.far_apart:
        low, high = 100 * found.result.least, 100 * found.result.greatest
        main, small = f"{low:.0f}–{high:.0f}", "far apart"
    elif found.kind == "trained":
        main = f"{100 * found.result.mean:.1f}"
        sd = found.result.sd
        small = f"± {100 * sd:.1f}" if sd is not None else "1 seed"
    elif found.kind == "at chance":
        main, small = f"{100 * found.chance.mean:.1f}", "chance"
    elif found.kind == "diverged":
        main, small = "✕", "diverged"
    else:
        main, small = f"{found.trained} of {found.n}", "trained"
    return {"y": top + (ROW - 4) // 2, "init": arm.init, "main": main, "small": small}
