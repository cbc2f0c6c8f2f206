"""Gradients of the data term as the backward pass leaves them, ready to be used in place.

That of weights, ``x^T g``, is kept as its factors and multiplied out where it is used, together with
what it is used for: an update of large weights is then one pass over them. The penalty is no part of a
gradient: whoever uses it adds ``2 lambda W``, or shrinks the weights, knowingly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from klayer.nn.workspace import Workspace

__all__ = [
    "ArrayGradient",
    "Gradient",
    "HasInput",
    "OfWeights",
    "Part",
    "ProductGradient",
    "UsePart",
    "is_large",
    "lanewise",
]

# A piece of a parameter's array: its networks, and maybe some rows of each; and what is done with the
# gradient of the i-th one, which stands in scratch memory.
Part = tuple[slice, ...]
UsePart = Callable[[int, NDArray[Any], Workspace], None]

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

    def parts(self, whole: bool = False) -> Sequence[Part]:
        """Return the pieces that it is best used in: what a core's cache holds, or all.

        With ``whole`` a piece is never less than a network's whole matrix.
        """

    def each(self, use: UsePart, ws: Workspace, whole: bool = False) -> None:
        """Call ``use(i, gradient, workspace)`` for each of :meth:`parts`, maybe on several threads.

        The gradient that it gets is scratch memory, and may be overwritten.
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

    def parts(self, whole: bool = False) -> Sequence[Part]:  # noqa: ARG002
        """Return one piece; a network at a time where matrices are large."""
        return lanewise(self.array)

    def each(self, use: UsePart, ws: Workspace, whole: bool = False) -> None:
        """Call ``use`` for each piece."""
        for i, part in enumerate(self.parts(whole)):
            use(i, self.array[part], ws)


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
        self._W, self._shape, self._large = W, W.shape, is_large(W)
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

    def parts(self, whole: bool = False) -> Sequence[Part]:  # noqa: ARG002
        """Return a piece for each network if matrices are large, else one."""
        return lanewise(self._W)

    def each(self, use: UsePart, ws: Workspace, whole: bool = False) -> None:  # noqa: ARG002
        """Call ``use`` for each piece."""
        if not self._large:
            use(0, self.value(), ws)
            return
        x, product = self.layer.x, self._product
        for p in range(len(self.g)):
            np.matmul((x if x.ndim == 2 else x[p]).T, self.g[p], out=product)  # (D, N) @ (N, H)
            use(p, product[None], ws)


def lanewise(array: NDArray[Any]) -> Sequence[Part]:
    """Cut an array (P, ...) into its networks if each is a large matrix, else not at all.

    Examples
    --------
    >>> [len(lanewise(np.empty((3, *shape)))) for shape in ((5,), (3072, 50))]
    [1, 3]
    """
    if array.ndim == 3 and is_large(array):
        return [(slice(p, p + 1),) for p in range(len(array))]
    return [(slice(None),)]


def is_large(W: NDArray[Any]) -> bool:
    """Whether ``W``, shape (P, D, H), is treated one network at a time."""
    return bool(W.shape[1] * W.shape[2] * W.itemsize > LANEWISE_BYTES)
