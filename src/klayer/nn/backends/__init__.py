"""Who carries out the updates of a population: one row each in a table.

A backend trains any network that it does not refuse, to NumPy's numbers up to rounding, and to its own
bits whatever the population, the chunks and the workers. Which one trains is chosen once, when a
population is new, and stored with its state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.nn.backends import compiled
from klayer.nn.network import Network

__all__ = ["BACKENDS", "Backend", "compiled_pays", "require"]


@dataclass(frozen=True)
class Backend:
    """A row of :data:`BACKENDS`.

    Attributes
    ----------
    refusal : callable ``(network, optimiser, needs)``
        Why it can't train such a network, with the next step; None if it can.
    """

    refusal: Callable[[Network, str, Sequence[str]], str | None]


BACKENDS: dict[str, Backend] = {
    "numpy": Backend(lambda network, optimiser, needs: None),  # noqa: ARG005
    "compiled": Backend(compiled.refusal),
}


# Loading the kernel takes half a second: a shorter training is done by then.
PAYS_FROM = 5000  # updates

# From here on a network's first layer leaves the cache: a library's products, which lay out side by side
# what they need, are then as fast, and NumPy's backend has several threads for one network.
BEYOND_THE_CACHE = 1 << 21  # bytes


def compiled_pays(W1: NDArray[Any], updates: int) -> bool:
    """Whether the compiled backend is the faster one for a first layer and a length of training.

    Parameters
    ----------
    W1 : array, shape (P, D, H)
    updates : int

    Examples
    --------
    >>> import numpy as np
    >>> [compiled_pays(np.empty((1, 3072, H), np.float32), 10_000) for H in (50, 200)]
    [True, False]
    """
    return updates >= PAYS_FROM and W1[0].nbytes < BEYOND_THE_CACHE


def require(backend: str, network: Network, optimiser: str, needs: Sequence[str] = ()) -> None:
    """Raise an error if a backend can't train a network.

    Parameters
    ----------
    backend : str
    network : Network
    optimiser : str
    needs : sequence of str
        What it has to know beside: ``clip_norm``.

    Raises
    ------
    KlayerError
        With the reason, and the next step.

    Examples
    --------
    >>> require("numpy", Network(4, (3,), 2), "sgd")
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    if refusal := BACKENDS[backend].refusal(network, optimiser, needs):
        raise KlayerError(f"backend={backend!r} can't train this network: {refusal}.")
