"""Gradients of the data term as the backward pass leaves them, ready to be used in place.

That of weights, ``x^T g``, is kept as its factors and multiplied out where it is used, together with
what it is used for: an update of large weights is then one pass over them. The penalty is no part of a
gradient: whoever uses it adds ``2 lambda W``, or shrinks the weights, knowingly.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from klayer.nn.workspace import Workspace

__all__ = [
    "GAP",
    "ArrayGradient",
    "Gradient",
    "ProductGradient",
    "add_product",
    "in_column_order",
    "is_large",
]

# A weight matrix larger than this is treated one network at a time: product and update then find it
# in the cache.
LANEWISE_BYTES = 1 << 17

# Entries left free between the columns of large matrices. Without them, columns of 3,072 numbers in
# float32, three pages, would push each other out of the cache (measured: 4 % of an update).
GAP = 16


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
        self._large = is_large(W)
        self._by_columns = layer.x.ndim == 2 and in_column_order(W)
        shape = W.shape[1:] if self._large else W.shape
        self._shape = W.shape
        self._product = None if self._by_columns else ws.array("product", shape, W.dtype)

    def value(self) -> NDArray[Any]:
        """Return the product, shape (P, D, H)."""
        x = self.layer.x
        found = self.ws.array("gradient", self._shape, self.g.dtype)
        return np.matmul(x.T if x.ndim == 2 else x.transpose(0, 2, 1), self.g, out=found)

    def add_to(self, param: NDArray[Any], keep: NDArray[Any] | None, c: NDArray[Any]) -> None:
        """Replace ``param`` by ``keep param + c gradient``, in place."""
        scaled, product, x = self._scaled, self._product, self.layer.x
        np.multiply(self.g, c, out=scaled)
        if product is None:
            ones = np.ones(len(param), param.dtype)
            add_product(param, ones if keep is None else keep[:, 0, 0], x, scaled, self.ws)
        elif self._large:
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


def in_column_order(W: NDArray[Any]) -> bool:
    """Whether each network's matrix of ``W``, shape (P, D, H), lies in memory column by column."""
    return bool(W.strides[1] == W.itemsize < W.strides[2])


def add_product(
    W: NDArray[Any], keep: NDArray[Any], x: NDArray[Any], g: NDArray[Any], ws: Workspace
) -> None:
    """Replace ``W`` by ``keep W + x^T g``, in place, for weights by columns: networks side by side.

    Parameters
    ----------
    W : array, shape (P, D, H), in column order or with P = 1
    keep : array, shape (P,)
    x : array, shape (N, D)
    g : array, shape (P, N, H)
    """
    P, D, H = W.shape
    if in_column_order(W):
        columns = ws.array("product", (P * H, D + GAP), W.dtype)[:, :D]
        side_by_side = g.transpose(1, 0, 2).reshape(-1, P * H)
        np.matmul(side_by_side.T, x, out=columns)  # (P * H, N) @ (N, D)
        products = columns.reshape(P, H, D).transpose(0, 2, 1)
    else:
        products = ws.array("product", (P, D, H), W.dtype)
        np.matmul(x.T, g, out=products)  # (D, N) @ (P, N, H) -> (P, D, H)
    for p, product in enumerate(products):
        W[p] *= keep[p]
        W[p] += product
