"""Activations: a pair of functions each, forward beside backward, and one row in a table.

A forward function gets ``z``, writes ``y`` and may leave what its backward function needs in
``saved``. The backward function turns the gradient with respect to ``y`` into that with respect to
``z``, in place; ``z`` still stands, and ``y`` may be overwritten. All arrays are (P, N, H).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.pieces.piece import Bare, BarePass, Site

__all__ = ["ACTIVATIONS", "Activation", "ActivationPass", "Function"]

Array = NDArray[Any]

# What a leaky unit lets through of a negative input.
LEAK = 0.01

# GELU's approximation: tanh(GELU_FACTOR (z + GELU_CUBE z^3)).
GELU_FACTOR, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715

# SELU: with weights of width sqrt(1 / fan_in), mean 0 and variance 1 stay what they are.
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def relu(z: Array, y: Array, saved: Array) -> None:
    """Rectified linear unit ``y = z [Re z > 0]`` (equation 8); at exactly 0 it counts as inactive."""
    np.greater(z.real, 0, out=saved)  # 1 or 0: numbers, since a product with truth values is slow
    np.multiply(z, saved, out=y)


def relu_backward(g: Array, z: Array, y: Array, saved: Array) -> None:  # noqa: ARG001
    """``g [Re z > 0]`` (equation 9)."""
    np.multiply(g, saved, out=g)


def leaky_relu(z: Array, y: Array, saved: Array) -> None:
    """Leaky rectified linear unit ``y = z`` where ``Re z > 0``, else ``0.01 z``.

    Source: Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """
    np.greater(z.real, 0, out=saved)
    np.maximum(saved, LEAK, out=saved)
    np.multiply(z, saved, out=y)


def leaky_relu_backward(g: Array, z: Array, y: Array, saved: Array) -> None:  # noqa: ARG001
    """``g`` where ``Re z > 0``, else ``0.01 g``."""
    np.multiply(g, saved, out=g)


def tanh(z: Array, y: Array, saved: Array) -> None:  # noqa: ARG001
    """Hyperbolic tangent ``y = tanh z``."""
    np.tanh(z, out=y)


def tanh_backward(g: Array, z: Array, y: Array, saved: Array) -> None:  # noqa: ARG001
    """``g (1 - y^2)``."""
    np.multiply(y, y, out=saved)
    np.subtract(1, saved, out=saved)
    np.multiply(g, saved, out=g)


def gelu(z: Array, y: Array, saved: Array) -> None:
    """Gaussian error linear unit, exact: ``y = z F(z)``, ``F(z) = (1 + erf(z / sqrt 2)) / 2`` (25).

    ``F`` is the normal distribution's. Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    if z.dtype == np.float32:
        _normal_float32(z, y, saved)
    else:
        np.multiply(z, math.sqrt(0.5), out=saved)
        _erf()(saved, out=saved)
        np.add(saved, 1, out=saved)
        np.multiply(saved, 0.5, out=saved)
    np.multiply(z, saved, out=y)


def gelu_backward(g: Array, z: Array, y: Array, saved: Array) -> None:
    """``g (F(z) + z f(z))`` with the normal density ``f(z) = exp(-z^2 / 2) / sqrt(2 pi)`` (26)."""
    np.multiply(z, z, out=y)
    np.multiply(y, -0.5, out=y)
    np.exp(y, out=y)
    np.multiply(y, 1 / math.sqrt(2 * math.pi), out=y)
    np.multiply(y, z, out=y)
    np.add(y, saved, out=y)
    np.multiply(g, y, out=g)


