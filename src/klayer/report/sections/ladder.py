"""What each step of a ladder of arms brought: a picture like stairs, and a table."""

from __future__ import annotations

from collections.abc import Sequence

from klayer.report.ladder import Rung, rungs
from klayer.report.phrases import capital, plural
from klayer.report.run_view import RunView
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import (
    COMPARISON_TIPS,
    INTERVAL,
    VERDICT_MARKS,
    Table,
    comparison_cells,
    mean_sd,
)
from klayer.report.vega import (
    INK,
    MUTED,
    SERIES,
    Figure,
    Key,
    Panel,
    Spec,
    channel,
    layers,
    mark,
)
from klayer.study.ladder import told

__all__ = ["build", "picture"]

# Height of a step in pixels; its name stands above its bar.
ROW, NAME, TOP, BOTTOM = 46, 12, 22, 36
# A gain that is shown, a loss that is, and what is not shown.
GAIN, LOSS, OPEN = SERIES[2], SERIES[0], MUTED
TIME = SERIES[1]


def build(material: Material) -> list[Part]:
    """Show the steps in a table; the picture stands on the first screen."""
    steps = rungs(material.view, material.comparisons)
    if not steps:
        return []
    text = (
        "Each step is compared with the one before it, over the seeds that both have (paired t); p is "
        "corrected after Holm for all steps. Seconds are a network's share of the wall time of its "
        "population: they depend on the machine and on what else it did."
    )
    table = material.table(_table(material.view, steps))
    return [Part([block("table", one=table), block("text", text=text, kind="note")])]


def picture(material: Material) -> Figure | None:
    """Draw the stairs; None where the arms are no ladder."""
    view = material.view
    steps = rungs(view, material.comparisons)
    if not any(one.arm.cell.result.n for one in steps):
        return None
    panels = [_stairs(view, steps)]
    if any(one.seconds.n for one in steps):
        panels.append(_times(steps))
    caption = (
        f"A bar reaches from the mean {view.judged} of the step before to that of this one; the line at "
        "its end is the paired 95\u202f% interval of the difference; dots are seeds. "
        "Grey: no difference is shown. The other panel has the seconds that a network takes for an "
        "epoch."
    )
    beside = len(view.with_results) - len(steps)
    if beside:
        caption += f" {plural(beside, 'arm')} beside the steps: see the table of all arms."
    legend = [
        Key("gain", GAIN, area=True),
        Key("loss", LOSS, area=True),
        Key("not shown", OPEN, area=True),
    ]
    return Figure("ladder", caption, panels, legend, 470)


def _table(view: RunView, steps: Sequence[Rung]) -> Table:
    measure = view.measure
    head = ["Step", "Adds", view.judge.capitalize(), "Gain", INTERVAL, "p (Holm)", "Verdict",
            "Seeds", "Seconds an epoch"]  # fmt: skip
    body, raw = [], []
    for one in steps:
        cells = comparison_cells(one.step, measure) if one.step else {}
        gain = [cells.get(name, "–") for name in ("Difference", INTERVAL, "p (Holm)", "Verdict")]
        found, said = one.arm.cell.estimate, told(view.ladder[one.arm.name])
        body.append([
            one.title, said or "–", mean_sd(found, measure), *gain, str(one.arm.cell.n),
            _seconds(one.seconds.mean),
        ])  # fmt: skip
        step = one.step
        d = step.difference if step else None
        raw.append([
            one.arm.name, said, found.mean, found.sd, found.n,
            *([d.mean, d.low, d.high] if d else [None] * 3),
            *([step.p, step.p_holm, step.verdict] if step else [None] * 3),
            one.seconds.mean,
        ])  # fmt: skip
    raw_head = ["arm", "adds", "mean", "sd", "n", "gain", "low95", "high95", "p", "p_holm", "verdict",
                "seconds_per_epoch"]  # fmt: skip
    marks = [VERDICT_MARKS.get(one.step.verdict, "") if one.step else "" for one in steps]
    tips = {name: COMPARISON_TIPS[name] for name in (INTERVAL, "p (Holm)")}
    tips["Gain"] = "Mean over common seeds, this step minus the one before it."
    caption = f"{capital(view.judged)} step by step: each builds on the one above it."
    return Table("ladder", caption, head, body, raw_head, raw, marks, ("Adds", "Verdict"), tips)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _stairs(view: RunView, steps: Sequence[Rung]) -> Panel:
    """Draw a bar for each step, from the mean before it to its own."""
    measure = view.measure
    rows, dots, seen = list[Spec](), list[Spec](), list[float | None]()
    before: float | None = None
    for place, one in enumerate(steps):
        mean, top = one.arm.cell.result.mean, place * ROW
        row: Spec = {
            "name": one.title, "top": top + NAME, "y": (top + TOP + top + BOTTOM) / 2,
            "a": top + TOP, "b": top + BOTTOM, "said": _gain(view, one), "to": mean,
            "shown": mean_sd(one.arm.cell.estimate, measure, 2), "n": one.arm.cell.n,
            "tint": OPEN, "fade": 0.35,
        }  # fmt: skip
        step = one.step
        if step and step.difference.mean is not None and None not in (mean, before):
            row |= {"from": before, "up": top - ROW + BOTTOM}
            if step.difference.low is not None and step.difference.high is not None and mean:
                start = mean - step.difference.mean
                row |= {"low": start + step.difference.low, "high": start + step.difference.high}
            if step.verdict in VERDICT_MARKS:
                row |= {"tint": GAIN if step.verdict == "higher" else LOSS, "fade": 0.8}
        rows.append(row)
        for record in one.arm.records:
            value = one.arm.value(record)
            if value is not None:
                dots.append({"v": value, "y": row["b"] + 5, "name": one.title, "seed": record.seed,
                             "shown": measure.show(value, 2)})  # fmt: skip
                seen.append(value)
        seen += [row.get("low"), row.get("high")]
        before = mean
    height = ROW * len(steps)
    axis = {"format": "~%" if measure.share else ".6~g", "tickCount": 6}
    scale = {**measure.axis(seen), "zero": False}

    def x(name: str) -> Spec:
        return channel(f"{name}:Q", scale=scale, title=None, axis=axis)

    tint = channel("tint:N", scale=None, legend=None)
    fade = channel("fade:Q", scale=None, legend=None)
    tips = [
        channel("name:N", title="step"),
        channel("shown:N", title=view.judged),
        channel("said:N", title="against the one before"),
        channel("n:Q", title="seeds"),
    ]
    seed_tips = [
        channel("name:N", title="step"),
        channel("seed:N"),
        channel("shown:N", title=view.judged),
    ]
    bars = [row for row in rows if "from" in row]
    ends = [row for row in bars if "low" in row]
    spec = layers(
        {"data": {"values": bars}, **mark(
            "rule", {"x": x("from"), "y": _at("up", height), "y2": {"field": "b"}},
            color=MUTED, opacity=0.45, strokeWidth=1, tooltip=None)},
        {"data": {"values": bars}, **mark(
            "rect", {"x": x("from"), "x2": {"field": "to"}, "y": _at("a", height),
                     "y2": {"field": "b"}, "fill": tint, "fillOpacity": fade, "tooltip": tips})},
        {"data": {"values": dots}, **mark(
            "circle", {"x": x("v"), "y": _at("y", height),
                       "tooltip": seed_tips}, color=INK, opacity=0.35, size=16)},
        {"data": {"values": ends}, **mark(
            "rule", {"x": x("low"), "x2": {"field": "high"}, "y": _at("y", height)},
            color=INK, strokeWidth=1.6, tooltip=None)},
        {"data": {"values": rows}, **mark(
            "tick", {"x": x("to"), "y": _at("y", height), "tooltip": tips},
            color=INK, thickness=2.4, size=20, orient="vertical")},
        _names(height, "width - 140"),
        mark("text", {"x": {"value": "width"}, "y": _at("top", height), "text": channel("said:N")},
             align="right", fontSize=11, color=MUTED, tooltip=None),
        values=rows,
    )  # fmt: skip
    judged = capital(view.judged)
    alt = f"{judged} step by step. " + "; ".join(
        f"{one.title}: {measure.show(one.arm.cell.result.mean)}"
        + (f", {_gain(view, one)} against the step before" if one.step else "")
        for one in steps
    )
    return Panel(judged, height, f"{alt}.", spec)


