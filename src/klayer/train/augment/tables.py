"""Changes of any standardised rows: noise, and pairs that are mixed with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mixed", "mixup", "noise"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Mixed:
    """How the rows of a batch were mixed: row i is ``share_i x_i + (1 - share_i) x_partner_i``.

    Attributes
    ----------
    partner : int array, shape (N,)
        Rows of the same batch.
    share : array, shape (N,), 0 to 1
    """

    partner: NDArray[np.intp]
    share: Array


def noise(x: Array, amount: float, rng: np.random.Generator) -> Array:
    """Add Gaussian noise of ``amount`` standard deviations of each feature.

    Examples
    --------
    >>> found = noise(np.zeros((1000, 3)), 0.5, np.random.default_rng(0))
    >>> found.std(axis=0).round(1).tolist()
    [0.5, 0.5, 0.5]
    """
    found: Array = rng.standard_normal(x.shape, dtype=x.dtype.type)
    found *= x.dtype.type(amount)
    found += x
    return found


def mixup(x: Array, amount: float, rng: np.random.Generator) -> tuple[Array, Mixed]:
    """Mix each row with another one, by a share from ``Beta(amount, amount)``.

    The share is at least 1/2, so that a row's own label counts most. Labels are to be mixed alike.
    Source: Zhang et al. 2018, arXiv:1710.09412.

    Examples
    --------
    >>> x, mixed = mixup(np.eye(4), 1.0, np.random.default_rng(0))
    >>> bool((mixed.share >= 0.5).all()), x.sum(axis=1).round(12).tolist()
    (True, [1.0, 1.0, 1.0, 1.0])
    """
    share = rng.beta(amount, amount, size=len(x))
    share = np.maximum(share, 1 - share).astype(x.dtype)
    partner = rng.permutation(len(x))
    return share[:, None] * x + (1 - share[:, None]) * x[partner], Mixed(partner, share)
