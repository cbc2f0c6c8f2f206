"""The schema of run directories: its number, and how what older versions wrote becomes today's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from klayer.errors import KlayerError
from klayer.nn import Network

__all__ = ["SCHEMA", "migrated", "network_from"]

# 1: no number; the folder of the data among the configuration, no fingerprint of the data; the
# architecture of stored weights without its pieces.
SCHEMA = 2


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
    if schema == SCHEMA:
        return info
    if schema != 1:
        raise KlayerError(
            f"{path} has schema {schema}, written by klayer {info.get('versions', {}).get('klayer')}, "
            f"but this version reads schemas up to {SCHEMA}: install a later klayer."
        )
    config, data = dict(info["config"]), dict(info["data"])
    data["data_dir"] = config.pop("data_dir", None)
    data["n_features"] = data.pop("features")
    return {"schema": SCHEMA, **info, "config": config, "data": {**data, "fingerprint": {}}}


def network_from(about: Mapping[str, Any]) -> Network:
    """Return the architecture that the metadata of stored weights describe.

    Schema 1 had it flat and under other names; all its networks were of one kind.

    Raises
    ------
    KlayerError
        For a piece that this version doesn't know.
    """
    if "network" in about:
        return Network.from_description(about["network"])
    return Network(
        about["features"], about["hidden"], about["classes"], about["batch_norm"], about["eps"]
    )
