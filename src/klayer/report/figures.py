"""What a figure is: panels that become an interactive chart, an SVG for the page, and files.

A panel is one Altair chart without a width: on the page it takes the width of its column. Colours are
fixed here; the style sheet maps the neutral and the series colours of both the static SVG and the live
chart to the reader's light or dark scheme, by the attribute's value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import altair as alt
import vl_convert as vlc

__all__ = [
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "RATE",
    "SERIES",
    "Figure",
    "Key",
    "Panel",
    "javascript",
    "rows",
    "series_colour",
]

INK, MUTED, GRID, RATE, PAPER = "#1d1f24", "#5d616b", "#e3e1db", "#ece7da", "#fffffe"
# Rust, blue, green, violet, ochre, slate: told apart in the three common kinds of colour blindness.
SERIES = ("#b4450d", "#1c6bb0", "#12806a", "#8447a8", "#94690b", "#56606f")
# Fonts of equal widths: a static picture is laid out here and shown elsewhere.
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"


def series_colour(names: Sequence[str], name: str) -> str:
    """Return the colour of a series: the same on the whole page."""
    return SERIES[names.index(name) % len(SERIES)]


@dataclass(frozen=True)
class Key:
    """An entry of a figure's legend."""

    label: str
    colour: str
    dash: bool = False
    area: bool = False
    dot: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes
    ----------
    draw : callable
        Makes the Altair chart, without a width.
    title : str
    height : int
        In pixels.
    alt : str
        What the chart shows, for those who don't see it.
    params : list of dict
        Vega-Lite selections of the live chart, each with the names of its ``views``: Altair's own
        bookkeeping loses track of them in nested layers.
    over : callable, optional
        Makes a layer that only the live chart has, above the others: what hovering shows.
    """

    draw: Callable[[], alt.TopLevelMixin]
    title: str
    height: int
    alt: str
    params: list[dict] = field(default_factory=list)
    over: Callable[[], alt.TopLevelMixin] | None = None
    made: dict = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Figure:
    """One or more panels under one caption.

    Attributes
    ----------
    name : str
        The stem of its files, and its id on the page.
    caption : str
    panels : list of Panel
    legend : list of Key
        Shown once for all panels.
    width : int
        Of a panel in the files, in pixels.
    """

    name: str
    caption: str
    panels: list[Panel]
    legend: list[Key] = field(default_factory=list)
    width: int = 300

    def specs(self) -> list[dict]:
        """Return the Vega-Lite specifications of the panels, for the page."""
        return [_live(panel) for panel in self.panels]

    def svgs(self) -> list[str]:
        """Return the panels as SVG that can stand in a page, without interaction."""
        return [
            _inline(_svg(_sized(_static(panel), self.width, panel.height))) for panel in self.panels
        ]

    def save(self, folder: Path) -> list[Path]:
        """Write ``NAME.svg`` and ``NAME.png``, all panels side by side, with their legend."""
        specs = [
            _sized(_static(panel), self.width, panel.height)
            | {"title": {"text": panel.title, "anchor": "start", "frame": "group", "offset": 10}}
            for panel in self.panels
        ]
        spec = {"hconcat": [_bare(one) for one in specs], "spacing": 28}
        if self.legend:
            spec = {"vconcat": [spec, self._legend_spec()], "spacing": 6}
        datasets = {name: data for one in specs for name, data in one["datasets"].items()}
        whole = {"datasets": datasets, "config": _config(), "background": PAPER, "padding": 12}
        svg = _svg(spec | whole)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{self.name}.svg", folder / f"{self.name}.png"]
        paths[0].write_text(svg, encoding="utf-8")
        paths[1].write_bytes(vlc.svg_to_png(svg, scale=2))
        return paths

    def _legend_spec(self) -> dict:
        """Lay the legend's entries out in a row, placed in pixels."""
        x, layers = 0.0, []
        for key in self.legend:
            ends = {"x": {"value": x}, "x2": {"value": x + 22}, "y": {"value": 9}}
            if key.dot:
                mark = {"type": "circle", "color": key.colour, "size": 50, "opacity": 1}
                ends = {"x": {"value": x + 11}, "y": {"value": 9}}
            else:
                mark = {"type": "rule", "color": key.colour, "strokeWidth": 10 if key.area else 2}
                mark |= {"strokeDash": [4, 3]} if key.dash else {}
            words = {"type": "text", "align": "left", "fontSize": 11, "color": MUTED}
            place = {"x": {"value": x + 28}, "y": {"value": 9}, "text": {"value": key.label}}
            layers += [{"mark": mark, "encoding": ends}, {"mark": words, "encoding": place}]
            x += 48 + 6.4 * len(key.label)
        return {"layer": layers, "data": {"values": [{}]}, "width": x, "height": 18}


