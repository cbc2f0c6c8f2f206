"""The layers: each forward function beside its backward function.

Every array carries a leading population axis ``P``; a single network is ``P = 1``. Shape letters:
``P`` networks, ``N`` samples, ``D`` features, ``H`` hidden units. Equation numbers refer to
``docs/derivations.md``.

All functions run in float32, float64 and complex128. They are *complex-safe*: analytic in their
inputs wherever the network is differentiable, so that a complex step differentiates them to machine
precision. That is why the ReLU decides by the real part alone, why the variance is a plain product
(not ``abs``), and why nothing is ever conjugated.

Results land in buffers of a :class:`~klayer.nn.Workspace`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from klayer.nn.workspace import Workspace

__all__ = [
    "WeightGradient",
    "add_bias",
    "add_product",
    "affine",
    "as_array",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "in_column_order",
    "is_large",
    "relu",
    "relu_backward",
    "sum_samples",
]

# A weight matrix larger than this is treated one network at a time: product and update then find it
# in the cache.
LANEWISE_BYTES = 1 << 17

# Entries left free between the columns of large matrices. Without them, columns of 3,072 numbers in
# float32, three pages, would push each other out of the cache (measured: 4 % of an update).
GAP = 16


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
    return add_bias(s, b)


def add_bias(s: NDArray, b: NDArray | None) -> NDArray:
    """Add ``b``, shape (P, H), to ``s``, shape (P, N, H), in place; None adds nothing."""
    if b is not None:
        s += b[:, None, :]
    return s


@dataclass(frozen=True)
class WeightGradient:
    """Gradient of the cost with respect to ``W``: ``x^T g + 2 lambda W`` (equation 3), as its factors.

    It is multiplied out where it is used, together with what it is used for: an update of large
    weights is then one pass over them.

    Attributes
    ----------
    x : array, shape (N, D) shared by all networks, or (P, N, D)
        The layer's input.
    g : array, shape (P, N, H), gradient with respect to ``s``; scratch memory
    l2 : array, shape (P,), the penalty strength lambda of each network
    """

    x: NDArray
    g: NDArray
    l2: NDArray

    def combine(self, W: NDArray, a: float, c: NDArray, ws: Workspace) -> None:
        """Replace ``W`` by ``a W + c dJ/dW``, in place; ``c`` has shape (P,)."""
        g = ws.array("scaled g", self.g.shape, self.g.dtype)
        np.multiply(self.g, c[:, None, None], out=g)
        add_product(W, a + c * (2 * self.l2), self.x, g, ws)


def as_array(grad: NDArray | WeightGradient, param: NDArray, ws: Workspace) -> NDArray:
    """Return a copy of a gradient as an array of its parameter's shape, however it was emitted."""
    if not isinstance(grad, WeightGradient):
        return grad.copy()
    found = np.copy(param, order="K")
    grad.combine(found, 0.0, np.ones_like(grad.l2), ws)
    return found


def is_large(W: NDArray) -> bool:
    """Whether ``W``, shape (P, D, H), is treated one network at a time."""
    return W.shape[1] * W.shape[2] * W.itemsize > LANEWISE_BYTES


def in_column_order(W: NDArray) -> bool:
    """Whether each network's matrix of ``W``, shape (P, D, H), lies in memory column by column."""
    return W.strides[1] == W.itemsize < W.strides[2]


def add_product(W: NDArray, keep: NDArray, x: NDArray, g: NDArray, ws: Workspace) -> None:
    """Replace ``W`` by ``keep W + x^T g``, in place.

    Parameters
    ----------
    W : array, shape (P, D, H)
        If it is in column order and ``x`` is shared, all networks share one product.
    keep : array, shape (P,)
    x : array, shape (N, D) or (P, N, D)
    g : array, shape (P, N, H)
    """
    P, D, H = W.shape
    if x.ndim == 2 and in_column_order(W):
        columns = ws.array("product", (P * H, D + GAP), W.dtype)[:, :D]
        side_by_side = g.transpose(1, 0, 2).reshape(-1, P * H)
        np.matmul(side_by_side.T, x, out=columns)  # (P * H, N) @ (N, D)
        for p, product in enumerate(columns.reshape(P, H, D).transpose(0, 2, 1)):
            W[p] *= keep[p]
            W[p] += product
    elif is_large(W):
        product = ws.array("product", (D, H), W.dtype)
        for p in range(P):
            np.matmul((x if x.ndim == 2 else x[p]).T, g[p], out=product)  # (D, N) @ (N, H)
            W[p] *= keep[p]
            W[p] += product
    else:
        product = ws.array("product", (P, D, H), W.dtype)
        np.matmul(
            np.swapaxes(x, -1, -2), g, out=product
        )  # (D, N) or (P, D, N) @ (P, N, H) -> (P, D, H)
        W *= keep[:, None, None]
        W += product


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
