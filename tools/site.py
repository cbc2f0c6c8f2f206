"""What `make docs` adds to the pages: the reference, and the walk through a network.

Both are made afresh: the reference from the public names, the walk from a real check.
"""

from __future__ import annotations

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import klayer
from klayer import gradcheck
from klayer.nn import Network

TITLES = {
    "data": "Data",
    "nn": "Networks",
    "train": "Training",
    "model": "Trained networks",
    "estimator": "Estimators",
    "export": "Exports",
    "gradcheck": "Gradient checks",
    "study": "Studies",
    "report": "Pages",
    "errors": "Errors",
}


def on_files(files: Files, *, config: MkDocsConfig, **_: Any) -> Files:
    """Add the generated pages."""
    for room, names in reference().items():
        title = TITLES.get(room, room)
        content = "\n\n".join([f"# {title}", *(f"::: {name}" for name in names)])
        files.append(File.generated(config, f"reference/{room}.md", content=content + "\n"))
    for name, batch_norm in (("walk.html", "none"), ("walk-bn.html", "hidden")):
        page = gradcheck.walk_through(Network(2, (3,), 2, batch_norm), l2=0.01).html()
        files.append(File.generated(config, f"tutorials/{name}", content=page))
    return files


def reference() -> dict[str, list[str]]:
    """Return the full names of what is public, by room."""
    rooms: dict[str, list[str]] = {}
    for name in klayer.__all__:
        if not name.startswith("_"):
            thing = getattr(klayer, name)
            rooms.setdefault(thing.__module__.split(".")[1], []).append(
                f"{thing.__module__}.{name}"
            )
    checks = rooms.setdefault("gradcheck", [])
    for name in gradcheck.__all__:
        thing = getattr(gradcheck, name)
        full = f"{getattr(thing, '__module__', '')}.{name}"
        if callable(thing) and full not in checks:
            checks.append(full)
    return rooms
