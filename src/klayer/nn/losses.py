"""The cost: softmax cross-entropy on the data, an L2 penalty on the weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klayer.nn.workspace import Workspace

__all__ = ["log_softmax", "softmax_cross_entropy", "softmax_cross_entropy_backward"]


def log_softmax(logits: NDArray, ws: Workspace) -> tuple[NDArray, NDArray]:
    """Logarithm of the softmax, by log-sum-exp (equation 11): finite for logits of any size.

    Parameters
    ----------
    logits : array, shape (P, N, K), left as it is

    Returns
    -------
    log_probs : array, shape (P, N, K)
    probs : array, shape (P, N, K)
    """
    log_probs = ws.array("log_probs", logits.shape, logits.dtype)
    probs = ws.array("probs", logits.shape, logits.dtype)
    # The short axis of the classes is slow to reduce: the maximum goes over it turned to the front,
    # the sum is a product with ones.
    by_class = ws.array("by class", (logits.shape[2], *logits.shape[:2]), logits.real.dtype)
    np.copyto(by_class, logits.real.transpose(2, 0, 1))
    np.subtract(logits, by_class.max(axis=0)[..., None], out=log_probs)
    np.exp(log_probs, out=probs)
    total = np.matmul(probs, ws.ones(logits.shape[2], logits.dtype).T)  # (P, N, K) @ (K, 1)
    probs /= total
    log_probs -= np.log(total)
    return log_probs, probs


def softmax_cross_entropy(
    logits: NDArray, labels: NDArray, ws: Workspace
) -> tuple[NDArray, NDArray]:
    """Mean cross-entropy of the softmax against integer labels (equation 12).

    ``loss = -1/N sum_i log softmax(logits_i)[labels_i]``, a number for each network.

    Parameters
    ----------
    logits : array, shape (P, N, K)
    labels : int array, shape (N,), values in 0 ... K-1

    Returns
    -------
    loss : array, shape (P,)
    probs : array, shape (P, N, K), a scratch array

    Examples
    --------
    Equal logits give ``log K``; logits of 1e4 do no harm:

    >>> logits = np.array([[[0.0, 0.0], [1e4, -1e4]]])
    >>> loss, _ = softmax_cross_entropy(logits, np.array([0, 0]), Workspace())
    >>> bool(loss[0] == np.log(2) / 2)
    True
    """
    log_probs, probs = log_softmax(logits, ws)
    # Contiguous, or the order of summation, and so the bits, would depend on P.
    picked = np.ascontiguousarray(log_probs[:, np.arange(len(labels)), labels])  # (P, N)
    return -picked.sum(axis=1) / len(labels), probs


def softmax_cross_entropy_backward(probs: NDArray, labels: NDArray) -> NDArray:
    """Gradient with respect to the logits, in place: ``(probs - onehot(labels)) / N`` (equation 13).

    Parameters
    ----------
    probs : array, shape (P, N, K), overwritten
    labels : int array, shape (N,)

    Returns
    -------
    grad_logits : array, shape (P, N, K), the same memory as ``probs``
    """
    probs[:, np.arange(len(labels)), labels] -= 1
    probs /= len(labels)
    return probs
