"""Activations, each forward beside backward, over all entries of a layer.

``x`` is the input, ``y`` the output; ``g`` the gradient with respect to ``y``, which becomes that with
respect to ``x``. Where the derivative doesn't follow from ``y``, the forward pass leaves it in ``x``.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from klayer.nn.backends.kernel.functions import DENSITY, compiled, exp, normal, tanh
from klayer.nn.backends.kernel.table import GELU, GELU_TANH, LEAKY_RELU, RELU, SELU, TANH
from klayer.nn.pieces.activations import GELU_CUBE, GELU_FACTOR, SELU_ALPHA, SELU_SCALE

__all__ = ["activate", "activate_backward"]

Array = NDArray[Any]

SELU_LOW = SELU_SCALE * SELU_ALPHA


@compiled
def activate(kind: int, x: Array, y: Array, leak: Any) -> None:
    # Times 0 or 1, as NumPy has it: what is not finite stays so, and is found.
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if kind in (RELU, LEAKY_RELU):
        low = leak if kind == LEAKY_RELU else zero
        for i in range(x.size):
            y[i] = x[i] * (one if x[i].real > 0 else low)
    elif kind == TANH:
        for i in range(x.size):
            y[i] = tanh(x[i])
    elif kind == GELU:
        gelu(x, y)
    elif kind == GELU_TANH:
        gelu_tanh(x, y)
    elif kind == SELU:
        scale, low = x.dtype.type(SELU_SCALE), x.dtype.type(SELU_LOW)
        for i in range(x.size):
            z = x[i]
            y[i] = scale * z if z.real > 0 else low * (exp(z) - one)
    else:
        silu(x, y)


@compiled
def gelu(x: Array, y: Array) -> None:
    half, density = x.dtype.type(-0.5), x.dtype.type(DENSITY)
    for i in range(x.size):
        z = x[i]
        share = normal(z)
        y[i] = z * share
        x[i] = share + z * density * exp(half * z * z)


@compiled
def gelu_tanh(x: Array, y: Array) -> None:
    half, one, two = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(2)
    factor, cubed = x.dtype.type(GELU_FACTOR), x.dtype.type(GELU_FACTOR * GELU_CUBE)
    three = x.dtype.type(3)
    for i in range(x.size):
        z = x[i]
        s = z * z
        share = half * (one + tanh(z * (cubed * s + factor)))
        y[i] = z * share
        x[i] = share * (one + two * (one - share) * z * (three * cubed * s + factor))


@compiled
def silu(x: Array, y: Array) -> None:
    half, one = x.dtype.type(0.5), x.dtype.type(1)
    for i in range(x.size):
        z = x[i]
        share = half * (one + tanh(half * z))
        y[i] = z * share
        x[i] = share * (one + z * (one - share))


@compiled
def activate_backward(kind: int, g: Array, x: Array, y: Array, leak: Any) -> None:
    zero, one = y.dtype.type(0), y.dtype.type(1)
    if kind in (RELU, LEAKY_RELU):
        low = leak if kind == LEAKY_RELU else zero
        for i in range(g.size):
            g[i] *= one if y[i].real > 0 else low
    elif kind == TANH:
        for i in range(g.size):
            g[i] *= one - y[i] * y[i]
    elif kind == SELU:
        scale, low = y.dtype.type(SELU_SCALE), y.dtype.type(SELU_LOW)
        for i in range(g.size):
            g[i] *= scale if y[i].real > 0 else y[i] + low
    else:
        for i in range(g.size):
            g[i] *= x[i]
