"""Losses that are a mean over all entries of the outputs, each against an entry of the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.pieces.piece import Site

__all__ = ["Entrywise"]

Array = NDArray[Any]


class Entrywise:
    """``loss = 1/(N K) sum_i w_i sum_k f(z_ik, y_ik)`` and ``g = w_i f'(z_ik, y_ik) / (N K)``.

    Parameters
    ----------
    site : Site
    outputs : array, shape (P, N, K), left as it is

    A kind of loss says what ``f`` and its derivative are: :meth:`values` and :meth:`slopes`.
    """

    def __init__(self, site: Site, outputs: Array) -> None:
        P, N, K = outputs.shape
        self.site, self.outputs, self.count = site, outputs, N * K
        self.d, self.each, self.g = (
            site.ws.array(name, outputs.shape, outputs.dtype)
            for name in ("residual", "each", "grad outputs")
        )
        self.flat = self.each.reshape(P, N * K)
        self.loss = np.empty(P, outputs.dtype)

    @property
    def targets(self) -> Array:
        """The batch's labels as they stand against the outputs, shape (N, K)."""
        return self.site.batch.labels

    def values(self) -> None:
        """Write ``f`` to ``each``."""
        raise NotImplementedError

    def slopes(self) -> None:
        """Write the derivative of ``f`` to ``g``."""
        raise NotImplementedError

    def forward(self) -> None:
        """Compute ``loss``."""
        self.values()
        weights = self.site.batch.weights
        if weights is not None:
            np.multiply(self.each, weights[:, None], out=self.each)
        np.sum(self.flat, axis=1, out=self.loss)
        np.divide(self.loss, self.count, out=self.loss)

    def backward(self) -> None:
        """Compute ``g``."""
        self.slopes()
        weights = self.site.batch.weights
        if weights is not None:
            np.multiply(self.g, weights[:, None], out=self.g)
        np.divide(self.g, self.count, out=self.g)
