"""The architecture of a network: what settings ask for, and what stored weights describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klayer.data import Dataset
from klayer.nn import Network
from klayer.train import Settings

__all__ = ["network_for", "network_from"]


def network_for(settings: Settings, dataset: Dataset) -> Network:
    """Return the architecture that settings ask for on a data set."""
    return Network(
        dataset.n_features,
        settings.hidden,
        dataset.n_classes,
        settings.batch_norm,
        settings.bn_eps,
        settings.activation,
    )


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
