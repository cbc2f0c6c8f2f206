"""Read every file of a run, and say which are damaged and what can be had again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from klayer.files import Damaged, is_part, read_arrays, read_json
from klayer.study.run_dir import Run
from klayer.study.schema import RESULTS
from klayer.train import TrainingState

__all__ = ["Finding", "check_run"]


@dataclass(frozen=True)
class Finding:
    """What was found of a file, or of a line.

    Attributes
    ----------
    path : str
        Inside the run directory.
    damage : str
        What is wrong with it; empty if it is whole.
    again : str
        How its content can be had again; empty if it can't, or needn't.
    """

    path: str
    damage: str = ""
    again: str = ""


def check_run(path: str | Path) -> list[Finding]:
    """Check every file that a run rests on against its digest, and against the others.

    Figures, tables and the page rest on those, and are written again by ``klayer report``.

    Parameters
    ----------
    path : path
        A run directory. Nothing in it is changed.

    Returns
    -------
    findings : list of Finding
        In a fixed order; one for each file, and one more for each damaged line.

    Raises
    ------
    KlayerError
        If there is no run, or ``run.json`` and its copy are lost.
    """
    run = Run(path, mending=True)
    return [*_description(run), *_lines(run), *_weights(run), *_results(run), *_leftovers(run)]


def _description(run: Run) -> Iterator[Finding]:
    sealed, resume = not run.outdated, run.resume_command
    copy = run.path / "run.json.copy"
    about = [fault for fault in run.faults if "run.json" in fault.split(" ")[0]]
    yield Finding("run.json", about[0] if about else "", f"{resume} puts it back." if about else "")
    if sealed:
        yield _read(run, copy, f"{resume} writes it again.")
    again = f"{resume} writes it again from the data."
    try:
        run.standardiser  # noqa: B018
        yield Finding("inputs.safetensors")
    except Damaged as error:
        yield Finding("inputs.safetensors", str(error), again)
    if (run.path / "search.json").exists():
        yield _read(run, run.path / "search.json", f"{resume} draws the same trials again.")


def _lines(run: Run) -> Iterator[Finding]:
    name = "networks.jsonl"
    faults = [fault for fault in run.faults if name in fault]
    for fault in faults:
        yield Finding(name, fault, f"{run.resume_command} trains again what is lost.")
    if not faults and (run.path / name).exists():
        yield Finding(name)


def _weights(run: Run) -> Iterator[Finding]:
    for name in dict.fromkeys(record.population for record in run.networks):
        members = sum(record.population == name for record in run.networks)
        again = f"{run.resume_command} trains its networks ({members}) again."
        for path, fault in run.read_all_weights(name):
            mended = again if isinstance(fault, Damaged) else ""
            yield Finding(path, str(fault or ""), mended)


def _results(run: Run) -> Iterator[Finding]:
    for name in RESULTS:
        if (run.path / name).exists():
            try:
                run.result(name)
                yield Finding(name)
            except Damaged as error:
                yield Finding(name, str(error), f"{run.resume_command} writes it again.")


def _leftovers(run: Run) -> Iterator[Finding]:
    folder = run.path / "checkpoints"
    for path in sorted(folder.glob("*.safetensors")):
        where = f"checkpoints/{path.name}"
        try:
            read_arrays(path, sealed=not run.outdated)
            TrainingState.load(path)
            yield Finding(where)
        except (Damaged, LookupError, TypeError, ValueError, AttributeError) as error:
            again = f"{run.resume_command} goes on from the one before, or from the start."
            yield Finding(where, str(error), again)
    for path in sorted((run.path / "parts").glob("*.safetensors")):
        where = f"parts/{path.name}"
        try:
            read_arrays(path, sealed=True)
            yield Finding(where)
        except Damaged as error:
            yield Finding(where, str(error), f"{run.resume_command} trains its networks again.")
    for path in sorted(run.path.rglob("*.part")):
        if is_part(path):
            where = str(path.relative_to(run.path))
            yield Finding(where, "It is left of a kill.", f"{run.resume_command} removes it.")


def _read(run: Run, path: Path, again: str) -> Finding:
    try:
        read_json(path, sealed=not run.outdated)
    except FileNotFoundError:
        return Finding(path.name, f"{path} is missing.", again)
    except Damaged as error:
        return Finding(path.name, str(error), again)
    return Finding(path.name)
