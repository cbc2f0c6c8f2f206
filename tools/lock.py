"""Write ``constraints.txt`` and ``docs/licences.md`` from what is installed here.

    python tools/lock.py

Both list everything that klayer, its extras, its tests and its linters pull in, at the versions that are
installed: those that ``make`` installs, and their licences as the packages state them.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
GROUPS = ("test", "lint")
HEAD = """# What `make` installs, tested together; made by tools/lock.py. `pip install .` is bound by
# pyproject.toml alone.
"""
PAGE = """# Licences

What an installation of klayer, its extras, its tests and its linters pull in, with the licences that the
packages state; made by `python tools/lock.py`. klayer itself is under the MIT licence, and contains no
code of theirs; a page contains Vega, Vega-Lite and Vega-Embed (BSD-3-Clause), from vl-convert-python.

| package | version | licence | for |
|---|---|---|---|
"""


def declared() -> dict[str, list[str]]:
    """Return what `pyproject.toml` asks for, by what for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {"klayer": list(project["project"]["dependencies"])}
    for extra, needed in project["project"]["optional-dependencies"].items():
        asked[f"klayer[{extra}]"] = list(needed)
    return asked | {group: of_group(project["dependency-groups"], group) for group in GROUPS}


def of_group(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Return what a dependency group asks for, those that it includes too."""
    found = []
    for one in groups[name]:
        found += [one] if isinstance(one, str) else of_group(groups, one["include-group"])
    return found


def closure(asked: dict[str, list[str]]) -> dict[str, str]:
    """Return each package that is pulled in, with the first that asks for it."""
    found: dict[str, str] = {}
    for purpose, needed in asked.items():
        open_ = [Requirement(one) for one in needed]
        while open_:
            one = open_.pop()
            name = canonicalize_name(one.name)
            if name == "klayer" or (one.marker and not _applies(one)):
                continue
            new = name not in found
            found.setdefault(name, purpose)
            if new or one.extras:
                for text in metadata.requires(name) or []:
                    inner = Requirement(text)
                    if inner.marker is None or any(
                        inner.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)
                    ):
                        inner.marker = None
                        if new or canonicalize_name(inner.name) not in found:
                            open_.append(inner)
    return found


def _applies(one: Requirement) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": ""})


def licence(name: str) -> str:
    """Return the licence that a package states."""
    about = metadata.metadata(name)
    stated = about.get("License-Expression")
    if stated:
        return str(stated)
    kinds = [
        value.split(" :: ")[-1]
        for value in about.get_all("Classifier") or []
        if value.startswith("License :: ")
    ]
    kinds = [kind for kind in kinds if kind != "OSI Approved"]
    first = (about.get("License") or "").strip().splitlines()
    return ", ".join(kinds) or (first[0] if first else "not stated")


def main() -> None:
    """Write both files."""
    found = closure(declared())
    lines = [f"{name}=={metadata.version(name)}" for name in sorted(found)]
    (ROOT / "constraints.txt").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    rows = [
        f"| {name} | {metadata.version(name)} | {re.sub(r'[|]', '/', licence(name))} | {found[name]} |"
        for name in sorted(found)
    ]
    page = PAGE + "\n".join(rows) + "\n"
    (ROOT / "docs" / "licences.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
