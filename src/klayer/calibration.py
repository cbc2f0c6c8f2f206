"""Probabilities that can be taken at their word: how honest they are, and the temperature that helps.

A temperature ``T > 0`` divides outputs before softmax or sigmoid: above 1 answers become less
sure, below 1 surer; the most probable class of one network stays what it is. Source: Guo et al. 2017,
arXiv:1706.04599.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError

__all__ = ["BINS", "Reliability", "joint_temperature", "reliability", "temperature"]

Array = NDArray[Any]

# Equal widths of confidence, as in the source.
BINS = 15

# Before any row is seen, log T is taken to be normal around 0 with this standard deviation: few rows
# that are all answered rightly don't make a network certain, and many rows decide by themselves. Of
# 1/2, 1, 2 and no such assumption, 1/2 was best on 8 tables, with 23 to 270 rows to calibrate by.
SPREAD = 0.5

# Temperatures are looked for between 1/LIMIT and LIMIT.
LIMIT = 100.0

# Draws of what answers that are honest would show by chance.
DRAWS = 200

# How far from 1 the probabilities of a row may sum up, in half precision too.
NEAR_ONE = 1e-2


def temperature(logits: Array, labels: Array) -> float:
    """Return the temperature with which one network's probabilities fit some rows best.

    It makes ``- sum_i log softmax(z_i / T)_{y_i} + (log T)^2 / (2 s^2)`` least, ``s`` = 1/2: the most
    probable temperature if ``log T`` is normal with that standard deviation.

    Parameters
    ----------
    logits : array, shape (N, K)
        Outputs before softmax; or before sigmoid, of several labels.
    labels : int array, shape (N,) of classes, or (N, K) of labels, 0 and 1
        Of rows that the network was not trained on.

    Returns
    -------
    temperature : float, 0.01 ... 100
        1 if an output is not finite.

    Examples
    --------
    >>> z = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]] * 2500)
    >>> honest = 4 / np.log(3)  # three in four are right
    >>> bool(abs(temperature(z, np.array([0, 0, 1, 1] * 2500)) - honest) < 0.05)
    True
    """
    return joint_temperature(logits[None], labels)


def joint_temperature(logits: Array, labels: Array, weights: Array | None = None) -> float:
    """Return the one temperature of several networks with which the mean of their answers fits best.

    The mean is less sure than its members, and so this is not the mean of their own temperatures.
    Source: Rahaman & Thiery 2021, arXiv:2007.08792, pool first and calibrate then.

    Parameters
    ----------
    logits : array, shape (P, N, K)
    labels : int array, shape (N,) or (N, K)
        As in :func:`temperature`.
    weights : array, shape (P,), optional
        How much each network counts in the mean; they sum to 1. By default all count the same.
    """
    from scipy.optimize import minimize_scalar

    if not np.isfinite(logits).all():
        return 1.0
    z, labels = _as_classes(np.asarray(logits, float), np.asarray(labels))
    N = z.shape[1]
    rows = np.arange(N)
    with np.errstate(divide="ignore"):
        shares = np.log(np.full(len(z), 1 / len(z)) if weights is None else weights)

    def loss(log_temperature: float) -> float:
        each = z * np.exp(-log_temperature)
        each = each - np.logaddexp.reduce(each, axis=-1, keepdims=True)
        said = np.logaddexp.reduce(each + shares[:, None, None], axis=0)  # (N, K), of the mean
        return float(-said[rows, labels].mean() + (log_temperature / SPREAD) ** 2 / (2 * N))

    limit = np.log(LIMIT)
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _as_classes(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each of several labels as a decision between two classes, (P, N * K, 2)."""
    if labels.ndim == 1:
        return logits, labels
    flat = logits.reshape(len(logits), -1)
    return np.stack([np.zeros_like(flat), flat], axis=-1), labels.astype(np.int64).ravel()


