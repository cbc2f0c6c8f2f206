"""Run directories side by side: what lies in a folder, how runs compare, how one is removed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from klayer.errors import KlayerError
from klayer.files import Lock, is_part, read_json
from klayer.study.arms import describe
from klayer.study.factors import coordinates, factors, labels
from klayer.study.record import NetworkRecord
from klayer.study.run_dir import Run
from klayer.study.run_folder import OWN_FILES, OWN_FOLDERS
from klayer.study.run_told import told_score

__all__ = ["RunLine", "compare_lines", "find_runs", "is_written", "remove_run", "run_line"]


@dataclass(frozen=True)
class RunLine:
    """A run in a list.

    Attributes
    ----------
    path : Path
    kind : str
        ``train``, ``study`` or ``search``; empty if the run can't be read.
    title : str
    created : str
        Date and time, as in ``2026-01-31 12:00``.
    data : str
    networks : int
        Those that are finished.
    best : str
        Score of the best on the split that the run chooses it by; empty while there is none.
    state : str
        ``finished``, ``all diverged`` (it is finished, but no network has an answer), ``running``,
        ``not finished`` or ``damaged``.
    problem : str
        What is wrong with it, if it can't be read.
    """

    path: Path
    kind: str = ""
    title: str = ""
    created: str = ""
    data: str = ""
    networks: int = 0
    best: str = ""
    state: str = ""
    problem: str = ""


def find_runs(folder: str | Path) -> list[Path]:
    """Return the run directories in a folder, the newest first; the folder itself, if it is one.

    Raises
    ------
    KlayerError
        If there is no such folder.
    """
    folder = Path(folder)
    if (folder / "run.json").exists():
        return [folder]
    if not folder.is_dir():
        raise KlayerError(f"there is no folder {folder}: name the one that holds run directories.")
    found = [path.parent for path in folder.glob("*/run.json")]
    return sorted(found, key=lambda path: (_created(path), path.name), reverse=True)


def _created(path: Path) -> str:
    with contextlib.suppress(KlayerError, OSError, AttributeError):
        return str(read_json(path / "run.json").get("created", ""))
    return ""


def run_line(path: str | Path) -> RunLine:
    """Describe a run in a line; one that can't be read with the reason."""
    path = Path(path)
    try:
        run = Run(path)
        best = ""
        with contextlib.suppress(KlayerError):
            best = f"{run.judged_by} {told_score([run.best()], run.judged_by)}"
        state = "running" if is_written(path) else run.state_in_words.partition(":")[0]
        return RunLine(
            path,
            run.kind,
            str(run.info["config"].get("title", "")),
            str(run.info["created"]).replace("T", " ")[:16],
            str(run.info["data"]["name"]),
            len(run.networks),
            best,
            state,
        )
    except (KlayerError, OSError) as error:
        created = _created(path).replace("T", " ")[:16]
        return RunLine(path, created=created, state="damaged", problem=str(error))


def is_written(path: Path) -> bool:
    """Whether a process is writing the run."""
    lock = path / "lock"
    if not lock.exists():
        return False
    try:
        import fcntl
    except ImportError:  # without locks, the file is all that there is to know
        return True
    with contextlib.suppress(OSError), lock.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def compare_lines(runs: Sequence[Run]) -> tuple[list[str], list[dict[str, Any]]]:
    """Set the arms of several runs beside one another, each by what varies among all of them.

    Parameters
    ----------
    runs : sequence of Run
        Of a search, its finalists stand for it: other trials have not met the test split.

    Returns
    -------
    notes : list of str
        What differs: the data, the settings by name.
    rows : list of dict
        In the order of the runs and of their arms: ``run``, ``arm`` (by what varies), ``settings``,
        ``n``, and the mean score on each split (None where there is none), with ``shown`` as words.
    """
    kept: list[tuple[Run, str, list[NetworkRecord]]] = []
    for run in runs:
        part = "finalists" if run.kind == "search" else "arms"
        arms: dict[str, list[NetworkRecord]] = {}
        for record in run.networks:
            if record.part == part:
                arms.setdefault(record.arm, []).append(record)
        kept += [(run, arm, records) for arm, records in arms.items()]
    if not kept:
        raise KlayerError("runs are compared by their finished networks, but none has one yet.")
    settings = [records[0].settings for _, _, records in kept]
    unique = list(dict.fromkeys(settings))
    varied = factors(unique)
    names = dict(zip(unique, labels(unique)[0], strict=True)) if varied else {}
    notes = []
    prints = {str(run.info["data"]["fingerprint"]) for run in runs}
    if len(prints) > 1:
        data = ", ".join(f"{run.path.name}: {run.info['data']['name']}" for run in runs)
        notes.append(f"the data differ ({data}): their scores are not of the same rows.")
    if varied:
        notes.append(f"what varies: {', '.join(one.title for one in varied)}.")
    else:
        notes.append(f"all settings are the same: {describe(unique[0])}.")
    levels = coordinates(unique)
    place = {one: i for i, one in enumerate(unique)}
    rows = []
    for run, _, records in kept:
        one = records[0].settings
        own = levels[place[one]]
        splits = {split: told_score(records, split) for split in ("train", "validation", "test")}
        rows.append(
            {
                "run": str(run.path),
                "arm": names.get(one, ""),
                "varied": {factor.name: own[factor.name] for factor in varied},
                "n": len(records),
                "diverged": sum(record.state == "diverged" for record in records),
                "shown": splits,
                **{split: _mean(records, split) for split in splits},
            }
        )
    return notes, rows


def _mean(records: Sequence[NetworkRecord], split: str) -> float | None:
    values = [value for one in records if (value := one.score(split)) is not None]
    return sum(values) / len(values) if values else None


def remove_run(path: str | Path) -> list[str]:
    """Remove what klayer wrote into a run directory, and the directory if nothing else is in it.

    Returns
    -------
    left : list of str
        The names of files in it that klayer didn't write: they, and the directory, stay.

    Raises
    ------
    KlayerError
        If it is no run directory, is a link, or a process is writing it.
    """
    path = Path(path)
    if not (path / "run.json").exists():
        raise KlayerError(
            f"a run directory holds a file run.json, but {path} has none: nothing was removed."
        )
    if path.is_symlink():
        raise KlayerError(f"{path} is a link to {path.resolve()}: name that, to remove it.")
    lock = Lock(path / "lock", str(path))
    lock.take()
    try:
        for name in OWN_FOLDERS:
            if (path / name).is_dir() and not (path / name).is_symlink():
                shutil.rmtree(path / name)
        for pattern in OWN_FILES:
            for file in path.iterdir():
                mine = fnmatch(file.name, pattern) or is_part(file)
                if mine and not file.is_dir():
                    file.unlink()
    finally:
        lock.release()
    left = sorted(file.name for file in path.iterdir())
    if not left:
        path.rmdir()
    return left
