"""Make a damaged run whole again: what its configuration, its data and its seeds can give back."""

from __future__ import annotations

import contextlib
import shutil

from klayer.data import Dataset
from klayer.files import Damaged, read_json, remove
from klayer.study.record import Key
from klayer.study.run_dir import Run
from klayer.study.run_folder import BEFORE, OWN_FOLDERS

__all__ = ["discard", "mend"]


def mend(run: Run, dataset: Dataset) -> list[str]:
    """Write a lost standardiser again, and drop networks that have to be trained again.

    A network whose weights are missing or damaged is no longer finished. What a search asked for follows
    from its configuration and its seed. The standardiser is that of
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
    try:
        read_json(run.path / "search.json", sealed=True)
    except FileNotFoundError:
        pass
    except Damaged as error:
        remove(run.path / "search.json")
        found.append(f"{error} The same trials are drawn again.")
    for name in dict.fromkeys(record.population for record in run.networks):
        members = [record.key for record in run.networks if record.population == name]
        faults = [fault for _, fault in run.read_all_weights(name) if fault]
        for fault in faults:
            if not isinstance(fault, Damaged):
                raise fault
            found.append(f"{fault} Its networks ({len(members)}) are trained again.")
        if faults:
            lost += members
    run.drop(lost)
    return found


def discard(run: Run) -> None:
    """Remove a new run in which nothing was trained, so that its directory is not in the way.

    Raises
    ------
    KlayerError
        If another process holds it by now, or a file can't be removed.
    """
    with run:
        results = [*run.path.glob("checkpoints/*"), *run.path.glob("parts/*.safetensors")]
        if run.networks or results:
            return
        shutil.rmtree(run.path / "parts", ignore_errors=True)
        for folder in OWN_FOLDERS:
            with contextlib.suppress(OSError):  # it isn't there, or holds something
                (run.path / folder).rmdir()
        # `run.json` goes last: what is left by a kill in between is still a run.
        for name in (*BEFORE, "search.db", "run.json"):
            remove(run.path / name)
    with contextlib.suppress(OSError):  # it holds what others put there
        run.path.rmdir()
