"""The compiled kernel's source: many updates of one network in one call.

Depth is data: a network is a table of its pieces and a row of numbers, and so nothing is compiled anew
for another depth, width or size of batch. Each piece has its forward beside its backward function, like
:mod:`klayer.nn.pieces`, whose equations they compute. Products run in the BLAS, which is several times
faster than loops.

numba compiles this file for float32, float64 and complex128, so that a complex step checks the very
source that trains. Without numba it is plain Python: the same numbers, slowly. In numba ``int *
float32`` would be float64, and so constants are made of the arrays' dtype. A sum keeps its order; a
product may be fused with the sum that follows (``contract``), and no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

try:
    import numba
    from numba.extending import overload
except ImportError:
    numba = None

__all__ = [
    "BIAS",
    "COLUMNS",
    "FROM",
    "KIND",
    "NUMBERS",
    "OFFSET",
    "OPTIMISERS",
    "PIECES",
    "RATES",
    "RUNNING",
    "TO",
    "train",
]

Array = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

# The kinds of pieces and the optimisers that are known, by their names.
PIECES = {"affine": 0, "batch_norm": 1, "relu": 2, "leaky_relu": 3, "tanh": 4}
OPTIMISERS = {"sgd": 0, "momentum": 1, "nesterov": 2, "adam": 3, "adamw": 4, "rmsprop": 5}
AFFINE, BATCH_NORM, RELU, LEAKY_RELU, TANH = range(5)
SGD, MOMENTUM, NESTEROV, _, _, RMSPROP = range(6)

# What differs from update to update, and what does not: a network's own numbers, then what its pieces
# need (what batch normalisation adds inside the root, and what its running averages keep at each update
# but the very first; what a leaky unit lets through).
RATES = ("lr", "minus_step", "floor", "keep_decayed")
NUMBERS = ("slope", "momentum", "beta2", "eps", "bn_momentum", "leak")
LR, MINUS_STEP, FLOOR, KEEP = range(4)

# Columns of the table of pieces: kind, width below and above, where its parameters and its running
# statistics begin, whether it has a bias.
KIND, FROM, TO, OFFSET, RUNNING, BIAS, COLUMNS = range(7)


def compiled(function: F, cache: bool = False) -> F:
    """Compile a function when it is first called, if numba is there."""
    if numba is None:
        return function
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "cache": cache}
    found: F = numba.njit(**options)(function)
    return found


def compiled_and_kept(function: F) -> F:
    """Compile a function with all that it calls, and keep that on disk where a folder can be written."""
    try:
        return compiled(function, cache=True)
    except RuntimeError:  # numba found no folder
        return compiled(function)


# Functions of one number.


def exp(x: Any) -> Any:
    """Return the exponential."""
    return np.exp(x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    return np.tanh(x)


if numba is not None:
    # In float32 without a branch or a call, so that loops over them are vectorised.

    def _exp32(x: Any) -> Any:
        """Cody and Waite's reduction and a polynomial of degree 6, to 1 unit in the last place."""
        f = np.float32
        x = f(-87) if x < f(-87) else x
        x = f(88) if x > f(88) else x
        n = (x * f(1.44269504) + f(12582912)) - f(12582912)
        r = (x - n * f(0.693359375)) - n * f(-2.12194440e-4)
        p = f(1.98756915e-4) * r + f(1.39819995e-3)
        p = ((p * r + f(8.33345191e-3)) * r + f(4.16657959e-2)) * r
        p = ((p + f(0.166666655)) * r + f(0.5)) * r * r + r + f(1)
        return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)

    def _exp(x: Any) -> Any:
        return _exp32 if x == numba.types.float32 else exp

    _exp_of_float32 = compiled(_exp32)

    def _tanh32(x: Any) -> Any:
        """A polynomial near 0 (Cephes), where ``1 - 2 / (exp(2 x) + 1)`` would cancel."""
        f = np.float32
        s = x * x
        p = (f(-5.70498872745e-3) * s + f(2.06390887954e-2)) * s + f(-5.37397155531e-2)
        near = ((p * s + f(1.33314422036e-1)) * s + f(-3.33332819422e-1)) * s * x + x
        far = f(1) - f(2) / (_exp_of_float32(x + x) + f(1))
        return near if s < f(0.390625) else far

    def _tanh(x: Any) -> Any:
        return _tanh32 if x == numba.types.float32 else tanh

    for function, by_type in ((exp, _exp), (tanh, _tanh)):
        overload(function, jit_options={"fastmath": {"contract"}})(by_type)


