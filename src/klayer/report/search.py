"""A search as the page shows it: accuracy against each searched parameter, a table for each stage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import altair as alt

from klayer.report.charts import zoom
from klayer.report.figures import Figure, Key, Panel, rows, series_colour
from klayer.report.tables import Table
from klayer.report.view import RunView
from klayer.study.statistics import estimate, percent
from klayer.train.settings import setting_title as _title

__all__ = ["Search", "search_part"]

STATES = ("trained", "pruned", "at chance")


@dataclass(frozen=True)
class Stage:
    """One stage: what it drew from, and why."""

    number: int
    space: str
    reason: str
    table: Table


@dataclass(frozen=True)
class Search:
    """What the page says about a search.

    Attributes
    ----------
    lines : list of str
    figure : Figure or None
        None if no trial trained.
    stages : list of Stage
    finalists : Table or None
    importance : list of (str, float)
        Parameters with their share of the variance of the accuracy; empty where it isn't known.
    headline : str
        The outcome in a sentence; empty while there are no finalists.
    published : Table or None
        Finalists that somebody published.
    """

    lines: list[str]
    figure: Figure | None
    stages: list[Stage]
    finalists: Table | None
    importance: list[tuple[str, float]]
    headline: str
    published: Table | None


def search_part(view: RunView) -> Search | None:
    """Arrange a run's search; None if it has none.

    Parameters
    ----------
    view : RunView
    """
    from klayer.study.search.tables import finalist_table, stage_table, trial_table

    if not (view.path / "search.json").exists():
        return None
    trials = trial_table(view.run)
    if not trials:
        return None
    names = list(view.run.asked.names)
    finalists = finalist_table(view.run)
    stages = [_stage(stage, trials, names) for stage in stage_table(view.run)]
    return Search(
        _lines(trials, names),
        _figure(trials, names),
        [stage for stage in stages if stage.table.body],
        _finalist_table(finalists, names) if finalists else None,
        _importance(view),
        _headline(finalists, names),
        _published(view),
    )


def _headline(finalists: list[dict], names: list[str]) -> str:
    """Say what the finalist with the best validation accuracy reaches on the test split."""
    done = [row for row in finalists if row["validation_accuracy"] is not None]
    if not done:
        return ""
    best = max(done, key=lambda row: row["validation_accuracy"])
    point = ", ".join(f"{_title(name)} = {_value(best[name])}" for name in names)
    sd = "" if best["test_sd"] is None else f" ± {100 * best['test_sd']:.1f}"
    return (
        f"The search ends at {point}, which labels {percent(best['test_accuracy'])}{sd} of the test "
        f"split rightly (n = {best['n']}, {best['cycles']:g} cycles)."
    )


def _published(view: RunView) -> Table | None:
    """Make the table of published finalists, whatever their keys."""
    stored = (view.info["config"].get("search") or {}).get("published") or []
    if not stored:
        return None
    keys = list(dict.fromkeys(key for row in stored for key in row))
    keys.sort(key=lambda key: key == "source")
    shown = [
        [
            percent(row[key], 2)
            if key in ("train", "validation", "test") and row.get(key) is not None
            else _value(row.get(key, "–"))
            for key in keys
        ]
        for row in stored
    ]
    head = [_title(key).capitalize() if key != "l2" else "λ" for key in keys]
    caption = "Published results of such a search, single runs."
    return Table("finalists-published", caption, head, shown, words=("Source", "Note"))


def _importance(view: RunView) -> list[tuple[str, float]]:
    """Read the importances that the search computed; working them out takes a while."""
    import json

    try:
        stored = json.loads((view.path / "trials.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return []
    found = stored.get("importance") or {}
    return sorted(((_title(name), value) for name, value in found.items()), key=lambda p: -p[1])


def _value(value) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _range(value) -> str:
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


def _lines(trials: list[dict], names: list[str]) -> list[str]:
    done = [row for row in trials if row["validation_accuracy"] is not None]
    counts = {
        state: sum(row["state"] == state for row in trials) for state in (*STATES, "diverged")
    }
    told = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    stages = len({row["stage"] for row in trials})
    lines = [
        f"{len(trials)} trials in {stages} stage{'s' if stages > 1 else ''} over "
        f"{', '.join(map(_title, names))}: {told}. Trials are judged on the validation split alone."
    ]
    if done:
        best = max(done, key=lambda row: row["validation_accuracy"])
        point = ", ".join(f"{_title(name)} = {_value(best[name])}" for name in names)
        near = [
            row for row in done if best["validation_accuracy"] - row["validation_accuracy"] <= 0.005
        ]
        lines.append(
            f"The best trial reached {percent(best['validation_accuracy'], 2)} at {point}; "
            f"{len(near) - 1} others came within half a point of it. The best of many trials is "
            "partly luck: only the finalists, trained again with new seeds, say how good it is."
        )
    return lines


def _figure(trials: list[dict], names: list[str]) -> Figure | None:
    done = [row for row in trials if row["validation_accuracy"] is not None]
    if not done:
        return None
    stages = [f"stage {n}" for n in dict.fromkeys(row["stage"] for row in done)]
    panels = [
        Panel(
            partial(_scatter, done, name, stages),
            _title(name),
            260,
            _alt(done, name),
            _params(done, name),
        )
        for name in names
    ]
    legend = [Key(stage, series_colour(stages, stage), dot=True) for stage in stages]
    caption = (
        "Validation accuracy of every trial against what was searched. Filled: run to the end; "
        "hollow: stopped early or never left chance."
    )
    return Figure("trials", caption, panels, legend, width=560 if len(names) == 1 else 320)


def _scatter(done: list[dict], name: str, stages: list[str]) -> alt.Chart:
    numeric = _is_numeric(done, name)
    values = [
        {
            "x": row[name] if numeric else _value(row[name]),
            "v": row["validation_accuracy"],
            "t": row["train_accuracy"],
            "g": f"stage {row['stage']}",
            "n": row["trial"],
            "state": row["state"],
            "fill": 0.75 if row["state"] == "trained" else 0.0,
        }
        for row in done
    ]
    if numeric:
        numbers = [value["x"] for value in values]
        log = min(numbers) > 0 and max(numbers) / min(numbers) > 20
        x = alt.X(
            "x:Q",
            title=_title(name),
            scale=alt.Scale(nice=False, padding=8, **({"type": "log"} if log else {"zero": False})),
            axis=alt.Axis(format="~g", grid=False, tickCount=6, labelOverlap=True),
        )
    else:
        x = alt.X("x:N", title=_title(name), axis=alt.Axis(labelAngle=0, labelLimit=120))
    colours = [series_colour(stages, stage) for stage in stages]
    chart = alt.Chart(rows(values)).mark_point(filled=False, size=48, strokeWidth=1.5)
    chart = chart.encode(
        x,
        alt.Y("v:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format="~%")),
        stroke=alt.Stroke("g:N", scale=alt.Scale(domain=stages, range=colours), legend=None),
        fill=alt.Fill("g:N", scale=alt.Scale(domain=stages, range=colours), legend=None),
        fillOpacity=alt.FillOpacity("fill:Q", scale=None, legend=None),
        tooltip=[
            alt.Tooltip("n:Q", title="trial"),
            alt.Tooltip("g:N", title="stage"),
            alt.Tooltip("x:Q" if numeric else "x:N", title=_title(name), **_number(numeric)),
            alt.Tooltip("v:Q", title="validation", format=".2%"),
            alt.Tooltip("t:Q", title="train", format=".2%"),
            alt.Tooltip("state:N", title="state"),
        ],
    )
    return chart.properties(name="points")


def _is_numeric(done: list[dict], name: str) -> bool:
    return all(isinstance(row[name], int | float) for row in done)


def _params(done: list[dict], name: str) -> list[dict]:
    return [zoom("points")] if _is_numeric(done, name) else []


def _number(numeric: bool) -> dict:
    return {"format": ".4~g"} if numeric else {}


def _alt(done: list[dict], name: str) -> str:
    best = max(done, key=lambda row: row["validation_accuracy"])
    values = estimate(row["validation_accuracy"] for row in done)
    return (
        f"Validation accuracy of {len(done)} trials against {_title(name)}, from "
        f"{percent(values.least)} to {percent(values.greatest)}; the best at {_value(best[name])}."
    )


def _stage(stage: dict, trials: list[dict], names: list[str]) -> Stage:
    chosen = [row for row in trials if row["stage"] == stage["stage"]]
    chosen.sort(key=lambda row: -(row["validation_accuracy"] or -1))
    body = [
        [
            str(row["trial"]),
            *(_value(row[name]) for name in names),
            percent(row["validation_accuracy"], 2),
            percent(row["train_accuracy"], 2),
            ", ".join(map(str, row["seeds"])),
            row["state"] if not row["failure"] else f"{row['state']}: {row['failure']}",
        ]
        for row in chosen
    ]
    keys = ["stage", "trial", *names, "validation_accuracy", "train_accuracy", "state"]
    number = stage["stage"]
    space = "; ".join(f"{_title(name)}: {_range(value)}" for name, value in stage["space"].items())
    table = Table(
        f"search-stage-{number}",
        f"Stage {number}, sorted by validation accuracy. Drawn from {space}.",
        ["Trial", *map(_title, names), "Validation", "Train", "Seeds", "State"],
        body,
        keys,
        [[row[key] for key in keys] for row in chosen],
        words=("State",),
    )
    return Stage(number, space, stage.get("reason") or "", table)


def _finalist_table(found: list[dict], names: list[str]) -> Table:
    def shown(row: dict, split: str) -> str:
        mean, sd = row[f"{split}_accuracy"], row[f"{split}_sd"]
        return percent(mean, 2) + (f" ± {100 * sd:.2f}" if sd is not None else "")

    body = [
        [
            f"{row['rank']} (trial {row['trial']})",
            *(_value(row[name]) for name in names),
            f"{row['cycles']:g}",
            str(row["n"]),
            *(shown(row, split) for split in ("train", "validation", "test")),
        ]
        for row in found
    ]
    keys = [key for key in found[0] if key not in ("seeds", "arm")]
    return Table(
        "finalists",
        "The best settings of the search, trained for longer with new seeds; mean ± standard "
        "deviation. Of the search, only these networks have seen the test split.",
        ["Rank", *map(_title, names), "Cycles", "Seeds", "Train", "Validation", "Test"],
        body,
        keys,
        [[row[key] for key in keys] for row in found],
    )
