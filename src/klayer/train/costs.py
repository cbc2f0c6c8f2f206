"""What an update costs, about: how many workers, and networks at a time, are worth it.

NumPy's calls hold the interpreter for a while each, whatever the arrays' size. Where the arithmetic of
all networks takes less than that, a second worker would only wait for the first. This concerns speed
alone: no bit depends on it.
"""

from __future__ import annotations

from itertools import pairwise

from klayer.nn import Network

__all__ = ["best_chunk", "standardise_on_the_way", "update_seconds", "useful_workers"]

# Measured on two cores (AMD EPYC): the interpreter's share in an update of a chunk, products of small
# matrices, elementwise passes over arrays in the cache.
CALLS_SECONDS = 100e-6
PRODUCTS_PER_SECOND = 1e11
ELEMENTS_PER_SECOND = 8e9
STANDARDISED_PER_SECOND = 2.5e9
LITTLE = 0.05
PASSES = 12  # over the activations of a layer, forward and backward

# Measured there on CIFAR-10's shape: a chunk of 16 amortises the interpreter (30 networks take 8 % less
# than in chunks of 8) and larger ones gain nothing; small networks gain up to 64.
LEAST_CHUNK, MOST_CHUNK = 16, 64


def _arithmetic_seconds(network: Network, samples: int) -> float:
    """Seconds that an update of one network takes beside the interpreter's share."""
    widths = network.widths
    products = 6 * samples * sum(a * b for a, b in pairwise(widths))
    passes = PASSES * samples * sum(widths[1:])
    return products / PRODUCTS_PER_SECOND + passes / ELEMENTS_PER_SECOND


def update_seconds(network: Network, samples: int, networks: int) -> float:
    """Return about how long an update of networks side by side takes on one thread.

    Examples
    --------
    >>> small, large = Network(10, (16,), 10), Network(64, (50, 50), 10)
    >>> update_seconds(small, 32, 16) < update_seconds(large, 32, 16) < update_seconds(large, 32, 64)
    True
    """
    return CALLS_SECONDS + networks * _arithmetic_seconds(network, samples)


def useful_workers(network: Network, samples: int, networks: int) -> int:
    """Return how many workers at the most have more to do than to wait for the interpreter.

    Parameters
    ----------
    network : Network
    samples : int
        Of a mini-batch.
    networks : int

    Examples
    --------
    >>> small, large = Network(10, (16,), 10), Network(64, (50, 50), 10)
    >>> [useful_workers(one, samples=32, networks=30) for one in (small, large)]
    [1, 5]
    """
    return max(1, round(networks * _arithmetic_seconds(network, samples) / CALLS_SECONDS))


def standardise_on_the_way(network: Network, samples: int, networks: int) -> bool:
    """Whether raw rows may be standardised batch by batch: that is little beside the updates.

    Examples
    --------
    >>> [standardise_on_the_way(Network(3072, (50, 50), 10), 100, P) for P in (1, 8)]
    [False, True]
    """
    batch = samples * network.n_features / STANDARDISED_PER_SECOND
    return batch < LITTLE * networks * _arithmetic_seconds(network, samples)


def best_chunk(network: Network, samples: int) -> int:
    """Return how many networks are best trained side by side.

    Examples
    --------
    >>> [best_chunk(Network(D, (H,), 10), 32) for D, H in ((10, 16), (54, 128), (3072, 50))]
    [64, 16, 16]
    """
    chunk, each = LEAST_CHUNK, _arithmetic_seconds(network, samples)
    while chunk < MOST_CHUNK and chunk * each < CALLS_SECONDS:
        chunk *= 2
    return chunk
