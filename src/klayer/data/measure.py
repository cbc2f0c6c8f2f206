"""What one pass over rows tells of each column: lowest, highest, mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.row_blocks import row_blocks

if TYPE_CHECKING:
    from klayer.data.stored_rows import Features

__all__ = ["Measured", "extremes", "measure", "measured"]


@dataclass(frozen=True, eq=False)
class Measured:
    r"""What is known of the columns of (N, D) rows.

    Attributes
    ----------
    low, high : array, shape (D,), of the rows' dtype
        NaN where a column has one.
    mean : array, shape (D,), float64
    variance : array, shape (D,), float64
        :math:`\tfrac1N \sum_n (x_{nd} - \mu_d)^2`.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def measure(features: Features) -> Measured:
    r"""Measure the columns of rows in one pass, block by block, in float64.

    A block of n rows with the mean :math:`m` and the sum of squared distances :math:`q` joins the N rows
    before it, with :math:`M` and :math:`Q`, as in Chan, Golub & LeVeque 1983 (Welford's update, n rows
    at a time):

    .. math:: Q \leftarrow Q + q + (m - M)^2 \frac{n N}{n + N}

    All are distances from the first row, so that a constant column has exactly 0, and numbers far from 0
    lose nothing. Of 8-bit numbers all sums are exact, whatever the order of the rows. The blocks follow
    from the shape alone: rows on disk get the bits of rows in memory.

    Parameters
    ----------
    features : array or StoredRows, shape (N, D), N >= 1
        Of any real dtype; a block of rows is all that is converted at once.

    Examples
    --------
    >>> found = measure(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> found.mean, found.variance, found.high
    (array([2., 7.]), array([1., 0.]), array([3., 7.]))
    """
    rows, columns = features.shape
    first = features[0]
    origin, low, high = first.astype(np.float64), first.copy(), first.copy()
    total, squares, before = np.zeros(columns), np.zeros(columns), 0
    exact = features.dtype.itemsize == 1
    with np.errstate(over="ignore", invalid="ignore"):
        for block in row_blocks(rows, columns):
            some = features[block]
            np.minimum(low, some.min(axis=0), out=low)
            np.maximum(high, some.max(axis=0), out=high)
            distance = np.subtract(some, origin, order="C")  # one order of sums for all layouts
            part = distance.sum(axis=0)
            if not exact:
                distance -= part / len(some)
                if before:
                    apart = part / len(some) - total / before
                    squares += apart * apart * (len(some) * (before / (before + len(some))))
            squares += np.einsum("nd,nd->d", distance, distance)
            total += part
            before += len(some)
        mean = origin + total / rows
        variance = _variance(total, squares, rows) if exact else squares / rows
    return Measured(low, high, mean, variance)


def _variance(
    total: NDArray[np.float64], squares: NDArray[np.float64], rows: int
) -> NDArray[np.float64]:
    """Return variances of whole numbers from their exact sums and sums of squares."""
    pairs = zip(total.tolist(), squares.tolist(), strict=True)
    return np.array([(rows * int(q) - int(s) ** 2) / rows**2 for s, q in pairs])


def measured(features: Features) -> Measured:
    """Return what :func:`measure` finds; rows on disk are measured once, and remember it."""
    known = getattr(features, "measured", None)
    return measure(features) if known is None else known


def extremes(features: Features) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lowest and the highest value of each column; NaN where a column has one.

    Examples
    --------
    >>> extremes(np.array([[1, 7], [3, 0]]))
    (array([1, 0]), array([3, 7]))
    """
    if not isinstance(features, np.ndarray):
        found = measured(features)
        return found.low, found.high
    return features.min(axis=0), features.max(axis=0)
