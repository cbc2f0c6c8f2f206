"""How good a population is on data that it is not training on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Batch, Network, Plan, Workspace
from klayer.train.feed import Rows

__all__ = ["MEASURES", "SPLITS_OF_CURVES", "evaluate"]

Array = NDArray[Any]

# What is measured on a split, and the splits that curves follow.
MEASURES = ("cost", "loss", "accuracy")
SPLITS_OF_CURVES = ("train", "validation")

# Rows at a time: large enough for full-speed products, small enough for the cache.
ROWS = 500


def evaluate(
    network: Network,
    params: dict[str, Array],
    running: dict[str, Array],
    rows: Rows,
    l2: Array,
    ws: Workspace,
) -> dict[str, Array]:
    """Cost, loss and accuracy of trained networks, batch normalisation by running statistics.

    Parameters
    ----------
    network : Network
    params, running : dict of array, shape (P, ...)
    rows : Rows
    l2 : array, shape (P,)

    Returns
    -------
    values : dict of array, float64, shape (P,)
        Keys :data:`MEASURES`: ``loss`` (mean cross-entropy), ``cost`` (loss + penalty), ``accuracy``
        (0 to 1).
    """
    loss = np.zeros(len(l2))
    correct = np.zeros(len(l2))
    plans: dict[int, Plan] = {}
    with np.errstate(all="ignore"):
        for x, y in rows.blocks(ROWS):
            plan = plans.get(len(x))
            if plan is None:
                plan = plans[len(x)] = network.plan(
                    params, Batch(x, y), running=running, training=False, ws=ws
                )
            plan.batch.x, plan.batch.labels = x, y
            logits = plan.forward()
            correct += (logits.argmax(axis=-1) == y).sum(axis=-1)  # (P, N) -> (P,)
            loss += plan.losses().astype(float) * len(y)
        loss /= len(rows)
        penalty = network.penalty(params, l2.astype(rows.dtype)).astype(float)
    return {"cost": loss + penalty, "loss": loss, "accuracy": correct / len(rows)}
