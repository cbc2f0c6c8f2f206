"""The picture of a speed benchmark: one dot a contestant, one strip a shape, a logarithmic axis."""

from __future__ import annotations

from pathlib import Path

__all__ = ["draw"]


def draw(rows: list[dict], path: Path) -> None:
    """Write an SVG: medians with quartiles, microseconds per network and update.

    Parameters
    ----------
    rows : list of dict
        As the benchmark's JSON has them.
    path : Path
    """
    import vl_convert as vlc

    values = [
        {
            "contestant": row["contestant"],
            "shape": row["architecture"],
            "microseconds": row["microseconds"],
            "low": row["quartiles"][0],
            "high": row["quartiles"][1],
            "whose": "the products alone"
            if row["role"] == "products"
            else "klayer"
            if row["contestant"].startswith("klayer")
            else "others",
        }
        for row in rows
    ]
    order = list(dict.fromkeys(row["contestant"] for row in rows))
    colours = {"klayer": "#b4450d", "others": "#1c6bb0", "the products alone": "#5d616b"}
    x = {
        "field": "microseconds",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False},
        "title": "µs per network and update",
    }
    y = {"field": "contestant", "type": "nominal", "sort": order, "title": None}
    colour = {
        "field": "whose",
        "type": "nominal",
        "scale": {"domain": list(colours), "range": list(colours.values())},
        "legend": {"title": None, "orient": "top"},
    }
    spec = {
        "data": {"values": values},
        "facet": {
            "field": "shape",
            "type": "nominal",
            "sort": list(dict.fromkeys(row["architecture"] for row in rows)),
            "title": None,
            "header": {"labelFontWeight": 600},
        },
        "columns": 2,
        "resolve": {"scale": {"x": "independent", "y": "shared"}},
        "spec": {
            "width": 300,
            "height": {"step": 15},
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.4},
                    "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}},
                },
                {"mark": {"type": "point", "filled": True, "size": 55}, "encoding": {"x": x}},
            ],
            "encoding": {"y": y, "color": colour},
        },
        "config": {
            "background": "white",
            "font": "Arial, 'Liberation Sans', Helvetica, sans-serif",
            "axis": {"labelLimit": 380, "gridColor": "#e3e1db"},
            "view": {"stroke": None},
        },
    }
    path.write_text(vlc.vegalite_to_svg(spec), encoding="utf-8")
