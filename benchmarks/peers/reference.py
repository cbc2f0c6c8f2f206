"""The judge: the first updates in float64, and how far a contestant's weights are from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Network
from peers.task import PERIOD, Task

__all__ = ["Agreement", "Reference"]


@dataclass(frozen=True)
class Agreement:
    """How far a contestant is from the reference after the verified updates.

    Attributes
    ----------
    loss : float
        Relative difference of the loss on the next mini-batch, the median over judged networks.
    movement : float
        Largest distance of a parameter array from the reference's, relative to how far the
        reference has moved it: a gradient that is wrong by 1 % shows as 0.01. The median over
        judged networks: where a ReLU falls on the other side of 0, a deep normalised network goes
        elsewhere, in any precision but the reference's (klayer's own float32 too, about one of
        seven networks of 9 layers with BN).
    """

    loss: float
    movement: float

    def holds(self) -> bool:
        """Whether the contestant trains the same networks, to float32's precision.

        Right ones measure up to 3e-7 and 3e-4, or 2e-5 and 9e-3 where one sample's ReLU falls on
        the other side of 0; half the penalty or a rate 1 % too high measures above the limits.
        """
        return self.loss < 3e-4 and self.movement < 3e-2


class Reference:
    """``updates`` plain steps ``p - lr * grad`` in float64.

    Parameters
    ----------
    task : Task
        Five networks of each population are judged, from the first to the last.
    X, labels : the training data
    updates : int
    sizes : sequence of int, optional
        Networks in the populations to be judged; by default, those of the task.
    """

    def __init__(
        self,
        task: Task,
        X: NDArray,
        labels: NDArray,
        updates: int,
        sizes: Sequence[int] | None = None,
    ) -> None:
        sizes = sizes or [task.networks]
        self.lanes = sorted({round(p) for n in sizes for p in np.linspace(0, n - 1, 5)})
        self.updates, self.X, self.labels = updates, X, labels
        self.task = task.take(self.lanes)
        self.network = Network(X.shape[1], task.hidden, task.widths[-1], task.batch_norm)
        params = {key: value.astype(np.float64) for key, value in self.task.params.items()}
        for t in range(updates):
            _, grads = self._loss_and_grads(params, t)
            for key, value in params.items():
                value -= self.task.lr[t].reshape(-1, *(1,) * (value.ndim - 1)) * grads[key]
        self.params = params

    def judge(self, weights: dict[str, NDArray]) -> Agreement:
        """Compare the weights of a contestant that has done the same updates.

        Parameters
        ----------
        weights : dict of array, shape (P, ...)
            Of all networks of the task, or of the first one alone.
        """
        # Of a smaller population the lanes that it has: they come first.
        lanes = [p for p in self.lanes if p < len(weights["W1"])]
        theirs = {key: value[lanes].astype(np.float64) for key, value in weights.items()}
        ours = {key: value[: len(lanes)] for key, value in self.params.items()}
        start = {key: value[: len(lanes)] for key, value in self.task.params.items()}
        if theirs.keys() != ours.keys():
            raise ValueError(f"parameters {sorted(theirs)} instead of {sorted(ours)}")
        movements = [_norms(theirs[key] - ours[key], ours[key] - start[key]) for key in ours]
        movement = float(np.median(np.max(movements, axis=0)))
        t = self.updates % PERIOD
        task = self.task.take(list(range(len(lanes))))
        expected, _ = self._loss_and_grads(ours, t, task)
        found, _ = self._loss_and_grads(theirs, t, task)
        return Agreement(float(np.median(np.abs(found / expected - 1))), movement)

    def _loss_and_grads(self, params, t: int, task: Task | None = None):
        task = task or self.task
        rows = task.rows[t]
        x = self.X[rows].astype(np.float64)
        loss, _, grads = self.network.loss_and_grads(params, x, self.labels[rows], task.l2)
        return loss, grads


def _norms(difference: NDArray, movement: NDArray) -> NDArray:
    """Ratio of norms for each network; a parameter that must not move must not have moved."""
    a, b = (np.linalg.norm(one.reshape(len(one), -1), axis=1) for one in (difference, movement))
    return np.divide(a, b, out=np.where(a > 0, np.inf, 0.0), where=b > 0)
