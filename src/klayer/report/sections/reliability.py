"""How sure the best network is of its answers beside how often they are right."""

from __future__ import annotations

import numpy as np

from klayer.calibration import Reliability, reliability
from klayer.errors import KlayerError
from klayer.report.examination import seen
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import Table
from klayer.report.vega import MUTED, SERIES, Figure, Key, Panel, Spec, channel, layers, mark
from klayer.study.measure import MEASURES
from klayer.study.statistics import percent, wilson

__all__ = ["build"]

CALIBRATED, AS_TRAINED = "calibrated", "as trained"
ACCURACY = MEASURES["accuracy"]


def build(material: Material) -> list[Part]:
    """Draw the reliability diagram of the best network, before and after calibration if it has one."""
    view, record = material.view, material.view.best
    if record is None or view.task == "regression":
        return []
    try:
        split = seen(view, record)
        rows, model = material.dataset.splits[split], view.run.model(record)
        answers = {AS_TRAINED: model.at_temperatures(1.0).predict_probs(rows.features)[0]}
        if record.temperature is not None:
            answers[CALIBRATED] = model.predict_probs(rows.features)[0]
    except (KlayerError, OSError):  # the section on the best network says so
        return []
    found = {name: reliability(probs, rows.labels) for name, probs in answers.items()}
    table = material.table(_table(found, split))
    return [
        Part(
            [
                block("text", text=_said(found, split, record.temperature)),
                material.figure(_diagram(found, split), narrow=True),
                block("details", summary="Every bin as a table", tables=[table]),
            ]
        )
    ]


def _said(found: dict[str, Reliability], split: str, temperature: float | None) -> str:
    said = [
        f"{name} {percent(one.error)}, log-loss {one.log_loss:.3f}" for name, one in found.items()
    ]
    last = list(found.values())[-1]
    chance = (
        f"Honest answers as sure as these would show {percent(last.by_chance)} by chance, on as many "
        "rows."
    )
    heat = (
        " Its outputs were not calibrated: the setting is calibration='temperature'."
        if temperature is None
        else f" The validation split found the temperature {temperature:.2f}, by which its outputs are "
        "divided."
    )
    return (
        f"Expected calibration error of the best network on the {split} split (n = {last.n:,}, "
        f"{len(last.count)} bins): {'; '.join(said)}. {chance}{heat}"
    )


def _diagram(found: dict[str, Reliability], split: str) -> Figure:
    colours = {AS_TRAINED: SERIES[1], CALIBRATED: SERIES[0]}
    values: list[Spec] = []
    for name, one in found.items():
        for b in np.flatnonzero(one.count):
            n, right = int(one.count[b]), float(one.right[b])
            low, high = wilson(right, n)
            cell = {"s": name, "c": float(one.confidence[b]), "v": right, "n": n}
            values.append({**cell, "a": low, "b": high, "size": float(np.sqrt(n / one.n))})
    share = {"format": "~%", "tickCount": 5, "grid": True}
    scale = {"domain": [0, 1]}
    x = channel("c:Q", title="how sure", scale=scale, axis={**share, "grid": False})
    y = channel("v:Q", title="share that is right", scale=scale, axis=share)
    colour = channel(
        "s:N", scale={"domain": list(found), "range": [colours[one] for one in found]}, legend=None
    )
    tips = [
        channel("s:N", title="answers"),
        channel("c:Q", title="mean confidence", format=".1%"),
        channel("v:Q", title="right", format=".1%"),
        channel("a:Q", title="interval from", format=".1%"),
        channel("b:Q", title="interval to", format=".1%"),
        channel("n:Q", title="answers in the bin"),
    ]
    size = channel("size:Q", scale={"domain": [0, 1], "range": [20, 320]}, legend=None)
    ends = {"x": x, "y": channel("a:Q", title=y["title"]), "y2": {"field": "b"}, "color": colour}
    diagonal = {"data": {"values": [{"c": 0, "v": 0}, {"c": 1, "v": 1}]}}
    spec = layers(
        {**diagonal, **mark("line", {"x": x, "y": y}, color=MUTED, strokeWidth=1)},
        mark("rule", ends, strokeWidth=1.5),
        mark("circle", {"x": x, "y": y, "color": colour, "size": size, "tooltip": tips}, opacity=1),
        values=values,
    )
    told = [
        f"{name}: " + ", ".join(
            f"{percent(float(one.confidence[b]))} sure, {percent(float(one.right[b]))} right"
            for b in np.flatnonzero(one.count)
        )
        for name, one in found.items()
    ]  # fmt: skip
    caption = (
        f"How often answers to the {split} split are right, by how sure the best network is of them; on "
        "the line they are honest. Lines are 95\u202f% intervals (Wilson), areas follow the number of "
        "answers."
    )
    panel = Panel("Reliability", 300, f"Reliability diagram. {'; '.join(told)}.", spec)
    keys = [Key(name, colours[name], dot=True) for name in found] if len(found) > 1 else []
    return Figure("reliability", caption, [panel], keys, width=420)


def _table(found: dict[str, Reliability], split: str) -> Table:
    body, raw = [], []
    for name, one in found.items():
        for b in np.flatnonzero(one.count):
            low, high = float(one.edges[b]), float(one.edges[b + 1])
            n, sure, right = int(one.count[b]), float(one.confidence[b]), float(one.right[b])
            inside = wilson(right, n)
            body.append([name, ACCURACY.interval(low, high, 0), f"{n:,}", percent(sure),
                         percent(right), ACCURACY.interval(*inside)])  # fmt: skip
            raw.append([name, low, high, n, sure, right, *inside])
    caption = (
        f"Answers of the best network to the {split} split, by how sure it is of them; empty bins are "
        "left out. The interval is that of the share that is right."
    )
    head = ["Answers", "Sure", "n", "Mean confidence", "Right", "95\u202f% interval"]
    raw_head = ["answers", "from", "to", "n", "confidence", "right", "low95", "high95"]
    return Table("reliability", caption, head, body, raw_head, raw, words=("Answers",))
