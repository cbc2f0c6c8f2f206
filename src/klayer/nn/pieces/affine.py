"""The affine map of a layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import ArrayGradient, Gradient, ProductGradient
from klayer.nn.pieces.piece import Param, Site

__all__ = ["Affine", "AffinePass"]


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

    def prepare(self, site: Site, x: NDArray[Any]) -> AffinePass:
        """Make it ready to work on ``x``."""
        return AffinePass(self, site, x)


class AffinePass:
    """An affine map at work.

    Attributes
    ----------
    product : callable
        Writes ``x W`` to ``y``. The first layer's strategy may put another way in its place.
    """

    def __init__(self, piece: Affine, site: Site, x: NDArray[Any]) -> None:
        self.piece, self.site, self.x = piece, site, x
        self.W = site.params[f"W{piece.layer}"]
        self.b = site.params[f"b{piece.layer}"][:, None, :] if piece.bias else None
        self.y = site.array(f"s{piece.layer}", piece.fan_out)
        self.product = self.multiply

    def multiply(self) -> None:
        """Write ``x W`` to ``y``."""
        np.matmul(self.x, self.W, out=self.y)  # (N, D) or (P, N, D) @ (P, D, H) -> (P, N, H)

    def forward(self) -> None:
        """``y = x W + b``."""
        self.product()
        if self.b is not None:
            np.add(self.y, self.b, out=self.y)

    def connect(self, g: NDArray[Any], below: bool) -> tuple[NDArray[Any], dict[str, Gradient]]:
        """Prepare ``dW = x^T g``, ``db = sum g`` and ``dx = g W^T`` (equations 2 and 3)."""
        piece, site = self.piece, self.site
        self.g, self.WT = g, self.W.transpose(0, 2, 1)
        self.grad_x = site.array(f"g{piece.layer - 1}", piece.fan_in) if below else None
        self.grad_b, self.ones = None, site.ws.ones(site.samples, site.dtype)
        gradients: dict[str, Gradient] = {}
        if piece.bias:
            self.grad_b = site.row(f"grad b{piece.layer}", piece.fan_out)
            gradients[f"b{piece.layer}"] = ArrayGradient(self.grad_b[:, 0])
        gradients[f"W{piece.layer}"] = ProductGradient(self, g, self.W, site.ws)
        return (g if self.grad_x is None else self.grad_x), gradients

    def backward(self) -> None:
        """Compute ``db`` and ``dx``; ``dW`` stays as its factors."""
        if self.grad_b is not None:
            # A sum as a product is several times faster here than `sum(axis=1)`.
            np.matmul(self.ones, self.g, out=self.grad_b)  # (1, N) @ (P, N, H) -> (P, 1, H)
        if self.grad_x is not None:
            np.matmul(self.g, self.WT, out=self.grad_x)  # (P, N, H) @ (P, H, D) -> (P, N, D)
