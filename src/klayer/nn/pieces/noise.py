"""Gaussian noise on the inputs, of each network its own.

Its draws follow from the network, the layer and the update alone: see
:mod:`klayer.nn.pieces.random_words`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.nn.pieces.piece import Bare, BarePass, Site
from klayer.nn.pieces.random_words import FOR_NOISE, RandomWords, draw_keys

__all__ = ["Noise", "NoiseDraws", "NoisePass", "normal_numbers"]

Array = NDArray[Any]


@cache
def normal_numbers(dtype: DTypeLike) -> Array:
    """Return 2^16 numbers, ascending, of which each is as likely as any other: a normal distribution.

    They are its quantiles at ``(i + 1/2) / 2^16``, all of them scaled alike, so that their mean is 0 and
    their standard deviation 1. The greatest is 4.32. A uniform number of 16 bits chooses one: the same
    number on every machine and in every backend, for a look into a table.

    Examples
    --------
    >>> numbers = normal_numbers(np.float64)
    >>> len(numbers), numbers.sum().item(), numbers.std().round(12).item(), numbers[-1].round(2).item()
    (65536, 0.0, 1.0, 4.32)
    """
    upper = [NormalDist().inv_cdf(0.5 + (i + 0.5) / 2**16) for i in range(2**15)]
    exact = np.array([-one for one in reversed(upper)] + upper)
    numbers: Array = (exact / np.sqrt((exact * exact).mean())).astype(dtype)
    numbers.flags.writeable = False
    return numbers


class NoiseDraws:
    """What noise one network has in one layer, update by update.

    Parameters
    ----------
    key : uint64 array, shape (2,)
        Of the network.
    layer : int, >= 0
        0 for the inputs.
    out : array, C order
        Where :meth:`draw` writes normal numbers, mean 0 and standard deviation 1.

    Examples
    --------
    >>> out = np.empty((1000, 10))
    >>> NoiseDraws(draw_keys([7])[0], layer=0, out=out).draw(update=3)
    >>> bool(abs(out.mean()) < 0.02), bool(abs(out.std() - 1) < 0.02)
    (True, True)
    """

    def __init__(self, key: NDArray[np.uint64], layer: int, out: Array) -> None:
        self._out, self._numbers = out.reshape(-1), normal_numbers(out.dtype)
        self._words = RandomWords(key, layer, FOR_NOISE, -(-out.size // 4))

    def draw(self, update: int) -> None:
        """Write the normal numbers of an update."""
        chosen = self._words.draw(update).view("<u2")[: self._out.size]
        np.take(self._numbers, chosen, out=self._out, mode="clip")  # none is out of range


@dataclass(frozen=True)
class Noise(Bare):
    """Gaussian noise on the inputs (equation 36).

    ``y = x + s e`` in training, with ``e`` standard normal numbers, drawn anew for each sample in each
    update, and ``s`` a number of each network, ``input_noise``: the expectation stays, so that at
    inference nothing is to be done.
    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization".

    Parameters
    ----------
    layer : int
        0: the inputs.
    width : int
    """

    kind: ClassVar[str] = "noise"

    def prepare(self, site: Site, x: Array) -> NoisePass:
        """Make it ready to work on ``x``, in training."""
        return NoisePass(self, site, x)


class NoisePass(BarePass):
    """Noise at work on inputs that all networks share, (N, D); on the way back nothing changes."""

    def __init__(self, piece: Noise, site: Site, x: Array) -> None:
        self.piece, self.site, self.x = piece, site, x
        self.y = site.array(f"noisy{piece.layer}", piece.width)
        strengths, keys = site.number("input_noise"), site.numbers.get("draw_key")
        if keys is None:
            keys = draw_keys(range(site.networks))
        self.networks = [
            (y, strength, NoiseDraws(key, piece.layer, y))
            for y, strength, key in zip(self.y, strengths, keys, strict=True)
        ]

    def forward(self) -> None:
        """``y = x + s e``."""
        for y, strength, draws in self.networks:
            if not strength:
                np.copyto(y, self.x)
                continue
            draws.draw(self.site.batch.update)
            np.multiply(y, strength, out=y)
            np.add(y, self.x, out=y)

    def backward(self) -> None:
        """``g`` stays as it is."""
