"""The yardsticks: products alone, of the shapes of one network, on one thread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peers.task import Task


class Peer:
    """``x W`` and ``x^T g`` over and over, in the same memory: no code trains a network faster.

    Run as one process for each core, all busy at once, this is the peak of the machine (at these
    shapes, with NumPy's BLAS).
    """

    stride = 1

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:  # noqa: ARG002
        self.x, self.W = X[: task.rows.shape[1]].copy(), task.params["W1"][0].copy()
        self.s = np.empty((len(self.x), self.W.shape[1]), np.float32)
        self.g = self.x @ self.W
        self.grad_W = np.empty_like(self.W)

    def train(self, start: int, stop: int) -> None:
        for _ in range(start, stop):
            np.matmul(self.x, self.W, out=self.s)  # (N, D) @ (D, H) -> (N, H)
            np.matmul(self.x.T, self.g, out=self.grad_W)  # (D, N) @ (N, H) -> (D, H)


class All(Peer):
    """All products of an update: of small networks the first layer's are not nearly all."""

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:  # noqa: ARG002
        x, self.products = X[: task.rows.shape[1]].copy(), []
        for layer in range(1, task.depth + 1):
            W = task.params[f"W{layer}"][0].copy()
            s = x @ W
            self.products += [(x, W, s), (x.T, s.copy(), np.empty_like(W))]
            if layer > 1:
                self.products.append((s.copy(), W.T, np.empty_like(x)))
            x = s

    def train(self, start: int, stop: int) -> None:
        for _ in range(start, stop):
            for a, b, product in self.products:
                np.matmul(a, b, out=product)
