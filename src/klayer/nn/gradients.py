"""Gradients of the data term as the backward pass leaves them, ready to be used in place.

That of weights, ``x^T g``, is kept as its factors and multiplied out where it is used, together with
what it is used for: an update of large weights is then one pass over them. The penalty is no part of a
gradient: whoever uses it adds ``2 lambda W``, or shrinks the weights, knowingly.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from klayer.nn.workspace import Workspace

__all__ = [
    "ArrayGradient",
    "Gradient",
    "HasInput",
    "OfWeights",
    "ProductGradient",
    "is_large",
]

# A weight matrix larger than this is treated one network at a time: product and update then find it
# in the cache.
LANEWISE_BYTES = 1 << 17


class HasInput(Protocol):
    """Something that works on an input ``x``, (N, D) or (P, N, D)."""

    x: NDArray[Any]


class Gradient(Protocol):
    """The gradient of the mean loss with respect to one parameter, after a backward pass."""

    def value(self) -> NDArray[Any]:
        """Return it as an array of the parameter's shape, scratch memory."""

    def add_to(self, param: NDArray[Any], keep: NDArray[Any] | None, c: NDArray[Any]) -> None:
        """Replace ``param`` by ``keep param + c gradient``, in place.

        Parameters
        ----------
        param : array, shape (P, ...)
        keep : array, shape (P, 1, ...) as ``param``, or None for 1
        c : array, shape (P, 1, ...)
        """


@runtime_checkable
class OfWeights(Gradient, Protocol):
    """The gradient ``x^T g`` of weights, one of whose factors is ``g``, (P, N, H)."""

    g: NDArray[Any]


class ArrayGradient:
    """A gradient that stands in an array; scaling it for an update overwrites it.

    Parameters
    ----------
    array : array, shape of the parameter
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def value(self) -> NDArray[Any]:
        """Return the array."""
        return self.array

    def add_to(self, param: NDArray[Any], keep: NDArray[Any] | None, c: NDArray[Any]) -> None:
        """Replace ``param`` by ``keep param + c gradient``, in place."""
        np.multiply(self.array, c, out=self.array)
        if keep is not None:
            np.multiply(param, keep, out=param)
        np.add(param, self.array, out=param)


class ProductGradient:
    """The gradient of weights, ``x^T g`` (equation 3), as its factors.

    Parameters
    ----------
    layer : HasInput
        Whose input ``x``, (N, D) shared by all networks or (P, N, D), is one factor.
    g : array, shape (P, N, H)
        The gradient with respect to the layer's output, the other one.
    W : array, shape (P, D, H)
    ws : Workspace
    """

    def __init__(self, layer: HasInput, g: NDArray[Any], W: NDArray[Any], ws: Workspace) -> None:
        self.layer, self.g, self.ws = layer, g, ws
        self._scaled = ws.array("scaled g", g.shape, g.dtype)
        self._shape, self._large = W.shape, is_large(W)
        self._product = ws.array("product", W.shape[1:] if self._large else W.shape, W.dtype)

    def value(self) -> NDArray[Any]:
        """Return the product, shape (P, D, H)."""
        x = self.layer.x
        found = self.ws.array("gradient", self._shape, self.g.dtype)
        return np.matmul(x.T if x.ndim == 2 else x.transpose(0, 2, 1), self.g, out=found)

    def add_to(self, param: NDArray[Any], keep: NDArray[Any] | None, c: NDArray[Any]) -> None:
        """Replace ``param`` by ``keep param + c gradient``, in place."""
        scaled, product, x = self._scaled, self._product, self.layer.x
        np.multiply(self.g, c, out=scaled)
        if self._large:
            for p, W in enumerate(param):
                np.matmul((x if x.ndim == 2 else x[p]).T, scaled[p], out=product)  # (D, N) @ (N, H)
                if keep is not None:
                    np.multiply(W, keep[p], out=W)
                np.add(W, product, out=W)
        else:
            # (D, N) or (P, D, N) @ (P, N, H) -> (P, D, H)
            np.matmul(x.T if x.ndim == 2 else x.transpose(0, 2, 1), scaled, out=product)
            if keep is not None:
                np.multiply(param, keep, out=param)
            np.add(param, product, out=param)


def is_large(W: NDArray[Any]) -> bool:
    """Whether ``W``, shape (P, D, H), is treated one network at a time."""
    return bool(W.shape[1] * W.shape[2] * W.itemsize > LANEWISE_BYTES)
