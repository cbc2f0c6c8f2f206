"""Two runs side by side on one page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import altair as alt

from klayer.errors import KlayerError
from klayer.report.charts import hover, ruler, zoom
from klayer.report.figures import INK, SERIES, Figure, Key, Panel, rows
from klayer.report.sentences import p_text, points
from klayer.report.tables import Table
from klayer.report.template import render, with_drawings
from klayer.report.view import ArmView, RunView
from klayer.study.run_dir import Run
from klayer.study.statistics import Comparison, compare, estimate, holm, percent

__all__ = ["Pair", "pairs", "write"]

MOST_FIGURES = 12


@dataclass(frozen=True)
class Pair:
    """An arm that both runs have, b against a over common seeds."""

    label: str
    a: ArmView
    b: ArmView
    result: Comparison


def pairs(a: RunView, b: RunView) -> list[Pair]:
    """Match the arms of two runs: by their settings, or by name where settings differ.

    Parameters
    ----------
    a, b : RunView

    Returns
    -------
    found : list of Pair
        Corrected together, after Holm.
    """
    found, left = [], list(b.with_results)
    for same in (_same_settings, _same_name):
        for one in a.with_results:
            if any(pair[0] is one for pair in found):
                continue
            match = next((other for other in left if same(one, other)), None)
            if match is not None:
                found.append((one, match))
                left.remove(match)
    if not found and len(a.with_results) == len(b.with_results) == 1:
        found = [(a.with_results[0], b.with_results[0])]
    found.sort(key=lambda pair: a.with_results.index(pair[0]))
    results = holm([compare(one.records, other.records) for one, other in found])
    return [
        Pair(_label(one, other), one, other, result)
        for (one, other), result in zip(found, results, strict=True)
    ]


def _same_settings(one: ArmView, other: ArmView) -> bool:
    return one.settings == other.settings


def _same_name(one: ArmView, other: ArmView) -> bool:
    return one.name == other.name


def _label(one: ArmView, other: ArmView) -> str:
    return one.label if one.label == other.label else f"{one.label} / {other.label}"


def write(run_a: Run, run_b: Run, out: Path) -> Path:
    """Write the page that compares two runs.

    Parameters
    ----------
    run_a, run_b : Run
    out : Path
        The HTML file.

    Raises
    ------
    KlayerError
        If a run has no finished network, or the runs have no arm in common.
    """
    views = RunView(run_a), RunView(run_b)
    for view in views:
        if not view.with_results:
            raise KlayerError(
                f"no network of {view.path} is finished, so there is nothing to compare."
            )
    found = pairs(*views)
    if not found:
        raise KlayerError(
            f"two runs are compared arm by arm, but {views[0].path} and {views[1].path} have no arm "
            "with the same settings or the same name."
        )
    names = _names(*views)
    table = _table(found, names)
    figures = [with_drawings(_dots(found, names))]
    figures += [
        with_drawings(_curves(pair, names, number))
        for number, pair in enumerate(found[:MOST_FIGURES], start=1)
    ]
    html = render(
        "compare.html",
        title=f"{names[0]} and {names[1]}",
        names=names,
        lines=_lines(found, views, names),
        table_=table,
        dots=figures[0],
        curves=figures[1:],
        left=max(0, len(found) - MOST_FIGURES),
        differences=_differences(views, names),
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(html, encoding="utf-8")
    except OSError as error:
        raise KlayerError(f"{out} can't be written: {error.strerror}.") from None
    return out


def _names(a: RunView, b: RunView) -> tuple[str, str]:
    """Return names that tell the runs apart."""
    names = a.path.resolve().name, b.path.resolve().name
    return names if names[0] != names[1] else (f"{names[0]} (A)", f"{names[1]} (B)")


def _lines(found: list[Pair], views: tuple[RunView, RunView], names: tuple[str, str]) -> list[str]:
    lines = [f"{len(found)} arm{'s' if len(found) > 1 else ''} that both runs have."]
    only = [len(view.with_results) - len(found) for view in views]
    told = [f"{n} only in {name}" for n, name in zip(only, names, strict=True) if n]
    if told:
        lines[0] += f" {' and '.join(told).capitalize()}."
    higher = [pair for pair in found if pair.result.verdict == "higher"]
    lower = [pair for pair in found if pair.result.verdict == "lower"]
    if higher or lower:
        lines.append(
            f"After Holm's correction, {names[1]} is higher in {len(higher)} and lower in "
            f"{len(lower)} of {len(found)}; in the others no difference is shown."
        )
    else:
        lines.append("After Holm's correction, no arm shows a difference between the runs.")
    identical = [pair for pair in found if pair.result.difference.n and _identical(pair.result)]
    if identical:
        lines.append(f"{len(identical)} of {len(found)} have the same accuracies, seed by seed.")
    if views[0].info["data"]["name"] != views[1].info["data"]["name"]:
        lines.append("The runs used different data, so their accuracies don't measure the same.")
    return lines


def _identical(result: Comparison) -> bool:
    return result.difference.least == result.difference.greatest == 0


def _shown(arm: ArmView) -> str:
    found = arm.cell
    if found.kind != "trained":
        return found.describe()
    sd = "" if found.result.sd is None else f" ± {100 * found.result.sd:.1f}"
    return f"{percent(found.result.mean)}{sd} (n = {found.n})"


def _table(found: list[Pair], names: tuple[str, str]) -> Table:
    body, marks = [], []
    for pair in found:
        r, d = pair.result, pair.result.difference
        if r.test == "Fisher":
            difference = f"{r.trained[0]} → {r.trained[1]} of {r.n} trained"
        else:
            difference = f"{points(d.mean)} points" if d.n else "–"
        body.append(
            [
                pair.label,
                _shown(pair.a),
                _shown(pair.b),
                difference,
                f"{points(d.low)} to {points(d.high)}" if d.low is not None else "–",
                str(r.n),
                r.test or "–",
                p_text(r.p_holm),
                r.verdict if r.verdict in ("higher", "lower") else "not shown",
            ]
        )
        marks.append({"higher": "good", "lower": "bad"}.get(r.verdict, ""))
    head = ["Network", *names, "Difference", "95\u202f% interval", "Seeds", "Test",
            "p (Holm)", "Verdict"]  # fmt: skip
    caption = f"Test accuracy: {names[1]} minus {names[0]}, paired over common seeds."
    words = (*names, "Difference", "Test", "Verdict")
    return Table("compare", caption, head, body, marks=marks, words=words)


def _dots(found: list[Pair], names: tuple[str, str]) -> Figure:
    """Draw every network of both runs as a dot, a line a arm."""
    values, order = [], [pair.label for pair in found]
    for pair in found:
        for name, arm, shift in zip(names, (pair.a, pair.b), (-6, 6), strict=True):
            values += [
                {"l": pair.label, "run": name, "v": r.accuracy("test"), "seed": r.seed,
                 "state": r.state, "d": shift}
                for r in arm.records
                if r.accuracy("test") is not None
            ]  # fmt: skip

    def draw() -> alt.LayerChart:
        x = alt.X("v:Q", scale=alt.Scale(zero=False), axis=alt.Axis(format="~%", title=None))
        y = alt.Y(
            "l:N",
            sort=order,
            axis=alt.Axis(
                title=None, domain=False, ticks=False, labelColor=INK, labelLimit=150, grid=True
            ),
        )
        layers = []
        for name, colour, shift in zip(names, SERIES[:2], (-5, 5), strict=True):
            chosen = [value for value in values if value["run"] == name]
            mark = alt.Chart(rows(chosen)).mark_circle(
                color=colour, size=45, opacity=0.75, yOffset=shift
            )
            tooltip = [
                alt.Tooltip("run:N", title="run"),
                alt.Tooltip("l:N", title="network"),
                alt.Tooltip("seed:N", title="seed"),
                alt.Tooltip("v:Q", title="test accuracy", format=".2%"),
                alt.Tooltip("state:N", title="state"),
            ]
            layers.append(mark.encode(x, y, tooltip=tooltip))
        return alt.layer(*layers)

    spoken = "; ".join(
        f"{pair.label}: {names[0]} {_shown(pair.a)}, {names[1]} {_shown(pair.b)}" for pair in found
    )
    panel = Panel(draw, "Test accuracy", 34 * len(order) + 10, f"Test accuracy. {spoken}.")
    legend = [Key(name, colour, dot=True) for name, colour in zip(names, SERIES, strict=False)]
    return Figure("compare", "Test accuracy of every network, a dot a seed.", [panel], legend, 640)


def _curves(pair: Pair, names: tuple[str, str], number: int) -> Figure:
    panels = [
        Panel(
            partial(_curve, pair, names, curve),
            title,
            200,
            f"{title} against epoch, {pair.label}, validation split, both runs.",
            [zoom("lines"), hover("stripes", "e")],
            partial(_rule, pair, names, curve),
        )
        for curve, title in (("validation_loss", "Loss"), ("validation_accuracy", "Accuracy"))
    ]
    legend = [Key(name, colour) for name, colour in zip(names, SERIES, strict=False)]
    caption = (
        f"{pair.label}: validation split, mean over seeds; bands from the least to the greatest."
    )
    return Figure(f"compare-{number}", caption, panels, legend)


def _curve(pair: Pair, names: tuple[str, str], curve: str) -> alt.LayerChart:
    values = _means(pair, names, curve)
    colour = alt.Color(
        "run:N", scale=alt.Scale(domain=list(names), range=list(SERIES[:2])), legend=None
    )
    x = alt.X("e:Q", title="epoch", axis=alt.Axis(grid=False, tickCount=5))
    shown = "~%" if curve.endswith("accuracy") else "~g"
    axis = alt.Axis(format=shown, tickCount=5, title=None, grid=True)
    y = {"scale": alt.Scale(zero=True), "axis": axis}
    base = alt.Chart(rows(values))
    line = base.mark_line(strokeWidth=1.8, clip=True)
    band = base.mark_area(opacity=0.16, clip=True)
    return alt.layer(
        band.encode(x, alt.Y("a:Q", **y), alt.Y2("b:Q"), colour),
        line.encode(x, alt.Y("m:Q", **y), colour).properties(name="lines"),
    )


def _means(pair: Pair, names: tuple[str, str], curve: str) -> list[dict]:
    values = []
    for name, arm in zip(names, (pair.a, pair.b), strict=True):
        lines = [record.history[curve] for record in arm.records]
        for i, epoch in enumerate(arm.records[0].history["epoch"]):
            found = estimate(line[i] for line in lines if i < len(line))
            if found.n:
                values.append(
                    {
                        "e": epoch,
                        "run": name,
                        "m": found.mean,
                        "a": found.least,
                        "b": found.greatest,
                    }
                )
    return values


def _rule(pair: Pair, names: tuple[str, str], curve: str) -> alt.LayerChart:
    at: dict[float, dict] = {}
    share = curve.endswith("accuracy")
    for value in _means(pair, names, curve):
        text = percent(value["m"]) if share else f"{value['m']:.3g}"
        at.setdefault(value["e"], {"e": value["e"]})[f"v{names.index(value['run'])}"] = text
    tooltips = [alt.Tooltip("e:Q", title="epoch", format=".3~g")]
    tooltips += [alt.Tooltip(f"v{i}:N", title=name) for i, name in enumerate(names)]
    return ruler(list(at.values()), tooltips)


def _differences(views: tuple[RunView, RunView], names: tuple[str, str]) -> Table | None:
    """List what differs between the two configurations, versions and machines."""
    sides = [
        {
            **_flat(view.info["config"], "config"),
            **_flat(view.info["data"]["samples"], "samples"),
            **_flat(view.info["versions"], "version"),
            **_flat(view.info["machine"], "machine"),
        }
        for view in views
    ]
    keys = [key for key in {**sides[0], **sides[1]} if key != "config.data_dir"]
    body = [
        [key, *(str(side.get(key, "–")) for side in sides)]
        for key in keys
        if sides[0].get(key) != sides[1].get(key)
    ]
    if not body:
        return None
    caption = "What differs between the configurations, versions and machines."
    return Table("differences", caption, ["What", *names], body, words=names)


def _flat(values: dict, prefix: str) -> dict:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}.{key}")
        else:
            found[f"{prefix}.{key}"] = value
    return found
