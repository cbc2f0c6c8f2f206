"""Batch normalisation: by the statistics of the mini-batch in training, by running ones after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import ArrayGradient, Gradient
from klayer.nn.pieces.piece import Param, Pass, Site

__all__ = ["BatchNorm"]


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation (equations 4 to 6).

    ``s_hat = (s - mu) / sqrt(v + eps)``, ``z = gamma s_hat + beta`` with the mean ``mu`` over the
    samples of a mini-batch and the *biased* variance ``v`` (division by N), found in two passes over the
    distances from the first sample: float32 stays exact for features far from 0. After training, ``mu``
    and ``v`` are running averages, ``avg = m avg + (1 - m) batch``, which the first mini-batch sets;
    ``m`` is the number ``bn_momentum`` of each network.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167.

    Parameters
    ----------
    layer : int, 1 ... k
    width : int
        H: ``gamma`` and ``beta`` are (H,).
    eps : float, > 0
        Inside the root.
    after : bool
        Whether it stands after the layer's activation, whose output is to stay as it is.
    """

    layer: int
    width: int
    eps: float
    after: bool = False

    def params(self) -> dict[str, Param]:
        """``gamma``, from 1, and ``beta``, from 0."""
        start = {"gamma": 1.0, "beta": 0.0}
        return {f"{key}{self.layer}": Param((self.width,), value) for key, value in start.items()}

    def running(self) -> dict[str, Param]:
        """Mean, from 0, and variance, from 1."""
        start = {"running_mean": 0.0, "running_var": 1.0}
        return {f"{key}{self.layer}": Param((self.width,), value) for key, value in start.items()}

    def describe(self) -> dict[str, Any]:
        """Return plain values."""
        found = {"piece": "batch_norm", **asdict(self)}
        if not self.after:  # as older versions have it
            del found["after"]
        return found

    def prepare(self, site: Site, x: NDArray[Any]) -> Pass:
        """Make it ready to work on ``x``, which is overwritten unless it is an activation's output."""
        return _Training(self, site, x) if site.training else _Inference(self, site, x)


class _Training:
    """Normalisation by the statistics of the mini-batch."""

    def __init__(self, piece: BatchNorm, site: Site, x: NDArray[Any]) -> None:
        self.piece, self.site, self.x = piece, site, x
        layer, width = piece.layer, piece.width
        self.gamma, self.beta = (site.params[f"{k}{layer}"][:, None, :] for k in ("gamma", "beta"))
        self.y = site.array(f"z{layer}", width)
        self.s_hat = site.array(f"s_hat{layer}", width) if piece.after else x
        self.mean, self.var, self.inv_sd = (
            site.row(f"{name} {layer}", width) for name in ("mean", "var", "1/sd")
        )
        self.ones = site.ws.ones(site.samples, site.dtype)
        self.averages: list[tuple[NDArray[Any], NDArray[Any]]] = []
        if site.running is not None:
            self.averages = [
                (site.running[f"running_mean{layer}"], self.mean[:, 0]),
                (site.running[f"running_var{layer}"], self.var[:, 0]),
            ]
        keep = site.exact("bn_momentum")[:, None]
        self.keep, self.new = (value.astype(site.real) for value in (keep, 1 - keep))

    def forward(self) -> None:
        """``y = gamma s_hat + beta``."""
        x, s_hat, y, n = self.x, self.s_hat, self.y, self.site.samples
        mean, var = self.mean, self.var
        # From the first sample, so that far from 0 rounding takes nothing of the differences.
        first = self.inv_sd
        np.copyto(first, x[:, :1])
        np.subtract(x, first, out=s_hat)
        np.matmul(self.ones, s_hat, out=mean)  # (1, N) @ (P, N, H) -> (P, 1, H)
        np.divide(mean, n, out=mean)
        np.subtract(s_hat, mean, out=s_hat)
        np.add(mean, first, out=mean)
        np.multiply(s_hat, s_hat, out=y)
        np.matmul(self.ones, y, out=var)
        np.divide(var, n, out=var)
        np.add(var, self.piece.eps, out=self.inv_sd)
        np.sqrt(self.inv_sd, out=self.inv_sd)
        np.divide(1, self.inv_sd, out=self.inv_sd)
        np.multiply(s_hat, self.inv_sd, out=s_hat)
        np.multiply(s_hat, self.gamma, out=y)
        np.add(y, self.beta, out=y)

    def connect(self, g: NDArray[Any], below: bool) -> tuple[NDArray[Any], dict[str, Gradient]]:  # noqa: ARG002
        """Prepare the gradients through normalisation, mean and variance included (equation 7)."""
        layer, width, site = self.piece.layer, self.piece.width, self.site
        self.g, self.product = g, site.array("bn.product", width)
        self.grad_gamma, self.grad_beta, self.scale = (
            site.row(f"{name} {layer}", width) for name in ("grad gamma", "grad beta", "scale")
        )
        return g, {
            f"gamma{layer}": ArrayGradient(self.grad_gamma[:, 0]),
            f"beta{layer}": ArrayGradient(self.grad_beta[:, 0]),
        }

    def backward(self) -> None:
        """Turn ``g`` into the gradient with respect to ``x``, in place; move the running averages."""
        g, product, s_hat, n, scale = (
            self.g,
            self.product,
            self.s_hat,
            self.site.samples,
            self.scale,
        )
        np.multiply(g, s_hat, out=product)
        np.matmul(self.ones, product, out=self.grad_gamma)
        np.matmul(self.ones, g, out=self.grad_beta)
        np.divide(self.grad_gamma, n, out=scale)
        np.multiply(s_hat, scale, out=product)
        np.subtract(g, product, out=g)
        np.divide(self.grad_beta, n, out=scale)
        np.subtract(g, scale, out=g)
        np.multiply(self.gamma, self.inv_sd, out=scale)
        np.multiply(g, scale, out=g)
        for average, batch in self.averages:
            if self.site.batch.update == 0:
                average[...] = batch
            else:
                average *= self.keep
                average += self.new * batch


class _Inference:
    """Normalisation by running statistics (equation 10), in place."""

    def __init__(self, piece: BatchNorm, site: Site, x: NDArray[Any]) -> None:
        if site.running is None:
            raise ValueError("batch normalisation at inference needs running statistics.")
        self.x = self.y = x
        values = {**site.params, **site.running}
        gamma, self.beta, self.mean, var = (
            values[f"{key}{piece.layer}"][:, None, :]
            for key in ("gamma", "beta", "running_mean", "running_var")
        )
        self.scale = gamma / np.sqrt(var + piece.eps)

    def forward(self) -> None:
        """``y = gamma (x - mean) / sqrt(var + eps) + beta``."""
        # Centre first: folding the mean into one offset would cancel badly for features far from 0.
        np.subtract(self.x, self.mean, out=self.y)
        np.multiply(self.y, self.scale, out=self.y)
        np.add(self.y, self.beta, out=self.y)

    def connect(self, g: NDArray[Any], below: bool) -> tuple[NDArray[Any], dict[str, Gradient]]:
        """There is no way back."""
        raise NotImplementedError("a plan for inference has no backward pass.")

    def backward(self) -> None:
        """There is no way back."""
        raise NotImplementedError("a plan for inference has no backward pass.")
