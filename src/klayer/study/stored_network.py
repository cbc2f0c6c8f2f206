"""The architecture of a stored network: how it is made, written down, and made again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klayer.data import Dataset
from klayer.nn import Network
from klayer.train import Settings

__all__ = ["describe_network", "network_for", "network_from"]


def network_for(settings: Settings, dataset: Dataset) -> Network:
    """Return the architecture that settings ask for on a data set."""
    return Network(
        dataset.n_features,
        settings.hidden,
        dataset.n_classes,
        settings.batch_norm,
        settings.bn_eps,
    )


def describe_network(network: Network) -> dict[str, Any]:
    """Return plain values that :func:`network_from` reads back."""
    return {
        "n_features": network.n_features,
        "hidden": network.hidden,
        "n_classes": network.n_classes,
        "batch_norm": network.batch_norm,
        "eps": network.eps,
    }


def network_from(about: Mapping[str, Any]) -> Network:
    """Return the architecture that the metadata of stored weights describe.

    Schema 1 had it flat, under other names.
    """
    if "network" not in about:
        return Network(
            about["features"], about["hidden"], about["classes"], about["batch_norm"], about["eps"]
        )
    return Network(**about["network"])
