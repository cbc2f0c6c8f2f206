"""From lines to what they say: means over seeds, ranks over tables, times; written in every form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from klayer.files import json_text, write_bytes, write_csv, write_text
from klayer.report import drawing
from klayer.study.provenance import machine, versions
from klayer.study.statistics import Estimate, estimate
from tabular.picture import critical_difference_picture
from tabular.ranks import Paired, Ranking, paired, rank

__all__ = ["SCORES", "Summary", "summarise", "write"]

# A score, what it is called, whether more is better.
SCORES = {"accuracy": ("accuracy", True), "log_loss": ("log-loss", False)}
FAMOUS = "MLPClassifier"  # to whom times and differences refer

Line = Mapping[str, Any]


class Summary(NamedTuple):
    """What the fits say; tables that lack a method are not ranked.

    Attributes
    ----------
    methods : list of str
    tables : list of str
        Those with every method.
    cells : dict
        By table and method: the lines, of the seeds that all methods of the table have.
    rankings : dict of Ranking
        By score.
    pairs : dict of list of Paired
        By score: each of klayer's methods beside each other one.
    times : dict of Estimate
        By method: CPU time of ``fit`` over that of MLPClassifier, as logarithms, over tables.
    """

    methods: list[str]
    tables: list[str]
    cells: dict[tuple[str, str], list[Line]]
    rankings: dict[str, Ranking]
    pairs: dict[str, list[Paired]]
    times: dict[str, Estimate]


def summarise(lines: Sequence[Line], methods: Sequence[str]) -> Summary:
    """Sort lines by table and method, and rank the methods."""
    found: dict[tuple[str, str], dict[int, Line]] = {}
    for line in lines:
        found.setdefault((line["table"], line["method"]), {})[line["seed"]] = line
    names = list(dict.fromkeys(table for table, _ in found))
    methods = [method for method in methods if any(key[1] == method for key in found)]
    cells: dict[tuple[str, str], list[Line]] = {}
    for table in names:
        seeds = set.intersection(*({*found.get((table, method), ())} for method in methods))
        if seeds:
            for method in methods:
                cells[table, method] = [found[table, method][seed] for seed in sorted(seeds)]
    tables = list(dict.fromkeys(table for table, _ in cells))
    summary = Summary(methods, tables, cells, {}, {}, {})
    if not tables:
        return summary
    times = mean_of(summary, "cpu_seconds")
    if FAMOUS in methods:
        logs = np.log(times / times[:, [methods.index(FAMOUS)]])
        summary.times.update({one: estimate(logs[:, i].tolist()) for i, one in enumerate(methods)})
    if len(tables) < 2 or len(methods) < 2:
        return summary
    ours = [one for one in methods if one.startswith("klayer")]
    others = [one for one in methods if one not in ours]
    for score, (_, greater) in SCORES.items():
        scores = mean_of(summary, score)
        summary.rankings[score] = rank(methods, scores, greater)
        summary.pairs[score] = [
            paired(methods, scores, a, b, greater) for a in ours for b in others
        ]
    return summary


def mean_of(summary: Summary, key: str) -> np.ndarray:
    """Return the mean over seeds of a number, shape (tables, methods)."""
    return np.array(
        [
            [np.mean([line[key] for line in summary.cells[t, m]]) for m in summary.methods]
            for t in summary.tables
        ]
    )


def write(summary: Summary, out: Path, tuned_on: Sequence[str] = ()) -> None:
    """Write all files of a summary, and print its Markdown."""
    cells, rows = summary.cells, []
    for (table, method), lines in cells.items():
        row = [
            table,
            method,
            len(lines),
            *(lines[0][key] for key in ("rows", "columns", "classes")),
        ]
        for key in (*SCORES, "cpu_seconds", "seconds"):
            one = estimate([line[key] for line in lines])
            row += [one.mean, one.sd]
        rows.append(row)
    head = ["table", "method", "seeds", "rows", "columns", "classes"]
    for key in (*SCORES, "cpu_seconds", "seconds"):
        head += [key, f"{key}_sd"]
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "tables.csv", head, rows)
    whole = {
        "machine": machine(),
        "versions": versions(),
        "defaults_were_chosen_on": list(tuned_on),
        "tables": [dict(zip(head, row, strict=True)) for row in rows],
        "ranks": {score: asdict(one) for score, one in summary.rankings.items()},
        "pairs": {score: [asdict(one) for one in those] for score, those in summary.pairs.items()},
        "log_time_ratios": {method: asdict(one) for method, one in summary.times.items()},
    }
    write_text(out / "summary.json", json_text(whole, indent=1) + "\n")
    text = markdown(summary)
    write_text(out / "tables.md", text)
    print(text)
    if summary.rankings:
        titles = {SCORES[score][0]: one for score, one in summary.rankings.items()}
        svg = drawing.svg(critical_difference_picture(titles))
        write_text(out / "ranks.svg", svg)
        write_bytes(out / "ranks.png", drawing.png(svg, 2))


def markdown(summary: Summary) -> str:
    """Write ranks, times, differences, then a table of tables for each score."""
    if not summary.tables:
        return "No table has been fitted by every method yet.\n"
    return "\n".join([*_overview(summary), *_differences(summary), *_by_table(summary)]) + "\n"


def _overview(summary: Summary) -> list[str]:
    lines = [
        f"| {len(summary.tables)} tables | mean rank, accuracy | mean rank, log-loss | mean accuracy | "
        f"CPU time of `fit`, median table | ... / {FAMOUS} (95 %) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    accuracy, times = mean_of(summary, "accuracy"), mean_of(summary, "cpu_seconds")
    order = list(range(len(summary.methods)))
    ranks = {
        score: dict(zip(one.methods, one.ranks.tolist(), strict=True))
        for score, one in summary.rankings.items()
    }
    if ranks:
        order.sort(key=lambda i: ranks["accuracy"][summary.methods[i]])
    for i in order:
        method = summary.methods[i]
        place = [f"{ranks[score][method]:.2f}" if ranks else "" for score in SCORES]
        ratio = "–"
        if method in summary.times:
            one = summary.times[method]
            ratio = f"{math.exp(one.mean):.2f}"
            if one.low is not None and method != FAMOUS:
                ratio += f" ({math.exp(one.low):.2f} to {math.exp(one.high):.2f})"
        lines.append(
            f"| {method} | {' | '.join(place)} | {100 * accuracy[:, i].mean():.2f} % | "
            f"{np.median(times[:, i]):.2f} s | {ratio} |"
        )
    for score, one in summary.rankings.items():
        lines.append(
            f"\nBy {SCORES[score][0]}: Friedman's test p = {one.p:.2g}; Nemenyi's critical difference "
            f"of mean ranks {one.critical:.2f}. Told apart (Wilcoxon, Holm, 5 %): "
            + ("; ".join(f"{two.a} > {two.b}" for two in one.told_apart) or "none")
            + "."
        )
    return lines


def _interval(one: Estimate, scale: float, digits: int) -> str:
    if one.low is None:
        return f"{scale * one.mean:+.{digits}f}"
    low, high = scale * one.low, scale * one.high
    return f"{scale * one.mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _differences(summary: Summary) -> list[str]:
    if not summary.pairs or not any(summary.pairs.values()):
        return []
    lines = [
        "",
        "| first - second, mean over tables (95 %) | accuracy, points | better, same, worse "
        "| rank, accuracy | log-loss | better, same, worse | rank, log-loss |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for by_accuracy, by_loss in zip(*summary.pairs.values(), strict=True):
        cells = [f"{by_accuracy.a} - {by_accuracy.b}"]
        for one, scale, digits in ((by_accuracy, 100, 2), (by_loss, 1, 3)):
            cells.append(_interval(one.score, scale, digits))
            cells.append(f"{one.wins}, {one.ties}, {one.losses}")
            cells.append(_interval(one.rank, 1, 2))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _by_table(summary: Summary) -> list[str]:
    lines = []
    for key, title, scale, digits, best in (
        ("accuracy", "Accuracy in %: mean over seeds ± standard deviation", 100, 1, np.max),
        ("log_loss", "Log-loss: mean over seeds ± standard deviation", 1, 3, np.min),
        ("cpu_seconds", "CPU seconds of `fit`: mean over seeds", 1, 2, np.min),
    ):
        lines += [
            "",
            f"{title}.",
            "",
            f"| table | rows, columns, classes | {' | '.join(summary.methods)} |",
            "|---|---|" + "---:|" * len(summary.methods),
        ]
        means = mean_of(summary, key)
        for table, row in zip(summary.tables, means, strict=True):
            cells = []
            for method, mean in zip(summary.methods, row, strict=True):
                values = [line[key] for line in summary.cells[table, method]]
                text = f"{scale * mean:.{digits}f}"
                if mean == best(row) and key != "cpu_seconds":
                    text = f"**{text}**"
                if len(values) > 1 and key != "cpu_seconds":
                    text += f" ± {scale * np.std(values, ddof=1):.{digits}f}"
                cells.append(text)
            one = summary.cells[table, summary.methods[0]][0]
            shape = f"{one['rows'] + one['test_rows']:,}, {one['columns']}, {one['classes']}"
            lines.append(f"| {table} | {shape} | {' | '.join(cells)} |")
    return lines
