"""Skip connections: what a layer gets is added to what it gives, where both are equally wide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from klayer.nn.pieces.piece import Bare, BarePass, Site

__all__ = ["Fork", "ForkPass", "Join", "JoinPass"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Fork(Bare):
    """Where a skip connection leaves: the input ``x`` of a layer goes on and past it.

    On the way back the two gradients are added up (equation 35).

    Parameters
    ----------
    layer : int, 2 ... k-1
    width : int
    """

    kind: ClassVar[str] = "fork"

    def prepare(self, site: Site, x: Array) -> ForkPass:
        """Make it ready to work on ``x``; the :class:`Join` of the layer finds it at the site."""
        made = site.forks[self.layer] = ForkPass(self, site, x)
        return made


class ForkPass(BarePass):
    """A fork at work; ``past`` is the gradient that comes back past the layer."""

    def __init__(self, piece: Fork, site: Site, x: Array) -> None:
        self.x = self.y = x
        self.past = site.array(f"past{piece.layer}", piece.width)

    def forward(self) -> None:
        """Nothing: ``x`` is where it is wanted."""

    def backward(self) -> None:
        """``g`` becomes the sum of both gradients."""
        np.add(self.g, self.past, out=self.g)


@dataclass(frozen=True)
class Join(Bare):
    """Where a skip connection arrives: ``y = f(x) + x``, with ``f`` all that lies between (equation 34).

    Source: He et al. 2015, arXiv:1512.03385.

    Parameters
    ----------
    layer : int, 2 ... k-1
    width : int
    """

    kind: ClassVar[str] = "join"

    def prepare(self, site: Site, x: Array) -> JoinPass:
        """Make it ready to work on ``x`` and on what the layer's fork got."""
        return JoinPass(self, site, x)


class JoinPass(BarePass):
    """A join at work."""

    def __init__(self, piece: Join, site: Site, x: Array) -> None:
        self.x, self.fork = x, site.forks[piece.layer]
        self.y = site.array(f"j{piece.layer}", piece.width)

    def forward(self) -> None:
        """``y = f(x) + x``."""
        np.add(self.x, self.fork.y, out=self.y)

    def backward(self) -> None:
        """Keep ``g`` for the fork: the layer's pieces overwrite it."""
        np.copyto(self.fork.past, self.g)
