"""``run.json``: what a run was made with, written twice, so that damage to one can be mended."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from klayer.data import Dataset, Standardiser
from klayer.errors import KlayerError
from klayer.files import Damaged, read_json, write_json
from klayer.study.provenance import machine, versions
from klayer.study.schema import AGAIN, SCHEMA, migrated
from klayer.study.secrets import without_passwords

__all__ = ["INFO_FILES", "described", "is_described_twice", "read_info", "write_info"]

# The copy is written first: a folder is a run once it has `run.json`.
INFO_FILES = ("run.json.copy", "run.json")


def described(
    kind: str,
    config: Mapping[str, Any],
    dataset: Dataset,
    data_dir: str | Path | None,
    now: datetime.datetime,
    *,
    given: bool = False,
) -> dict[str, Any]:
    """Return what ``run.json`` says of a new run: resolved configuration, data, versions, machine."""
    found = sys.argv if "klayer" in Path(sys.argv[0]).name else None
    return {
        "schema": SCHEMA,
        "kind": kind,
        "created": now.isoformat(timespec="seconds"),
        "command": found and ["klayer", *(without_passwords(word) for word in found[1:])],
        "config": config,
        "data": {
            "name": dataset.name,
            "data_dir": data_dir,
            "given": given,
            "n_features": dataset.n_features,
            "task": dataset.task,
            "class_names": dataset.class_names,
            "targets": _stored_targets(dataset.targets),
            "encoder": dataset.encoder and dataset.encoder.as_plain(),
            "image_shape": dataset.image_shape,
            "value_range": dataset.value_range,
            "samples": {name: len(split) for name, split in dataset.splits.items()},
            "source": dataset.source,
            "class_counts": _class_counts(dataset),
            "notes": dataset.notes,
            "background": dataset.background,
            "fingerprint": dataset.fingerprint,
        },
        "versions": versions(),
        "machine": machine(),
    }


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Write ``run.json`` and its copy."""
    for name in INFO_FILES:
        write_json(folder / name, info)


def is_described_twice(folder: Path) -> bool:
    """Return whether ``run.json`` and its copy are both there and whole."""
    for name in INFO_FILES:
        try:
            read_json(folder / name, sealed=True)
        except (FileNotFoundError, Damaged):
            return False
    return True


def read_info(folder: Path, *, mending: bool) -> tuple[dict[str, Any], bool, list[str]]:
    """Read ``run.json``.

    Parameters
    ----------
    folder : Path
    mending : bool
        Whether its copy may stand in for it, if it is damaged.

    Returns
    -------
    info : dict
        In today's schema.
    outdated : bool
        Whether it was of an older one.
    faults : list of str
        What is damaged.

    Raises
    ------
    KlayerError
        If there is none, a later version wrote it, or it is damaged.
    """
    path = folder / "run.json"
    try:
        if not path.exists():
            if (folder / "run.json.copy").exists():
                raise Damaged(f"{path} is missing.")
            raise KlayerError(
                f"a run directory holds a file run.json, but {folder} has none: "
                "pass the folder that `klayer train`, `study` or `search` printed."
            )
        stored = read_json(path)
        if isinstance(stored, dict) and stored.get("schema") == SCHEMA:
            stored = read_json(path, sealed=True)
    except Damaged as error:
        try:
            info = migrated(read_json(folder / "run.json.copy", sealed=True), path)
        except (FileNotFoundError, KlayerError):
            raise Damaged(f"{error} {AGAIN}") from None
        if not mending:
            again = f"`klayer {info['kind']} --resume {folder}`"
            raise Damaged(f"{error} {again} puts it back from its copy.") from None
        return info, False, [f"{error} It is put back from its copy."]
    info = migrated(stored, path)
    return info, info is not stored, []


def _stored_targets(targets: Standardiser | None) -> dict[str, list[float]] | None:
    """Return mean and scale as JSON has them, to the last bit."""
    if targets is None:
        return None
    return {"mean": targets.mean.tolist(), "scale": targets.scale.tolist()}


def _class_counts(dataset: Dataset) -> dict[str, list[int]] | None:
    """Return the rows of each class in each split; None where a row has no class."""
    if dataset.task != "classification":
        return None
    return {
        name: np.bincount(split.labels, minlength=dataset.n_classes).tolist()
        for name, split in dataset.splits.items()
    }
