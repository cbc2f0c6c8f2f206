"""Losses for numbers as targets: each function of the residual ``d = z - y`` beside its derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.losses.entrywise import Entrywise
from klayer.nn.pieces.piece import Site

__all__ = ["Absolute", "Huber", "Quantile", "Squared", "per_quantile", "residuals"]

Array = NDArray[Any]


class Squared(Entrywise):
    """Squared error ``f = d^2``, ``f' = 2 d`` (equation 20): the mean is what is predicted."""

    def values(self) -> None:
        """``d^2``."""
        np.subtract(self.outputs, self.targets, out=self.d)
        np.multiply(self.d, self.d, out=self.each)

    def slopes(self) -> None:
        """``2 d``."""
        np.add(self.d, self.d, out=self.g)


class Absolute(Entrywise):
    """Absolute error ``f = |d|``, ``f' = sign d`` (equation 21): the median is what is predicted.

    At exactly 0 the derivative counts as 0.
    """

    def values(self) -> None:
        """``|d|``, as ``d sign d``."""
        np.subtract(self.outputs, self.targets, out=self.d)
        np.sign(self.d.real, out=self.g.real)
        if np.iscomplexobj(self.g):
            self.g.imag = 0
        np.multiply(self.d, self.g, out=self.each)

    def slopes(self) -> None:
        """``sign d``: it stands there already."""


class Huber(Entrywise):
    """Huber's loss (equation 22): ``d^2 / 2`` up to ``|d| = delta``, from there on a straight line.

    ``f = c (d - c / 2)`` and ``f' = c``, with ``c`` the residual clipped to ``-delta ... delta``. Delta
    is the number ``huber_delta`` of each network, in standard deviations of the target.
    Source: Huber 1964.
    """

    def __init__(self, site: Site, outputs: Array) -> None:
        super().__init__(site, outputs)
        self.delta = site.number("huber_delta")
        self.inside = site.ws.array("inside", outputs.shape, np.bool_)
        self.magnitude = site.ws.array("magnitude", outputs.shape, outputs.real.dtype)

    def values(self) -> None:
        """``c (d - c / 2)``."""
        d, c, each = self.d, self.g, self.each
        np.subtract(self.outputs, self.targets, out=d)
        np.abs(d.real, out=self.magnitude)
        np.less_equal(self.magnitude, self.delta, out=self.inside)
        # Decided by the real part: outside, c is a constant and keeps no derivative.
        np.sign(d.real, out=self.magnitude)
        np.multiply(self.magnitude, self.delta, out=c)
        np.copyto(c, d, where=self.inside)
        np.multiply(c, -0.5, out=each)
        np.add(each, d, out=each)
        np.multiply(each, c, out=each)

    def slopes(self) -> None:
        """``c``: it stands there already."""


class Quantile(Entrywise):
    """Pinball loss (equation 23): ``f = (1 - q) d`` above the target, ``f = -q d`` below it.

    Its least mean is reached by the quantile ``q`` of the target. The outputs are, target by target, one
    for each of the network's quantiles. At exactly ``d = 0`` the derivative counts as ``-q``.
    Source: Koenker & Bassett 1978.
    """

    def __init__(self, site: Site, outputs: Array) -> None:
        super().__init__(site, outputs)
        each = len(site.quantiles)
        self.over = np.tile(
            np.array(site.quantiles, outputs.real.dtype), outputs.shape[2] // each
        )  # (K,), q of each output
        self.repeated = site.ws.array("repeated", outputs.shape[1:], outputs.real.dtype)
        self.above = site.ws.array("above", outputs.shape, np.bool_)

    @property
    def targets(self) -> Array:
        """Each target once for each quantile, (N, K)."""
        return per_quantile(self.site.batch.labels, self.repeated)

    def values(self) -> None:
        """``([d > 0] - q) d``."""
        np.subtract(self.outputs, self.targets, out=self.d)
        np.greater(self.d.real, 0, out=self.above)
        np.subtract(self.above, self.over, out=self.g)
        np.multiply(self.d, self.g, out=self.each)

    def slopes(self) -> None:
        """``[d > 0] - q``: it stands there already."""


def per_quantile(targets: Array, out: Array) -> Array:
    """Write each of the targets (N, K') as often as there are outputs for it, to ``out``, (N, K)."""
    N, K = targets.shape
    out.reshape(N, K, -1)[...] = targets[:, :, None]
    return out


def residuals(outputs: Array, labels: Array) -> Array:
    """Return ``z - y`` of every output, (P, N, K)."""
    targets = per_quantile(labels, np.empty(outputs.shape[1:], labels.dtype))
    return np.asarray(outputs - targets)