@dataclass(frozen=True)
class Reliability:
    """How often answers are right beside how sure they are: what :func:`reliability` returns.

    Attributes
    ----------
    edges : array, shape (B + 1,)
        Of the bins of confidence: bin ``b`` holds what is above ``edges[b]`` and at most
        ``edges[b + 1]``.
    count : int array, shape (B,)
    confidence, right : array, shape (B,)
        Of each bin the mean confidence, and the share that is right; NaN where it is empty.
    log_loss : float
        ``-1/n sum log p`` of what was true: the lower the better.
    by_chance : float
        The mean error of answers as sure as these that are honest, on as many rows: an error no
        greater says nothing.
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]
    log_loss: float
    by_chance: float

    @property
    def n(self) -> int:
        """Answers that were judged: rows, or rows times labels."""
        return int(self.count.sum())

    @property
    def error(self) -> float:
        """The expected calibration error, 0 to 1: ``sum_b n_b / n |right_b - confidence_b|``."""
        some = self.count > 0
        gaps = np.abs(self.right[some] - self.confidence[some])
        return float((self.count[some] * gaps).sum() / self.n)

    def __str__(self) -> str:
        """Say it in a line.

        Examples
        --------
        >>> print(reliability(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])))
        calibration error 15.0 % (honest answers: 26.3 % by chance; n = 2), log-loss 0.1643
        """
        return (
            f"calibration error {self.error:.1%} (honest answers: {self.by_chance:.1%} by chance; "
            f"n = {self.n:,}), log-loss {self.log_loss:.4g}"
        ).replace("%", " %")


def reliability(probs: ArrayLike, labels: ArrayLike, bins: int = BINS) -> Reliability:
    """Compare how sure answers are with how often they are right.

    An answer's confidence is the probability of the most probable class; of several labels each is an
    answer of its own, yes or no. Bins of confidence are equally wide.

    Parameters
    ----------
    probs : array, shape (N, K)
        Probabilities of classes, which sum to 1; or of labels.
    labels : int array, shape (N,) of classes, 0 to K-1, or (N, K) of labels, 0 and 1
    bins : int, >= 1

    Returns
    -------
    reliability : Reliability

    Raises
    ------
    KlayerError
        For shapes that don't fit each other, no row at all, numbers that are no probabilities.

    Examples
    --------
    >>> found = reliability(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), np.array([0, 1, 1]), bins=2)
    >>> found.count.tolist(), round(float(found.right[1]), 2), round(float(found.confidence[1]), 2)
    ([0, 3], 0.67, 0.8)
    >>> round(found.error, 3)
    0.133
    """
    p, y = np.asarray(probs, float), np.asarray(labels)
    if p.ndim != 2 or y.shape not in (p.shape[:1], p.shape) or not len(p):
        raise KlayerError(
            "`probs` must have shape (N, K) and `labels` (N,) or (N, K), with at least one row, but got "
            f"{p.shape} and {y.shape}."
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise KlayerError("`probs` must be probabilities, from 0 to 1, but some are not.")
    if y.ndim == 1 and (abs(p.sum(axis=1) - 1) > NEAR_ONE).any():
        raise KlayerError(
            "`probs` of classes must sum to 1 in each row, but some don't: divide each row by its sum, "
            "or give `labels` of shape (N, K), where each column is a label of its own."
        )
    if y.ndim == 2:
        p, y = np.stack([1 - p, p], axis=-1).reshape(-1, 2), y.ravel()
    other = y[~np.isin(y, np.arange(p.shape[1]))]
    if len(other):
        raise KlayerError(
            f"`labels` must be whole numbers from 0 to {p.shape[1] - 1}, but got "
            f"{other.tolist()[0]!r:.40}: give the place of each label among the columns, as "
            "numpy.searchsorted(classes_, y) does."
        )
    if type(bins) is not int or bins < 1:
        raise KlayerError(f"`bins` must be a whole number >= 1, but got {bins!r}.")
    y = y.astype(np.int64)
    sure, right = p.max(axis=1), p.argmax(axis=1) == y
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, sure) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)

    def mean(values: Array) -> NDArray[np.float64]:
        total = np.bincount(place, weights=values, minlength=bins)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    confidence = mean(sure)
    rng, gaps = np.random.default_rng(0), []
    for _ in range(DRAWS):
        off = mean(rng.random(len(sure)) < sure) - confidence
        gaps.append(np.nansum(count * np.abs(off)) / len(sure))
    said = np.maximum(p[np.arange(len(y)), y], np.finfo(float).tiny)
    log_loss = float(-np.log(said).mean())
    return Reliability(edges, count, confidence, mean(right), log_loss, float(np.mean(gaps)))
