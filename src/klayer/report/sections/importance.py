"""What each column of a table counts for, to the best network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from klayer.errors import KlayerError
from klayer.estimator.importance import Importance, importance_of_table_columns
from klayer.report.examination import seen
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import Table
from klayer.report.vega import INK, MUTED, SERIES, Figure, Panel, channel, layers, mark
from klayer.train import Ensemble

__all__ = ["build"]

# Columns drawn, columns asked about; shuffles of each column, of all together at the most.
MOST_COLUMNS, MOST_ASKED = 25, 500
REPEATS, LEAST_REPEATS, MOST_SHUFFLES = 10, 2, 1000
# Answers that are asked for at the most, and rows at the least.
MOST_ANSWERS, LEAST_ROWS = 1_000_000, 200


def build(material: Material) -> list[Part]:
    """Draw what the main score loses when a column is shuffled; only of tables."""
    view, record = material.view, material.view.best
    if record is None:
        return []
    try:
        split = seen(view, record)
        dataset, ensemble = material.dataset, Ensemble([view.run.model(record)])
        if dataset.encoder is None:
            return []
        columns = len(dataset.encoder.codes)
        if columns > MOST_ASKED:
            text = f"The table has {columns:,} columns; up to {MOST_ASKED} are asked about."
            return [Part([block("text", text=text, kind="note")])]
        rows, measure = dataset.splits[split], view.measure
        repeats = min(REPEATS, max(LEAST_REPEATS, MOST_SHUFFLES // columns))
        most = max(LEAST_ROWS, MOST_ANSWERS // (repeats * columns))
        some = np.sort(np.random.default_rng(0).permutation(len(rows))[:most])

        def score(features: NDArray[Any], labels: NDArray[Any]) -> float:
            return ensemble.scores(features, labels)[measure.name]

        with threadpool_limits(1):  # the products are small
            found = importance_of_table_columns(
                dataset.encoder,
                np.asarray(rows.features[some]),
                np.asarray(rows.labels[some]),
                score,
                measure.word,
                repeats,
            )
    except (KlayerError, OSError):  # the section on the best network says so
        return []
    table = material.table(_table(found, split))
    figure = material.figure(_figure(found, split), narrow=True)
    return [Part([figure, block("details", summary="Every column as a table", tables=[table])])]


def _figure(found: Importance, split: str) -> Figure:
    shown = found.order[:MOST_COLUMNS]
    names = [found.columns[c] for c in shown]
    values = [
        {
            "name": name,
            "v": float(found.mean[c]),
            "a": float(found.drops[c].min()),
            "b": float(found.drops[c].max()),
        }
        for name, c in zip(names, shown, strict=True)
    ]
    axis = {"title": None, "domain": False, "ticks": False, "labelColor": INK, "labelLimit": 140}
    y = channel("name:N", sort=names, axis=axis)
    x = channel("v:Q", title=f"{found.name} lost", axis={"tickCount": 5, "grid": True})
    ends = {"x": channel("a:Q", title=x["title"]), "x2": {"field": "b"}, "y": y}
    tips = [
        channel("name:N", title="column"),
        channel("v:Q", title="mean", format=".4f"),
        channel("a:Q", title="least", format=".4f"),
        channel("b:Q", title="most", format=".4f"),
    ]
    spec = layers(
        mark("rule", ends, color=MUTED, strokeWidth=1.5),
        mark("circle", {"x": x, "y": y, "tooltip": tips}, color=SERIES[1], size=70, opacity=1),
        values=values,
    )
    spoken = ", ".join(f"{one['name']} {one['v']:.3f}" for one in values)
    caption = (
        f"What the {found.name} of the best network on {found.n:,} rows of the {split} split, "
        f"{found.score:.3f}, loses when the values of one column are shuffled: mean and range of "
        f"{found.drops.shape[1]} shuffles. Columns that tell the same may both seem to count for little."
    )
    if len(found.columns) > MOST_COLUMNS:
        caption += f" The first {MOST_COLUMNS} of {len(found.columns)}; all are in the table."
    title = f"{found.name[0].upper()}{found.name[1:]} lost by column"
    panel = Panel(title, 26 * len(shown) + 10, f"{title}: {spoken}.", spec)
    return Figure("importance", caption, [panel], width=420)


def _table(found: Importance, split: str) -> Table:
    body = [
        [found.columns[c], f"{found.mean[c]:.4f}".replace("-", "\u2212"), f"{found.std[c]:.4f}"]
        for c in found.order
    ]
    raw = [
        [found.columns[c], found.drops.shape[1], found.n, found.mean[c], found.std[c]]
        for c in found.order
    ]
    caption = (
        f"What the {found.name} on the {split} split loses when a column is shuffled; the standard "
        f"deviation is that of {found.drops.shape[1]} shuffles."
    )
    head = ["Column", f"{found.name[0].upper()}{found.name[1:]} lost", "Sd"]
    return Table("importance", caption, head, body, ["column", "shuffles", "n", "mean", "sd"], raw)
