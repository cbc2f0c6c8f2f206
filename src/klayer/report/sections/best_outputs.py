"""The best network of a regression or of rows with several labels: what it answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from klayer.data.dataset import Dataset
from klayer.report.outputs import (
    LabelResult,
    TargetResult,
    examine_labels,
    examine_targets,
)
from klayer.report.sections.section import Block, Material, block
from klayer.report.table import INTERVAL, Table
from klayer.report.vega import INK, MUTED, SERIES, Figure, Panel, channel, layers, mark
from klayer.study.measure import MEASURES
from klayer.study.record import NetworkRecord
from klayer.study.statistics import percent

__all__ = ["labels", "share_panel", "targets"]

# Rows drawn of a split, targets with a picture each, rows in the table of the largest errors.
MOST_DOTS, MOST_TARGETS, MOST_ERRORS = 800, 6, 10
R2 = MEASURES["r2"]


def targets(material: Material, record: NetworkRecord, dataset: Dataset) -> list[Block]:
    """Draw predicted against true values, and list scores and the largest errors."""
    found = examine_targets(material.view, record, dataset)
    blocks = [material.figure(_against(found), narrow=len(found) == 1)]
    blocks.append(block("table", one=material.table(_scores(found))))
    errors = material.table(_errors(found))
    blocks.append(block("details", summary=errors.caption, tables=[errors]))
    return blocks


def _against(found: Sequence[TargetResult]) -> Figure:
    panels = [_panel(one) for one in found[:MOST_TARGETS]]
    caption = (
        f"Predicted against true values of the {found[0].split} split, by the best network; on the line "
        "they are equal."
    )
    if len(found[0].true) > MOST_DOTS:
        caption += f" {MOST_DOTS} of {len(found[0].true):,} rows, evenly spread over the split."
    if len(found) > MOST_TARGETS:
        caption += f" The first {MOST_TARGETS} of {len(found)} targets; all are in the table."
    return Figure("predicted", caption, panels, width=300 if len(panels) > 1 else 420)


def _panel(one: TargetResult) -> Panel:
    rows = np.unique(np.linspace(0, len(one.true) - 1, min(MOST_DOTS, len(one.true))).astype(int))
    values = [
        {"n": int(i), "t": float(f"{one.true[i]:.5g}"), "p": float(f"{one.predicted[i]:.5g}")}
        for i in rows
    ]
    ends = [float(min(one.true.min(), one.predicted.min())),
            float(max(one.true.max(), one.predicted.max()))]  # fmt: skip
    scale = {"domain": ends, "nice": True, "zero": False, "padding": 6}
    axis = {"format": ".6~g", "tickCount": 5, "grid": True}
    x = channel("t:Q", title="true", scale=scale, axis={**axis, "grid": False})
    y = channel("p:Q", title="predicted", scale=scale, axis=axis)
    tips = [
        channel("n:Q", title="row"),
        channel("t:Q", title="true", format=".5~g"),
        channel("p:Q", title="predicted", format=".5~g"),
    ]
    line = [{"t": end, "p": end} for end in ends]
    spec = layers(
        {"data": {"values": line}, **mark("line", {"x": x, "y": y}, color=MUTED, strokeWidth=1)},
        {
            "data": {"values": values},
            **mark("circle", {"x": x, "y": y, "tooltip": tips}, color=SERIES[1], size=28,
                   opacity=0.55),
        },
    )  # fmt: skip
    alt = (
        f"Predicted against true {one.name} of {len(one.true)} rows: R² {R2.show(one.r2)}, root mean "
        f"squared error {one.rmse:.4g}."
    )
    return Panel(one.name, 260, alt, spec)


def _scores(found: Sequence[TargetResult]) -> Table:
    body, raw = [], []
    for one in found:
        inside = one.r2_interval()
        shown = "–" if inside is None else R2.interval(*inside)
        numbers = [f"{value:.4g}" for value in (one.rmse, one.mae, one.bias)]
        body.append(
            [one.name, R2.show(one.r2), shown, *(n.replace("-", "\u2212") for n in numbers)]
        )
        raw.append([one.name, len(one.true), one.r2, *(inside or (None, None)), one.rmse, one.mae,
                    one.bias])  # fmt: skip
    caption = (
        f"The best network on the {found[0].split} split ({len(found[0].true):,} rows), target by "
        "target, in the target's unit. The interval says what the rows leave open (bootstrap over rows)."
    )
    head = ["Target", "R²", INTERVAL, "RMSE", "Mean absolute error", "Mean error"]
    raw_head = ["target", "n", "r2", "low95", "high95", "rmse", "mae", "bias"]
    return Table("targets", caption, head, body, raw_head, raw)


def _errors(found: Sequence[TargetResult]) -> Table:
    rows = sorted(
        ((abs(float(error)), one, int(i)) for one in found for i, error in enumerate(one.errors)),
        key=lambda row: -row[0],
    )[:MOST_ERRORS]
    body = [
        [f"{i}", one.name, f"{one.true[i]:.5g}", f"{one.predicted[i]:.5g}", f"{one.errors[i]:+.4g}"]
        for _, one, i in rows
    ]
    body = [[*row[:2], *(cell.replace("-", "\u2212") for cell in row[2:])] for row in body]
    raw = [[i, one.name, one.true[i], one.predicted[i], one.errors[i]] for _, one, i in rows]
    head = ["Row", "Target", "True", "Predicted", "Error"]
    caption = f"The {len(rows)} largest errors; rows count from 0."
    return Table(
        "errors", caption, head, body, [one.lower() for one in head], raw, words=("Target",)
    )


def labels(material: Material, record: NetworkRecord, dataset: Dataset) -> list[Block]:
    """Show how the best network decides about each label."""
    found = examine_labels(material.view, record, dataset)
    rows = sorted(
        ((one.name, one.accuracy, *one.interval, one.n) for one in found),
        key=lambda row: -row[1],
    )
    table = material.table(_labels(found))
    if len(rows) > MOST_SHARES:
        return [block("table", one=table)]
    panel = share_panel(rows, "label", f"{found[0].split.capitalize()} accuracy")
    caption = (
        f"Share of the rows of the {found[0].split} split that the best network decides rightly, label "
        "by label; lines are 95\u202f% intervals (Wilson)."
    )
    figure = Figure("per-label", caption, [panel], width=420)
    return [material.figure(figure, narrow=True), block("table", one=table)]


MOST_SHARES = 25
ShareRow = tuple[str, float, float, float, int]  # name, share, its interval, rows


def share_panel(rows: Sequence[ShareRow], what: str, title: str) -> Panel:
    """Draw a share with its interval for each of some names, in their order."""
    order = [name for name, *_ in rows]
    values = [
        {"name": name, "v": share, "a": low, "b": high, "n": n}
        for name, share, low, high, n in rows
    ]
    axis = {"title": None, "domain": False, "ticks": False, "labelColor": INK, "labelLimit": 110}
    y = channel("name:N", sort=order, axis=axis)
    share_axis = {"format": "~%", "title": None, "tickCount": 5, "grid": True}
    ends = {"x": channel("a:Q", title=None), "x2": {"field": "b"}, "y": y}
    tooltip = [
        channel("name:N", title=what),
        channel("v:Q", title="accuracy", format=".1%"),
        channel("a:Q", title="interval from", format=".1%"),
        channel("b:Q", title="interval to", format=".1%"),
        channel("n:Q", title="samples"),
    ]
    at = {"x": channel("v:Q", scale={"zero": False}, axis=share_axis), "y": y, "tooltip": tooltip}
    spec = layers(
        mark("rule", ends, color=MUTED, strokeWidth=1.5),
        mark("circle", at, color=SERIES[1], size=70, opacity=1),
        mark("bar", {**ends, "tooltip": tooltip}, opacity=0, height=20),
        values=values,
    )
    spoken = ", ".join(f"{name} {percent(share)}" for name, share, *_ in rows)
    return Panel(f"{title} by {what}", 26 * len(order) + 10, f"{title}: {spoken}.", spec)


def _labels(found: Sequence[LabelResult]) -> Table:
    body = [
        [
            one.name,
            f"{one.having:,} of {one.n:,}",
            percent(one.accuracy),
            MEASURES["accuracy"].interval(*one.interval),
            percent(one.precision),
            percent(one.recall),
        ]
        for one in found
    ]
    raw = [[one.name, one.n, one.having, one.accuracy, *one.interval, one.precision, one.recall]
           for one in found]  # fmt: skip
    caption = f"The best network on the {found[0].split} split, label by label."
    head = ["Label", "Rows with it", "Accuracy", INTERVAL, "Precision", "Recall"]
    raw_head = ["label", "n", "having", "accuracy", "low95", "high95", "precision", "recall"]
    return Table("labels", caption, head, body, raw_head, raw)
