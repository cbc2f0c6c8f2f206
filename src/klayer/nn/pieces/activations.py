"""Activations: a pair of functions each, forward beside backward, and one row in a table.

A forward function gets ``z``, writes ``y`` and may leave what its backward function needs in
``saved``. The backward function turns the gradient with respect to ``y`` into that with respect to
``z``, in place. All arrays are (P, N, H).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import Gradient
from klayer.nn.pieces.piece import Param, Site

__all__ = ["ACTIVATIONS", "Activation", "ActivationPass", "Function"]

Array = NDArray[Any]

# What a leaky unit lets through of a negative input.
LEAK = 0.01


def relu(z: Array, y: Array, saved: Array) -> None:
    """Rectified linear unit ``y = z [Re z > 0]`` (equation 8); at exactly 0 it counts as inactive."""
    np.greater(z.real, 0, out=saved)
    np.multiply(z, saved, out=y)


def relu_backward(g: Array, y: Array, saved: Array) -> None:  # noqa: ARG001
    """``g [Re z > 0]`` (equation 9)."""
    np.multiply(g, saved, out=g)


def leaky_relu(z: Array, y: Array, saved: Array) -> None:
    """Leaky rectified linear unit ``y = z`` where ``Re z > 0``, else ``0.01 z``.

    Source: Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """
    np.greater(z.real, 0, out=saved)
    np.multiply(z, LEAK, out=y)
    np.copyto(y, z, where=saved)


def leaky_relu_backward(g: Array, y: Array, saved: Array) -> None:
    """``g`` where ``Re z > 0``, else ``0.01 g``."""
    np.multiply(g, LEAK, out=y)
    np.copyto(y, g, where=saved)
    np.copyto(g, y)


def tanh(z: Array, y: Array, saved: Array) -> None:  # noqa: ARG001
    """Hyperbolic tangent ``y = tanh z``."""
    np.tanh(z, out=y)


def tanh_backward(g: Array, y: Array, saved: Array) -> None:
    """``g (1 - y^2)``."""
    np.multiply(y, y, out=saved)
    np.subtract(1, saved, out=saved)
    np.multiply(g, saved, out=g)


@dataclass(frozen=True)
class Function:
    """A row of :data:`ACTIVATIONS`.

    Attributes
    ----------
    forward : callable ``(z, y, saved)``
    backward : callable ``(g, y, saved)``
        Called after the layers above have used ``y``: it may be overwritten.
    mask : bool
        Whether ``saved`` holds truth values; else numbers like ``z``.
    kink : bool
        Whether the derivative jumps at 0: there a gradient can't be checked by differences.
    """

    forward: Callable[[Array, Array, Array], None]
    backward: Callable[[Array, Array, Array], None]
    mask: bool = False
    kink: bool = False


ACTIVATIONS: dict[str, Function] = {
    "relu": Function(relu, relu_backward, mask=True, kink=True),
    "leaky_relu": Function(leaky_relu, leaky_relu_backward, mask=True, kink=True),
    "tanh": Function(tanh, tanh_backward),
}


@dataclass(frozen=True)
class Activation:
    """An activation of a layer, by its name in :data:`ACTIVATIONS`."""

    layer: int
    width: int
    name: str

    def params(self) -> dict[str, Param]:
        """None."""
        return {}

    def running(self) -> dict[str, Param]:
        """None."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return plain values; the kind is the function's name."""
        return {"piece": self.name, "layer": self.layer, "width": self.width}

    def prepare(self, site: Site, x: Array) -> ActivationPass:
        """Make it ready to work on ``x``."""
        return ActivationPass(self, site, x)


class ActivationPass:
    """An activation at work; ``x`` is the layer's pre-activation."""

    def __init__(self, piece: Activation, site: Site, x: Array) -> None:
        self.x, self.function = x, ACTIVATIONS[piece.name]
        self.y = site.array(f"x{piece.layer}", piece.width)
        dtype = np.bool_ if self.function.mask else site.dtype
        self.saved = site.ws.array(f"saved{piece.layer}", self.y.shape, dtype)

    def forward(self) -> None:
        """``y = f(x)``."""
        self.function.forward(self.x, self.y, self.saved)

    def connect(self, g: Array, below: bool) -> tuple[Array, dict[str, Gradient]]:  # noqa: ARG002
        """The gradient stays where it is."""
        self.g = g
        return g, {}

    def backward(self) -> None:
        """``g`` becomes ``g f'(x)``."""
        self.function.backward(self.g, self.y, self.saved)
