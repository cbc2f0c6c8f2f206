"""How good a population is on data that it is not training on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Batch, Network, Plan, Workspace
from klayer.train.feed import Rows
from klayer.train.metrics import metrics_of

__all__ = ["SPLITS_OF_CURVES", "evaluate"]

Array = NDArray[Any]

# The splits that curves follow.
SPLITS_OF_CURVES = ("train", "validation")

# Rows at a time: large enough for full-speed products, small enough for the cache.
ROWS = 500


def evaluate(
    network: Network,
    params: dict[str, Array],
    running: dict[str, Array],
    rows: Rows,
    numbers: Mapping[str, Array],
    ws: Workspace,
    *,
    curves: bool = False,
) -> dict[str, Array]:
    """Cost, loss and scores of trained networks, batch normalisation by running statistics.

    Parameters
    ----------
    network : Network
    params, running : dict of array, shape (P, ...)
    rows : Rows
        The loss is a mean by their weights, if they have any; scores count every row once.
    numbers : mapping of array, shape (P,)
        The settings that are a number per network: ``l2``, ``smoothing``, ...
    ws : Workspace
    curves : bool
        Whether to measure that alone which curves follow.

    Returns
    -------
    values : dict of array, float64, shape (P,)
        ``loss`` (the mean of what is trained on, for standardised targets), ``cost`` (loss + penalty),
        and the scores of the network's task: see :func:`klayer.train.metrics.measures`. A network
        with an output that is not finite has no score, NaN: it would count as an answer, class 0.
    """
    metrics, l2 = metrics_of(network.task, curves=curves), numbers["l2"]
    finite = np.ones(len(l2), bool)
    loss = np.zeros(len(l2))
    totals: dict[str, Any] = dict.fromkeys(metrics, 0.0)
    plans: dict[int, Plan] = {}
    weight = 0.0
    with np.errstate(all="ignore"):
        for x, y, w in rows.blocks(ROWS):
            plan = plans.get(len(x))
            if plan is None:
                batch = Batch(x, y, weights=w)
                plan = plans[len(x)] = network.plan(
                    params, batch, running=running, training=False, ws=ws, numbers=numbers
                )
            plan.batch.x, plan.batch.labels, plan.batch.weights = x, y, w
            outputs = plan.forward()
            finite &= np.isfinite(outputs).all(axis=(1, 2))
            point = network.point(outputs)
            for name, metric in metrics.items():
                totals[name] = totals[name] + metric.block(point, y)
            loss += plan.losses().astype(float) * len(y)
            weight += len(y) if w is None else float(w.sum())
        loss /= weight
        penalty = network.penalty(params, l2.astype(rows.dtype)).astype(float)
        scale = np.ones(1) if rows.scale is None else rows.scale
        scores = {
            name: np.where(finite, metric.result(totals[name], rows.labels, scale), np.nan)
            for name, metric in metrics.items()
        }
    return {"cost": loss + penalty, "loss": loss, **scores}