# Pieces: x is the input, y the output (N, H); g the gradient with respect to y, which becomes that with
# respect to x.


@compiled
def matrix(memory: Array, rows: int, columns: int) -> Array:
    return memory[: rows * columns].reshape((rows, columns))


@compiled
def sum_samples(g: Array, total: Array) -> None:
    total[:] = 0
    for n in range(g.shape[0]):
        for j in range(total.size):
            total[j] += g[n, j]


@compiled
def add_bias(y: Array, b: Array) -> None:
    for n in range(y.shape[0]):
        for j in range(b.size):
            y[n, j] += b[j]


@compiled
def batch_norm(x: Array, y: Array, affine: Array, statistics: Array, eps: Any) -> None:
    """``x`` becomes ``s_hat``; ``affine`` holds gamma and beta, ``statistics`` mean, variance, 1/sd."""
    gamma, beta = affine[0], affine[1]
    mean, var, inv_sd = statistics[0], statistics[1], statistics[2]
    one, samples = x.dtype.type(1), x.dtype.type(x.shape[0])
    sum_samples(x, mean)
    var[:] = 0
    for j in range(mean.size):
        mean[j] /= samples
    for n in range(x.shape[0]):
        for j in range(mean.size):
            d = x[n, j] - mean[j]
            x[n, j] = d
            var[j] += d * d
    for j in range(mean.size):
        var[j] /= samples
        inv_sd[j] = one / np.sqrt(var[j] + eps)
    for n in range(x.shape[0]):
        for j in range(mean.size):
            d = x[n, j] * inv_sd[j]
            x[n, j] = d
            y[n, j] = d * gamma[j] + beta[j]


