"""Softmax cross-entropy: one class of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.pieces.piece import Site
from klayer.nn.workspace import Workspace

__all__ = ["SoftmaxCrossEntropy", "softmax"]

Array = NDArray[Any]


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
    """Mean cross-entropy of the softmax, by log-sum-exp (equations 11 to 13, 18 and 19).

    ``loss = -1/N sum_i w_i sum_k t_ik log softmax(z_i)_k``, finite for logits of any size, with the
    target ``t_i = (1 - eps) onehot(labels_i) + eps / K`` where the number ``smoothing`` of a network,
    eps, is not 0; ``g = w_i (softmax(z_i) - t_i) / N``. Where samples are mixed, the onehot of a
    label is the mean of two by the sample's share (:attr:`Batch.mixed`).
    Label smoothing: Szegedy et al. 2016, arXiv:1512.00567.

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
        self.picked, self.also, self.log_total = (
            ws.array(name, (P, N), dtype) for name in ("picked", "also", "log")
        )
        self.flat = self.shifted.reshape(P, N * K)
        self.first = np.arange(N) * K  # of each sample, in a network's flat logits
        self.chosen, self.others = np.empty(N, np.intp), np.empty(N, np.intp)
        self.onehot = ws.array("onehot", (N, K), logits.real.dtype)
        self.loss = np.empty(P, dtype)
        # With smoothing: what the label keeps, and what every class gets; each (P, 1, 1).
        smoothing = site.number("smoothing")
        self.smooth: tuple[Array, Array] | None = None
        if smoothing.any():
            self.smooth = 1 - smoothing, smoothing / K
            self.target = ws.array("target", logits.shape, logits.real.dtype)
            self.every = ws.array("every", (P, N, 1), dtype)

    def forward(self) -> None:
        """Compute ``loss``."""
        N, ws = self.site.samples, self.site.ws
        self.total = _shift_and_exp(self.logits, self.shifted, self.g, ws)
        np.add(self.first, self.site.batch.labels, out=self.chosen)
        np.take(self.flat, self.chosen, axis=1, out=self.picked, mode="clip")
        np.log(self.total[..., 0], out=self.log_total)
        if (mixed := self.site.batch.mixed) is not None:
            labels, share = mixed
            np.add(self.first, labels, out=self.others)
            np.take(self.flat, self.others, axis=1, out=self.also, mode="clip")
            np.multiply(self.picked, share, out=self.picked)
            np.multiply(self.also, 1 - share, out=self.also)
            np.add(self.picked, self.also, out=self.picked)
        if self.smooth:
            ones = ws.ones(self.shifted.shape[2], self.shifted.dtype).T
            np.matmul(self.shifted, ones, out=self.every)  # (P, N, K) @ (K, 1)
            np.multiply(self.every, self.smooth[1], out=self.every)
            np.multiply(self.picked, self.smooth[0][..., 0], out=self.picked)
            np.add(self.picked, self.every[..., 0], out=self.picked)
        np.subtract(self.picked, self.log_total, out=self.picked)
        if self.site.batch.weights is not None:
            np.multiply(self.picked, self.site.batch.weights, out=self.picked)
        np.sum(self.picked, axis=1, out=self.loss)
        np.negative(self.loss, out=self.loss)
        np.divide(self.loss, N, out=self.loss)

    def backward(self) -> None:
        """Compute ``g``."""
        g, onehot, weights = self.g, self.onehot, self.site.batch.weights
        np.divide(g, self.total, out=g)
        onehot.fill(0)
        if (mixed := self.site.batch.mixed) is None:
            np.put(onehot, self.chosen, 1, mode="clip")
        else:  # the labels of a sample may be one
            np.put(onehot, self.chosen, mixed[1], mode="clip")
            onehot.reshape(-1)[self.others] += 1 - mixed[1]
        if self.smooth:
            np.multiply(onehot, self.smooth[0], out=self.target)
            np.add(self.target, self.smooth[1], out=self.target)
            np.subtract(g, self.target, out=g)
        else:
            np.subtract(g, onehot, out=g)
        if weights is not None:
            np.multiply(g, weights[:, None], out=g)
        np.divide(g, self.site.samples, out=g)