def gelu_tanh(z: Array, y: Array, saved: Array) -> None:
    """GELU's approximation ``y = z (1 + t) / 2``, ``t = tanh(c (z + 0.044715 z^3))``, c = sqrt(2 / pi).

    Not more than 5e-4 from the exact one (27), and another function all the same: a network is to be
    used as it was trained. Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    np.multiply(z, z, out=saved)
    np.multiply(saved, GELU_FACTOR * GELU_CUBE, out=saved)
    np.add(saved, GELU_FACTOR, out=saved)
    np.multiply(saved, z, out=saved)
    np.tanh(saved, out=saved)
    np.add(saved, 1, out=y)
    np.multiply(y, z, out=y)
    np.multiply(y, 0.5, out=y)


def gelu_tanh_backward(g: Array, z: Array, y: Array, saved: Array) -> None:
    """``g ((1 + t) + z (1 - t^2) c (1 + 3 * 0.044715 z^2)) / 2`` (28)."""
    np.multiply(z, z, out=y)
    np.multiply(y, 3 * GELU_FACTOR * GELU_CUBE, out=y)
    np.add(y, GELU_FACTOR, out=y)
    np.multiply(y, z, out=y)
    # 1 - t^2 = (1 + t) (1 - t), and so the whole is (1 + t) (1 + (1 - t) y) / 2.
    np.multiply(g, 0.5, out=g)
    np.add(saved, 1, out=saved)
    np.multiply(g, saved, out=g)
    np.subtract(2, saved, out=saved)
    np.multiply(saved, y, out=y)
    np.add(y, 1, out=y)
    np.multiply(g, y, out=g)


def silu(z: Array, y: Array, saved: Array) -> None:
    """Sigmoid linear unit ``y = z s(z)``, ``s(z) = 1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2`` (29).

    Source: Elfwing, Uchibe & Doya 2017, arXiv:1702.03118; also called swish.
    """
    np.multiply(z, 0.5, out=saved)
    np.tanh(saved, out=saved)
    np.add(saved, 1, out=saved)
    np.multiply(saved, 0.5, out=saved)
    np.multiply(z, saved, out=y)


def silu_backward(g: Array, z: Array, y: Array, saved: Array) -> None:
    """``g s(z) (1 + z (1 - s(z)))`` (30)."""
    np.multiply(g, saved, out=g)
    np.subtract(1, saved, out=y)
    np.multiply(y, z, out=y)
    np.add(y, 1, out=y)
    np.multiply(g, y, out=g)


def selu(z: Array, y: Array, saved: Array) -> None:
    """Scaled exponential linear unit ``y = l z`` where ``Re z > 0``, else ``l a (exp(z) - 1)`` (31).

    To be used with the initialisation ``lecun``. Source: Klambauer et al. 2017, arXiv:1706.02515.
    """
    # Complex numbers are compared by their real parts first: 0 is what counts.
    np.minimum(z, 0, out=saved)
    np.expm1(saved, out=saved)
    np.multiply(saved, SELU_SCALE * SELU_ALPHA, out=saved)
    np.maximum(z, 0, out=y)
    np.multiply(y, SELU_SCALE, out=y)
    np.add(y, saved, out=y)


def selu_backward(g: Array, z: Array, y: Array, saved: Array) -> None:
    """``g l`` where ``Re z > 0``, else ``g l a exp(z)`` (32)."""
    np.greater(z.real, 0, out=y)
    np.multiply(y, SELU_SCALE * (1 - SELU_ALPHA), out=y)
    np.add(saved, SELU_SCALE * SELU_ALPHA, out=saved)
    np.add(y, saved, out=y)
    np.multiply(g, y, out=g)


# The normal distribution's tail, ``f(z) (b1 t + ... + b5 t^5)`` with ``t = 1 / (1 + 0.2316419 |z|)``,
# the highest power first: to 7.5e-8 (Abramowitz & Stegun 26.2.17).
_TAIL = 1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.319381530


def _normal_float32(z: Array, scratch: Array, out: Array) -> None:
    """Write ``F(z)`` to float32's last places: five times faster than an exact error function."""
    np.abs(z, out=out)
    np.multiply(out, 0.2316419, out=out)
    np.add(out, 1, out=out)
    np.divide(1, out, out=out)
    np.multiply(out, _TAIL[0], out=scratch)
    for coefficient in _TAIL[1:]:
        np.add(scratch, coefficient, out=scratch)
        np.multiply(scratch, out, out=scratch)
    np.multiply(z, z, out=out)
    np.multiply(out, -0.5, out=out)
    np.exp(out, out=out)
    np.multiply(out, 1 / math.sqrt(2 * math.pi), out=out)
    np.multiply(scratch, out, out=scratch)
    # 1 - tail above 0, the tail below.
    np.subtract(0.5, scratch, out=scratch)
    np.copysign(scratch, z, out=out)
    np.add(out, 0.5, out=out)


@cache
def _erf() -> Any:
    """Return SciPy's error function, for real and complex arrays; NumPy has none."""
    from scipy.special import erf

    return erf


@dataclass(frozen=True)
class Function:
    """A row of :data:`ACTIVATIONS`.

    Attributes
    ----------
    forward : callable ``(z, y, saved)``
    backward : callable ``(g, z, y, saved)``
        Called after the layers above have used ``y``: it may be overwritten.
    kink : bool
        Whether the derivative jumps at 0: there a gradient can't be checked by differences.
    """

    forward: Callable[[Array, Array, Array], None]
    backward: Callable[[Array, Array, Array, Array], None]
    kink: bool = False


ACTIVATIONS: dict[str, Function] = {
    "relu": Function(relu, relu_backward, kink=True),
    "leaky_relu": Function(leaky_relu, leaky_relu_backward, kink=True),
    "tanh": Function(tanh, tanh_backward),
    "gelu": Function(gelu, gelu_backward),
    "gelu_tanh": Function(gelu_tanh, gelu_tanh_backward),
    "silu": Function(silu, silu_backward),
    "selu": Function(selu, selu_backward, kink=True),
}


@dataclass(frozen=True)
class Activation(Bare):
    """An activation of a layer, by its name in :data:`ACTIVATIONS`."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Return plain values; the kind is the function's name."""
        return {"piece": self.name, "layer": self.layer, "width": self.width}

    def prepare(self, site: Site, x: Array) -> ActivationPass:
        """Make it ready to work on ``x``."""
        return ActivationPass(self, site, x)


class ActivationPass(BarePass):
    """An activation at work; ``x`` is the layer's pre-activation."""

    def __init__(self, piece: Activation, site: Site, x: Array) -> None:
        self.x, self.function = x, ACTIVATIONS[piece.name]
        self.y = site.array(f"x{piece.layer}", piece.width)
        self.saved = site.array(f"saved{piece.layer}", piece.width)

    def forward(self) -> None:
        """``y = f(x)``."""
        self.function.forward(self.x, self.y, self.saved)

    def backward(self) -> None:
        """``g`` becomes ``g f'(x)``."""
        self.function.backward(self.g, self.x, self.y, self.saved)
