"""Charts of the best network: accuracy class by class, the confusion matrix."""

from __future__ import annotations

import altair as alt

from klayer.report.best import Best
from klayer.report.figures import INK, MUTED, SERIES, Figure, Panel, rows
from klayer.study.statistics import percent

__all__ = ["MOST_CLASSES", "confusion", "per_class"]

# More classes than this make no legible picture; the CSV file has them all.
MOST_CLASSES = 25
_BLUES = ["#f4f1ea", "#c9dfe3", "#8fc3d1", "#5fa9c4"]


def per_class(best: Best) -> Figure | None:
    """Draw the accuracy of each class with its interval, the best class on top."""
    found = [row for row in best.per_class() if row["n"]]
    if len(found) > MOST_CLASSES:
        return None
    found.sort(key=lambda row: -row["accuracy"])
    order = [row["name"] for row in found]
    values = [
        {
            "name": row["name"],
            "v": row["accuracy"],
            "a": row["low"],
            "b": row["high"],
            "n": row["n"],
            "most": "–" if row["most"] is None else f"{row['most'][0]} ({row['most'][1]})",
        }
        for row in found
    ]

    def draw() -> alt.LayerChart:
        base = alt.Chart(rows(values))
        x = alt.X(
            "v:Q",
            scale=alt.Scale(zero=False),
            axis=alt.Axis(format="~%", title=None, tickCount=5, grid=True),
        )
        y = alt.Y(
            "name:N",
            sort=order,
            axis=alt.Axis(title=None, domain=False, ticks=False, labelColor=INK, labelLimit=110),
        )
        tooltip = [
            alt.Tooltip("name:N", title="class"),
            alt.Tooltip("v:Q", title="accuracy", format=".1%"),
            alt.Tooltip("a:Q", title="interval from", format=".1%"),
            alt.Tooltip("b:Q", title="interval to", format=".1%"),
            alt.Tooltip("n:Q", title="samples"),
            alt.Tooltip("most:N", title="most often taken for"),
        ]
        interval = base.mark_rule(color=MUTED, strokeWidth=1.5)
        point = base.mark_circle(color=SERIES[1], size=70, opacity=1)
        wide = base.mark_bar(opacity=0, height=20).encode(
            alt.X("a:Q", title=None), alt.X2("b:Q"), y, tooltip=tooltip
        )
        return alt.layer(
            interval.encode(alt.X("a:Q", title=None), alt.X2("b:Q"), y),
            point.encode(x, y, tooltip=tooltip),
            wide,
        ).resolve_scale(x="shared")

    spoken = ", ".join(f"{row['name']} {percent(row['accuracy'])}" for row in found)
    panel = Panel(draw, "Accuracy by class", 26 * len(order) + 10, f"Test accuracy: {spoken}.")
    caption = "Test accuracy of the best network by class; lines are 95\u202f% intervals (Wilson)."
    return Figure("per-class", caption, [panel], width=420)


def confusion(best: Best) -> Figure | None:
    """Draw the confusion matrix: true classes in rows, shares of the row as colours."""
    names = list(best.class_names)
    if len(names) > MOST_CLASSES:
        return None
    values = []
    for i, true in enumerate(names):
        total = int(best.confusion[i].sum())
        for j, predicted in enumerate(names):
            count = int(best.confusion[i, j])
            share = count / total if total else 0
            text = str(count) if count else ""
            values.append(
                {"t": true, "p": predicted, "c": count, "s": round(share, 4), "text": text}
            )
    longest = max(map(len, names))

    def draw() -> alt.LayerChart:
        axis = {"domain": False, "ticks": False, "labelColor": INK, "labelLimit": 110}
        base = alt.Chart(rows(values)).encode(
            alt.X(
                "p:N",
                sort=names,
                title="predicted",
                axis=alt.Axis(orient="top", labelAngle=-45 if longest > 3 else 0, **axis),
            ),
            alt.Y("t:N", sort=names, title="true class", axis=alt.Axis(**axis)),
        )
        cells = base.mark_rect(stroke="#fffffe", strokeOpacity=0.35).encode(
            alt.Color("s:Q", scale=alt.Scale(domain=[0, 1], range=_BLUES), legend=None),
            tooltip=[
                alt.Tooltip("t:N", title="true"),
                alt.Tooltip("p:N", title="predicted"),
                alt.Tooltip("c:Q", title="samples"),
                alt.Tooltip("s:Q", title="share of the class", format=".1%"),
            ],
        )
        words = base.mark_text(fontSize=10 if len(names) > 12 else 11, color="#16181c")
        return alt.layer(cells, words.encode(text="text:N"))

    off = [v for v in values if v["t"] != v["p"] and v["c"]]
    off.sort(key=lambda v: -v["c"])
    worst = "; ".join(f"{v['t']} taken for {v['p']} {v['c']} times" for v in off[:5])
    spoken = f"Confusion matrix of the test split. Most frequent mistakes: {worst or 'none'}."
    panel = Panel(draw, "Confusion matrix", max(160, 30 * len(names)), spoken)
    caption = (
        "Confusion matrix of the best network on the test split: samples by true and predicted "
        "class."
    )
    return Figure("confusion", caption, [panel], width=420)
