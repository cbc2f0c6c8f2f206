"""The data of a run: loaded again where they lie, and compared with those that it began with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from klayer.data import Dataset, Standardiser, load
from klayer.data.fingerprint import standardiser_digest
from klayer.data.options import OPTIONS
from klayer.errors import KlayerError
from klayer.files import Damaged, read_arrays
from klayer.study.schema import AGAIN

if TYPE_CHECKING:
    from klayer.study.stored_run import StoredRun

__all__ = ["load_again", "read_standardiser"]


def load_again(run: StoredRun, data_dir: str | Path | None, *, may_download: bool) -> Dataset:
    """Return the data that a run was made with; see :meth:`klayer.study.Run.load_data`."""
    config = run.info["config"]
    name = config.get("data", run.info["data"]["name"])
    said = {option: config[option] for option in OPTIONS if option in config}
    folder = data_dir or run.info["data"]["data_dir"]
    if folder and not data_dir and not Path(folder).exists():
        # The folder of that time is gone; the data may lie where data sets usually do.
        folder, may_download = None, False
    dataset = load(name, data_dir=folder, may_download=may_download, **said)
    changed = _changed(run, dataset)
    if changed:
        raise KlayerError(
            f"a run goes on with the data that it began with, but {name!r} has changed since "
            f"{run.path} was made (what differs: {', '.join(changed)}): start a new run."
        )
    return dataset


def _changed(run: StoredRun, dataset: Dataset) -> list[str]:
    """Return which parts of the data differ from those that the run was made with."""
    stored: dict[str, str] = run.info["data"]["fingerprint"]
    have = dataset.fingerprint
    changed = [part for part in stored if stored[part] != have.get(part)]
    if not stored:
        try:
            then, now = run.standardiser, dataset.standardiser
        except Damaged as error:
            raise Damaged(f"{error} {AGAIN}") from None
        same = np.array_equal(then.mean, now.mean) and np.array_equal(then.scale, now.scale)
        changed = [] if same else ["standardiser"]
    return changed


def read_standardiser(run: StoredRun) -> Standardiser:
    """Return the standardisation of the inputs; see :attr:`klayer.study.Run.standardiser`."""
    path = run.path / "inputs.safetensors"
    inputs, _ = read_arrays(path, sealed=not run.outdated)
    shape = (run.info["data"]["n_features"],)
    if {key: value.shape for key, value in inputs.items()} == {"mean": shape, "scale": shape}:
        standardiser = Standardiser(**inputs)
        wanted = run.info["data"]["fingerprint"].get("standardiser")
        if wanted in (None, standardiser_digest(standardiser)):
            return standardiser
    raise Damaged(f"{path} holds a standardiser that isn't the one that {run.path} trained with.")
