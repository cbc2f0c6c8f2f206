"""The critical-difference picture: methods on an axis of mean ranks, bars over those not told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klayer.report.vega import FONT, INK, MUTED, SERIES
from tabular.ranks import Ranking

__all__ = ["critical_difference_picture"]

WIDTH, STEP = 420, 17  # pixels: of the axis, and from one method to the next


def critical_difference_picture(rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    """Return a specification for Vega-Lite, an axis for each ranking by its title."""
    return {
        "vconcat": [_axis(title, ranking) for title, ranking in rankings.items()],
        "spacing": 34,
        "padding": 12,
        "config": {"background": "white", "font": FONT, "view": {"stroke": None}},
    }


def _axis(title: str, ranking: Ranking) -> dict[str, Any]:
    count = len(ranking.methods)
    left = (count + 1) // 2
    bars = len(ranking.groups)
    rows = bars + left
    x = {"type": "quantitative", "scale": {"domain": [1, count], "nice": False}, "axis": None}
    y = {"type": "quantitative", "scale": {"domain": [rows + 0.6, -2.2]}, "axis": None}

    def layer(kind: dict[str, Any], values: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        encoding = {"x": {"field": "x", **x}, "y": {"field": "y", **y}, **more}
        return {"data": {"values": values}, "mark": kind, "encoding": encoding}

    to_x, to_y = {"x2": {"field": "x2"}}, {"y2": {"field": "y2"}}
    thin = {"type": "rule", "strokeWidth": 1}
    stems, arms, names = [], [], []
    for i, (method, mean) in enumerate(zip(ranking.methods, ranking.ranks.tolist(), strict=True)):
        on_left = i < left
        level = bars + 0.4 + (i if on_left else count - 1 - i)
        ours = method.startswith("klayer")
        edge = 1 if on_left else count
        stems.append({"x": mean, "y": 0, "y2": level, "ours": ours})
        arms.append({"x": mean, "x2": edge, "y": level, "ours": ours})
        name = f"{method}  {mean:.2f}" if on_left else f"{mean:.2f}  {method}"
        names.append({"x": edge, "y": level, "name": name, "ours": ours, "left": on_left})
    colour = {"color": {"condition": {"test": "datum.ours", "value": SERIES[0]}, "value": INK}}
    groups = [
        {"x": ranking.ranks[a] - 0.04, "x2": ranking.ranks[b] + 0.04, "y": 0.5 + k}
        for k, (a, b) in enumerate(ranking.groups)
    ]
    ticks = [{"x": k, "y": 0, "y2": -0.3, "name": str(k)} for k in range(1, count + 1)]
    ruler = [{"x": 1, "x2": min(1 + ranking.critical, count), "y": -1.5}]
    texts = []
    for side, align, shift in ((True, "right", -6), (False, "left", 6)):
        own = [one for one in names if one["left"] is side]
        kind = {"type": "text", "align": align, "dx": shift, "fontSize": 12, "clip": False}
        texts.append(layer(kind, own, text={"field": "name"}, **colour))
    small = {"type": "text", "fontSize": 10, "color": MUTED}
    said = f"Nemenyi's critical difference {ranking.critical:.2f}"
    return {
        "title": {
            "text": f"Mean rank by {title}, {ranking.tables} tables",
            "anchor": "middle",
            "fontSize": 13,
            "color": INK,
        },
        "width": WIDTH,
        "height": STEP * (rows + 3),
        "layer": [
            layer(thin | {"color": INK}, [{"x": 1, "x2": count, "y": 0}], **to_x),
            layer(thin | {"color": INK}, ticks, **to_y),
            layer(small | {"dy": -12}, ticks, text={"field": "name"}),
            layer({"type": "rule", "strokeWidth": 2, "color": MUTED}, ruler, **to_x),
            layer(
                small | {"align": "left", "dx": 6},
                [{"x": ruler[0]["x2"], "y": -1.5, "name": said}],
                text={"field": "name"},
            ),
            layer(thin, stems, **to_y, **colour),
            layer(thin, arms, **to_x, **colour),
            layer(
                {"type": "rule", "strokeWidth": 5, "opacity": 0.55, "color": SERIES[1]},
                groups,
                **to_x,
            ),
            *texts,
        ],
    }
