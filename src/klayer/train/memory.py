"""Whether networks fit into this machine's memory, asked before any of it is taken."""

from __future__ import annotations

import math
import os

from klayer.errors import KlayerError
from klayer.nn import Network
from klayer.train.costs import LEAST_CHUNK

__all__ = ["require_memory"]

_COPIES = 3  # of a number: itself, its gradient, what belongs to it


def require_memory(network: Network, networks: int, samples: int, itemsize: int) -> None:
    """Refuse networks that would not fit into this machine's memory, before any of it is taken.

    Counted are parameters, gradients and the optimiser's slots of all networks, and the activations of
    those that train side by side, forward and backward.

    Parameters
    ----------
    network : Network
    networks : int
    samples : int
        Of a mini-batch.
    itemsize : int
        Bytes of a number.

    Raises
    ------
    KlayerError
        With what they need and what there is.

    Examples
    --------
    >>> require_memory(Network(10, (10**6, 10**6), 10), 1, 100, 4)
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: 1 network with 1,000,022,000,010 parameters would need about ...
    """
    parameters = sum(math.prod(shape) for shape in network.shapes().values())
    active = min(networks, LEAST_CHUNK) * samples * sum(network.widths)
    needed = itemsize * (_COPIES * networks * parameters + _COPIES * active)
    there = _memory_bytes()
    if needed > there:
        plural = "networks" if networks > 1 else "network"
        raise KlayerError(
            f"{networks:,} {plural} with {parameters:,} parameters would need about "
            f"{needed / 2**30:,.1f} GiB, but this machine has {there / 2**30:,.1f} GiB: ask for fewer "
            "networks, or for fewer or narrower layers."
        )


def _memory_bytes() -> float:
    """Return the memory of this machine; where the system doesn't tell, 64 GiB."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return 64.0 * 2**30
