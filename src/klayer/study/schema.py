"""The schema of run directories: its number, and how what older versions wrote becomes today's."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from klayer.errors import KlayerError
from klayer.files import Damaged, read_arrays, read_json, write_arrays, write_json
from klayer.nn import Network

__all__ = ["AGAIN", "RESULTS", "SCHEMA", "Stored", "damage", "migrated", "network_from", "seal_all"]

# 1: no number; the folder of the data among the configuration, no fingerprint of the data; the
# architecture of stored weights without its pieces. 2: no digests, no id.
SCHEMA = 3

# What to do about a damaged run.json.
AGAIN = "Put the file back as it was, or start a new run."


class Stored(BaseModel):
    """A table that klayer wrote and that is only checked: nothing is turned into another kind."""

    model_config = ConfigDict(strict=True)


class _Samples(Stored):
    """How many samples a split has; others may be there."""

    train: int = Field(ge=1)
    validation: int = Field(default=0, ge=0)
    test: int = Field(default=0, ge=0)


class _Targets(Stored):
    """Mean and scale of each target of a regression."""

    mean: list[float] = Field(min_length=1)
    scale: list[float] = Field(min_length=1)


class _Data(Stored):
    """What is read of ``data`` in ``run.json``."""

    name: str
    data_dir: str | None
    given: bool = False
    n_features: int = Field(ge=1)
    class_names: list[str] = Field(min_length=1)
    task: Literal["classification", "regression", "multilabel"] = "classification"
    targets: _Targets | None = None
    encoder: list[dict[str, Any]] | None = None
    image_shape: list[int] | None
    value_range: list[float] = Field(min_length=2, max_length=2)
    samples: _Samples
    class_counts: dict[str, list[int]] | None = None
    notes: list[str] = Field(default=[])
    background: Literal["white", "black"] = "white"
    fingerprint: dict[str, str]


class _Machine(Stored):
    """What is read of ``machine`` in ``run.json``."""

    system: str
    cpu: str
    cores: int
    memory_bytes: int | None
    blas: list[str] = Field(default=[])


class _Info(Stored):
    """What is read of ``run.json``."""

    id: str | None = None
    kind: Literal["train", "study", "search"]
    created: str
    command: list[str] | None = None
    config: dict[str, Any]
    data: _Data
    versions: dict[str, Any]
    machine: _Machine


class _Line(Stored):
    """What is read of a network's line in ``summary.json``."""

    part: str
    arm: str
    seed: int


class _LostLine(_Line):
    """A network that could not be trained."""

    reason: str


class _Summary(Stored):
    """What is read of ``summary.json``."""

    networks: list[_Line] = Field(default=[])
    lost: list[_LostLine] = Field(default=[])
    seconds: float | None = None
    network_seconds: float | None = None
    peak_memory_bytes: int | None = None


class _Trials(Stored):
    """What is read of ``trials.json``."""

    importance: dict[str, float] | None = None


class _Row(Stored):
    """What is read of a row of ``gradcheck.json``: an array that was checked."""

    layers: int
    batch_norm: Literal["none", "hidden", "all"]
    name: str
    published: float | None
    central: float | None
    measured: float | None
    norm_error: float | None
    scaled_error: float | None
    verdict: str
    method: str


class _GradientCheck(Stored):
    """What is read of ``gradcheck.json``."""

    setting: str | None = None
    rows: list[_Row] = Field(default=[])


# What a run found out, by the file; others are free.
RESULTS: Mapping[str, type[BaseModel]] = {
    "summary.json": _Summary,
    "trials.json": _Trials,
    "gradcheck.json": _GradientCheck,
}


def migrated(info: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what ``run.json`` says in today's schema; the very same object if it is in it already.

    Raises
    ------
    KlayerError
        If it is damaged, or a later version wrote it.
    """
    if not isinstance(info, dict) or not {"kind", "config", "data"} <= info.keys():
        raise KlayerError(
            f"{path} must say kind, config and data, but doesn't: it is damaged. Start a new run."
        )
    schema = info.get("schema", 1)
    if type(schema) is not int or schema < 1:
        raise Damaged(f"{path}: 'schema' must be a whole number >= 1, but got {schema!r}. {AGAIN}")
    if schema > SCHEMA:
        versions = info.get("versions")
        by = versions.get("klayer") if isinstance(versions, dict) else None
        raise KlayerError(
            f"{path} has schema {schema}, written by klayer {by}, but this version reads schemas up "
            f"to {SCHEMA}: install a later klayer."
        )
    found = info
    if schema < SCHEMA:
        found = {**(_from_first(info) if schema == 1 else info), "schema": SCHEMA, "id": None}
        if isinstance(found["data"], dict):
            found["data"] = {"task": "classification", "notes": [], **found["data"]}
    what = damage(_Info, found)
    if what:
        raise Damaged(f"{path}: {what}. {AGAIN}")
    return found


def damage(table: type[BaseModel], values: Any) -> str:
    """Return what of a file's values is missing or of another kind; empty if nothing is."""
    try:
        table.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        missing = problem["type"] == "missing"
        what = "is missing" if missing else f"is damaged: got {problem['input']!r:.80}"
        return f"{place!r} {what}" if place else f"its content {what}"
    return ""


def _from_first(info: dict[str, Any]) -> dict[str, Any]:
    """Return what schema 1 said in today's schema; what is damaged stays, to be refused."""
    config, data = info["config"], info["data"]
    if not isinstance(config, dict) or not isinstance(data, dict):
        return info
    config, data = dict(config), dict(data)
    data |= {"data_dir": config.pop("data_dir", None), "n_features": data.pop("features", None)}
    return {**info, "config": config, "data": {**data, "fingerprint": {}}}


def seal_all(folder: Path) -> None:
    """Give the files of a run of an older schema their digests, all but its lines and ``run.json``.

    What is damaged stays as it is, to be found by whoever reads it.
    """
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")]):
        with contextlib.suppress(Damaged):
            write_arrays(path, *read_arrays(path))
    for name in (*RESULTS, "search.json"):
        with contextlib.suppress(Damaged, FileNotFoundError):
            found = read_json(folder / name)
            if isinstance(found, dict):
                write_json(folder / name, found)


def network_from(about: Mapping[str, Any]) -> Network:
    """Return the architecture that the metadata of stored weights describe.

    Schema 1 had it flat and under other names; all its networks were of one kind.

    Raises
    ------
    KlayerError
        For a piece that this version doesn't know, or if they are damaged.
    """
    try:
        if "network" in about:
            return Network.from_description(about["network"])
        return Network(
            about["features"], about["hidden"], about["classes"], about["batch_norm"], about["eps"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(
            f"a stored network must be described, but reading that failed: {error!r}."
        ) from None
