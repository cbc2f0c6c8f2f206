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
    np.maximum.reduce(by_class, axis=0, out=most[..., 0])
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
        self.samples, self.share = (np.array(one, logits.real.dtype) for one in (N, 1 / N))
        self.minus_means = np.full((N, 1), -1 / N, dtype)
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
        ws, batch, picked = self.site.ws, self.site.batch, self.picked
        self.total = _shift_and_exp(self.logits, self.shifted, self.g, ws)
        np.add(self.first, batch.labels, out=self.chosen)
        self.flat.take(self.chosen, axis=1, out=picked, mode="clip")
        np.log(self.total[..., 0], out=self.log_total)
        if batch.mixed is not None:
            labels, share = batch.mixed
            np.add(self.first, labels, out=self.others)
            self.flat.take(self.others, axis=1, out=self.also, mode="clip")
            np.multiply(picked, share, out=picked)
            np.multiply(self.also, 1 - share, out=self.also)
            np.add(picked, self.also, out=picked)
        if self.smooth:
            ones = ws.ones(self.shifted.shape[2], self.shifted.dtype).T
            np.matmul(self.shifted, ones, out=self.every)  # (P, N, K) @ (K, 1)
            np.multiply(self.every, self.smooth[1], out=self.every)
            np.multiply(picked, self.smooth[0][..., 0], out=picked)
            np.add(picked, self.every[..., 0], out=picked)
        np.subtract(picked, self.log_total, out=picked)
        if batch.weights is not None:
            np.multiply(picked, batch.weights, out=picked)
        # A row of each network at a time, so that its bits don't depend on the others: (1, N) @ (N, 1).
        np.matmul(picked[:, None], self.minus_means, out=self.loss[:, None, None])

    def backward(self) -> None:
        """Compute ``g``."""
        g, onehot, weights = self.g, self.onehot, self.site.batch.weights
        np.multiply(self.total, self.samples, out=self.total)
        np.divide(g, self.total, out=g)
        onehot.fill(0)
        if (mixed := self.site.batch.mixed) is None:
            onehot.put(self.chosen, self.share, mode="clip")
        else:  # the labels of a sample may be one
            onehot.put(self.chosen, mixed[1] * self.share, mode="clip")
            onehot.reshape(-1)[self.others] += (1 - mixed[1]) * self.share
        if self.smooth:
            np.multiply(onehot, self.smooth[0], out=self.target)
            np.add(self.target, self.smooth[1] * self.share, out=self.target)
            np.subtract(g, self.target, out=g)
        else:
            np.subtract(g, onehot, out=g)
        if weights is not None:
            np.multiply(g, weights[:, None], out=g)
