"""How large a part should be, from measured speed and memory, and how long n workers will take."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from klayer.study.execute.local import Local
from klayer.study.execute.part import Order, PartSpec
from klayer.study.execute.timing import seconds_of_each
from klayer.train.costs import best_chunk

__all__ = ["Sizes", "memory_bytes", "part_sizes", "spread_seconds"]

# Parts for each hand: fewer leave some idle in the end, more cost their beginnings.
PARTS_PER_HAND = 3
# Seconds that a part should take: its beginning and its end cost some 0.05 s, and a worker that is lost
# up to 10 s.
LEAST_PART, MOST_PART = 2.0, 120.0
# The share of the memory that parts may take; and numbers for each parameter: itself, its gradient, the
# optimiser's, those that are kept beside it, and what a file of them takes while it is written.
MEMORY_SHARE, COPIES = 0.5, 8


@dataclass(frozen=True)
class Sizes:
    """How orders are cut.

    Attributes
    ----------
    networks : list of int
        In a part, at the most, of each order.
    seconds : list of float
        Of one thread, for all networks of each order.
    """

    networks: list[int]
    seconds: list[float]

    def parts(self, orders: Sequence[Order]) -> int:
        """Return how many parts that makes."""
        return sum(
            -(-len(order.pack.jobs) // most)
            for order, most in zip(orders, self.networks, strict=True)
        )


def part_sizes(
    orders: Sequence[Order], local: Local, hands: int, memory: float, seconds: Sequence[float] = ()
) -> Sizes:
    """Return how many networks a part of each order should have.

    So many that all parts take about the same time, :data:`PARTS_PER_HAND` of them for each hand; no
    more than fit into a hand's memory.

    Parameters
    ----------
    orders : sequence of Order
    local : Local
        Open; a few updates of each order are timed on it.
    hands : int
        How many parts are trained at once.
    memory : float, in bytes
        Of one hand.
    seconds : sequence of float, optional
        What each order takes, where that is known.
    """
    measured = list(seconds) or _measured(orders, local)
    each = sum(measured) / (hands * PARTS_PER_HAND)
    each = min(MOST_PART, max(LEAST_PART, each))
    networks = []
    for order, cost in zip(orders, measured, strict=True):
        n = len(order.pack.jobs)
        # As many pieces as take that time; rounded, so that they are alike.
        by_time = math.ceil(n / max(1, round(cost / each)))
        network = order.spec.settings.network(
            local.dataset.n_features, local.dataset.n_classes, local.dataset.task
        )
        parameters = sum(math.prod(shape) for shape in network.shapes().values())
        by_memory = MEMORY_SHARE * memory / (parameters * 8 * COPIES)
        networks.append(max(1, min(n, by_time, int(by_memory))))
    return Sizes(networks, measured)


def spread_seconds(sizes: Sizes, orders: Sequence[Order], hands: int) -> float:
    """Return how long so many hands will take: the parts are dealt out one after the other."""
    ends = [0.0] * max(1, hands)
    for order, most, cost in zip(orders, sizes.networks, sizes.seconds, strict=True):
        pieces = -(-len(order.pack.jobs) // most)
        for _ in range(pieces):
            first = min(range(len(ends)), key=ends.__getitem__)
            ends[first] += cost / pieces
    return max(ends)


def memory_bytes() -> float:
    """Return the memory of this machine; 8 GiB where the system doesn't tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return 8.0 * 2**30


def _measured(orders: Sequence[Order], local: Local) -> list[float]:
    """Return what each order takes on one thread, from as many networks as are trained side by side."""
    parts, shares = list[tuple[PartSpec, int]](), list[float]()
    for order in orders:
        n, settings = len(order.pack.jobs), order.spec.settings
        network = settings.network(
            local.dataset.n_features, local.dataset.n_classes, local.dataset.task
        )
        chunk = min(n, best_chunk(network, settings.batch_size))
        parts.append((replace(order.spec, members=order.spec.members[:chunk]), order.updates))
        shares.append(n / chunk)
    seconds = seconds_of_each(parts, local)
    return [share * found for share, found in zip(shares, seconds, strict=True)]
