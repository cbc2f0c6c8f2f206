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
        self.centred = site.array(f"centred{layer}", width) if piece.after else x
        self.first_sample = x[:, :1]
        self.first, self.mean, self.var, self.inv_sd, self.scale = (
            site.row(f"{name} {layer}", width) for name in ("first", "mean", "var", "1/sd", "scale")
        )
        self.ones = site.ws.ones(site.samples, site.dtype)
        # Numbers as arrays: what Python counts in costs each call a conversion.
        self.eps, self.share = (
            np.array(number, site.real) for number in (piece.eps, 1 / site.samples)
        )
        self.averages: list[tuple[NDArray[Any], NDArray[Any]]] = []
        if site.running is not None:
            self.averages = [
                (site.running[f"running_mean{layer}"], self.mean[:, 0]),
                (site.running[f"running_var{layer}"], self.var[:, 0]),
            ]
        keep = site.exact("bn_momentum")[:, None]
        self.keep, self.new = (value.astype(site.real) for value in (keep, 1 - keep))

    def forward(self) -> None:
        """``y = gamma s_hat + beta``, with ``s_hat`` as the ``centred`` input and 1/sd."""
        centred, y, scale = self.centred, self.y, self.scale
        first, mean, var, inv_sd = self.first, self.mean, self.var, self.inv_sd
        # From the first sample, so that far from 0 rounding takes nothing of the differences.
        np.copyto(first, self.first_sample)
        np.subtract(self.x, first, out=centred)
        np.matmul(self.ones, centred, out=mean)  # (1, N) @ (P, N, H) -> (P, 1, H)
        np.multiply(mean, self.share, out=mean)
        np.subtract(centred, mean, out=centred)
        np.add(mean, first, out=mean)
        np.multiply(centred, centred, out=y)
        np.matmul(self.ones, y, out=var)
        np.multiply(var, self.share, out=var)
        np.add(var, self.eps, out=inv_sd)
        np.sqrt(inv_sd, out=inv_sd)
        np.reciprocal(inv_sd, out=inv_sd)
        np.multiply(self.gamma, inv_sd, out=scale)
        np.multiply(centred, scale, out=y)
        np.add(y, self.beta, out=y)

    def connect(self, g: NDArray[Any], below: bool) -> tuple[NDArray[Any], dict[str, Gradient]]:  # noqa: ARG002
        """Prepare the gradients through normalisation, mean and variance included (equation 7)."""
        layer, width, site = self.piece.layer, self.piece.width, self.site
        self.g, self.product = g, site.array("bn.product", width)
        self.grad_gamma, self.grad_beta, self.lost = (
            site.row(f"{name} {layer}", width) for name in ("grad gamma", "grad beta", "lost")
        )
        return g, {
            f"gamma{layer}": ArrayGradient(self.grad_gamma[:, 0]),
            f"beta{layer}": ArrayGradient(self.grad_beta[:, 0]),
        }

    def backward(self) -> None:
        """Turn ``g`` into the gradient with respect to ``x``, in place; move the running averages."""
        g, product, centred, lost, inv_sd = (
            self.g, self.product, self.centred, self.lost, self.inv_sd,
        )  # fmt: skip
        np.multiply(g, centred, out=product)
        np.matmul(self.ones, product, out=self.grad_gamma)
        np.matmul(self.ones, g, out=self.grad_beta)
        np.multiply(self.grad_gamma, inv_sd, out=self.grad_gamma)
        np.multiply(self.grad_gamma, inv_sd, out=lost)
        np.multiply(lost, self.share, out=lost)
        np.multiply(centred, lost, out=product)
        np.subtract(g, product, out=g)
        np.multiply(self.grad_beta, self.share, out=lost)
        np.subtract(g, lost, out=g)
        np.multiply(g, self.scale, out=g)
        for average, batch in self.averages:
            if self.site.batch.update == 0:
                np.copyto(average, batch)
            else:
                np.multiply(average, self.keep, out=average)
                np.multiply(batch, self.new, out=batch)
                np.add(average, batch, out=average)


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
