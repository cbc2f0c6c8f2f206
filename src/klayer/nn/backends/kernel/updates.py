"""The kernel: many updates of one network in one call.

Depth is data: a network is a table of its pieces and a row of numbers, and so nothing is compiled anew
for another depth, width or size of batch. Each piece has its forward beside its backward function, like
:mod:`klayer.nn.pieces`, whose equations they compute.

numba compiles this for float32, float64 and complex128, so that a complex step checks the very source
that trains. Without numba it is plain Python: the same numbers, slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.backends.kernel.activations import activate, activate_backward
from klayer.nn.backends.kernel.draws import add_noise, drop, keep
from klayer.nn.backends.kernel.functions import compiled, compiled_and_kept
from klayer.nn.backends.kernel.losses import loss_and_gradient
from klayer.nn.backends.kernel.moves import KEEP, LR, SGD, move
from klayer.nn.backends.kernel.normalisation import (
    batch_norm,
    batch_norm_backward,
    layer_norm,
    layer_norm_backward,
)
from klayer.nn.backends.kernel.products import matrix, multiply, transpose
from klayer.nn.backends.kernel.table import (
    AFFINE,
    BATCH_NORM,
    BIAS,
    BN_MOMENTUM,
    DROPOUT,
    EPS,
    FROM,
    HUBER_DELTA,
    INPUT_NOISE,
    JOIN,
    KIND,
    LAYER,
    LAYER_NORM,
    LEAK,
    MEMORY,
    NOISE,
    OFFSET,
    PAST,
    RELU,
    RUNNING,
    SLOPE,
    SMOOTHING,
    SOURCE,
    TO,
)

__all__ = ["train"]

Array = NDArray[Any]


@compiled
def first_not_finite(pieces: Array, outputs: Array, samples: int) -> int:
    """Return the first layer, from 1, whose pre-activation isn't finite; the last if all are."""
    layer = 1
    for i in range(pieces.shape[0]):
        if pieces[i, KIND] >= RELU:
            size = samples * pieces[i, FROM]
            z, y = outputs[i - 1, :size], outputs[i, :size]
            for j in range(size):
                # The input may have become the derivative by now.
                if not (np.isfinite(z[j]) and np.isfinite(y[j])):
                    return layer
            layer += 1
    return layer


def _source() -> int:
    """Return a number that changes with any file of the kernel."""
    digest = blake2b(digest_size=7)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest(), "big")


