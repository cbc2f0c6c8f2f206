"""A search as the page shows it: accuracy against each searched parameter, a table for each stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from klayer.report.run_view import SPLITS, RunView
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import Table
from klayer.report.vega import Figure, Key, Panel, Spec, channel, mark, series_colour, zoom
from klayer.study.comparison import Comparison, compare, holm
from klayer.study.search.tables import (
    finalist_table,
    measure_in,
    score_in,
    stage_table,
    trial_table,
)
from klayer.study.statistics import estimate, percent
from klayer.train.settings import setting_title

__all__ = ["build", "headline", "picture"]

Row = dict[str, Any]

STATES = ("trained", "pruned", "at chance", "diverged")


def build(material: Material) -> list[Part]:
    """Show all trials in a picture, what mattered, the finalists, and a table for each stage."""
    run = material.view.run
    trials = trial_table(run)
    if not trials:
        return []
    names, search = run.asked.names, run.study.search
    blocks = [block("text", text=line) for line in _lines(trials, names)]
    drawn = None if run.kind == "search" else picture(material.view)
    if drawn:
        blocks.append(material.figure(drawn))
    importance = (run.result("trials.json") or {}).get("importance")
    if importance:
        shares = sorted(importance.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{setting_title(name)} {percent(share, 0)}" for name, share in shares)
        text = (
            f"Share of the variance of the validation {material.view.measure.word} that each "
            f"parameter explains (functional analysis of variance): {told}."
        )
        blocks.append(block("text", text=text))
    tables = [_finalist_table(found, names)] if (found := finalist_table(run)) else []
    if search and search.published:
        tables.append(_published_table(search.published))
    blocks += [block("table", one=material.table(table)) for table in tables]
    for stage in stage_table(run):
        chosen = [row for row in trials if row["stage"] == stage["stage"]]
        if chosen:
            space = "; ".join(
                f"{setting_title(name)}: {_range(value)}" for name, value in stage["space"].items()
            )
            table = material.table(_stage_table(stage["stage"], space, chosen, names))
            summary = f"Stage {stage['stage']}: {len(chosen)} trials, {space}"
            why = stage["reason"] or ""
            blocks.append(block("details", summary=summary, text=why, tables=[table]))
    return [Part(blocks)]


def picture(view: RunView) -> Figure | None:
    """Draw all trials; of a search this is the picture of the first screen."""
    rows = [row for row in trial_table(view.run) if score_in(row) is not None]
    return _figure(rows, view.run.asked.names) if rows else None


def headline(view: RunView) -> list[str]:
    """Say what the finalist that is best in validation reaches, and whether it stands alone."""
    done = [row for row in finalist_table(view.run) if score_in(row) is not None]
    if not done:
        return []
    best, split, names = max(done, key=_score), view.judge, view.run.asked.names
    measure = view.measure
    reached = measure.mean_sd(score_in(best, split), best[f"{split}_sd"])
    lines = [
        f"The search ends at {_point(best, names)}, with {reached} {split} {measure.word} "
        f"(n = {best['n']}, {best['cycles']:g} cycles)."
    ]
    others = [row for row in done if row is not best]
    if others and best["n"] > 1:
        results = holm([_compared(view, best, row) for row in others])
        near = [_point(row, names) for row, one in zip(others, results, strict=True)
                if one.verdict == "not told apart"]  # fmt: skip
        if near:
            which = "; ".join(near) if len(near) <= 3 else f"{len(near)} other finalists"
            lines[0] += f" Not told apart from it on the {split} split: {which}."
    return lines


def _compared(view: RunView, a: Row, b: Row) -> Comparison:
    first, second = (
        [one for seed in row["seeds"] if (one := view.run.find(("finalists", row["arm"], seed)))]
        for row in (a, b)
    )
    return compare(first, second, view.judge)


def _score(row: Row) -> float:
    found = score_in(row)
    return -math.inf if found is None else found


def _point(row: Row, names: Sequence[str]) -> str:
    return ", ".join(f"{setting_title(name)} = {_value(row[name])}" for name in names)


def _heading(name: str) -> str:
    title = setting_title(name)
    return title if len(title) < 2 else title[0].upper() + title[1:]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _range(value: Any) -> str:
    """Write what a parameter was drawn from.

    Examples
    --------
    >>> _range("0.001:0.0199526231496888:log"), _range(["none", "all"])
    ('0.001 to 0.01995 (log)', 'none, all')
    """
    if not isinstance(value, str):
        return _value(value)
    low, high, scale = value.split(":")
    return f"{float(low):.4g} to {float(high):.4g} ({scale})"


def _lines(trials: list[Row], names: Sequence[str]) -> list[str]:
    counts = {state: sum(row["state"] == state for row in trials) for state in STATES}
    told = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    stages = len({row["stage"] for row in trials})
    lines = [
        f"{len(trials)} trials in {stages} stage{'s' if stages > 1 else ''} over "
        f"{', '.join(map(setting_title, names))}: {told}. Trials are judged on the "
        "validation split alone."
    ]
    done = [row for row in trials if score_in(row) is not None]
    if done:
        best = max(done, key=_score)
        near = [row for row in done if _score(best) - _score(row) <= 0.005]
        measure = measure_in(done)
        close = "half a point" if measure.share else "0.005"
        lines.append(
            f"The best trial reached {measure.show(_score(best), 2)} at "
            f"{_point(best, names)}; {_others(len(near) - 1)} came within {close} of it. The best "
            "of many trials is partly luck: only the finalists, trained again with new seeds, say "
            "how good it is."
        )
    return lines


def _others(n: int) -> str:
    return "no other" if n == 0 else "1 other" if n == 1 else f"{n} others"


def _figure(done: list[Row], names: Sequence[str]) -> Figure:
    stages = [f"stage {n}" for n in dict.fromkeys(row["stage"] for row in done)]
    caption = (
        f"Validation {measure_in(done).word} of every trial against what was searched. Filled: run to "
        "the end; hollow: stopped early or never left chance."
    ) + measure_in(done).beyond(map(_score, done))
    return Figure(
        "trials",
        caption,
        [_scatter(done, name, stages) for name in names],
        [Key(stage, series_colour(stages, stage), dot=True) for stage in stages],
        width=560 if len(names) == 1 else 320,
    )


def _scatter(done: list[Row], name: str, stages: list[str]) -> Panel:
    """Draw the validation score against one parameter."""
    measure = measure_in(done)
    shown = {"format": ".2%"} if measure.share else {"format": ".4~g"}
    axis_format = "~%" if measure.share else "~g"
    title = setting_title(name)
    numeric = all(isinstance(row[name], int | float) for row in done)
    values = [
        {
            "x": row[name] if numeric else _value(row[name]),
            "v": score_in(row),
            "d": max(measure.floor, _score(row)),  # where it is drawn
            "t": score_in(row, "train"),
            "g": f"stage {row['stage']}",
            "n": row["trial"],
            "state": row["state"],
            "fill": 0.75 if row["state"] == "trained" else 0.0,
        }
        for row in done
    ]
    if numeric:
        least, most = min(row[name] for row in done), max(row[name] for row in done)
        kind = {"type": "log"} if least > 0 and most / least > 20 else {"zero": False}
        axis = {"format": ".6~g", "grid": False, "tickCount": 6, "labelOverlap": True}
        x = channel("x:Q", title=title, scale={"nice": False, "padding": 8, **kind}, axis=axis)
    else:
        x = channel(
            "x:N", title=title, axis={"labelAngle": 0, "labelLimit": 120, "labelOverlap": True}
        )
    colours = {"domain": stages, "range": [series_colour(stages, stage) for stage in stages]}
    number = {"format": ".4~g"} if numeric else {}
    encoding = {
        "x": x,
        "y": channel("d:Q", title=None, scale={"zero": False}, axis={"format": axis_format}),
        "stroke": channel("g:N", scale=colours, legend=None),
        "fill": channel("g:N", scale=colours, legend=None),
        "fillOpacity": channel("fill:Q", scale=None, legend=None),
        "tooltip": [
            channel("n:Q", title="trial"),
            channel("g:N", title="stage"),
            channel("x:Q" if numeric else "x:N", title=title, **number),
            channel("v:Q", title="validation", **shown),
            channel("t:Q", title="train", **shown),
            channel("state:N", title="state"),
        ],
    }
    points = mark("point", encoding, filled=False, size=48, strokeWidth=1.5)
    spec: Spec = {"name": "points", "data": {"values": values}, **points}
    best, span = max(done, key=_score), estimate(map(_score, done))
    alt = (
        f"Validation {measure.word} of {len(done)} trials against {title}, from "
        f"{measure.show(span.least)} to {measure.show(span.greatest)}; the best at {_value(best[name])}."
    )
    return Panel(title, 260, alt, spec, [zoom("points")] if numeric else [])


def _stage_table(number: int, space: str, rows: list[Row], names: Sequence[str]) -> Table:
    rows, measure = sorted(rows, key=lambda row: -_score(row)), measure_in(rows)
    body = [
        [
            str(row["trial"]),
            *(_value(row[name]) for name in names),
            measure.show(score_in(row), 2),
            measure.show(score_in(row, "train"), 2),
            ", ".join(map(str, row["seeds"])),
            row["state"] if not row["failure"] else f"{row['state']}: {row['failure']}",
        ]
        for row in rows
    ]
    scores = (f"validation_{measure.name}", f"train_{measure.name}")
    keys = ["stage", "trial", *names, *scores, "state"]
    return Table(
        f"search-stage-{number}",
        f"Stage {number}, sorted by validation {measure.word}. Drawn from {space}.",
        ["Trial", *map(_heading, names), "Validation", "Train", "Seeds", "State"],
        body,
        keys,
        [[row[key] for key in keys] for row in rows],
        words=("State",),
    )


def _finalist_table(found: list[Row], names: Sequence[str]) -> Table:
    splits = [split for split in SPLITS if any(score_in(row, split) is not None for row in found)]

    def shown(row: Row, split: str) -> str:
        sd: float | None = row[f"{split}_sd"]
        return measure_in(found).mean_sd(score_in(row, split), sd, 2)

    body = [
        [
            f"{row['rank']} (trial {row['trial']})",
            *(_value(row[name]) for name in names),
            f"{row['cycles']:g}",
            str(row["n"]),
            *(shown(row, split) for split in splits),
        ]
        for row in found
    ]
    keys = [key for key in found[0] if key not in ("seeds", "arm")]
    caption = (
        "The best settings of the search, trained for longer with new seeds; mean ± standard "
        "deviation."
    )
    if "test" in splits:
        caption += " Of the search, only these networks have seen the test split."
    return Table(
        "finalists",
        caption,
        ["Rank", *map(_heading, names), "Cycles", "Seeds", *map(str.capitalize, splits)],
        body,
        keys,
        [[row[key] for key in keys] for row in found],
    )


def _published_table(stored: list[Row]) -> Table:
    """Make the table of published finalists, whatever their keys."""
    keys = list(dict.fromkeys(key for row in stored for key in row))
    keys.sort(key=lambda key: key == "source")
    body = [
        [
            percent(row[key], 2)
            if key in SPLITS and row.get(key) is not None
            else _value(row.get(key, "–"))
            for key in keys
        ]
        for row in stored
    ]
    head = [_heading(key) for key in keys]
    caption = "Published results of such a search, single runs."
    return Table("finalists-published", caption, head, body, words=("Source", "Note"))
