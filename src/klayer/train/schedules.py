"""Learning rate as a function of the update.

Each schedule is a function of the update index ``t`` (from 0, not epochs), vectorised: ``lr_min`` and
``lr_max`` may be arrays of shape (P,), and so is the result; with ``t`` of shape (T, 1) it is (T, P). A
cycle is ``2 * half_cycle`` updates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SCHEDULES", "constant", "cosine", "triangular"]

Array = NDArray[Any]


def triangular(t: int | Array, lr_min: ArrayLike, lr_max: ArrayLike, half_cycle: int) -> Array:
    """Triangular cycles: linear from ``lr_min`` to ``lr_max`` in ``half_cycle`` updates, and back.

    ``lr(t) = lr_min + (lr_max - lr_min) * (1 - |t mod 2 n_s - n_s| / n_s)``, ``n_s = half_cycle``.
    Source: Smith 2017, arXiv:1506.01186.

    Parameters
    ----------
    t : int or int array, >= 0
        Update index, from 0.
    lr_min, lr_max : float or array, shape (P,)
    half_cycle : int, >= 1, in updates

    Returns
    -------
    lr : array, float64, of the common shape of ``t`` and the rates

    Examples
    --------
    >>> [float(triangular(t, 0.0, 1.0, half_cycle=2)) for t in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    height = 1 - np.abs(t % (2 * half_cycle) - half_cycle) / half_cycle
    low, high = np.asarray(lr_min, float), np.asarray(lr_max, float)
    return np.asarray(low + (high - low) * height)


def cosine(t: int | Array, lr_min: ArrayLike, lr_max: ArrayLike, half_cycle: int) -> Array:
    """Cosine decay from ``lr_max`` to ``lr_min`` over a cycle, then a warm restart.

    ``lr(t) = lr_min + (lr_max - lr_min) * (1 + cos(pi (t mod 2 n_s) / (2 n_s))) / 2``.
    Source: Loshchilov & Hutter 2017, arXiv:1608.03983. Parameters as in :func:`triangular`.

    Examples
    --------
    >>> [round(float(cosine(t, 0.0, 1.0, half_cycle=2)), 3) for t in (0, 2, 4)]
    [1.0, 0.5, 1.0]
    """
    height = (1 + np.cos(np.pi * (t % (2 * half_cycle)) / (2 * half_cycle))) / 2
    low, high = np.asarray(lr_min, float), np.asarray(lr_max, float)
    return np.asarray(low + (high - low) * height)


def constant(t: int | Array, lr_min: ArrayLike, lr_max: ArrayLike, half_cycle: int) -> Array:  # noqa: ARG001
    """The same rate always: ``lr_max``. The other parameters are accepted and without effect.

    Examples
    --------
    >>> float(constant(7, 0.0, 0.1, half_cycle=2))
    0.1
    """
    return np.broadcast_to(
        np.asarray(lr_max, float), np.broadcast_shapes(np.shape(t), np.shape(lr_max))
    )


SCHEDULES: dict[str, Callable[[int | Array, ArrayLike, ArrayLike, int], Array]] = {
    "triangular": triangular,
    "cosine": cosine,
    "constant": constant,
}
