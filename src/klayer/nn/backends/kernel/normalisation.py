"""Normalisation by the batch and by the layer, each forward beside backward.

``x`` is the input, ``y`` the output, (N, H); ``g`` the gradient with respect to ``y``, which becomes
that with respect to ``x``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.backends.kernel.functions import compiled

__all__ = ["batch_norm", "batch_norm_backward", "layer_norm", "layer_norm_backward"]

Array = NDArray[Any]

BLOCK = 256


@compiled
def batch_norm(x: Array, y: Array, affine: Array, statistics: Array, eps: Any) -> None:
    """``x`` loses its mean; ``affine`` holds gamma and beta, ``statistics`` mean, variance, 1/sd."""
    gamma, beta = affine[0], affine[1]
    mean, var, inv_sd = statistics[0], statistics[1], statistics[2]
    one, samples = x.dtype.type(1), x.dtype.type(x.shape[0])
    # From the first sample, so that far from 0 rounding takes nothing of the differences.
    first = inv_sd
    for j in range(mean.size):
        first[j] = x[0, j]
        mean[j] = var[j] = 0
    part = y[0]  # sums of sums of a block: of many samples, one sum alone would lose digits
    for start in range(0, x.shape[0], BLOCK):
        part[:] = 0
        for n in range(start, min(start + BLOCK, x.shape[0])):
            for j in range(mean.size):
                part[j] += x[n, j] - first[j]
        for j in range(mean.size):
            mean[j] += part[j]
    for j in range(mean.size):
        mean[j] /= samples
    for start in range(0, x.shape[0], BLOCK):
        part[:] = 0
        for n in range(start, min(start + BLOCK, x.shape[0])):
            for j in range(mean.size):
                d = (x[n, j] - first[j]) - mean[j]
                x[n, j] = d
                part[j] += d * d
        for j in range(mean.size):
            var[j] += part[j]
    for j in range(mean.size):
        mean[j] += first[j]
        var[j] /= samples
        inv_sd[j] = one / np.sqrt(var[j] + eps)
    for n in range(x.shape[0]):
        for j in range(mean.size):
            y[n, j] = x[n, j] * inv_sd[j] * gamma[j] + beta[j]


@compiled
def batch_norm_backward(
    g: Array,
    centred: Array,
    gamma: Array,
    statistics: Array,
    grads: Array,
    running: Array,
    decay: Any,
) -> None:
    """``grads`` become those of gamma and beta; the running averages move."""
    mean, var, inv_sd = statistics[0], statistics[1], statistics[2]
    grad_gamma, grad_beta = grads[0], grads[1]
    samples, new = g.dtype.type(g.shape[0]), g.dtype.type(1) - decay
    for j in range(mean.size):
        running[0, j] = decay * running[0, j] + new * mean[j]
        running[1, j] = decay * running[1, j] + new * var[j]
    grads[:] = 0
    for n in range(g.shape[0]):
        for j in range(mean.size):
            grad_gamma[j] += g[n, j] * centred[n, j]
            grad_beta[j] += g[n, j]
    # Mean and variance have served: their memory takes what the gradient loses.
    slope, shift = mean, var
    for j in range(mean.size):
        grad_gamma[j] *= inv_sd[j]
        slope[j] = grad_gamma[j] * inv_sd[j] / samples
        shift[j] = grad_beta[j] / samples
        inv_sd[j] *= gamma[j]
    for n in range(g.shape[0]):
        for j in range(mean.size):
            g[n, j] = (g[n, j] - centred[n, j] * slope[j] - shift[j]) * inv_sd[j]


@compiled
def layer_norm(x: Array, y: Array, affine: Array, inv_sd: Array, eps: Any) -> None:
    """``x`` becomes ``s_hat``; ``affine`` holds gamma and beta, ``inv_sd`` (N,) becomes 1/sd."""
    gamma, beta = affine[0], affine[1]
    zero, one, width = x.dtype.type(0), x.dtype.type(1), x.dtype.type(x.shape[1])
    for n in range(x.shape[0]):
        mean, var = zero, zero
        for j in range(x.shape[1]):
            mean += x[n, j]
        mean /= width
        for j in range(x.shape[1]):
            d = x[n, j] - mean
            x[n, j] = d
            var += d * d
        inv_sd[n] = one / np.sqrt(var / width + eps)
        for j in range(x.shape[1]):
            d = x[n, j] * inv_sd[n]
            x[n, j] = d
            y[n, j] = d * gamma[j] + beta[j]


@compiled
def layer_norm_backward(g: Array, s_hat: Array, gamma: Array, inv_sd: Array, grads: Array) -> None:
    """``grads`` become those of gamma and beta."""
    grad_gamma, grad_beta = grads[0], grads[1]
    zero, width = g.dtype.type(0), g.dtype.type(g.shape[1])
    grads[:] = 0
    for n in range(g.shape[0]):
        mean, slope = zero, zero
        for j in range(g.shape[1]):
            grad_gamma[j] += g[n, j] * s_hat[n, j]
            grad_beta[j] += g[n, j]
            d = g[n, j] * gamma[j]
            g[n, j] = d
            mean += d
            slope += d * s_hat[n, j]
        mean /= width
        slope /= width
        for j in range(g.shape[1]):
            g[n, j] = (g[n, j] - s_hat[n, j] * slope - mean) * inv_sd[n]
