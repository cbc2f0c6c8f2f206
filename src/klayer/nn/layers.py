"""The layers: each forward function beside its backward function.

Every array carries a leading population axis ``P``; a single network is ``P = 1``. Shape letters:
``P`` networks, ``N`` samples, ``D`` features, ``H`` hidden units. Equation numbers refer to
``docs/derivations.md``.

All functions run in float32, float64 and complex128. They are *complex-safe*: analytic in their
inputs wherever the network is differentiable, so that a complex step differentiates them to machine
precision. That is why the ReLU decides by the real part alone, why the variance is a plain product
(not ``abs``), and why nothing is ever conjugated.

Results land in buffers of a :class:`Workspace`, so that a training loop allocates nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Workspace",
    "affine",
    "affine_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "relu",
    "relu_backward",
    "sum_samples",
]

# A weight matrix larger than this is treated one network at a time: product, penalty and update
# then find it in the cache (measured: stacking first layers of CIFAR-10 shape costs about 10 %).
LANEWISE_BYTES = 1 << 17


class Workspace:
    """Named scratch arrays, allocated on first use and handed out again ever after.

    An array is identified by name, shape and dtype; its contents are whatever was last written.
    A workspace belongs to one thread.

    Examples
    --------
    >>> ws = Workspace()
    >>> a = ws.array("s1", (2, 3), np.float32)
    >>> a is ws.array("s1", (2, 3), np.float32)
    True
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple, NDArray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype) -> NDArray:
        """Return the scratch array ``name`` with this shape and dtype."""
        key = (name, shape, dtype)
        found = self._arrays.get(key)
        if found is None:
            found = self._arrays[key] = np.empty(shape, dtype)
        return found

    def ones(self, n: int, dtype) -> NDArray:
        """Return a row of ones, shape (1, n): a product with it sums over samples."""
        key = ("ones", n, dtype)
        found = self._arrays.get(key)
        if found is None:
            found = self._arrays[key] = np.ones((1, n), dtype)
        return found


def sum_samples(a: NDArray, ws: Workspace) -> NDArray:
    """Sum over the sample axis, as a product: (1, N) @ (P, N, H) -> (P, 1, H).

    One BLAS call a network is several times faster here than ``a.sum(axis=1)``.
    """
    return np.matmul(ws.ones(a.shape[1], a.dtype), a)


def affine(x: NDArray, W: NDArray, b: NDArray | None, ws: Workspace, name: str = "s") -> NDArray:
    """Affine map ``s = x W + b`` (equation 1).

    Parameters
    ----------
    x : array, shape (N, D) shared by all networks, or (P, N, D)
    W : array, shape (P, D, H)
    b : array, shape (P, H), or None for a layer whose bias batch normalisation would cancel

    Returns
    -------
    s : array, shape (P, N, H)
    """
    s = ws.array(name, (W.shape[0], x.shape[-2], W.shape[2]), W.dtype)
    np.matmul(x, W, out=s)  # (N, D) or (P, N, D) @ (P, D, H) -> (P, N, H)
    if b is not None:
        s += b[:, None, :]
    return s


def affine_backward(x: NDArray, W: NDArray, l2: NDArray, grad_s: NDArray, ws: Workspace):
    """Yield the gradient of the cost with respect to ``W``: ``x^T g + 2 lambda W`` (equation 3).

    Parameters
    ----------
    x : array, shape (N, D) or (P, N, D)
    W : array, shape (P, D, H)
    l2 : array, shape (P,), the penalty strength lambda of each network
    grad_s : array, shape (P, N, H), gradient with respect to ``s``

    Yields
    ------
    lanes : slice
        The networks that the next array belongs to.
    grad_W : array, shape (len(lanes), D, H)
        A scratch array: use it before asking for the next one.
    """
    P, D, H = W.shape
    step = 1 if D * H * W.itemsize > LANEWISE_BYTES else P
    grad = ws.array("grad_W", (step, D, H), W.dtype)
    penalty = ws.array("penalty_W", (step, D, H), W.dtype)
    for p in range(0, P, step):
        lanes = slice(p, p + step)
        xt = x.T if x.ndim == 2 else x[lanes].transpose(0, 2, 1)
        np.matmul(xt, grad_s[lanes], out=grad)  # (D, N) @ (step, N, H) -> (step, D, H)
        np.multiply(W[lanes], (2 * l2[lanes])[:, None, None], out=penalty)
        grad += penalty
        yield lanes, grad


