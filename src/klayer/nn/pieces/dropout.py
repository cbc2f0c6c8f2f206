"""Dropout of inputs and hidden units.

Which units are dropped follows from the network, the layer and the update alone: see
:mod:`klayer.nn.pieces.random_words`.

A unit is dropped where its byte is less than a threshold, 0 to 255. A rate is rarely a whole number of
256ths, and so the threshold of each update is rounded up or down at random, such that the mean is the
rate to 32 bits; what is kept is divided by the share that is kept in that very update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from klayer.nn.pieces.piece import Bare, BarePass, Site
from klayer.nn.pieces.random_words import FOR_DROPOUT, RandomWords, draw_keys

__all__ = ["Draws", "Dropout", "DropoutPass"]

Array = NDArray[Any]


class Draws:
    """What one network drops in one layer, update by update.

    Parameters
    ----------
    key : uint64 array, shape (2,)
        Of the network.
    rate : float, 0 <= rate < 1
        Share to be dropped.
    layer : int, >= 0
        0 for the inputs.
    out : bool array, C order
        Where :meth:`draw` writes which units are kept.

    Examples
    --------
    >>> out = np.empty(10_000, bool)
    >>> factor = Draws(draw_keys([7])[0], 0.25, layer=1, out=out).draw(update=3)
    >>> round(factor, 3), bool(abs(out.mean() - 0.75) < 0.02)
    (1.333, True)
    """

    def __init__(
        self, key: NDArray[np.uint64], rate: float, layer: int, out: NDArray[np.bool_]
    ) -> None:
        self._out = out.reshape(-1)
        self._words = RandomWords(key, layer, FOR_DROPOUT, 1 + -(-out.size // 8))
        self._rate = round(float(rate) * 2**32)

    def draw(self, update: int) -> float:
        """Decide which units an update keeps; return what to multiply them by."""
        words = self._words.draw(update)
        # The first word rounds the threshold: rate * 256 + a number from 0 to 1, in fixed point.
        threshold = min(255, (self._rate + (int(words[0]) >> 40)) >> 24)
        numbers = words.view(np.uint8)[8 : 8 + self._out.size]
        np.greater_equal(numbers, threshold, out=self._out)
        return 256 / (256 - threshold)


@dataclass(frozen=True)
class Dropout(Bare):
    """Dropout of a layer's outputs, or of the inputs (equation 33).

    ``y = m x / (1 - r)`` in training, with ``m`` 0 for a share ``r`` of the units of each sample and 1
    for the others: the expectation stays, so that at inference nothing is to be done. The rate is a
    number of each network: ``dropout``, for the inputs ``input_dropout``; of a layer it may be a
    share of that.
    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    Parameters
    ----------
    layer : int, 0 ... k-1
        0 for the inputs.
    width : int
    share : float, 0 < share <= 1
        Of the network's rate.
    """

    kind: ClassVar[str] = "dropout"

    share: float = 1.0

    def describe(self) -> dict[str, Any]:
        """Return plain values; a whole share, all that there once was, is not mentioned."""
        plain = super().describe()
        if self.share == 1:
            del plain["share"]
        return plain

    def rate(self, numbers: Mapping[str, Any]) -> Any:
        """Return the rate of one network, or of each, by its numbers."""
        return self.share * numbers["dropout" if self.layer else "input_dropout"]

    def prepare(self, site: Site, x: Array) -> DropoutPass:
        """Make it ready to work on ``x``, in training."""
        return DropoutPass(self, site, x)


class DropoutPass(BarePass):
    """Dropout at work."""

    def __init__(self, piece: Dropout, site: Site, x: Array) -> None:
        self.piece, self.site, self.x = piece, site, x
        layer, width = piece.layer, piece.width
        self.y, self.mask = site.array(f"d{layer}", width), site.array(f"mask{layer}", width)
        self.keep = site.ws.array("keep", self.y.shape, np.bool_)
        self.factor = np.empty((site.networks, 1, 1), site.real)
        rates = piece.rate({name: site.exact(name) for name in ("dropout", "input_dropout")})
        keys = site.numbers.get("draw_key")
        if keys is None:
            keys = draw_keys(range(site.networks))
        self.draws = [
            Draws(key, rate, layer, keep)
            for key, rate, keep in zip(keys, rates, self.keep, strict=True)
        ]

    def forward(self) -> None:
        """``y = m x / (1 - r)``."""
        update, factor = self.site.batch.update, self.factor
        for p, one in enumerate(self.draws):
            factor[p] = one.draw(update)
        np.copyto(self.mask, self.keep)
        np.multiply(self.mask, factor, out=self.mask)
        np.multiply(self.x, self.mask, out=self.y)

    def backward(self) -> None:
        """``g`` becomes ``m g / (1 - r)``."""
        np.multiply(self.g, self.mask, out=self.g)
