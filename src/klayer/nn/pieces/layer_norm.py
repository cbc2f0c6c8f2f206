"""Layer normalisation: each sample by the mean and variance of its own units."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import ArrayGradient, Gradient
from klayer.nn.pieces.piece import Param, Site

__all__ = ["LayerNorm", "LayerNormPass"]

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation (equations 36 and 37).

    ``z = gamma s_hat + beta``, ``s_hat = (s - mu) / sqrt(v + eps)`` with mean ``mu`` and biased variance
    ``v`` over the H units of a sample. It is the same in training and at inference.
    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.

    Parameters
    ----------
    layer : int, 1 ... k-1
    width : int
        H: ``gamma`` and ``beta`` are (H,).
    eps : float, > 0
        Inside the root.
    """

    layer: int
    width: int
    eps: float

    def params(self) -> dict[str, Param]:
        """``gamma``, from 1, and ``beta``, from 0."""
        start = {"gamma": 1.0, "beta": 0.0}
        return {f"{key}{self.layer}": Param((self.width,), value) for key, value in start.items()}

    def running(self) -> dict[str, Param]:
        """None."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return plain values."""
        return {"piece": "layer_norm", **asdict(self)}

    def prepare(self, site: Site, x: Array) -> LayerNormPass:
        """Make it ready to work on ``x``, which is overwritten."""
        return LayerNormPass(self, site, x)


class LayerNormPass:
    """Layer normalisation at work."""

    def __init__(self, piece: LayerNorm, site: Site, x: Array) -> None:
        self.piece, self.site, self.x = piece, site, x
        layer, width = piece.layer, piece.width
        self.gamma, self.beta = (site.params[f"{k}{layer}"][:, None, :] for k in ("gamma", "beta"))
        self.y, self.product = site.array(f"z{layer}", width), site.array("ln.product", width)
        self.inv_sd, self.mean = site.array(f"1/sd {layer}", 1), site.array("ln.mean", 1)
        self.per_unit = site.ws.ones(width, site.dtype).T  # (H, 1)
        self.per_sample = site.ws.ones(site.samples, site.dtype)  # (1, N)

    def forward(self) -> None:
        """``y = gamma s_hat + beta``; ``x`` becomes ``s_hat``."""
        x, y, mean, inv_sd, width = self.x, self.y, self.mean, self.inv_sd, self.piece.width
        np.matmul(x, self.per_unit, out=mean)  # (P, N, H) @ (H, 1) -> (P, N, 1)
        np.divide(mean, width, out=mean)
        np.subtract(x, mean, out=x)
        np.multiply(x, x, out=y)
        np.matmul(y, self.per_unit, out=inv_sd)
        np.divide(inv_sd, width, out=inv_sd)
        np.add(inv_sd, self.piece.eps, out=inv_sd)
        np.sqrt(inv_sd, out=inv_sd)
        np.divide(1, inv_sd, out=inv_sd)
        np.multiply(x, inv_sd, out=x)
        np.multiply(x, self.gamma, out=y)
        np.add(y, self.beta, out=y)

    def connect(self, g: Array, below: bool) -> tuple[Array, dict[str, Gradient]]:  # noqa: ARG002
        """Prepare the gradients through normalisation, mean and variance included (equation 37)."""
        layer, width, site = self.piece.layer, self.piece.width, self.site
        self.g = g
        self.grad_gamma, self.grad_beta = (
            site.row(f"{name} {layer}", width) for name in ("grad gamma", "grad beta")
        )
        return g, {
            f"gamma{layer}": ArrayGradient(self.grad_gamma[:, 0]),
            f"beta{layer}": ArrayGradient(self.grad_beta[:, 0]),
        }

    def backward(self) -> None:
        """Turn ``g`` into the gradient with respect to ``x``, in place."""
        g, product, s_hat, mean, width = self.g, self.product, self.x, self.mean, self.piece.width
        np.multiply(g, s_hat, out=product)
        np.matmul(self.per_sample, product, out=self.grad_gamma)  # (1, N) @ (P, N, H)
        np.matmul(self.per_sample, g, out=self.grad_beta)
        np.multiply(g, self.gamma, out=g)
        np.multiply(g, s_hat, out=product)
        np.matmul(product, self.per_unit, out=mean)  # (P, N, H) @ (H, 1) -> (P, N, 1)
        np.divide(mean, width, out=mean)
        np.multiply(s_hat, mean, out=product)
        np.matmul(g, self.per_unit, out=mean)
        np.divide(mean, width, out=mean)
        np.subtract(g, mean, out=g)
        np.subtract(g, product, out=g)
        np.multiply(g, self.inv_sd, out=g)
