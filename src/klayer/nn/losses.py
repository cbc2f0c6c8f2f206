"""Losses: forward beside backward, and one row each in a table.

A loss is prepared, like a piece, for some networks and one size of batch. Its forward pass gives each
network's mean loss, its backward pass the gradient with respect to the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from klayer.nn.pieces.piece import Site
from klayer.nn.workspace import Workspace

__all__ = ["LOSSES", "Loss", "LossPass", "SoftmaxCrossEntropy", "softmax"]

Array = NDArray[Any]


class LossPass(Protocol):
    """A loss at work.

    Attributes
    ----------
    loss : array, shape (P,), the mean over the samples, after :meth:`forward`
    g : array, shape (P, N, K), the gradient with respect to the logits, after :meth:`backward`
    """

    loss: Array
    g: Array

    def forward(self) -> None:
        """Compute ``loss`` from the logits and the batch's labels."""

    def backward(self) -> None:
        """Compute ``g``; needs the forward pass of the same batch."""


@dataclass(frozen=True)
class Loss:
    """A row of :data:`LOSSES`.

    Attributes
    ----------
    prepare : callable ``(site, logits)``
        Makes a :class:`LossPass`.
    predict : callable ``(logits, workspace)``
        What a trained network answers, from its logits (P, N, K): scratch memory.
    """

    prepare: Callable[[Site, Array], LossPass]
    predict: Callable[[Array, Workspace], Array]


def _shift_and_exp(logits: Array, shifted: Array, probs: Array, ws: Workspace) -> Array:
    """Write ``logits - max`` and its exponential, return the sum of the latter, (P, N, 1)."""
    P, N, K = logits.shape
    # The short axis of the classes is slow to reduce: the maximum goes over it turned to the front,
    # the sum is a product with ones.
    by_class = ws.array("by class", (K, P, N), logits.real.dtype)
    most = ws.array("most", (P, N, 1), logits.real.dtype)
    total = ws.array("total", (P, N, 1), logits.dtype)
    np.copyto(by_class, logits.real.transpose(2, 0, 1))
    np.max(by_class, axis=0, out=most[..., 0])
    np.subtract(logits, most, out=shifted)
    np.exp(shifted, out=probs)
    np.matmul(probs, ws.ones(K, logits.dtype).T, out=total)  # (P, N, K) @ (K, 1)
    return total


def softmax(logits: Array, ws: Workspace) -> Array:
    """Softmax of logits of any size (equation 11), shape (P, N, K), scratch memory.

    Examples
    --------
    >>> softmax(np.array([[[0.0, 0.0], [1e4, -1e4]]]), Workspace()).tolist()
    [[[0.5, 0.5], [1.0, 0.0]]]
    """
    shifted, probs = (ws.array(name, logits.shape, logits.dtype) for name in ("shifted", "probs"))
    probs /= _shift_and_exp(logits, shifted, probs, ws)
    return probs


class SoftmaxCrossEntropy:
    """Mean cross-entropy of the softmax against integer labels, by log-sum-exp (equations 11 to 13).

    ``loss = -1/N sum_i log softmax(logits_i)[labels_i]``, finite for logits of any size;
    ``g = (softmax(logits) - onehot(labels)) / N``.

    Parameters
    ----------
    site : Site
    logits : array, shape (P, N, K), left as it is
    """

    def __init__(self, site: Site, logits: Array) -> None:
        P, N, K = logits.shape
        ws, dtype = site.ws, logits.dtype
        self.site, self.logits = site, logits
        self.shifted, self.g = (
            ws.array(name, logits.shape, dtype) for name in ("shifted", "probs")
        )
        self.picked, self.log_total = (ws.array(name, (P, N), dtype) for name in ("picked", "log"))
        self.flat = self.shifted.reshape(P, N * K)
        self.first = np.arange(N) * K  # of each sample, in a network's flat logits
        self.chosen = np.empty(N, np.intp)
        self.onehot = ws.array("onehot", (N, K), logits.real.dtype)
        self.loss = np.empty(P, dtype)

    def forward(self) -> None:
        """Compute ``loss``."""
        N = self.site.samples
        self.total = _shift_and_exp(self.logits, self.shifted, self.g, self.site.ws)
        np.add(self.first, self.site.batch.labels, out=self.chosen)
        np.take(self.flat, self.chosen, axis=1, out=self.picked, mode="clip")
        np.log(self.total[..., 0], out=self.log_total)
        np.subtract(self.picked, self.log_total, out=self.picked)
        np.sum(self.picked, axis=1, out=self.loss)
        np.negative(self.loss, out=self.loss)
        np.divide(self.loss, N, out=self.loss)

    def backward(self) -> None:
        """Compute ``g``."""
        g, onehot = self.g, self.onehot
        np.divide(g, self.total, out=g)
        onehot.fill(0)
        np.put(onehot, self.chosen, 1, mode="clip")
        np.subtract(g, onehot, out=g)
        np.divide(g, self.site.samples, out=g)


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss(SoftmaxCrossEntropy, softmax),
}
