"""What networks see of raw features: zero mean and unit deviation, measured in training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.data.measure import extremes, measured
from klayer.data.row_blocks import row_blocks
from klayer.data.stored_rows import Features
from klayer.errors import KlayerError

__all__ = ["Standardiser", "farthest"]

# An error of this size, four times float32's rounding of numbers around 1, is let pass for speed.
_NEGLIGIBLE = 2.0**-22


# A column is measured as it is where its deviation can be squared; else brought to about 1 before.
_LEAST, _MOST = 1e-140, 1e140
# A spread of so many units in the last place of the mean is rounding noise.
_NOISE = 4


def _measured_apart(column: NDArray[Any]) -> tuple[float, float]:
    """Mean and deviation of a column of tiny or huge numbers, or of a constant one; exact factors."""
    values = column.astype(np.float64)
    origin = values[0]
    most = float(np.abs(values / 4 - origin / 4).max())  # a quarter never overflows
    if most == 0 and float(np.abs(values - origin).max()) == 0:
        return float(origin), 0.0
    exponent = int(np.frexp(most or np.abs(values - origin).max())[1])
    distance = np.ldexp(values, -exponent) - np.ldexp(origin, -exponent)  # about 1
    shift = distance.mean()
    scale = np.sqrt(((distance - shift) ** 2).mean())
    return float(origin + np.ldexp(shift, exponent)), float(np.ldexp(scale, exponent))


def farthest(dtype: DTypeLike) -> float:
    """Return how many standard deviations from the mean a number may lie to be calculated with.

    Examples
    --------
    >>> farthest(np.float32), farthest(np.float64)
    (1e+30, 1e+300)
    """
    return 1e30 if np.dtype(dtype).itemsize <= 4 else 1e300


@dataclass(frozen=True, eq=False)
class Standardiser:
    r"""Zero mean and unit standard deviation per feature, as the training split has them.

    .. math:: \hat{x}_d = (x_d - \mu_d) / \sigma_d, \qquad
              \mu_d = \tfrac1N \sum_n x_{nd}, \qquad
              \sigma_d^2 = \tfrac1N \sum_n (x_{nd} - \mu_d)^2

    Parameters
    ----------
    mean : array, shape (D,), float64
        :math:`\mu`, the mean of each feature.
    scale : array, shape (D,), float64
        :math:`\sigma`, the population standard deviation of each feature; 1 for a constant
        feature, which therefore becomes 0 and not NaN. A feature whose values differ by no more than
        rounding does around its mean (4 units in the last place of its dtype) counts as constant.

    Examples
    --------
    >>> standardiser = Standardiser.fit(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> standardiser.mean, standardiser.scale
    (array([2., 7.]), array([1., 1.]))
    >>> standardiser.transform(np.array([[5.0, 7.0]]))
    array([[3., 0.]], dtype=float32)
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, features: Features) -> Standardiser:
        """Measure mean and scale in float64, in one pass: see :func:`klayer.data.measure.measure`.

        Parameters
        ----------
        features : array or StoredRows, shape (N, D)
            Raw features of any real dtype; the whole array is never converted at once.

        Returns
        -------
        Standardiser

        Raises
        ------
        KlayerError
            If the values are so far apart that their differences overflow float64.
        """
        found = measured(features)
        mean = found.mean.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            scale = np.sqrt(found.variance)
            varies = found.low != found.high
            scale[~varies] = 0.0
            odd = varies & ~((scale > _LEAST) & (scale < _MOST))
            for column in np.flatnonzero(odd).tolist():
                mean[column], scale[column] = _measured_apart(features[:, column])
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            column = int((~np.isfinite(scale) | ~np.isfinite(mean)).argmax())
            raise KlayerError(
                f"column {column}: features must lie less than 1e308 apart, but their differences "
                "overflow float64: rescale the column."
            )
        rounding = np.finfo(features.dtype).eps if features.dtype.kind == "f" else 0.0
        scale[scale <= _NOISE * rounding * np.abs(mean)] = 1.0
        return cls(mean, scale)

    def beyond(self, features: Features, dtype: DTypeLike = np.float32) -> tuple[int, int] | None:
        """Return row and column of the first value that is too far out to be calculated with.

        That is 1e30 standard deviations from the mean in float32, 1e300 in float64: a product of it
        overflows.

        Parameters
        ----------
        features : array, shape (N, D)
            Raw and finite.
        dtype : dtype
            That networks calculate in.

        Examples
        --------
        >>> standardiser = Standardiser(np.array([2.0, 7.0]), np.array([1.0, 1.0]))
        >>> standardiser.beyond(np.array([[1.0, 7.0], [2.0, 1e39]]))
        (1, 1)
        """
        if features.dtype.kind != "f" or not len(features):  # nor a whole number of 64 bits
            return None
        limit = farthest(dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = self.mean - limit * self.scale, self.mean + limit * self.scale
            lowest, highest = extremes(features)
            if ((lowest >= low) & (highest <= high)).all():
                return None
            for block in row_blocks(*features.shape):
                rows = features[block]
                outside = ~((rows >= low) & (rows <= high))
                if outside.any():
                    row, column = (int(i) for i in np.argwhere(outside)[0])
                    return row + block.start, column
        return None

    def transform(
        self,
        features: NDArray[Any],
        dtype: DTypeLike = np.float32,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        r"""Standardise rows; a row gets the same bits whatever block it comes in.

        Bytes on their way to float32, as in every mini-batch of images, are computed in float32:
        :math:`\hat{x}` is then right to :math:`2^{-21} \max(1, |\hat{x}|)`, 4 units in the last
        place. Anything else is computed in float64 and rounded once to `dtype`.

        Parameters
        ----------
        features : array, shape (N, D)
        dtype : dtype
            Of the result: float32 to train, float64 to check gradients.
        out : array, shape (N, D), of `dtype`, optional
            Where to put the result.

        Returns
        -------
        array, shape (N, D)
            `out`, or a new array in C order.

        Raises
        ------
        KlayerError
            If `features` or `out` has another shape, or `out` another dtype.

        Examples
        --------
        >>> standardiser = Standardiser(np.array([2.0, 7.0]), np.array([1.0, 0.5]))
        >>> batch = np.empty((1, 2), np.float32)
        >>> standardiser.transform(np.array([[5, 8]], np.uint8), out=batch) is batch
        True
        >>> batch
        array([[3., 2.]], dtype=float32)
        """
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise KlayerError(
                f"features must have shape (N, {len(self.mean)}), but got {features.shape}: "
                "pass samples as rows."
            )
        dtype = np.dtype(dtype)
        if out is None:
            out = np.empty(features.shape, dtype)
        elif out.shape != features.shape or out.dtype != dtype:
            raise KlayerError(
                f"`out` must have shape {features.shape} and dtype {dtype}, but got {out.shape} "
                f"and {out.dtype}."
            )
        in_float32 = dtype == np.float32 and features.dtype in (np.uint8, np.int8)
        put = self._put_bytes if in_float32 else self._put_rounded_once
        for block in row_blocks(*features.shape):
            put(features[block], out[block])
        return out

    def _put_rounded_once(self, features: NDArray[Any], out: NDArray[Any]) -> None:
        distance = features - self.mean
        distance /= self.scale
        out[...] = distance

    def _put_bytes(self, features: NDArray[Any], out: NDArray[np.float32]) -> None:
        mean, rest, factor = self._in_float32
        out[...] = features
        out -= mean
        if rest is not None:
            out -= rest
        out *= factor

    @cached_property
    def _in_float32(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32]]:
        """The mean, what rounding left of it, and one over the scale.

        Of a feature that hardly varies around 200, float32's mean can be wrong by more than its
        values differ. Where every rest is small beside its scale, it is left out.
        """
        mean = self.mean.astype(np.float32)
        rest = self.mean - mean
        needed = (np.abs(rest) > _NEGLIGIBLE * self.scale).any()
        factor = (1 / self.scale).astype(np.float32)
        return mean, rest.astype(np.float32) if needed else None, factor
