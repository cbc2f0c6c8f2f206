"""How good a population is on data that it is not training on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Network, Workspace
from klayer.nn.losses import softmax_cross_entropy

__all__ = ["evaluate"]

# Rows at a time: large enough for full-speed products, small enough for the cache.
ROWS = 500


def evaluate(
    network: Network,
    params: dict[str, NDArray],
    running: dict[str, NDArray],
    X: NDArray,
    labels: NDArray,
    l2: NDArray,
    ws: Workspace,
) -> dict[str, NDArray]:
    """Cost, loss and accuracy of trained networks, batch normalisation by running statistics.

    Parameters
    ----------
    network : Network
    params, running : dict of array, shape (P, ...)
    X : array, shape (N, D), standardised
    labels : int array, shape (N,)
    l2 : array, shape (P,)

    Returns
    -------
    values : dict of array, float64, shape (P,)
        ``loss`` (mean cross-entropy), ``cost`` (loss + penalty), ``accuracy`` (0 to 1).
    """
    loss = np.zeros(len(l2))
    correct = np.zeros(len(l2))
    with np.errstate(all="ignore"):
        for start in range(0, len(X), ROWS):
            x, y = X[start : start + ROWS], labels[start : start + ROWS]
            logits = network.forward(params, x, running, ws).logits
            correct += (logits.argmax(axis=-1) == y).sum(axis=-1)  # (P, N) -> (P,)
            loss += softmax_cross_entropy(logits, y, ws)[0].astype(float) * len(y)
        loss /= len(X)
        penalty = network.penalty(params, l2.astype(X.dtype)).astype(float)
    return {"cost": loss + penalty, "loss": loss, "accuracy": correct / len(X)}
