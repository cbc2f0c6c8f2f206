"""From figures and text to HTML."""

from __future__ import annotations

import json
from functools import cache
from importlib import metadata, resources

import jinja2

from klayer.report.figures import Figure, javascript

__all__ = ["render", "with_drawings"]


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("klayer.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


@cache
def _bundle() -> str:
    return javascript()


def with_drawings(figure: Figure) -> dict:
    """Return what the template shows of a figure: static pictures and specifications of its panels."""
    drawn = zip(figure.panels, figure.svgs(), figure.specs(), strict=True)
    return {
        "name": figure.name,
        "caption": figure.caption,
        "legend": figure.legend,
        "panels": figure.panels,
        "drawn": [
            {
                "id": f"spec-{figure.name}-{i}",
                "title": panel.title,
                "alt": panel.alt,
                "svg": svg,
                "spec": _json(spec),
            }
            for i, (panel, svg, spec) in enumerate(drawn)
        ],
    }


def _json(value) -> str:
    """Write JSON that can stand in a script element, whatever the strings in it say."""
    text = json.dumps(value, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def render(name: str, **context) -> str:
    """Fill a template; style sheet and scripts are inlined.

    Parameters
    ----------
    name : str
        File name of the template.
    **context
        What the template shows.
    """
    folder = resources.files("klayer.report") / "templates"
    return (
        _environment()
        .get_template(name)
        .render(
            version=metadata.version("klayer"),
            css=(folder / "page.css").read_text(encoding="utf-8"),
            js=(folder / "page.js").read_text(encoding="utf-8"),
            bundle=_bundle(),
            **context,
        )
    )
