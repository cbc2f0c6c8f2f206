"""Losses: each returns the mean loss of a batch, and its gradient with respect to the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.backends.kernel.functions import compiled, exp, log

__all__ = ["LOSSES", "loss_and_gradient"]

Array = NDArray[Any]

LOSSES = {
    "softmax_cross_entropy": 0,
    "squared": 1,
    "absolute": 2,
    "huber": 3,
    "quantile": 4,
    "binary_cross_entropy": 5,
}
SOFTMAX, SQUARED, ABSOLUTE, HUBER, QUANTILE, _ = range(6)


@compiled
def softmax_cross_entropy(
    logits: Array, g: Array, totals: Array, labels: Array, weights: Array, smoothing: Any
) -> Any:
    """Return the mean loss; ``g`` becomes its gradient; ``logits`` lose their greatest.

    ``totals``, (N,), are scratch. Exponentials and logarithms have loops of their own: vectors.
    """
    N, K = logits.shape
    loss, samples, one = logits.dtype.type(0), logits.dtype.type(N), logits.dtype.type(1)
    each = smoothing / logits.dtype.type(K)
    for n in range(N):
        most = logits[n, 0].real
        for k in range(1, K):
            most = logits[n, k].real if logits[n, k].real > most else most
        for k in range(K):
            logits[n, k] -= most
    flat, g_flat = logits.reshape(N * K), g.reshape(N * K)
    for i in range(N * K):
        g_flat[i] = exp(flat[i])
    for n in range(N):
        total, every = g[n, 0], logits[n, 0]
        for k in range(1, K):
            total += g[n, k]
            every += logits[n, k]
        totals[n] = total
        weight = weights[n] if weights.size else one
        loss -= weight * ((one - smoothing) * logits[n, labels[n]] + each * every)
        share = weight / (total * samples)
        for k in range(K):
            g[n, k] = g[n, k] * share - weight * each / samples
        g[n, labels[n]] -= weight * (one - smoothing) / samples
    for n in range(N):
        totals[n] = log(totals[n])
    for n in range(N):
        loss += weights[n] * totals[n] if weights.size else totals[n]
    return loss / samples


@compiled
def of_residual(kind: int, d: Any, delta: Any, q: Any, one: Any) -> Any:
    """Return a loss of a residual, and its derivative; where it is 0, that of the mathematics' rows."""
    if kind == SQUARED:
        return d * d, d + d
    if kind == HUBER:
        c = d
        if d.real > delta.real:
            c = delta
        elif d.real < -delta.real:
            c = -delta
        return c * (d - c / (one + one)), c
    slope = one - one
    if kind == QUANTILE:
        slope = one - q if d.real > 0 else -q
    elif d.real > 0:
        slope = one
    elif d.real < 0:
        slope = -one
    return d * slope, slope


@compiled
def binary(z: Any, y: Any, one: Any) -> Any:
    """Return the cross-entropy of a sigmoid against 0 or 1, and its derivative."""
    if z.real > 0:
        e = exp(-z)
        return z - y * z + np.log1p(e), one / (e + one) - y
    e = exp(z)
    return np.log1p(e) - y * z, e / (e + one) - y


@compiled
def loss_and_gradient(
    kind: int,
    z: Array,
    g: Array,
    totals: Array,
    labels: Array,
    targets: Array,
    weights: Array,
    smoothing: Any,
    delta: Any,
    quantiles: Array,
) -> Any:
    """Return the mean loss of a batch; ``g`` becomes its gradient, ``z`` may be overwritten.

    ``labels`` are of classes, ``targets`` (N, K) all others; the other one is empty, and so may be
    ``weights``. ``totals``, (N,), are scratch.
    """
    if kind == SOFTMAX:
        return softmax_cross_entropy(z, g, totals, labels, weights, smoothing)
    one, loss, count = z.dtype.type(1), z.dtype.type(0), z.dtype.type(z.size)
    each = max(1, quantiles.size)
    for n in range(z.shape[0]):
        weight = weights[n] if weights.size else one
        for k in range(z.shape[1]):
            y = targets[n, k // each]
            if kind <= QUANTILE:
                q = quantiles[k % each] if quantiles.size else one
                value, slope = of_residual(kind, z[n, k] - y, delta, q, one)
            else:
                value, slope = binary(z[n, k], y, one)
            loss += weight * value
            g[n, k] = weight * slope / count
    return loss / count
