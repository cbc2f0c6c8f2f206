"""Two runs side by side on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klayer.errors import KlayerError
from klayer.files import make_folder, write_text
from klayer.report.curves import Line, curve_panel
from klayer.report.page import render
from klayer.report.run_view import ArmView, RunView, compare_arms
from klayer.report.sections.section import Part, block
from klayer.report.table import VERDICT_MARKS, Table, comparison_cells, mean_sd
from klayer.report.vega import INK, SERIES, Figure, Key, Panel, channel, layers, mark
from klayer.study.run_dir import Run
from klayer.study.statistics import Comparison, holm

__all__ = ["Pair", "compare_runs", "pairs"]

MOST_FIGURES = 12


@dataclass(frozen=True)
class Pair:
    """An arm that both runs have, b against a over common seeds."""

    a: ArmView
    b: ArmView
    result: Comparison

    @property
    def label(self) -> str:
        """What both call it."""
        a, b = self.a.label, self.b.label
        return a if a == b else f"{a} / {b}"


def pairs(a: RunView, b: RunView) -> list[Pair]:
    """Match the arms of two runs: by their settings, or by name where settings differ.

    The comparisons are corrected together, after Holm.
    """
    found: list[tuple[ArmView, ArmView]] = []
    left = list(b.with_results)
    for what in ("settings", "name"):
        for one in a.with_results:
            if any(pair[0] is one for pair in found):
                continue
            same = (other for other in left if getattr(other, what) == getattr(one, what))
            match = next(same, None)
            if match is not None:
                found.append((one, match))
                left.remove(match)
    if not found and len(a.with_results) == len(b.with_results) == 1:
        found = [(a.with_results[0], b.with_results[0])]
    found.sort(key=lambda pair: a.with_results.index(pair[0]))
    results = holm([compare_arms(one, other) for one, other in found])
    return [Pair(*arms, result) for arms, result in zip(found, results, strict=True)]


def compare_runs(run_a: Run | str | Path, run_b: Run | str | Path, out: str | Path) -> Path:
    """Write one page that sets two runs side by side.

    Parameters
    ----------
    run_a, run_b : Run or path
    out : path
        The HTML file to be written.

    Returns
    -------
    page : Path

    Raises
    ------
    KlayerError
        If a run has no finished network, or the runs have no arm in common.
    """
    one, other = (run if isinstance(run, Run) else Run(run) for run in (run_a, run_b))
    b = RunView(other, RunView(one).splits)
    views = RunView(one, b.splits), b
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
    summary = [block("text", text=line, kind="lead") for line in _lines(found, views, names)]
    summary.append(block("figure", one=_dots(found, names)))
    summary.append(block("table", one=_table(found, names)))
    figures = [_curves(pair, names, n) for n, pair in enumerate(found[:MOST_FIGURES], start=1)]
    training = [block("figure", one=figure) for figure in figures]
    if len(found) > MOST_FIGURES:
        rest = f"{len(found) - MOST_FIGURES} more arms are in the table alone."
        training.append(block("text", text=rest, kind="note"))
    differences = _differences(views, names)
    same = "Configuration, versions and machine are the same."
    differing = block("table", one=differences) if differences else block("text", text=same)
    html = render(
        title=f"{names[0]} and {names[1]}",
        kicker="Two runs compared",
        summary=summary,
        parts=[
            Part(training, "curves", "Training"),
            Part([differing], "differences", "What differs"),
        ],
    )
    out = Path(out)
    make_folder(out.parent)
    write_text(out, html)
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
    higher, lower = (sum(p.result.verdict == one for p in found) for one in ("higher", "lower"))
    if higher or lower:
        lines.append(
            f"After Holm's correction, {names[1]} is higher in {higher} and lower in {lower} of "
            f"{len(found)}; in the others no difference is shown."
        )
    else:
        lines.append("After Holm's correction, no arm shows a difference between the runs.")
    differences = [pair.result.difference for pair in found]
    identical = sum(one.least == one.greatest == 0 for one in differences)
    if identical:
        lines.append(f"{identical} of {len(found)} have the same accuracies, seed by seed.")
    if views[0].info["data"]["name"] != views[1].info["data"]["name"]:
        lines.append("The runs used different data, so their accuracies don't measure the same.")
    return lines


def _shown(arm: ArmView) -> str:
    found = arm.cell
    if found.kind != "trained":
        return found.describe()
    return f"{mean_sd(found.result)} (n = {found.n})"


def _table(found: list[Pair], names: tuple[str, str]) -> Table:
    head = ["Network", *names, "Difference", "95\u202f% interval", "Seeds", "Test",
            "p (Holm)", "Verdict"]  # fmt: skip
    body = []
    for pair in found:
        cells = comparison_cells(pair.result)
        body.append(
            [pair.label, _shown(pair.a), _shown(pair.b), *(cells[title] for title in head[3:])]
        )
    marks = [VERDICT_MARKS.get(pair.result.verdict, "") for pair in found]
    caption = (
        f"{found[0].a.judge.capitalize()} accuracy: {names[1]} minus {names[0]}, paired over common "
        "seeds."
    )
    words = (*names, "Difference", "Test", "Verdict")
    return Table("compare", caption, head, body, marks=marks, words=words)


def _dots(found: list[Pair], names: tuple[str, str]) -> Figure:
    """Draw every network of both runs as a dot, a line an arm."""
    order, judged = [pair.label for pair in found], f"{found[0].a.judge} accuracy"
    axis = {"title": None, "domain": False, "ticks": False, "labelColor": INK, "labelLimit": 150,
            "grid": True}  # fmt: skip
    encoding = {
        "x": channel("v:Q", scale={"zero": False}, axis={"format": "~%", "title": None}),
        "y": channel("l:N", sort=order, axis=axis),
        "tooltip": [
            channel("run:N", title="run"),
            channel("l:N", title="network"),
            channel("seed:N", title="seed"),
            channel("v:Q", title=judged, format=".2%"),
            channel("state:N", title="state"),
        ],
    }
    drawn_runs = []
    for name, colour, side, shift in zip(names, SERIES, "ab", (-5, 5), strict=False):
        values = [
            {"l": pair.label, "run": name, "v": value, "seed": one.seed, "state": one.state}
            for pair in found
            for one in getattr(pair, side).records
            if (value := one.score(pair.a.judge)) is not None
        ]
        dot = mark("circle", encoding, color=colour, size=45, opacity=0.75, yOffset=shift)
        drawn_runs.append({"data": {"values": values}, **dot})
    spoken = "; ".join(
        f"{pair.label}: {names[0]} {_shown(pair.a)}, {names[1]} {_shown(pair.b)}" for pair in found
    )
    judged = judged.capitalize()
    panel = Panel(judged, 34 * len(order) + 10, f"{judged}. {spoken}.", layers(*drawn_runs))
    legend = [Key(name, colour, dot=True) for name, colour in zip(names, SERIES, strict=False)]
    return Figure("compare", f"{judged} of every network, a dot a seed.", [panel], legend, 640)


def _curves(pair: Pair, names: tuple[str, str], number: int) -> Figure:
    split, panels = [split for split in pair.a.splits if split != "test"][-1], []
    for kind in ("loss", "accuracy"):
        lines = [
            Line(name, colour, arm.curve(split, kind))
            for name, colour, arm in zip(names, SERIES, (pair.a, pair.b), strict=False)
        ]
        about = f"{pair.label}, {split} split, both runs"
        panels.append(curve_panel(kind, lines, about, height=200))
    legend = [Key(name, colour) for name, colour in zip(names, SERIES, strict=False)]
    caption = f"{pair.label}: {split} split, mean over seeds; bands from the least to the greatest."
    return Figure(f"compare-{number}", caption, panels, legend)


def _differences(views: tuple[RunView, RunView], names: tuple[str, str]) -> Table | None:
    """List what differs between the two configurations, versions and machines."""
    sides = [
        _flat(
            {
                "config": view.info["config"],
                "samples": view.info["data"]["samples"],
                "version": view.info["versions"],
                "machine": view.info["machine"],
            }
        )
        for view in views
    ]
    keys = {**sides[0], **sides[1]}
    body = [
        [key, *(str(side.get(key, "–")) for side in sides)]
        for key in keys
        if sides[0].get(key) != sides[1].get(key)
    ]
    if not body:
        return None
    caption = "What differs between the configurations, versions and machines."
    return Table("differences", caption, ["What", *names], body, words=names)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, dict)
        found |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found
