"""Whether rows look like those of training: raw, in the same units, of the same kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.standardiser import Standardiser

__all__ = ["unlike_training"]

# Rows that are looked at; fewer than FEW say nothing about a spread.
SOME, FEW, MANY = 500, 10, 30
# In standard deviations of training: rows lie so far out, or differ by so little.
FAR, NARROW = 10.0, 0.05


def unlike_training(X: NDArray[Any], standardiser: Standardiser) -> str:
    """Say why rows can hardly be raw rows like those of training; empty if they can.

    Three signs are looked for: columns that have the mean 0 and the deviation 1, though those of
    training have others; small numbers that differ from each other by much less than rows of training;
    rows that lie far outside training. Each leaves room for odd rows, and none is proof: this is a hint.

    Parameters
    ----------
    X : array, shape (N, D)
        The first of them are looked at.
    standardiser : Standardiser
        Of the training split.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> raw = rng.normal(100, 20, size=(50, 4))
    >>> fitted = Standardiser.fit(raw)
    >>> unlike_training(raw, fitted)
    ''
    >>> unlike_training(fitted.transform(raw), fitted)[:36]
    'they look standardised already, with'
    >>> unlike_training(raw / 255, fitted)[:38]
    'they differ from each other by 0.0039 '
    """
    if not len(X):
        return ""
    X = np.asarray(X[:SOME], np.float64)
    mean, scale = standardiser.mean.astype(float), standardiser.scale.astype(float)
    with np.errstate(all="ignore"):
        z = (X - mean) / scale
        distance = float(np.median(np.sqrt((z * z).mean(axis=1))))
        centre, own, spread = X.mean(axis=0), X.std(axis=0), z.std(axis=0)
    varies = (X[:1] != X).any(axis=0)
    if len(X) >= MANY and varies.any():
        centred = (np.abs(centre) < 0.5) & (np.abs(own - 1) < 0.5)
        trained = (np.abs(mean) < 0.5) & (np.abs(scale - 1) < 0.5)
        if centred[varies].mean() > 0.8 and trained[varies].mean() < 0.2:
            return (
                "they look standardised already, with means near 0 and deviations near 1, but those of "
                "training had not."
            )
    with np.errstate(over="ignore"):
        small = float(np.median(np.abs(X))) < 0.1 * float(np.median(np.abs(mean) + scale))
    alike = varies.any() and float(spread[varies].mean()) < NARROW
    if len(X) >= FEW and varies.mean() > 0.1 and small and alike:
        return (
            f"they differ from each other by {float(spread[varies].mean()):.2g} deviations of training "
            "alone: were they divided by something?"
        )
    if distance > FAR:
        return (
            f"they lie {distance:.2g} deviations of training away from its mean: are they in other "
            "units, or light and dark the other way round?"
        )
    return ""
