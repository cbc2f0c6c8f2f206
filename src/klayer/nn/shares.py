"""A large first layer cut into shares of its inputs, so that several threads can work on one network.

Each share has a part of the rows of ``W``: it multiplies that part with its columns of the batch, and
later updates it. The products of the shares are added up in their order. How many shares there are
follows from the shape of ``W`` alone, and so do the bits, whoever does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import Gradient, HasInput
from klayer.nn.workspace import Workspace

__all__ = ["SharedLayer", "Spread", "cut"]

Array = NDArray[Any]
Share = tuple[int, int]  # network, share of the inputs
Spread = Callable[[Callable[[Share, Workspace], None], Sequence[Share]], None]

# A share of this size, and its part of the product, stay in a core's cache; more shares than that many
# would cost more in waiting than they bring.
SHARE_BYTES, MOST_SHARES = 320 << 10, 8


def cut(W: Array) -> list[slice]:
    """Cut the rows of ``W``, shape (P, D, H), into shares, two at the least.

    Examples
    --------
    >>> cut(np.empty((1, 3072, 50), np.float32))
    [slice(0, 1536, None), slice(1536, 3072, None)]
    """
    _, D, H = W.shape
    shares = min(MOST_SHARES, max(2, -(-D * H * W.itemsize // SHARE_BYTES)))
    return [slice(*ends) for ends in pairwise(round(D * i / shares) for i in range(shares + 1))]


class SharedLayer(Gradient):
    """The first layer's product ``x W``, and the gradient ``x^T g`` of its weights, by shares.

    Parameters
    ----------
    layer : HasInput
        Whose input ``x``, shape (N, D), all networks share.
    W : array, shape (P, D, H)
    y : array, shape (P, N, H)
        Where the product goes.
    ws : Workspace
    spread : callable ``(function, shares)``, optional
        Calls ``function(share, workspace)`` for all shares, on several threads.

    Attributes
    ----------
    g : array, shape (P, N, H)
        The gradient with respect to ``y``, the other factor.
    """

    def __init__(
        self,
        layer: HasInput,
        W: Array,
        y: Array,
        ws: Workspace,
        spread: Spread | None = None,
    ) -> None:
        self.layer, self.W, self.y, self.ws, self.spread = layer, W, y, ws, spread
        self.g = y  # until the way back is connected
        self.rows = cut(W)
        self._parts = ws.array("parts", (len(self.rows), *y.shape), y.dtype)
        self._scaled = ws.array("scaled g", y.shape, y.dtype)
        self._all = [(p, q) for p in range(len(W)) for q in range(len(self.rows))]

    def multiply(self) -> None:
        """Write ``x W`` to ``y``."""
        x, W, parts = self.layer.x, self.W, self._parts

        def product(share: Share, _: Workspace) -> None:
            p, q = share
            rows = self.rows[q]
            np.matmul(x[:, rows], W[p, rows], out=parts[q, p])  # (N, D_q) @ (D_q, H) -> (N, H)

        self._each(product)
        np.add(parts[0], parts[1], out=self.y)
        for part in parts[2:]:
            np.add(self.y, part, out=self.y)

    def value(self) -> Array:
        """Return ``x^T g``, shape (P, D, H)."""
        x, found = self.layer.x, self.ws.array("gradient", self.W.shape, self.W.dtype)

        def product(share: Share, _: Workspace) -> None:
            p, q = share
            rows = self.rows[q]
            np.matmul(x[:, rows].T, self.g[p], out=found[p, rows])  # (D_q, N) @ (N, H) -> (D_q, H)

        self._each(product)
        return found

    def add_to(self, param: Array, keep: Array | None, c: Array) -> None:
        """Replace ``param`` by ``keep param + c x^T g``, in place."""
        x, scaled = self.layer.x, self._scaled
        np.multiply(self.g, c, out=scaled)

        def update(share: Share, ws: Workspace) -> None:
            p, q = share
            rows = self.rows[q]
            W = param[p, rows]
            product = ws.array("share", W.shape, W.dtype)
            np.matmul(x[:, rows].T, scaled[p], out=product)  # (D_q, N) @ (N, H) -> (D_q, H)
            if keep is not None:
                np.multiply(W, keep[p], out=W)
            np.add(W, product, out=W)

        self._each(update)

    def _each(self, function: Callable[[Share, Workspace], None]) -> None:
        if self.spread:
            self.spread(function, self._all)
        else:
            for share in self._all:
                function(share, self.ws)
