"""What a loss is, and what a loss at work is.

A loss is prepared, like a piece, for some networks and one size of batch. Its forward pass gives each
network's mean loss, its backward pass the gradient with respect to the network's outputs.

Each sample may have a weight, ``Batch.weights``: the mean is then ``1/N sum_i w_i loss_i``. Weights are
made so that their mean over the training split is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from klayer.nn.pieces.piece import Site
from klayer.nn.workspace import Workspace

__all__ = ["Loss", "LossPass", "as_they_are"]

Array = NDArray[Any]


class LossPass(Protocol):
    """A loss at work.

    Attributes
    ----------
    loss : array, shape (P,), the mean over the samples, after :meth:`forward`
    g : array, shape (P, N, K), the gradient with respect to the outputs, after :meth:`backward`
    """

    loss: Array
    g: Array

    def forward(self) -> None:
        """Compute ``loss`` from the outputs and the batch's labels."""

    def backward(self) -> None:
        """Compute ``g``; needs the forward pass of the same batch."""


def as_they_are(outputs: Array, ws: Workspace) -> Array:  # noqa: ARG001
    """Return a network's outputs: for losses whose predictions they are."""
    return outputs


@dataclass(frozen=True)
class Loss:
    """A row of :data:`LOSSES`.

    Attributes
    ----------
    task : {"classification", "regression", "multilabel"}
        What it is for, and so what labels it takes: int64 (N,), real numbers (N, K), or 0 and 1 (N, K).
    prepare : callable ``(site, outputs)``
        Makes a :class:`LossPass`.
    predict : callable ``(outputs, workspace)``
        What a trained network answers, from its outputs (P, N, K): scratch memory.
    decides : callable ``(outputs, labels)``, optional
        The values at whose 0 the derivative jumps, if it does: near there a gradient can't be checked
        by differences.
    """

    task: str
    prepare: Callable[[Site, Array], LossPass]
    predict: Callable[[Array, Workspace], Array] = as_they_are
    decides: Callable[[Array, Array], Array] | None = None
