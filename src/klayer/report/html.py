"""From figures and text to HTML."""

from __future__ import annotations

import base64
from functools import cache
from importlib import metadata, resources
from typing import Any

import jinja2

from klayer.report.vega import javascript

__all__ = ["data_uri", "render"]


@cache
def _template() -> jinja2.Template:
    """Return the page's template, style sheet and scripts in it."""
    folder = resources.files("klayer.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("klayer.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    inlined = {
        "version": metadata.version("klayer"),
        "css": (folder / "page.css").read_text(encoding="utf-8"),
        "js": (folder / "page.js").read_text(encoding="utf-8"),
        "bundle": javascript(),
    }
    return environment.get_template("page.html", globals=inlined)


def render(**context: Any) -> str:
    """Fill the page's template: ``title``, ``kicker``, ``summary`` (blocks), ``parts``, ``contents``."""
    return _template().render(**context)


def data_uri(png: bytes) -> str:
    """Return a PNG as an address that needs no file.

    Examples
    --------
    >>> data_uri(b"abc")
    'data:image/png;base64,YWJj'
    """
    return "data:image/png;base64," + base64.b64encode(png).decode()
