"""How long populations will take, from a few updates that are timed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from klayer.study.execute.local import Local
from klayer.study.execute.part import PartSpec, Unheard
from klayer.train import Member, Settings
from klayer.train.costs import best_chunk, update_seconds

__all__ = ["beginning_and_update", "seconds_of_each"]

# Seconds for all kinds of populations together: what is aimed at, and after which no more are timed.
SAMPLE_SECONDS, MOST_SECONDS = 0.8, 4.0
# Seconds after which calls for one kind become no longer; one that takes so long is not repeated.
KIND_SECONDS = 2.0
# Calls of one length, of which the median counts: one that met something else on the machine doesn't.
CALLS = 3
# How much longer than a call of one update one has to be whose updates count; how fast calls grow.
OUTWEIGHS, GROWTH = 2.0, 4
# An update costs about so many times what it costs to look at its rows: forward, back twice as much.
UPDATE_TO_LOOK = 3.0


def seconds_of_each(parts: Sequence[tuple[PartSpec, int]], local: Local) -> list[float]:
    """Return how long each population will take, on the threads of this process.

    Each kind is timed once. Where there are too many kinds, or the machine is too busy, the others are
    reckoned from those that were timed.

    Parameters
    ----------
    parts : sequence of (PartSpec, int)
        Populations, with the updates of the whole training.
    local : Local
        Open.
    """
    began, found = time.perf_counter(), dict[tuple[Settings, int, int], float]()
    keys = [(spec.settings.shared, len(spec.members), total) for spec, total in parts]
    share, ratios = SAMPLE_SECONDS / max(1, len(set(keys))), list[float]()
    for key, (spec, total) in zip(keys, parts, strict=True):
        if key in found:
            continue
        about = _reckoned(spec, local)
        if not ratios or time.perf_counter() - began < MOST_SECONDS:
            found[key] = _seconds_of(spec, total, local, about, share)
            ratios.append(found[key] / (about * total))
        else:
            found[key] = about * total * statistics.median(ratios)
    return [found[key] for key in keys]


def beginning_and_update(
    call: Callable[[int], float], most: int, about: float, seconds: float
) -> tuple[float, float]:
    r"""Return what a call takes before its updates, and what each of these takes.

    A call of :math:`n` updates takes :math:`b + n c`. On a busy machine, or where a window of rows is
    read first, :math:`b` may be a thousand times :math:`c`. So :math:`c` is the slope between calls of
    one update and calls that are so long that their updates outweigh the beginning.

    Parameters
    ----------
    call : callable
        Does so many updates from the start; returns the seconds that this took.
    most : int, >= 1
        Updates of the whole training: no call is longer.
    about : float, in seconds, > 0
        What an update may take: where the search for a length begins.
    seconds : float
        How long all calls together may take where they can be as short.

    Returns
    -------
    beginning, update : float, in seconds, >= 0

    Examples
    --------
    >>> [round(found, 6) for found in beginning_and_update(lambda n: 0.1 + 0.0004 * n, 10**4, 1e-4, 0.8)]
    [0.1, 0.0004]
    """
    spent = 0.0

    def one(n: int) -> float:
        nonlocal spent
        took = call(n)
        spent += took
        return took

    def usual(n: int, first: float) -> float:
        took = [first]
        while len(took) < CALLS and first < KIND_SECONDS:
            took.append(one(n))
        return statistics.median(took)

    short = usual(1, one(1))
    if most <= 1:
        return 0.0, short
    n = min(most, max(2, math.ceil(max(short, seconds / (2 * CALLS)) / about)))
    while True:
        long = one(n)
        is_last = n == most or spent >= KIND_SECONDS
        if is_last or long >= OUTWEIGHS * short:
            long = usual(n, long)
            if is_last or long >= OUTWEIGHS * short:
                break
        n = min(most, GROWTH * n)
    update = max(0.0, (long - short) / (n - 1))
    return max(0.0, short - update), update


def _seconds_of(spec: PartSpec, total: int, local: Local, about: float, seconds: float) -> float:
    """Time a few updates, and extrapolate; the first call doesn't count: it prepares and compiles."""
    dataset, settings, spec = local.dataset, spec.settings, _brief(spec)
    start, everyone = local.start_part(spec), range(len(spec.members))

    def trained(until: int) -> tuple[int, float]:
        state, part = start.take(everyone), replace(spec, until=until)
        began = time.perf_counter()
        state = local.train_part(part, state, Unheard())
        return state.update, time.perf_counter() - began

    step, _ = trained(1)  # as few as can be carried out at once
    beginning, update = beginning_and_update(
        lambda n: trained(n * step)[1], max(1, total // step), about * step, seconds
    )
    sizes = [len(split) for split in dataset.splits.values()]
    curves = sum(
        min(len(split), settings.curve_samples)
        for name, split in dataset.splits.items()
        if name != "test"
    )
    points = max(1, round(settings.cycles * settings.points_per_cycle)) + 1
    looked_at = (points * curves + sum(sizes)) / settings.batch_size
    return beginning + update / step * (total + looked_at / UPDATE_TO_LOOK)


def _reckoned(spec: PartSpec, local: Local) -> float:
    """Return about what an update of a population takes on a machine that is known."""
    dataset, settings, n = local.dataset, spec.settings, len(spec.members)
    network = settings.network(dataset.n_features, dataset.n_classes, dataset.task)
    chunk = min(n, best_chunk(network, settings.batch_size))
    seconds = update_seconds(network, settings.batch_size, chunk) * n / chunk
    return seconds / min(local.workers, math.ceil(n / chunk))


def _brief(spec: PartSpec) -> PartSpec:
    """Return the same networks with next to no points of their curves, which would take the time."""
    members = tuple(
        Member(replace(one.settings, curve_samples=1), one.seed) for one in spec.members
    )
    return replace(spec, members=members, until=None)
