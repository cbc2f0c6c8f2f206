"""Make a damaged run whole again: what its configuration, its data and its seeds can give back."""

from __future__ import annotations

import contextlib

from klayer.data import Dataset
from klayer.files import Damaged
from klayer.study.record import Key
from klayer.study.run_dir import Run

__all__ = ["discard", "mend"]


def mend(run: Run, dataset: Dataset) -> list[str]:
    """Write a lost standardiser again, and drop networks that have to be trained again.

    A network whose weights are missing or damaged is no longer finished. The standardiser is that of
    the data, whose fingerprint is the run's.

    Parameters
    ----------
    run : Run
        Held open for appending (``with run:``).
    dataset : Dataset
        The run's data, as :meth:`Run.load_data` returns them.

    Returns
    -------
    found : list of str
        For each damaged file a sentence on what is wrong, and one on what is done about it.

    Raises
    ------
    KlayerError
        If a network has a piece that this version doesn't know.
    """
    found, lost = list[str](), list[Key]()
    if run.info["data"]["fingerprint"]:
        try:
            run.standardiser  # noqa: B018
        except Damaged as error:
            run.write_standardiser(dataset.standardiser)
            found.append(f"{error} It is written again from the data.")
    for name in dict.fromkeys(record.population for record in run.networks):
        members = [record for record in run.networks if record.population == name]
        try:
            weights = run.weights(name)
            for record in members:
                weights.of(record)
        except Damaged as error:
            found.append(f"{error} Its networks ({len(members)}) are trained again.")
            lost += [record.key for record in members]
    run.drop(lost)
    return found


def discard(run: Run) -> None:
    """Remove a new run in which nothing was trained, so that its directory is not in the way."""
    if run.networks or any((run.path / "checkpoints").glob("*")):
        return
    for name in ("run.json", "inputs.safetensors", "search.json", "gradcheck.json"):
        (run.path / name).unlink(missing_ok=True)
    for folder in (run.path / "checkpoints", run.path):
        with contextlib.suppress(OSError):  # it isn't there, or holds what others put there
            folder.rmdir()
