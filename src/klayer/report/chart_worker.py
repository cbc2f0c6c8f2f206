"""The process that draws: a line of JSON in, a line out, until nobody asks any more.

It is run as a file, so that it imports the chart library and nothing of the house.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import vl_convert as vlc


def _svg(asked: dict[str, Any]) -> str:
    svg: str = vlc.vegalite_to_svg(asked["spec"], vl_version=asked["version"], allowed_base_urls=[])
    return svg


def _png(asked: dict[str, Any]) -> str:
    return base64.b64encode(vlc.svg_to_png(asked["svg"], scale=asked["scale"])).decode()


def _pdf(asked: dict[str, Any]) -> str:
    return base64.b64encode(vlc.svg_to_pdf(asked["svg"])).decode()


def _bundle(asked: dict[str, Any]) -> str:
    script: str = vlc.javascript_bundle(asked["snippet"], vl_version=asked["version"])
    return script


WORK: dict[str, Callable[[dict[str, Any]], str]] = {
    "svg": _svg,
    "png": _png,
    "pdf": _pdf,
    "bundle": _bundle,
}


def serve() -> None:
    """Answer what is asked on stdin."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"found": WORK[asked["work"]](asked)}
        except Exception as error:
            answer = {"refused": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
