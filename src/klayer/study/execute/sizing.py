"""How large a part should be, from measured speed and memory, and how long n workers will take."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from klayer.study.execute.local import Local
from klayer.study.execute.part import Order, PartSpec, Unheard
from klayer.train import Member, Settings
from klayer.train.costs import best_chunk, update_seconds

__all__ = ["Sizes", "memory_bytes", "part_sizes", "seconds_of", "spread_seconds"]

# Seconds of training that are timed, of all populations together and of each at the least.
SAMPLE_SECONDS, LEAST_SECONDS = 0.8, 0.03
# Calls of a few updates, of which the fastest counts: what else runs on the machine only slows down.
LEAST_CALLS = 3
# An update costs about so many times what it costs to look at its rows: forward, back twice as much.
UPDATE_TO_LOOK = 3.0

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
    """Time kinds of populations, each by as many networks as are trained side by side.

    Where there are too many kinds, the others are reckoned from those that were timed.
    """
    began, timed = time.perf_counter(), dict[tuple[Settings, int], float]()
    reckoned, ratios, found = dict[tuple[Settings, int], float](), list[float](), list[float]()
    for order in orders:
        n, settings = len(order.pack.jobs), order.spec.settings.shared
        network = settings.network(
            local.dataset.n_features, local.dataset.n_classes, local.dataset.task
        )
        chunk = min(n, best_chunk(network, settings.batch_size))
        key = settings, chunk
        if key not in reckoned:
            about = update_seconds(network, settings.batch_size, chunk) / chunk
            reckoned[key] = order.updates * about
            if time.perf_counter() - began < SAMPLE_SECONDS or not ratios:
                some = replace(order.spec, members=order.spec.members[:chunk])
                timed[key] = seconds_of(some, order.updates, local, LEAST_SECONDS) / chunk
                ratios.append(timed[key] / reckoned[key])
        found.append(n * timed.get(key, reckoned[key] * statistics.median(ratios)))
    return found


def seconds_of(spec: PartSpec, total: int, local: Local, share: float) -> float:
    """Time a few updates, and extrapolate; the first call doesn't count: it prepares and compiles.

    Parameters
    ----------
    spec : PartSpec
    total : int
        Updates of the whole training.
    local : Local
    share : float, in seconds
        How long to time.
    """
    dataset, settings, spec = local.dataset, spec.settings, _brief(spec)
    began = time.perf_counter()
    state = local.train_part(replace(spec, until=1), local.start_part(spec), Unheard())
    per_update = first = time.perf_counter() - began
    spent, calls, step = 0.0, 0, 1
    while state.update < total and (spent < share or calls < LEAST_CALLS):
        before = state.update
        part = replace(spec, until=min(before + step, total))
        started = time.perf_counter()
        state = local.train_part(part, state, Unheard())
        took = time.perf_counter() - started
        fastest = min(per_update, took / max(1, state.update - before))
        per_update = fastest if calls else took / max(1, state.update - before)
        spent, calls, step = spent + took, calls + 1, 2 * step
    if not calls:
        return first
    sizes = [len(split) for split in dataset.splits.values()]
    curves = sum(
        min(len(split), settings.curve_samples)
        for name, split in dataset.splits.items()
        if name != "test"
    )
    points = max(1, round(settings.cycles * settings.points_per_cycle)) + 1
    looked_at = (points * curves + sum(sizes)) / settings.batch_size
    return per_update * (total + looked_at / UPDATE_TO_LOOK)


def _brief(spec: PartSpec) -> PartSpec:
    """Return the same networks with next to no points of their curves, which would take the time."""
    members = tuple(
        Member(replace(one.settings, curve_samples=1), one.seed) for one in spec.members
    )
    return replace(spec, members=members, until=None)
