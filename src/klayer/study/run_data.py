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

__all__ = ["load_again", "read_standardiser", "same_data"]

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
    given = run.info["data"].get("given", False)
    try:
        dataset = load(name, data_dir=folder, may_download=may_download, **said)
    except KlayerError as error:
        if given:
            raise _needs_data(run) from error
        raise
    changed = _changed(run, dataset)
    if changed and given:  # the name is another's, too
        raise _needs_data(run)
    if changed:
        raise KlayerError(
            f"a run goes on with the data that it began with, but {name!r} has changed since "
            f"{run.path} was made (what differs: {', '.join(changed)}): start a new run."
        )
    return _measured_then(run, dataset)


def same_data(run: StoredRun, dataset: Dataset) -> Dataset:
    """Return data that are given for those that a run began with; refuse them if they differ."""
    changed = _changed(run, dataset)
    if changed:
        raise KlayerError(
            f"a run goes on with the data that it began with, but those that are given differ from what "
            f"{run.path} was made with (what differs: {', '.join(changed)}): give the same rows, labels "
            "and parts, or start a new run."
        )
    return _measured_then(run, dataset)


def _measured_then(run: StoredRun, dataset: Dataset) -> Dataset:
    """Return the same rows with the run's mean and scale: another version may find other last bits."""
    try:
        return dataset.measured_as(run.standardiser, run.targets or dataset.targets)
    except Damaged:
        return dataset  # of which it is written again


def _needs_data(run: StoredRun) -> KlayerError:
    data = run.info["data"]
    path, rows = str(run.path), sum(data["samples"].values())
    verb = "search" if run.kind == "search" else "study"
    what = f"{data['name']!r}, {rows:,} rows of {data['n_features']:,} features"
    return KlayerError(
        f"{path} was made with data that were given in Python ({what}), so no name leads to them: give "
        f"them again, as in kl.resume_{verb}({path!r}, X, y), or, for its page, "
        f"kl.Run({path!r}).use_data(X, y)."
    )


def _changed(run: StoredRun, dataset: Dataset) -> list[str]:
    """Return which parts of the data differ from those that the run was made with."""
    stored: dict[str, str] = run.info["data"]["fingerprint"]
    changed = differing(stored, dataset.fingerprint)
    if tuple(run.info["data"]["class_names"]) != dataset.class_names:
        changed.append("the names of what is predicted")
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
