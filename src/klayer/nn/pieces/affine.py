"""The affine map of a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import (
    ArrayGradient,
    Gradient,
    Part,
    ProductGradient,
    UsePart,
    is_large,
    lanewise,
)
from klayer.nn.pieces.piece import Param, Site
from klayer.nn.shares import Share, cut
from klayer.nn.workspace import Workspace

__all__ = ["Affine", "AffinePass", "SharedAffinePass"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Affine:
    """Affine map ``s = x W + b`` (equation 1).

    Parameters
    ----------
    layer : int, 1 ... k
    fan_in, fan_out : int
        D and H: ``W`` is (D, H), ``b`` is (H,).
    bias : bool
        False before batch normalisation, which would cancel ``b``.
    """

    layer: int
    fan_in: int
    fan_out: int
    bias: bool = True

    def params(self) -> dict[str, Param]:
        """``W`` and, with a bias, ``b``."""
        found = {f"W{self.layer}": Param((self.fan_in, self.fan_out))}
        if self.bias:
            found[f"b{self.layer}"] = Param((self.fan_out,), 0.0)
        return found

    def running(self) -> dict[str, Param]:
        """None."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return plain values."""
        return {"piece": "affine", **asdict(self)}

    def prepare(self, site: Site, x: Array) -> AffinePass:
        """Make it ready to work on ``x``; a large first layer is trained by shares of its inputs."""
        by_shares = site.training and x.ndim == 2 and is_large(site.params[f"W{self.layer}"])
        return (SharedAffinePass if by_shares else AffinePass)(self, site, x)


class AffinePass:
    """An affine map at work.

    Attributes
    ----------
    product : callable or None
        What writes ``x W`` to ``y`` in the place of :meth:`multiply`; training may set it.
    after_product : callable or None
        Called as soon as ``x W`` is there; training may set it.
    """

    def __init__(self, piece: Affine, site: Site, x: Array) -> None:
        self.piece, self.site, self.x = piece, site, x
        self.W = site.params[f"W{piece.layer}"]
        self.b = site.params[f"b{piece.layer}"][:, None, :] if piece.bias else None
        self.y = site.array(f"s{piece.layer}", piece.fan_out)
        self.product: Callable[[], None] | None = None
        self.after_product: Callable[[], None] | None = None

    def multiply(self) -> None:
        """Write ``x W`` to ``y``."""
        np.matmul(self.x, self.W, out=self.y)  # (N, D) or (P, N, D) @ (P, D, H) -> (P, N, H)

    def forward(self) -> None:
        """``y = x W + b``."""
        (self.product or self.multiply)()
        if self.after_product:
            self.after_product()
        if self.b is not None:
            np.add(self.y, self.b, out=self.y)

    def connect(self, g: Array, below: bool) -> tuple[Array, dict[str, Gradient]]:
        """Prepare ``dW = x^T g``, ``db = sum g`` and ``dx = g W^T`` (equations 2 and 3)."""
        piece, site = self.piece, self.site
        self.g, self.WT = g, self.W.transpose(0, 2, 1)
        self.grad_x = site.array(f"g{piece.layer - 1}", piece.fan_in) if below else None
        self.grad_b, self.ones = None, site.ws.ones(site.samples, site.dtype)
        gradients: dict[str, Gradient] = {}
        if piece.bias:
            self.grad_b = site.row(f"grad b{piece.layer}", piece.fan_out)
            gradients[f"b{piece.layer}"] = ArrayGradient(self.grad_b[:, 0])
        gradients[f"W{piece.layer}"] = self.of_weights(g)
        return (g if self.grad_x is None else self.grad_x), gradients

    def of_weights(self, g: Array) -> Gradient:
        """Return the gradient of ``W``."""
        return ProductGradient(self, g, self.W, self.site.ws)

    def backward(self) -> None:
        """Compute ``db`` and ``dx``; ``dW`` stays as its factors."""
        if self.grad_b is not None:
            # A sum as a product is several times faster here than `sum(axis=1)`.
            np.matmul(self.ones, self.g, out=self.grad_b)  # (1, N) @ (P, N, H) -> (P, 1, H)
        if self.grad_x is not None:
            np.matmul(self.g, self.WT, out=self.grad_x)  # (P, N, H) @ (P, H, D) -> (P, N, D)