@compiled
def batch_norm_backward(
    g: Array,
    s_hat: Array,
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
            grad_gamma[j] += g[n, j] * s_hat[n, j]
            grad_beta[j] += g[n, j]
    # Mean and variance have served: their memory takes the means of the gradients.
    for j in range(mean.size):
        mean[j] = grad_gamma[j] / samples
        var[j] = grad_beta[j] / samples
        inv_sd[j] *= gamma[j]
    for n in range(g.shape[0]):
        for j in range(mean.size):
            g[n, j] = (g[n, j] - s_hat[n, j] * mean[j] - var[j]) * inv_sd[j]


@compiled
def activate(kind: int, x: Array, y: Array, leak: Any) -> None:
    # Times 0 or 1, as NumPy has it: what is not finite stays so, and is found.
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if kind == TANH:
        for i in range(x.size):
            y[i] = tanh(x[i])
        return
    low = leak if kind == LEAKY_RELU else zero
    for i in range(x.size):
        y[i] = x[i] * (one if x[i].real > 0 else low)


@compiled
def activate_backward(kind: int, g: Array, y: Array, leak: Any) -> None:
    zero, one = y.dtype.type(0), y.dtype.type(1)
    if kind == TANH:
        for i in range(g.size):
            g[i] *= one - y[i] * y[i]
        return
    low = leak if kind == LEAKY_RELU else zero
    for i in range(g.size):
        g[i] *= one if y[i].real > 0 else low


@compiled
def softmax_cross_entropy(logits: Array, g: Array, labels: Array) -> Any:
    """Return the mean loss; ``g`` becomes its gradient; ``logits`` lose their greatest."""
    N, K = logits.shape
    loss, samples, one = logits.dtype.type(0), logits.dtype.type(N), logits.dtype.type(1)
    for n in range(N):
        most = logits[n, 0].real
        for k in range(1, K):
            most = max(most, logits[n, k].real)
        for k in range(K):
            logits[n, k] -= most
    flat, g_flat = logits.reshape(N * K), g.reshape(N * K)
    for i in range(N * K):
        g_flat[i] = exp(flat[i])
    for n in range(N):
        total = g[n, 0]
        for k in range(1, K):
            total += g[n, k]
        loss += np.log(total) - logits[n, labels[n]]
        share = one / (total * samples)
        for k in range(K):
            g[n, k] *= share
        g[n, labels[n]] -= one / samples
    return loss / samples


@compiled
def move(
    optimiser: int,
    w: Array,
    g: Array,
    slots: Array,
    at: int,
    rates: Array,
    keep: Any,
    slope: Any,
    numbers: Array,
) -> None:
    """Move parameters by their gradient and their penalty's, ``slope w``; decay leaves ``keep``."""
    lr, step, floor = rates[LR], rates[MINUS_STEP], rates[FLOOR]
    momentum, beta2 = numbers[1], numbers[2]
    if optimiser == SGD:
        left = w.dtype.type(1) - lr * slope
        for i in range(w.size):
            w[i] = left * w[i] - lr * g[i]
        return
    first = slots[0, at : at + w.size]
    if optimiser == MOMENTUM:
        for i in range(w.size):
            first[i] = momentum * first[i] + g[i] + slope * w[i]
            w[i] -= lr * first[i]
    elif optimiser == NESTEROV:
        for i in range(w.size):
            d = g[i] + slope * w[i]
            first[i] = momentum * first[i] + d
            w[i] -= lr * (d + momentum * first[i])
    elif optimiser == RMSPROP:
        for i in range(w.size):
            d = g[i] + slope * w[i]
            first[i] = beta2 * first[i] + d * d
            w[i] += step * d / (np.sqrt(first[i]) + floor)
    else:
        second = slots[1, at : at + w.size]
        for i in range(w.size):
            kept = keep * w[i]
            d = g[i] + slope * kept
            first[i] = momentum * first[i] + d
            second[i] = beta2 * second[i] + d * d
            w[i] = kept + step * first[i] / (np.sqrt(second[i]) + floor)


@compiled
def first_not_finite(pieces: Array, outputs: Array, samples: int) -> int:
    """Return the first layer, from 1, whose pre-activation isn't finite; the last if all are."""
    layer = 1
    for i in range(pieces.shape[0]):
        if pieces[i, KIND] >= RELU:
            z = outputs[i - 1, : samples * pieces[i, FROM]]
            for j in range(z.size):
                if not np.isfinite(z[j]):
                    return layer
            layer += 1
    return layer


@compiled_and_kept
def train(
    pieces: Array,
    optimiser: int,
    ends: Array,
    x: Array,
    labels: Array,
    params: Array,
    running: Array,
    slots: Array,
    rates: Array,
    numbers: Array,
    start: int,
    scratch: Array,
    losses: Array,
) -> tuple[int, int]:
    """Do as many updates of one network as there are rows of rates.

    Parameters
    ----------
    pieces : int64 array, shape (pieces, COLUMNS)
    optimiser : int, a value of OPTIMISERS
    ends : int64 array, shape (T + 1,)
        Batch ``u`` is made of the rows ``ends[u]`` to ``ends[u + 1]`` of ``x``, (N, D), and ``labels``,
        int64.
    params, running : array, 1-D, moved
    slots : array, shape (slots of the optimiser, size of params), moved
    rates : array, shape (T, len(RATES))
    numbers : array, shape (len(NUMBERS),)
    start : int
        Index of the first update.
    scratch : array, 1-D
    losses : array, shape (T,), of each update's batch

    Returns
    -------
    done, layer : int
        Updates done: fewer than asked if a loss is not finite, and then nothing has moved in that
        update; and the first layer that isn't finite there.
    """
    slope, eps, decay, leak = numbers[0], numbers[3], numbers[4], numbers[5]
    one = x.dtype.type(1)
    count, free = pieces.shape[0], x.dtype.type(0)
    most, widest, product = 0, 0, 1
    for u in range(rates.shape[0]):
        most = max(most, ends[u + 1] - ends[u])
    for i in range(count):
        widest = max(widest, pieces[i, TO])
        if pieces[i, KIND] == AFFINE:
            product = max(product, pieces[i, FROM] * pieces[i, TO])
    area = most * widest
    outputs = scratch[: count * area].reshape((count, area))
    scratch = scratch[count * area :]
    gradients = scratch[: 2 * area].reshape((2, area))
    scratch = scratch[2 * area :]
    statistics = scratch[: count * 3 * widest].reshape((count, 3 * widest))
    scratch = scratch[count * 3 * widest :]
    rows = scratch[: 2 * widest]
    product_memory = scratch[2 * widest :]

    for u in range(rates.shape[0]):
        N = ends[u + 1] - ends[u]
        batch, y_true = x[ends[u] : ends[u + 1]], labels[ends[u] : ends[u + 1]]
        below = batch
        for i in range(count):
            kind, d, h, at = pieces[i, KIND], pieces[i, FROM], pieces[i, TO], pieces[i, OFFSET]
            y = matrix(outputs[i], N, h)
            if kind == AFFINE:
                W = matrix(params[at:], d, h)
                np.dot(below, W, y)  # (N, D) @ (D, H)
                if pieces[i, BIAS]:
                    add_bias(y, params[at + d * h : at + d * h + h])
            elif kind == BATCH_NORM:
                batch_norm(below, y, matrix(params[at:], 2, h), matrix(statistics[i], 3, h), eps)
            else:
                activate(kind, outputs[i - 1, : N * h], outputs[i, : N * h], leak)
            below = y
        here = 0
        g = matrix(gradients[here], N, below.shape[1])
        losses[u] = softmax_cross_entropy(below, g, y_true)
        if not np.isfinite(losses[u]):
            return u, first_not_finite(pieces, outputs, N)
        for i in range(count - 1, -1, -1):
            kind, d, h, at = pieces[i, KIND], pieces[i, FROM], pieces[i, TO], pieces[i, OFFSET]
            if kind == AFFINE:
                W = matrix(params[at:], d, h)
                if pieces[i, BIAS]:
                    sum_samples(g, rows[:h])
                    b = params[at + d * h : at + d * h + h]
                    move(optimiser, b, rows[:h], slots, at + d * h, rates[u], one, free, numbers)
                grad_W = matrix(product_memory, d, h)
                if i > 0:
                    here = 1 - here
                    g_below = matrix(gradients[here], N, d)
                    np.dot(g, W.T, g_below)  # (N, H) @ (H, D)
                    np.dot(matrix(outputs[i - 1], N, d).T, g, grad_W)  # (D, N) @ (N, H)
                    g = g_below
                else:
                    np.dot(batch.T, g, grad_W)
                flat = product_memory[: d * h]
                keep = rates[u, KEEP]
                move(
                    optimiser,
                    params[at : at + d * h],
                    flat,
                    slots,
                    at,
                    rates[u],
                    keep,
                    slope,
                    numbers,
                )
            elif kind == BATCH_NORM:
                grads, gamma = matrix(rows, 2, h), params[at : at + h]
                averages = matrix(running[pieces[i, RUNNING] :], 2, h)
                batch_norm_backward(
                    g,
                    matrix(outputs[i - 1], N, h),
                    gamma,
                    matrix(statistics[i], 3, h),
                    grads,
                    averages,
                    free if start + u == 0 else decay,
                )
                both = params[at : at + 2 * h]
                move(optimiser, both, rows[: 2 * h], slots, at, rates[u], one, free, numbers)
            else:
                activate_backward(kind, gradients[here, : N * h], outputs[i, : N * h], leak)
    return rates.shape[0], 0