def rows(values: list[dict]) -> alt.Data:
    """Wrap plain rows as a chart's data.

    As text: Altair copies and checks nested values over and over, which took half of a page's time.
    """
    return alt.Data(values=json.dumps(values))


def _config() -> dict:
    axis = {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "titlePadding": 6,
    }
    return {
        "font": FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "axis": axis,
        "legend": {"labelColor": MUTED, "titleColor": MUTED, "titleFontWeight": "normal"},
        "title": {"color": INK, "fontSize": 12, "fontWeight": 600},
        "text": {"color": INK},
        "aria": False,
    }


def _spec(chart: alt.TopLevelMixin) -> dict:
    """Return a chart's specification, every data set in it once."""
    spec = chart.to_dict(validate=False)
    datasets: dict[str, list] = {}
    _gather(spec, datasets)
    return {**spec, "datasets": datasets, "config": _config()}


def _sized(spec: dict, width: int | str, height: int) -> dict:
    return {**spec, "width": width, "height": height}


def _bare(spec: dict) -> dict:
    """Return what can stand inside another specification."""
    return {key: spec[key] for key in spec if key not in ("$schema", "config", "datasets")}


def _gather(node, datasets: dict[str, list]) -> None:
    """Move data from wherever they stand in a specification into ``datasets``.

    And take back what Altair puts behind a view's name: selections ask for the name that was given.
    """
    if isinstance(node, dict):
        if "mark" in node and "name" in node:
            node["name"] = node["name"].partition("_")[0]
        values = node.get("data", {}).get("values") if isinstance(node.get("data"), dict) else None
        if isinstance(values, str):
            name = hashlib.sha256(values.encode()).hexdigest()[:8]
            datasets[name] = json.loads(values)
            node["data"] = {"name": name}
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            _gather(one, datasets)


def _static(panel: Panel) -> dict:
    """Return the specification without interaction, made once for the page and for the files."""
    if "static" not in panel.made:
        panel.made["static"] = _spec(panel.draw())
    return panel.made["static"]


def _live(panel: Panel) -> dict:
    """Return the specification with interaction, as wide as its column."""
    spec = _sized(_static(panel), "container", panel.height)
    if panel.params:
        spec["params"] = panel.params
    if panel.over:
        over = _spec(panel.over())
        spec["layer"] = [*spec["layer"], _bare(over)]
        spec["datasets"] = {**spec["datasets"], **over["datasets"]}
    return spec


@cache
def _version() -> str:
    """Return the Vega-Lite release to render with: Altair's own, or the nearest one there is."""
    wanted = tuple(int(part) for part in re.findall(r"\d+", alt.SCHEMA_VERSION)[:2])
    known = [tuple(map(int, v.split("."))) for v in vlc.get_vegalite_versions()]
    same = [v for v in known if v[0] == wanted[0]] or known
    best = wanted if wanted in same else max(same)
    return ".".join(map(str, best))


def _svg(spec: dict) -> str:
    return vlc.vegalite_to_svg(spec, vl_version=_version(), allowed_base_urls=[])


def _inline(svg: str) -> str:
    """Make an SVG fit its column, and keep it from speaking: the figure has a description."""
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    svg = re.sub(r'<rect width="[\d.]+" height="[\d.]+" fill="transparent"/>', "", svg, count=1)
    svg = re.sub(r' (role|aria-[a-z]+)="[^"]*"', "", svg)
    if size:
        svg = svg.replace(size.group(0), f'style="max-width:{size[1]}px"', 1)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def javascript() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, to be inlined into a page."""
    bundle = vlc.javascript_bundle("window.klayerEmbed = vegaEmbed;", vl_version=_version())
    return bundle.replace("</script", "<\\/script")
