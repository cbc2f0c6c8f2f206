"""The yardstick: the two products of the first layer alone, one network's shape, one thread."""

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
