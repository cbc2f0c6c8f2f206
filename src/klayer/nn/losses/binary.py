"""Binary cross-entropy: for each of several labels whether a sample has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.losses.entrywise import Entrywise
from klayer.nn.pieces.piece import Site
from klayer.nn.workspace import Workspace

__all__ = ["BinaryCrossEntropy", "sigmoid"]

Array = NDArray[Any]


def _folded_exp(z: Array, positive: Array, e: Array) -> None:
    """Write ``Re z > 0`` and ``exp(-z)`` where that is so, else ``exp(z)``: never more than 1."""
    np.greater(z.real, 0, out=positive)
    np.copyto(e, z)
    np.negative(e, out=e, where=positive)
    np.exp(e, out=e)


def sigmoid(logits: Array, ws: Workspace) -> Array:
    """``1 / (1 + exp(-z))`` for logits of any size, shape (P, N, K), scratch memory.

    Examples
    --------
    >>> sigmoid(np.array([[[0.0, -1e4, 1e4]]]), Workspace()).tolist()
    [[[0.5, 0.0, 1.0]]]
    """
    positive = ws.array("positive", logits.shape, np.bool_)
    e, probs = (ws.array(name, logits.shape, logits.dtype) for name in ("folded", "sigmoid"))
    _folded_exp(logits, positive, e)
    _from_folded(positive, e, probs)
    return probs


def _from_folded(positive: Array, e: Array, probs: Array) -> None:
    """Write the sigmoid: ``1 / (1 + e)`` where ``Re z > 0``, else ``e / (1 + e)``."""
    np.copyto(probs, e)
    np.copyto(probs, 1, where=positive)
    np.add(e, 1, out=e)
    np.divide(probs, e, out=probs)


class BinaryCrossEntropy(Entrywise):
    """Cross-entropy of a sigmoid for each label (equation 24).

    ``f = -y log s(z) - (1 - y) log(1 - s(z)) = max(z, 0) - y z + log(1 + exp(-|z|))`` with the sigmoid
    ``s``, finite for logits of any size; ``f' = s(z) - y``.
    """

    def __init__(self, site: Site, outputs: Array) -> None:
        super().__init__(site, outputs)
        self.positive = site.ws.array("positive", outputs.shape, np.bool_)

    def values(self) -> None:
        """``z ([Re z > 0] - y) + log(1 + e)``, with ``e = exp(-|z|)``."""
        each, e, scratch = self.each, self.d, self.g
        _folded_exp(self.outputs, self.positive, e)
        np.subtract(self.positive, self.targets, out=each)
        np.multiply(each, self.outputs, out=each)
        np.log1p(e, out=scratch)
        np.add(each, scratch, out=each)

    def slopes(self) -> None:
        """``s(z) - y``."""
        _from_folded(self.positive, self.d, self.g)
        np.subtract(self.g, self.targets, out=self.g)