def _gain(view: RunView, one: Rung) -> str:
    """Write what a step brought, beside its name; of the first what it reached."""
    if one.step is None:
        return view.measure.show(one.arm.cell.result.mean)
    if one.step.test == "Fisher":
        return f"{one.step.trained[0]} → {one.step.trained[1]} of {one.step.n} left chance"
    d, measure = one.step.difference, view.measure
    ends = (
        "" if d.low is None else f" ({measure.difference(d.low)} to {measure.difference(d.high)})"
    )
    return f"{measure.difference(d.mean)}{ends}"


def _times(steps: Sequence[Rung]) -> Panel:
    """Draw how long a network of each step takes for an epoch."""
    rows = [
        {"name": one.title, "top": place * ROW + NAME, "a": place * ROW + TOP,
         "b": place * ROW + BOTTOM, "from": 0, "to": one.seconds.mean,
         "said": f"{_seconds(one.seconds.mean)} s"}
        for place, one in enumerate(steps)
    ]  # fmt: skip
    height = ROW * len(steps)
    x = channel("to:Q", title=None, axis={"format": "~g", "tickCount": 5})
    tips = [channel("name:N", title="step"), channel("said:N", title="an epoch")]
    spec = layers(
        mark("rect", {"x": {**channel("from:Q"), "title": None}, "x2": {"field": "to"},
                      "y": _at("a", height), "y2": {"field": "b"}, "tooltip": tips},
             color=TIME, opacity=0.8),
        mark("rule", {"x": x, "y": _at("a", height), "y2": {"field": "b"}}, color=TIME,
             tooltip=None),
        _names(height, "width - 60"),
        mark("text", {"x": {"value": "width"}, "y": _at("top", height), "text": channel("said:N")},
             align="right", fontSize=11, color=MUTED, tooltip=None),
        values=rows,
    )  # fmt: skip
    alt = "; ".join(f"{row['name']}: {row['said']}" for row in rows)
    return Panel(
        "Seconds an epoch", height, f"Seconds that a network takes for an epoch. {alt}.", spec
    )


def _at(name: str, height: int) -> Spec:
    """Place something by its pixel from the top."""
    scale = {"domain": [0, height], "reverse": True, "nice": False, "zero": False}
    return channel(f"{name}:Q", scale=scale, axis=None)


def _names(height: int, limit: str) -> Spec:
    """Write the steps' names above their bars."""
    where = {"x": {"value": 0}, "y": _at("top", height), "text": channel("name:N")}
    return mark("text", where, align="left", fontSize=12, fontWeight=600, color=INK,
                limit={"expr": limit}, tooltip=None)  # fmt: skip
