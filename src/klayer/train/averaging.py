"""Averages of weights along the training, and the statistics of batch normalisation for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Batch, Network, Plan, Workspace
from klayer.nn.gradients import lanewise
from klayer.nn.pieces import BatchNorm
from klayer.train.average_shares import average_shares
from klayer.train.batches import Batches
from klayer.train.feed import Rows
from klayer.train.population import Population

__all__ = ["Averaging", "statistics"]

Array = NDArray[Any]


class Averaging:
    """The average of some networks' weights: ``a += c_t (W - a)`` after each update.

    Parameters
    ----------
    population : Population
        Whose state holds the average: it moves with the weights.
    lanes : slice
    ws : Workspace
    """

    def __init__(self, population: Population, lanes: slice, ws: Workspace) -> None:
        state = population.state
        self._population, self._lanes, self._ws = population, lanes, ws
        averages = state.copies["average"]
        self._parts = [
            (average[lanes][part], here[lanes][part], part[0])
            for group in (state.params, state.running)
            for key, here in group.items()
            for average in [averages[key]]
            for part in lanewise(here[lanes])
        ]

    def prepare(self, updates: range) -> None:
        """Look ahead: compute the weights of some updates."""
        one = self._population
        decay = one.numbers["ema_decay"][self._lanes]
        shares = average_shares(one.settings, one.course, decay, np.array(updates))
        self._shares = shares.astype(one.dtype)  # (T, P)

    def update(self, i: int) -> None:
        """Take in what the i-th of the updates has made of the weights."""
        share = self._shares[i]
        if not share.any():
            return
        for average, here, lanes in self._parts:
            moved = self._ws.array("averaged", here.shape, here.dtype)
            np.subtract(here, average, out=moved)
            np.multiply(moved, share[lanes].reshape(-1, *(1,) * (here.ndim - 1)), out=moved)
            np.add(average, moved, out=average)


def statistics(
    network: Network,
    params: dict[str, Array],
    rows: Rows,
    batches: Batches,
    numbers: dict[str, Array],
    ws: Workspace,
) -> dict[str, Array]:
    """Return running statistics that fit some weights: the mean over the mini-batches of a split.

    Averaged weights give other activations than any of the weights that they are an average of, and so
    the statistics that were gathered on the way don't fit them. Source: Izmailov et al. 2018,
    arXiv:1803.05407, section 3.2.

    Parameters
    ----------
    network : Network
    params : dict of array, shape (P, ...)
    rows : Rows
    batches : Batches
        Those of one epoch; a smaller last one is left out.
    numbers : dict of array, shape (P,)
    ws : Workspace

    Returns
    -------
    running : dict of array, shape (P, H)
    """
    some = next(iter(params.values()))
    running = network.init_running(len(some), some.dtype)
    sums = {key: np.zeros(value.shape) for key, value in running.items()}
    plan: Plan | None = None
    count = 0
    for t in range(batches.per_epoch):
        index = batches[t]
        if len(index) < batches.batch_size:
            continue
        x = rows.take(index)
        if plan is None:
            weights = None if rows.weights is None else rows.weights[index]
            first = Batch(x, rows.labels[index], weights=weights)
            plan = network.plan(params, first, running=running, ws=ws, numbers=numbers)
        plan.batch.x, plan.batch.update = x, t
        plan.forward()
        count += 1
        for piece, one in zip(plan.pieces, plan.passes, strict=True):
            if isinstance(piece, BatchNorm):
                sums[f"running_mean{piece.layer}"] += one.mean[:, 0]  # type: ignore[attr-defined]
                sums[f"running_var{piece.layer}"] += one.var[:, 0]  # type: ignore[attr-defined]
    return {key: (value / count).astype(some.dtype) for key, value in sums.items()}
