"""The data of a run: loaded again where they lie, and compared with those that it began with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from klayer.data import Dataset, Standardiser, load
from klayer.data.fingerprint import differing, standardiser_digest
from klayer.data.options import OPTIONS
from klayer.errors import KlayerError
from klayer.files import Damaged, read_arrays
from klayer.study.schema import AGAIN

if TYPE_CHECKING:
    from klayer.study.stored_run import StoredRun

__all__ = ["load_again", "read_standardiser"]

# Two ways to sum up the same rows differ by less than this share.
ROUNDING = 1e-9


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
    try:
        # Another version may have summed up the same rows to other last bits.
        return dataset.measured_as(run.standardiser, run.targets or dataset.targets)
    except Damaged:
        return dataset  # of which it is written again


def _changed(run: StoredRun, dataset: Dataset) -> list[str]:
    """Return which parts of the data differ from those that the run was made with."""
    stored: dict[str, str] = run.info["data"]["fingerprint"]
    changed = differing(stored, dataset.fingerprint)
    if changed or stored.get("standardiser") == dataset.fingerprint["standardiser"]:
        return changed
    try:
        return [] if _alike(run.standardiser, dataset.standardiser) else ["standardiser"]
    except Damaged as error:
        if not stored:
            raise Damaged(f"{error} {AGAIN}") from None
        return ["standardiser"]


def _alike(one: Standardiser, other: Standardiser) -> bool:
    """Say whether two standardisers are the same but for rounding."""
    if one.mean.shape != other.mean.shape:
        return False
    near = ROUNDING * (np.abs(other.mean) + other.scale)
    pairs = ((one.mean, other.mean), (one.scale, other.scale))
    return all(bool((np.abs(a - b) <= near).all()) for a, b in pairs)


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
