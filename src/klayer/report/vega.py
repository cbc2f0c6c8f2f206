"""Charts in Vega-Lite, written as plain dictionaries: for the page, and as SVG and PNG files.

A panel is one chart without a width: on the page it takes the width of its column. Colours are fixed
here; the style sheet maps the neutral and the series colours of both the static SVG and the live chart
to the reader's light or dark scheme, by the attribute's value.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from klayer.files import cached, write_bytes, write_text
from klayer.report import drawing
from klayer.report.drawing import NotDrawn, newest_version

__all__ = [
    "BLUES",
    "BLUES_DARK",
    "HEAT",
    "HEAT_DARK",
    "INK",
    "MUTED",
    "RATE",
    "SERIES",
    "Figure",
    "Key",
    "Panel",
    "Spec",
    "channel",
    "hover",
    "javascript",
    "layers",
    "mark",
    "on_heat",
    "ruler",
    "series_colour",
    "step",
    "zoom",
]

Spec = dict[str, Any]

INK, MUTED, GRID, RATE, PAPER = "#1d1f24", "#5d616b", "#e3e1db", "#ece7da", "#fffffe"
# Rust, blue, green, violet, ochre, slate: told apart in the three common kinds of colour blindness.
SERIES = ("#b4450d", "#1c6bb0", "#12806a", "#8447a8", "#94690b", "#56606f")


def _ramp(ends: Sequence[str], steps: int) -> tuple[str, ...]:
    """Return colours from the first over those between to the last, in equal steps."""
    parts = [[int(one[i : i + 2], 16) for i in (1, 3, 5)] for one in ends]
    found = []
    for k in range(steps):
        at = k / (steps - 1) * (len(parts) - 1)
        i = min(int(at), len(parts) - 2)
        mixed = [round(a + (at - i) * (b - a)) for a, b in zip(parts[i], parts[i + 1], strict=True)]
        found.append("#{:02x}{:02x}{:02x}".format(*mixed))
    return tuple(found)


# From chance, pale red, to the best, a clear blue, in steps, so that the style sheet can have others
# in the dark; the text on them is legible on all.
HEAT = _ramp(("#f6cdbb", "#f7ebd9", "#c4dfdc", "#86c2cd", "#5fa9c4"), 16)
HEAT_DARK = _ramp(("#6b2f1c", "#4a3a2b", "#27474c", "#1f5f74", "#12647f"), 16)
# Shares of a class, from none to all.
BLUES = _ramp(("#f4f1ea", "#c9dfe3", "#8fc3d1", "#5fa9c5"), 12)
BLUES_DARK = _ramp(("#1e2126", "#22414a", "#1f5566", "#126480"), 12)
# Fonts of equal widths: a static picture is laid out here and shown elsewhere.
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
CONFIG: Spec = {
    "font": FONT,
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "titlePadding": 6,
    },
    "legend": {"labelColor": MUTED, "titleColor": MUTED, "titleFontWeight": "normal"},
    "title": {"color": INK, "fontSize": 12, "fontWeight": 600},
    "text": {"color": INK},
    "aria": False,
}
_TYPES = {"Q": "quantitative", "N": "nominal"}


def series_colour(names: Sequence[str], name: str) -> str:
    """Return the colour of a series: the same on the whole page."""
    return SERIES[names.index(name) % len(SERIES)]


def on_heat(value: float | None, least: float, best: float) -> str:
    """Return the colour of a value between two others.

    Examples
    --------
    >>> on_heat(0.1, 0.1, 0.5) == HEAT[0], on_heat(0.7, 0.1, 0.5) == HEAT[-1], on_heat(None, 0, 1)
    (True, True, '#f6cdbb')
    """
    if value is None:
        return HEAT[0]
    at = (value - least) / (best - least) if best > least else 1.0
    return HEAT[min(len(HEAT) - 1, max(0, round(at * (len(HEAT) - 1))))]


def step(share: float) -> str:
    """Return the colour of a share, from 0 to 1."""
    return BLUES[round(share * (len(BLUES) - 1))]


# Words of a specification.


def channel(shorthand: str, **options: Any) -> Spec:
    """Return an encoding of a field, Q for a number and N for a name.

    Examples
    --------
    >>> channel("e:Q", title="epoch")
    {'field': 'e', 'type': 'quantitative', 'title': 'epoch'}
    """
    name, _, kind = shorthand.partition(":")
    return {"field": name, "type": _TYPES[kind], **options}


def mark(kind: str, encoding: Spec, **options: Any) -> Spec:
    """Return a layer: a mark with its encoding."""
    return {"mark": {"type": kind, **options}, "encoding": encoding}


def layers(*specs: Spec, values: list[Spec] | None = None) -> Spec:
    """Lay specifications over one another; ``values`` are the rows of those without any of their own."""
    data = {} if values is None else {"data": {"values": values}}
    return {**data, "layer": list(specs)}


def zoom(view: str) -> Spec:
    """Zoom by Ctrl or Cmd and the wheel, pan by dragging with a mouse, double-click to go back.

    The bare wheel and touch stay with the page, so that it can be scrolled over a chart.
    """
    mouse = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
    select = {
        "type": "interval",
        "encodings": ["x", "y"],
        "zoom": "wheel![event.ctrlKey || event.metaKey]",
        "translate": mouse,
    }
    return {"name": "zoom", "select": select, "bind": "scales", "views": [view]}


def hover(view: str, name: str) -> Spec:
    """Choose what the pointer is over, by the value of a field."""
    select = {"type": "point", "on": "pointerover", "clear": "pointerout", "fields": [name]}
    return {"name": "hover", "select": select, "views": [view]}


def ruler(values: list[Spec], tooltip: list[Spec]) -> Spec:
    """Make the layer that shows all values at the epoch nearest to the pointer.

    Invisible stripes, each reaching half-way to the next epoch, catch the pointer; a line marks the
    epoch ``e`` of ``values``, which ascends. (Vega-Lite's own "nearest" drops the words from tooltips.)
    """
    at = [value["e"] for value in values]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(at)]
    ends = zip(values, [at[0], *middles], [*middles, at[-1]], strict=True)
    lit = {"condition": {"param": "hover", "empty": False, "value": 0.7}, "value": 0}
    line = {"x": channel("e:Q", title="epoch"), "opacity": lit}
    stripe = {"x": channel("from:Q", title="epoch"), "x2": {"field": "to"}, "tooltip": tooltip}
    return layers(
        mark("rule", line, color=MUTED, strokeWidth=1, tooltip=None),
        {"name": "stripes", **mark("rect", stripe, opacity=0, clip=True)},
        values=[{**value, "from": low, "to": high} for value, low, high in ends],
    )


# Figures.


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
    """One chart."""

    title: str
    height: int  # in pixels
    alt: str  # what it shows, for those who don't see it
    spec: Spec  # without a width
    # Of the live chart alone: selections, each with the names of its `views`; and a layer above the
    # others, what hovering shows.
    params: list[Spec] = field(default_factory=list)
    over: Spec | None = None

    def live(self) -> Spec:
        """Return the specification with interaction, as wide as its column."""
        spec = {**_schema(), **self.spec, "config": CONFIG, "width": "container"}
        spec["height"] = self.height
        if self.params:
            spec["params"] = self.params
        if self.over:
            spec["layer"] = [*spec["layer"], self.over]
        return spec

    def static(self, width: int) -> Spec:
        """Return the specification without interaction."""
        return {**_unnamed(self.spec), "width": width, "height": self.height}


@dataclass(frozen=True)
class Figure:
    """Panels under one caption and one legend."""

    name: str  # its id on the page, and the stem of its files
    caption: str
    panels: list[Panel]
    legend: list[Key] = field(default_factory=list)
    width: int = 300  # of a panel in the files, in pixels

    def drawn(self) -> list[tuple[Panel, str]]:
        """Return the panels, each with an SVG that can stand in a page, without interaction."""
        specs = [{**panel.static(self.width), "config": CONFIG} for panel in self.panels]
        return [
            (panel, _inline_or_not(spec)) for panel, spec in zip(self.panels, specs, strict=True)
        ]

    def save(self, folder: Path, png: bool = False) -> list[Path]:
        """Write ``NAME.svg``, and ``NAME.png`` if wanted: all panels, with their legend.

        The folder must be there. What can't be drawn is not written: the page says so in its place.
        """
        try:
            drawn = self.svg()
            pixels = self.raster("png", drawn) if png else b""
        except NotDrawn:
            return []
        path = folder / f"{self.name}.svg"
        write_text(path, drawn)
        if not png:
            return [path]
        picture = path.with_suffix(".png")
        write_bytes(picture, pixels)
        return [path, picture]

    def whole(self) -> Spec:
        """Return one specification of all panels side by side, with their legend."""
        title = {"anchor": "start", "frame": "group", "offset": 10}
        panels = [
            {**panel.static(self.width), "title": {"text": panel.title, **title}}
            for panel in self.panels
        ]
        spec: Spec = {"concat": panels, "columns": 3, "spacing": 28}
        if self.legend:
            spec = {"vconcat": [spec, _legend(self.legend)], "spacing": 6}
        return {**_schema(), **spec, "config": CONFIG, "background": PAPER, "padding": 12}

    def svg(self) -> str:
        """Return the whole figure as SVG."""
        return drawing.svg(self.whole())

    def raster(self, kind: str, svg: str = "") -> bytes:
        """Return the whole figure as a file, ``png`` or ``pdf``; ``svg`` if it is drawn already."""
        svg = svg or self.svg()
        return drawing.png(svg, scale=2) if kind == "png" else drawing.pdf(svg)


def _legend(keys: Sequence[Key]) -> Spec:
    """Lay a legend's entries out in a row, placed in pixels."""
    x, found = 0.0, []
    for key in keys:
        y = {"value": 9}
        if key.dot:
            ends = {"x": {"value": x + 11}, "y": y}
            found.append(mark("circle", ends, color=key.colour, size=50, opacity=1))
        else:
            ends = {"x": {"value": x}, "x2": {"value": x + 22}, "y": y}
            dash = {"strokeDash": [4, 3]} if key.dash else {}
            width = 10 if key.area else 2
            found.append(mark("rule", ends, color=key.colour, strokeWidth=width, **dash))
        words = {"x": {"value": x + 28}, "y": y, "text": {"value": key.label}}
        found.append(mark("text", words, align="left", fontSize=11, color=MUTED))
        x += 48 + 6.4 * len(key.label)
    return {**layers(*found, values=[{}]), "width": x, "height": 18}


def _unnamed(spec: Spec) -> Spec:
    """Drop the names of views, which selections ask for: side by side, two panels may not share one."""
    kept = {key: value for key, value in spec.items() if key != "name"}
    if "layer" in kept:
        kept["layer"] = [_unnamed(one) for one in kept["layer"]]
    return kept


# Out.


def _schema() -> Spec:
    return {"$schema": f"https://vega.github.io/schema/vega-lite/v{newest_version()}.json"}


def _inline_or_not(spec: Spec) -> str:
    """Draw an SVG that can stand in a page; a sentence where that fails."""
    try:
        return _inline(drawing.svg(spec))
    except NotDrawn as why:
        return f'<p class="hint">{html.escape(str(why))}</p>'


def _inline(svg: str) -> str:
    """Make an SVG fit its column, and keep it from speaking: the figure has a description."""
    svg = re.sub(r'<rect width="[\d.]+" height="[\d.]+" fill="transparent"/>', "", svg, count=1)
    svg = re.sub(r' (role|aria-[a-z]+)="[^"]*"', "", svg)
    size = r'width="([\d.]+)" height="[\d.]+"'
    svg = re.sub(size, r'style="max-width:\1px"', svg, count=1)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def javascript() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, to be inlined into a page.

    Empty if the chart library ends: the page then shows its static pictures.
    """
    name = f"vega-{metadata.version('vl-convert-python')}-{newest_version()}.js"
    try:
        script = cached(name, lambda: drawing.javascript_bundle("window.klayerEmbed = vegaEmbed;"))
    except NotDrawn:
        return ""
    return script.replace("</script", "<\\/script")
