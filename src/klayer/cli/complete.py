"""What the shell completes: values that the command knows, and files of the right kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = [
    "choices",
    "complete_data",
    "complete_presets",
    "complete_runs",
    "complete_samplers",
    "complete_settings",
    "complete_studies",
]

PRESETS = Path(__file__).parent.parent / "study" / "presets"
SETTINGS = Path(__file__).parent.parent / "train" / "presets"
TABLES = (".npz", ".csv", ".tsv", ".parquet", ".feather", ".arff", ".libsvm", ".gz", ".mat")


def complete_presets(incomplete: str) -> list[str]:
    """Return the names of the studies that come with klayer."""
    return _names(PRESETS, incomplete)


def complete_settings(incomplete: str) -> list[str]:
    """Return the names of the settings that come with klayer."""
    return _names(SETTINGS, incomplete)


def _names(folder: Path, incomplete: str) -> list[str]:
    names = sorted(path.stem for path in folder.glob("*.toml"))
    return [name for name in names if name.startswith(incomplete)]


def complete_studies(incomplete: str) -> list[str]:
    """Return presets, TOML files, and folders on the way to some."""
    return [*complete_presets(incomplete), *_paths(incomplete, _ends_with(".toml"))]


def complete_samplers(incomplete: str) -> list[str]:
    """Return the samplers of a search."""
    from klayer.study.search.samplers import SAMPLERS

    return [name for name in SAMPLERS if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[str]:
    """Return the names of data sets, files that hold data, and folders."""
    from klayer.data.catalogue import source_names

    known = [name for name in source_names() if name.startswith(incomplete)]
    return [*known, *_paths(incomplete, _ends_with(*TABLES))]


def complete_runs(incomplete: str) -> list[str]:
    """Return run directories: those in ``runs/``, and those that the path leads to."""
    found = _paths(incomplete, _ends_with())
    usual = Path("runs")
    if usual.is_dir():
        runs = [f"runs/{path.parent.name}" for path in sorted(usual.glob("*/run.json"))]
        found = [*[run for run in reversed(runs) if run.startswith(incomplete)], *found]
    # A run is a whole word, another folder the beginning of one.
    plain = [one.rstrip("/") if (Path(one) / "run.json").exists() else one for one in found]
    return list(dict.fromkeys(plain))


def choices(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what completes one of some words."""
    known = list(words)

    def complete(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return complete


def _ends_with(*endings: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in endings


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    """Return what a path may go on with: folders, and files that are wanted."""
    head, slash, tail = incomplete.rpartition("/")
    folder = Path(f"{head}{slash}" or ".").expanduser()
    found = []
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []
    for path in inside:
        if path.name.startswith(tail) and (tail.startswith(".") or not path.name.startswith(".")):
            if path.is_dir():
                found.append(f"{head}{slash}{path.name}/")
            elif wanted(path):
                found.append(f"{head}{slash}{path.name}")
    return found
