"""Two runs side by side on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klayer.errors import KlayerError
from klayer.files import make_folder, require_name, write_text
from klayer.report.curves import Line, curve_panel, kinds_of
from klayer.report.page import render
from klayer.report.run_view import ArmView, RunView, compare_arms
from klayer.report.sections.section import Part, block
from klayer.report.table import (
    COMPARISON_TIPS,
    INTERVAL,
    VERDICT_MARKS,
    Table,
    comparison_cells,
    mean_sd,
)
from klayer.report.vega import INK, SERIES, Figure, Key, Panel, channel, layers, mark
from klayer.study.comparison import Comparison, holm
from klayer.study.run_dir import Run

__all__ = ["Pair", "compare_runs", "pairs"]

MOST_FIGURES = 12
# So many differences between the runs are named in the first sentence.
MOST_NAMED = 3


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

    @property
    def identical(self) -> bool:
        """Whether both have the same networks' results: value and state, seed by seed."""
        sides = [
            {one.seed: (one.state, arm.value(one)) for one in arm.records}
            for arm in (self.a, self.b)
        ]
        common = sides[0].keys() & sides[1].keys()
        return bool(common) and all(sides[0][seed] == sides[1][seed] for seed in common)


def pairs(a: RunView, b: RunView) -> list[Pair]:
    """Match the arms of two runs: by their settings, or by name where settings differ.

    Finalists of two searches are matched by their rank.

    The comparisons are corrected together, after Holm.
    """
    found: list[tuple[ArmView, ArmView]] = []
    left = list(b.with_results)
    by_rank = a.part == b.part == "finalists"
    if by_rank:
        found = list(zip(a.with_results, b.with_results, strict=False))
    for what in () if by_rank else ("settings", "name"):
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
        If a run has no finished network, the runs have no arm in common, or their networks are judged
        by different measures.
    """
    one, other = (run if isinstance(run, Run) else Run(run) for run in (run_a, run_b))
    # A search stands by its finalists: only these have seen the test split.
    parts = ["finalists" if run.kind == "search" else "arms" for run in (one, other)]
    b = RunView(other, RunView(one).splits, parts[1])
    views = RunView(one, b.splits, parts[0]), b
    for view in views:
        if not view.with_results:
            raise KlayerError(
                f"no network of {view.path} is finished, so there is nothing to compare."
            )
    if views[0].measure != views[1].measure:
        raise KlayerError(
            f"two runs are compared by one measure, but {views[0].path} is judged by "
            f"{views[0].measure.word} and {views[1].path} by {views[1].measure.word}."
        )
    found = pairs(*views)
    if not found:
        raise KlayerError(
            f"two runs are compared arm by arm, but {views[0].path} and {views[1].path} have no arm "
            "with the same settings or the same name."
        )
    names = _names(*views)
    differing = _differing(views)
    lines = _lines(found, views, names, differing)
    summary = [block("text", text=lines[0], kind="lead")]
    summary.append(block("points", lines=lines[1:]))
    summary += [block("figure", one=_dots(found, names)), block("hint")]
    summary.append(block("table", one=_table(found, names)))
    figures = [_curves(pair, names, n) for n, pair in enumerate(found[:MOST_FIGURES], start=1)]
    training = [block("figure", one=figure) for figure in figures]
    if len(found) > MOST_FIGURES:
        rest = f"{len(found) - MOST_FIGURES} more arms are in the table alone."
        training.append(block("text", text=rest, kind="note"))
    same = "Configuration, versions and machine are the same."
    what = (
        block("table", one=_differences(differing, names))
        if differing
        else block("text", text=same)
    )
    html = render(
        title=f"{names[0]} and {names[1]} compared",
        kicker=f"Two runs on {_data(views)}",
        summary=summary,
        parts=[
            Part([what], "differences", "What differs", "1"),
            Part(training, "curves", "Training", "2"),
        ],
        results=_results(found, views, differing),
    )
    out = Path(out)
    require_name(out)
    make_folder(out.parent)
    write_text(out, html)
    return out


def _results(
    found: list[Pair], views: tuple[RunView, RunView], differing: list[tuple[str, str, str]]
) -> dict[str, Any]:
    """Return what the page shows, as plain values."""
    return {
        "runs": [view.path.resolve().name for view in views],
        "measure": views[0].measure.name,
        "split": views[0].judge,
        "differing": [{"what": what, "values": [a, b]} for what, a, b in differing],
        "arms": [
            {
                "label": pair.label,
                "identical": pair.identical,
                "estimates": [vars(arm.cell.estimate) for arm in (pair.a, pair.b)],
                "seeds": pair.result.n,
                "test": pair.result.test,
                "difference": vars(pair.result.difference),
                "p": pair.result.p,
                "p_holm": pair.result.p_holm,
                "verdict": pair.result.verdict,
            }
            for pair in found
        ],
    }


def _data(views: tuple[RunView, RunView]) -> str:
    a, b = (Path(view.info["data"]["name"]).name for view in views)
    return a if a == b else f"{a} and {b}"


def _names(a: RunView, b: RunView) -> tuple[str, str]:
    """Return names that tell the runs apart."""
    names = a.path.resolve().name, b.path.resolve().name
    return names if names[0] != names[1] else (f"{names[0]} (A)", f"{names[1]} (B)")


def _lines(
    found: list[Pair],
    views: tuple[RunView, RunView],
    names: tuple[str, str],
    differing: list[tuple[str, str, str]],
) -> list[str]:
    """Say first what differs between the runs, then what came of it, then what was compared."""
    named = [f"{key} ({a} / {b})" for key, a, b in differing[:MOST_NAMED]]
    more = len(differing) - len(named)
    if named:
        line = (
            f"The runs differ in {', '.join(named)}" + (f" and {more} more" if more else "") + "."
        )
    else:
        line = "The runs have the same configuration, versions and machine."
    what = "finalist" if views[0].part == "finalists" else "arm"
    ranks = ", paired by rank" if what == "finalist" else ""
    lines = [
        line,
        f"{len(found)} {what}{'s' if len(found) > 1 else ''} that both runs have{ranks}.",
    ]
    only = [len(view.with_results) - len(found) for view in views]
    told = [f"{n} only in {name}" for n, name in zip(only, names, strict=True) if n]
    if told:
        lines[1] += f" {' and '.join(told).capitalize()}."
    higher, lower = (sum(p.result.verdict == one for p in found) for one in ("higher", "lower"))
    if higher or lower:
        lines.append(
            f"After Holm's correction, {names[1]} is higher in {higher} and lower in {lower} of "
            f"{len(found)}; in the others no difference is shown."
        )
    else:
        lines.append("After Holm's correction, no arm shows a difference between the runs.")
    identical = sum(pair.identical for pair in found)
    if identical:
        word = {"accuracy": "accuracies"}.get(views[0].measure.word, views[0].measure.word)
        lines.append(f"{identical} of {len(found)} have the same {word}, seed by seed.")
    if views[0].info["data"]["name"] != views[1].info["data"]["name"]:
        lines.append("The runs used different data, so their scores don't measure the same.")
    return lines


def _shown(arm: ArmView) -> str:
    found = arm.cell
    if found.kind != "trained":
        return arm.describe()
    return f"{mean_sd(found.result, arm.measure)} (n = {found.n})"


def _table(found: list[Pair], names: tuple[str, str]) -> Table:
    head = ["Network", "Verdict", *names, "Difference", INTERVAL, "p (Holm)", "Ahead", "Could show",
            "Seeds"]  # fmt: skip
    body = []
    for pair in found:
        cells = comparison_cells(pair.result, pair.a.measure)
        if pair.identical:
            cells["Verdict"] = "identical"
        cells |= {names[0]: _shown(pair.a), names[1]: _shown(pair.b)}
        body.append([pair.label, *(cells[title] for title in head[1:])])
    marks = [VERDICT_MARKS.get(pair.result.verdict, "") for pair in found]
    caption = f"{_judged(found)}: {names[1]} minus {names[0]}, paired over common seeds."
    words = (*names, "Difference", "Verdict")
    return Table(
        "compare", caption, head, body, marks=marks, words=words, tips=dict(COMPARISON_TIPS)
    )


def _judged(found: list[Pair]) -> str:
    arm = found[0].a
    return f"{arm.judge.capitalize()} {arm.measure.word}"


def _dots(found: list[Pair], names: tuple[str, str]) -> Figure:
    """Draw every network of both runs as a dot, a line for each run of an arm."""
    order, judged, measure = [pair.label for pair in found], _judged(found), found[0].a.measure
    axis = {"title": None, "domain": False, "ticks": False, "labelColor": INK, "labelLimit": 190,
            "grid": True, "gridDash": [2, 3], "labelPadding": 10}  # fmt: skip
    marks = {"format": "~%" if measure.share else ".6~g", "title": None}
    seen = [pair.a.value(one) for pair in found for one in (*pair.a.records, *pair.b.records)]
    encoding = {
        # Room on both sides, so that no dot lies on a label.
        "x": channel("v:Q", scale={**measure.axis(seen), "padding": 14}, axis=marks),
        "y": channel("l:N", sort=order, axis=axis),
        "tooltip": [
            channel("run:N", title="run"),
            channel("l:N", title="arm"),
            channel("seed:N", title="seed"),
            channel("shown:N", title=judged.lower()),
            channel("state:N", title="state"),
        ],
    }
    drawn_runs = []
    for name, colour, side, shift in zip(names, SERIES, "ab", (-6, 6), strict=False):
        values = [
            {"l": pair.label, "run": name, "v": value, "seed": one.seed, "state": one.state,
             "shown": measure.show(value, 2)}
            for pair in found
            for one in getattr(pair, side).records
            if (value := pair.a.value(one)) is not None
        ]  # fmt: skip
        dot = mark("circle", encoding, color=colour, size=42, opacity=0.75, yOffset=shift)
        drawn_runs.append({"data": {"values": values}, **dot})
    spoken = "; ".join(
        f"{pair.label}: {names[0]} {_shown(pair.a)}, {names[1]} {_shown(pair.b)}" for pair in found
    )
    panel = Panel(judged, 38 * len(order) + 14, f"{judged}. {spoken}.", layers(*drawn_runs))
    legend = [Key(name, colour, dot=True) for name, colour in zip(names, SERIES, strict=False)]
    caption = f"{judged} of every network, a dot a seed.{measure.beyond(seen)}"
    return Figure("compare", caption, [panel], legend, 640)


def _curves(pair: Pair, names: tuple[str, str], number: int) -> Figure:
    split, panels = [split for split in pair.a.splits if split != "test"][-1], []
    for kind in kinds_of(pair.a.measure):
        if kind == "cost":
            continue  # the penalty may differ: the loss is what can be compared
        lines = [
            Line(name, colour, arm.curve(split, kind))
            for name, colour, arm in zip(names, SERIES, (pair.a, pair.b), strict=False)
        ]
        if any(line.points for line in lines):
            about = f"{pair.label}, {split} split, both runs"
            panels.append(curve_panel(kind, lines, about, height=200))
    legend = [Key(name, colour) for name, colour in zip(names, SERIES, strict=False)]
    caption = f"{pair.label}: {split} split, mean over seeds; bands from the least to the greatest."
    return Figure(f"compare-{number}", caption, panels, legend)


def _differing(views: tuple[RunView, RunView]) -> list[tuple[str, str, str]]:
    """List what differs between the configurations, data, versions and machines: what decides first."""
    sides = [
        _flat(
            {
                "data": Path(view.info["data"]["name"]).name,
                "config": _settings(view),
                "samples": view.info["data"]["samples"],
                "version": view.info["versions"],
                "machine": view.info["machine"],
            }
        )
        for view in views
    ]
    keys = {**sides[0], **sides[1]}
    return [
        (key.removeprefix("config."), *(str(side.get(key, "–")) for side in sides))  # type: ignore[misc]
        for key in keys
        if sides[0].get(key) != sides[1].get(key)
    ]


def _settings(view: RunView) -> dict[str, Any]:
    """Return a run's configuration; a single arm's settings one by one."""
    config = {
        key: value for key, value in view.info["config"].items() if key not in ("name", "data")
    }
    arms = config.get("arms")
    if isinstance(arms, list) and len(arms) == 1 and len(view.arms) == 1:
        config |= {"arms": {}, **view.arms[0].settings.as_dict()}
    return config


def _differences(differing: list[tuple[str, str, str]], names: tuple[str, str]) -> Table:
    caption = "What differs between the configurations, versions and machines."
    body = [list(row) for row in differing]
    return Table("differences", caption, ["What", *names], body, words=names)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, dict)
        found |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found