def relu(z: NDArray, ws: Workspace, name: str = "y") -> tuple[NDArray, NDArray]:
    """Rectified linear unit ``y = z [Re z > 0]`` (equation 8).

    Parameters
    ----------
    z : array, shape (P, N, H)

    Returns
    -------
    y : array, shape (P, N, H)
    active : bool array, shape (P, N, H)
        Where ``Re z > 0``. At exactly 0 the unit counts as inactive.
    """
    active = ws.array(name + ".active", z.shape, np.bool_)
    np.greater(z.real, 0, out=active)
    y = ws.array(name, z.shape, z.dtype)
    np.multiply(z, active, out=y)
    return y, active


def relu_backward(grad_y: NDArray, active: NDArray) -> NDArray:
    """Gradient through the ReLU, in place: ``g [Re z > 0]`` (equation 9).

    Parameters
    ----------
    grad_y : array, shape (P, N, H), overwritten
    active : bool array, shape (P, N, H), from :func:`relu`

    Returns
    -------
    grad_z : array, shape (P, N, H), the same memory as ``grad_y``
    """
    return np.multiply(grad_y, active, out=grad_y)


def batch_norm(
    s: NDArray, gamma: NDArray, beta: NDArray, eps: float, ws: Workspace, name: str = "bn"
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Batch normalisation by the statistics of the mini-batch (equations 4 to 6).

    ``s_hat = (s - mu) / sqrt(v + eps)``, ``z = gamma s_hat + beta`` with the mean ``mu`` over the
    samples and the *biased* variance ``v`` (division by N), found in two passes: float32 stays exact
    for features far from 0. Source: Ioffe & Szegedy 2015, arXiv:1502.03167.

    Parameters
    ----------
    s : array, shape (P, N, H), overwritten by ``s_hat``
    gamma, beta : array, shape (P, H)
    eps : float, > 0, inside the root

    Returns
    -------
    z : array, shape (P, N, H)
    s_hat : array, shape (P, N, H)
    inv_sd : array, shape (P, 1, H), ``1 / sqrt(v + eps)``
    mean, var : array, shape (P, 1, H), for the running averages
    """
    n = s.shape[1]
    mean = sum_samples(s, ws)
    mean /= n
    s -= mean
    z = ws.array(name, s.shape, s.dtype)
    np.multiply(s, s, out=z)
    var = sum_samples(z, ws)
    var /= n
    inv_sd = 1 / np.sqrt(var + eps)
    s *= inv_sd
    np.multiply(s, gamma[:, None, :], out=z)
    z += beta[:, None, :]
    return z, s, inv_sd, mean, var


def batch_norm_backward(
    grad_z: NDArray, s_hat: NDArray, inv_sd: NDArray, gamma: NDArray, ws: Workspace
) -> tuple[NDArray, NDArray, NDArray]:
    """Gradients through batch normalisation, mean and variance included (equation 7).

    Parameters
    ----------
    grad_z : array, shape (P, N, H), overwritten
    s_hat, inv_sd : from :func:`batch_norm`
    gamma : array, shape (P, H)

    Returns
    -------
    grad_s : array, shape (P, N, H), the same memory as ``grad_z``
    grad_gamma, grad_beta : array, shape (P, H)
    """
    n = grad_z.shape[1]
    product = ws.array("bn.product", grad_z.shape, grad_z.dtype)
    np.multiply(grad_z, s_hat, out=product)
    grad_gamma = sum_samples(product, ws)
    grad_beta = sum_samples(grad_z, ws)
    np.multiply(s_hat, grad_gamma / n, out=product)
    grad_z -= product
    grad_z -= grad_beta / n
    grad_z *= gamma[:, None, :] * inv_sd
    return grad_z, grad_gamma[:, 0], grad_beta[:, 0]


def batch_norm_inference(
    s: NDArray, gamma: NDArray, beta: NDArray, mean: NDArray, var: NDArray, eps: float
) -> NDArray:
    """Batch normalisation by given statistics, in place (equation 10): what a trained network uses.

    Parameters
    ----------
    s : array, shape (P, N, H), overwritten
    gamma, beta, mean, var : array, shape (P, H)
    eps : float, > 0, inside the root

    Returns
    -------
    z : array, shape (P, N, H), the same memory as ``s``
    """
    # Centre first: folding the mean into one offset would cancel badly for features far from 0.
    s -= mean[:, None, :]
    s *= (gamma / np.sqrt(var + eps))[:, None, :]
    s += beta[:, None, :]
    return s
