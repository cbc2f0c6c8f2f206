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

__all__ = ["load_again", "read_standardiser", "require_same"]


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
    return dataset


def require_same(run: StoredRun, dataset: Dataset) -> None:
    """Refuse data that are given for those that a run began with, and differ from them."""
    changed = _changed(run, dataset)
    if changed:
        raise KlayerError(
            f"a run goes on with the data that it began with, but those that are given differ from what "
            f"{run.path} was made with (what differs: {', '.join(changed)}): give the same rows, labels "
            "and parts, or start a new run."
        )


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
    have = dataset.fingerprint
    changed = [part for part in stored if stored[part] != have.get(part)]
    if tuple(run.info["data"]["class_names"]) != dataset.class_names:
        changed.append("the names of what is predicted")
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
