"""The folder of a run: taken by one command alone, cleared of what a kill left, free of links."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from itertools import count
from pathlib import Path

from klayer.errors import KlayerError
from klayer.files import is_part, remove, remove_parts
from klayer.files.writing import named

__all__ = [
    "BEFORE",
    "OWN_FILES",
    "OWN_FOLDERS",
    "drop_leftovers",
    "new_folder",
    "refuse_links",
    "refuse_own",
]

# The folders inside a run directory.
OWN_FOLDERS = ("weights", "checkpoints", "parts", "figures", "tables", "export")
# What klayer writes into a run directory, and removes with it; `run.json` goes last.
OWN_FILES = (
    *("networks.jsonl", "summary.json", "search.json", "search.db", "trials.*", "finalists.csv"),
    *("gradcheck.json", "inputs.safetensors", "report.html", "report.pdf"),
    *("run.json.copy", "run.json"),
)

# What is written before `run.json` makes a folder a run directory, and what is left of one when it is
# removed.
BEFORE = ("run.json.copy", "inputs.safetensors", "search.json", "gradcheck.json")


def new_folder(path: str | Path | None, name: str) -> Path:
    """Make the folder of a new run, unless it is there.

    Parameters
    ----------
    path : path or None
        None stands for ``runs/NAME``, with a number at the end if another command took it.
    name : str

    Raises
    ------
    NotWritten
        If it can't be made.
    """
    if path is not None:
        path = Path(path)
        with named(path):
            if path.exists() and not path.is_dir():
                raise _not_empty(path)
            path.mkdir(parents=True, exist_ok=True)
        return path
    for number in count(1):
        path = Path("runs", name if number == 1 else f"{name}-{number}")
        with named(path):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            return path
    raise AssertionError


def drop_leftovers(folder: Path) -> None:
    """Remove what a kill left in a folder before it was a run directory; the lock is held.

    Raises
    ------
    KlayerError
        If it holds anything else.
    """
    found = [path for path in folder.iterdir() if path.name != "lock" and not is_part(path)]
    if any(path.name not in BEFORE or not path.is_file() for path in found):
        raise _not_empty(folder)
    remove_parts(folder)
    for path in found:
        remove(path)


def refuse_links(folder: Path) -> None:
    """Refuse symbolic links in a run directory that somebody goes on with.

    Raises
    ------
    KlayerError
        With the first one.
    """
    with os.scandir(folder) as entries:
        links = sorted(entry.name for entry in entries if entry.is_symlink())
    if links:
        raise KlayerError(
            f"a run directory must hold its files itself, but {folder / links[0]} is a symbolic "
            "link: put in its place what it leads to."
        )


def refuse_own(path: Path) -> None:
    """Refuse a place for something else that is a run's own: what lies there makes up the run.

    Parameters
    ----------
    path : Path
        A file or a folder, there or not. A run's folder ``export`` is for others.

    Raises
    ------
    KlayerError
    """
    place = path.parent.resolve() / path.name
    for run in place.parents:
        if not (run / "run.json").exists():
            continue
        first, *inside = place.relative_to(run).parts
        own_file = not inside and any(fnmatch(first, one) for one in OWN_FILES)
        if own_file or (first in OWN_FOLDERS and first != "export"):
            raise KlayerError(
                f"{path} is a place of the run {run.name} itself, which would be damaged: name another."
            )


def _not_empty(path: Path) -> KlayerError:
    return KlayerError(
        f"the run directory must be new or empty, but {path} is not: "
        "choose another with --out, or go on with a run by --resume."
    )
