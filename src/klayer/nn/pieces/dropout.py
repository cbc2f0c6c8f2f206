"""Dropout of inputs and hidden units, without a generator that would have to be stored.

Which units are dropped follows from the network, the layer and the update alone: the bits are those of
NumPy's Philox, a function of a key and a counter (Salmon et al. 2011), with the network's key and the
counter ``(block, update, layer, 0)``. So a network drops the same units alone or among others, in one go
or resumed.

A unit is dropped where its byte is less than a threshold, 0 to 255. A rate is rarely a whole number of
256ths, and so the threshold of each update is rounded up or down at random, such that the mean is the
rate to 32 bits; what is kept is divided by the share that is kept in that very update.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from klayer.nn.pieces.piece import Bare, BarePass, Site

__all__ = ["Draws", "Dropout", "DropoutPass", "dropout_keys"]

Array = NDArray[Any]


def dropout_keys(seeds: Sequence[int]) -> NDArray[np.uint64]:
    """Return the key of each network's bits, shape (P, 2), from its seed.

    Examples
    --------
    >>> dropout_keys([0, 1]).shape
    (2, 2)
    """
    children = [np.random.SeedSequence(seed).spawn(2)[1] for seed in seeds]
    keys = [one.generate_state(2, np.uint64) for one in children]
    return np.array(keys, np.uint64).reshape(-1, 2)


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
    >>> factor = Draws(dropout_keys([7])[0], 0.25, layer=1, out=out).draw(update=3)
    >>> round(factor, 3), bool(abs(out.mean() - 0.75) < 0.02)
    (1.333, True)
    """

    def __init__(
        self, key: NDArray[np.uint64], rate: float, layer: int, out: NDArray[np.bool_]
    ) -> None:
        self._bits = np.random.Philox(key=key)
        self._state: Any = self._bits.state
        self._counter = self._state["state"]["counter"]
        self._counter[:] = 0, 0, layer, 0
        self._state["buffer_pos"] = 4  # nothing left of a block before
        self._out, self._words = out.reshape(-1), 1 + -(-out.size // 8)
        self._rate = round(float(rate) * 2**32)

    def draw(self, update: int) -> float:
        """Decide which units an update keeps; return what to multiply them by."""
        self._counter[1] = update
        self._bits.state = self._state
        words = self._bits.random_raw(self._words)
        if sys.byteorder == "big":
            words = words.astype("<u8")
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
    number of each network: ``dropout``, for the inputs ``input_dropout``.
    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    Parameters
    ----------
    layer : int, 0 ... k-1
        0 for the inputs.
    width : int
    """

    kind: ClassVar[str] = "dropout"

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
        rates = site.exact("dropout" if layer else "input_dropout")
        keys = site.numbers.get("dropout_key")
        if keys is None:
            keys = dropout_keys(range(site.networks))
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