def _kept_for(source: int) -> Callable[..., tuple[int, int]]:
    """Return the kernel. It holds ``source``: what is kept on disk is used for just this source."""

    def train(
        pieces: Array,
        optimiser: int,
        loss: int,
        ends: Array,
        x: Array,
        labels: Array,
        targets: Array,
        weights: Array,
        quantiles: Array,
        params: Array,
        running: Array,
        slots: Array,
        rates: Array,
        numbers: Array,
        keys: Array,
        normal: Array,
        start: int,
        scratch: Array,
        bits: Array,
        losses: Array,
    ) -> tuple[int, int]:
        """Do as many updates of one network as there are rows of rates.

        Parameters
        ----------
        pieces : int64 array, shape (pieces, COLUMNS)
        optimiser, loss : int, values of OPTIMISERS and LOSSES
        ends : int64 array, shape (T + 1,)
            Batch ``u`` is made of the rows ``ends[u]`` to ``ends[u + 1]`` of ``x``, (N, D), and of what
            the loss takes: ``labels``, int64 (N,), or ``targets``, (N, K); the other is empty.
            ``weights``, (N,), are empty where all samples count the same.
        quantiles : array, 1-D, empty but for that loss
        params, running : array, 1-D, moved
        slots : array, shape (slots of the optimiser, size of params), moved
        rates : array, shape (T, len(RATES))
        numbers : array, shape (len(NUMBERS),)
        keys : uint64 array, 1-D, as :func:`schedule` makes them
        normal : array, shape (2**16,), what noise is chosen from
        start : int
            Index of the first update.
        scratch : array, 1-D
        bits : uint64 array, shape (pieces that draw, words)
        losses : array, shape (T,), of each update's batch

        Returns
        -------
        done, layer : int
            Updates done: fewer than asked if a loss is not finite, and then nothing has moved in that
            update; and the first layer that isn't finite there.
        """
        if source < 0:  # it never is
            return 0, 0
        eps, leak = numbers[EPS], numbers[LEAK]
        one, free, slope = x.dtype.type(1), x.dtype.type(0), numbers[SLOPE]
        count, own, first = pieces.shape[0], 0, 0
        most, widest, product = 0, 0, 1
        for u in range(rates.shape[0]):
            most = max(most, ends[u + 1] - ends[u])
        for i in range(count):
            widest = max(widest, pieces[i, TO])
            own = max(own, pieces[i, MEMORY] + 1)
            if pieces[i, KIND] == AFFINE:
                product = max(product, pieces[i, FROM] * pieces[i, TO])
        while pieces[first, KIND] != AFFINE:
            first += 1  # what lies below moves nothing
        area = most * widest
        outputs = scratch[: count * area].reshape((count, area))
        scratch = scratch[count * area :]
        gradients = scratch[: 2 * area].reshape((2, area))
        scratch = scratch[2 * area :]
        memory = scratch[: own * area].reshape((own, area))
        scratch = scratch[own * area :]
        statistics = scratch[: count * 3 * widest].reshape((count, 3 * widest))
        scratch = scratch[count * 3 * widest :]
        rows = scratch[: 2 * widest]
        product_memory = scratch[2 * widest :]
        ones, totals = np.ones((1, most), x.dtype), np.empty(most, x.dtype)
        thresholds = np.zeros(max(1, bits.shape[0]), np.int64)

        for u in range(rates.shape[0]):
            N = ends[u + 1] - ends[u]
            batch = x[ends[u] : ends[u + 1]]
            below = batch
            for i in range(count):
                kind, d, h, at = pieces[i, KIND], pieces[i, FROM], pieces[i, TO], pieces[i, OFFSET]
                y, mine = matrix(outputs[i], N, h), pieces[i, MEMORY]
                flat = outputs[i, : N * h]
                if kind == AFFINE:
                    W, base = matrix(params[at:], d, h), y
                    if pieces[i, BIAS]:
                        base = matrix(params[at + d * h :], 1, h)
                    based = one if pieces[i, BIAS] else free
                    multiply(below, W, base, y, based, one)  # (N, D) @ (D, H)
                elif kind == BATCH_NORM:
                    s = below
                    if mine >= 0:  # after an activation, whose output stays as it is
                        s = matrix(memory[mine], N, h)
                        memory[mine, : N * h] = outputs[i - 1, : N * h]
                    batch_norm(s, y, matrix(params[at:], 2, h), matrix(statistics[i], 3, h), eps)
                elif kind == LAYER_NORM:
                    layer_norm(below, y, matrix(params[at:], 2, h), memory[mine], eps)
                elif kind == DROPOUT:
                    size = 4 * ((N * h + 39) // 32)
                    words = bits[mine, :size]
                    thresholds[mine] = drop(
                        below.reshape(N * h), flat, words, start + u, pieces[i, LAYER], keys, mine
                    )
                elif kind == NOISE:
                    size = 4 * ((2 * N * h + 31) // 32)
                    add_noise(
                        below.reshape(N * h),
                        flat,
                        numbers[INPUT_NOISE],
                        normal,
                        bits[mine, :size],
                        start + u,
                        pieces[i, LAYER],
                        keys,
                    )
                elif kind == JOIN:
                    past, here_too = outputs[pieces[i, SOURCE]], outputs[i - 1]
                    for j in range(N * h):
                        flat[j] = here_too[j] + past[j]
                else:
                    activate(kind, outputs[i - 1, : N * h], flat, leak)
                below = y
            here = 0
            g = matrix(gradients[here], N, below.shape[1])
            losses[u] = loss_and_gradient(
                loss,
                below,
                g,
                totals[:N],
                labels[ends[u] : ends[u + 1]],
                targets[ends[u] : ends[u + 1]],
                weights[ends[u] : ends[u + 1]],
                numbers[SMOOTHING],
                numbers[HUBER_DELTA],
                quantiles,
            )
            if not np.isfinite(losses[u]):
                return u, first_not_finite(pieces, outputs, N)
            for i in range(count - 1, first - 1, -1):
                kind, d, h, at = pieces[i, KIND], pieces[i, FROM], pieces[i, TO], pieces[i, OFFSET]
                flat, mine = gradients[here, : N * h], pieces[i, MEMORY]
                if kind == AFFINE:
                    W = matrix(params[at:], d, h)
                    if pieces[i, BIAS]:
                        total = matrix(rows, 1, h)
                        multiply(ones[:, :N], g, total, total, free, one)  # (1, N) @ (N, H)
                        b = params[at + d * h : at + d * h + h]
                        move(
                            optimiser, b, rows[:h], slots, at + d * h, rates[u], one, free, numbers
                        )
                    below = matrix(outputs[i - 1], N, d) if i > 0 else batch
                    g_below = g
                    if i > first:
                        here = 1 - here
                        g_below = matrix(gradients[here], N, d)
                        W_turned = matrix(product_memory, h, d)
                        transpose(W, W_turned)
                        multiply(g, W_turned, g_below, g_below, free, one)  # (N, H) @ (H, D)
                        if pieces[i, PAST] >= 0:
                            past, flat = memory[pieces[i, PAST]], gradients[here]
                            for j in range(N * d):
                                flat[j] += past[j]
                    left = rates[u, KEEP]
                    if optimiser == SGD:  # the whole step is one product: (D, N) @ (N, H)
                        lr = rates[u, LR]
                        multiply(below.T, g, W, W, one - lr * slope, -lr)
                    else:
                        grad_W = matrix(product_memory, d, h)
                        multiply(below.T, g, grad_W, grad_W, free, one)
                        all_W, grad = params[at : at + d * h], product_memory[: d * h]
                        move(optimiser, all_W, grad, slots, at, rates[u], left, slope, numbers)
                    g = g_below
                elif kind == BATCH_NORM:
                    gamma, averages = (
                        params[at : at + h],
                        matrix(running[pieces[i, RUNNING] :], 2, h),
                    )
                    centred = matrix(outputs[i - 1] if mine < 0 else memory[mine], N, h)
                    decay = free if start + u == 0 else numbers[BN_MOMENTUM]
                    grads, means = matrix(rows, 2, h), matrix(statistics[i], 3, h)
                    batch_norm_backward(g, centred, gamma, means, grads, averages, decay)
                    both = params[at : at + 2 * h]
                    move(optimiser, both, rows[: 2 * h], slots, at, rates[u], one, free, numbers)
                elif kind == LAYER_NORM:
                    gamma, s_hat = params[at : at + h], matrix(outputs[i - 1], N, h)
                    layer_norm_backward(g, s_hat, gamma, memory[mine], matrix(rows, 2, h))
                    both = params[at : at + 2 * h]
                    move(optimiser, both, rows[: 2 * h], slots, at, rates[u], one, free, numbers)
                elif kind == DROPOUT:
                    keep(flat, flat, bits[mine], thresholds[mine])
                elif kind == JOIN:
                    memory[mine, : N * h] = flat
                else:
                    activate_backward(
                        kind, flat, outputs[i - 1, : N * h], outputs[i, : N * h], leak
                    )
        return rates.shape[0], 0

    return train


train = compiled_and_kept(_kept_for(_source()))