class SharedAffinePass(AffinePass):
    """The affine map of a large first layer, by shares of its inputs, which several threads may work on.

    It is the gradient of its weights, too. All networks share ``x``, (N, D).
    """

    def __init__(self, piece: Affine, site: Site, x: Array) -> None:
        super().__init__(piece, site, x)
        self.rows = cut(self.W)
        self._parts = site.ws.array("parts", (len(self.rows), *self.y.shape), self.y.dtype)
        self._scaled = site.ws.array("scaled g", self.y.shape, self.y.dtype)
        self._shares = [(p, q) for p in range(len(self.W)) for q in range(len(self.rows))]

    def of_weights(self, g: Array) -> Gradient:  # noqa: ARG002
        """Return itself."""
        return self

    def multiply(self) -> None:
        """Write ``x W`` to ``y``."""
        x, W, parts = self.x, self.W, self._parts

        def product(share: Share, _: Workspace) -> None:
            p, q = share
            rows = self.rows[q]
            np.matmul(x[:, rows], W[p, rows], out=parts[q, p])  # (N, D_q) @ (D_q, H) -> (N, H)

        self._each(product, self._shares)
        np.add(parts[0], parts[1], out=self.y)
        for part in parts[2:]:
            np.add(self.y, part, out=self.y)

    def value(self) -> Array:
        """Return ``x^T g``, shape (P, D, H)."""
        found = self.site.ws.array("gradient", self.W.shape, self.W.dtype)
        self._multiply_out(self._shares, found)
        return found

    def _multiply_out(self, shares: Sequence[Share], found: Array) -> None:
        x = self.x

        def product(share: Share, _: Workspace) -> None:
            p, q = share
            rows = self.rows[q]
            # (D_q, N) @ (N, H) -> (D_q, H)
            np.matmul(x[:, rows].T, self.g[p], out=found[p if len(found) > 1 else 0, rows])

        self._each(product, shares)

    def parts(self, whole: bool = False) -> Sequence[Part]:
        """Return the shares of each network, or each network."""
        if whole:
            return lanewise(self.W)
        return [(slice(p, p + 1), self.rows[q]) for p, q in self._shares]

    def each(self, use: UsePart, ws: Workspace, whole: bool = False) -> None:
        """Call ``use`` for each share, on the threads that are idle; for whole networks in turn."""
        if whole:
            found = ws.array("gradient", (1, *self.W.shape[1:]), self.W.dtype)
            for p in range(len(self.W)):
                self._multiply_out([one for one in self._shares if one[0] == p], found)
                use(p, found, ws)
            return
        x, count = self.x, len(self.rows)

        def product(share: Share, ws: Workspace) -> None:
            p, q = share
            rows = self.rows[q]
            g = ws.array("share", self.W[p, rows].shape, self.W.dtype)
            np.matmul(x[:, rows].T, self.g[p], out=g)  # (D_q, N) @ (N, H) -> (D_q, H)
            use(p * count + q, g[None], ws)

        self._each(product, self._shares)

    def add_to(self, param: Array, keep: Array | None, c: Array) -> None:
        """Replace ``param`` by ``keep param + c x^T g``, in place."""
        x, scaled = self.x, self._scaled
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

        self._each(update, self._shares)

    def _each(self, function: Callable[[Share, Workspace], None], shares: Sequence[Share]) -> None:
        if self.site.spread:
            self.site.spread(function, shares)
        else:
            for share in shares:
                function(share, self.site.ws)
