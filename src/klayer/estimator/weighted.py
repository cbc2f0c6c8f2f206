"""Standardisation by weighted rows: a row with twice the weight is as a row that is there twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from klayer.data import Dataset, Standardiser
from klayer.errors import KlayerError

__all__ = ["measured_by_weights", "weights_of"]

Array = NDArray[Any]

# Rows at a time.
ROWS = 4096


def weights_of(sample_weight: Any, rows: Any) -> Array:
    """Return the weights of rows: one for each, finite, >= 0, not all of them 0.

    Raises
    ------
    ValueError
        In scikit-learn's words.
    """
    if isinstance(sample_weight, str | Mapping):
        raise KlayerError(
            f"`sample_weight` must be a number for each row, but got {sample_weight!r:.80}: classes are "
            "weighed by the parameter `class_weight`."
        )
    weights: Array = _check_sample_weight(sample_weight, rows, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("`sample_weight` must not be all zero.")
    return weights


def measured_by_weights(dataset: Dataset) -> Dataset:
    """Return a data set standardised, inputs and targets, by the weights of its training rows."""
    train = dataset.splits["train"]
    if train.weights is None or (train.weights == train.weights[0]).all():
        return dataset
    targets = dataset.targets
    return dataset.measured_as(
        weighted(dataset.standardiser, np.asarray(train.features), train.weights),
        None if targets is None else weighted(targets, train.labels, train.weights),
    )


def weighted(plain: Standardiser, values: Array, weights: Array) -> Standardiser:
    """Return weighted mean and standard deviation, by what a plain standardiser makes of the values.

    ``m + s a`` and ``s b``, with the plain ``m`` and ``s``, and weighted mean ``a`` and deviation ``b``
    of the standardised values, which are near 0 and 1 whatever the values are. A column that is constant
    keeps ``s``.

    Examples
    --------
    >>> values = np.array([[1.0, 7.0], [3.0, 7.0]])
    >>> found = weighted(Standardiser.fit(values), values, np.array([3.0, 1.0]))
    >>> found.mean.tolist(), found.scale.round(6).tolist()
    ([1.5, 7.0], [0.866025, 1.0])
    """
    share = weights / weights.sum()

    def total(change: Callable[[Array], Array]) -> Array:
        parts = [slice(start, start + ROWS) for start in range(0, len(values), ROWS)]
        sums = [share[one] @ change(plain.transform(values[one], np.float64)) for one in parts]
        return np.asarray(np.sum(sums, axis=0))

    mean = total(lambda z: z)
    spread = np.sqrt(total(lambda z: (z - mean) ** 2))
    return Standardiser(
        plain.mean + plain.scale * mean, plain.scale * np.where(spread > 0, spread, 1.0)
    )
