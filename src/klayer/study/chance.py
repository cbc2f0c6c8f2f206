"""Whether a network has learnt anything: its score beside the best constant answer's sampling error."""

from __future__ import annotations

import math

import numpy as np

from klayer.data import Dataset

__all__ = ["BESIDE_ACCURACY", "constant_score", "least_balanced", "least_learnt", "uneven"]

# Standard errors above guessing from which on a score counts as learnt.
ERRORS = 2.0
# Classes of which one has so many times the rows of another are uneven.
RATIO = 1.5
# Scores in which every class counts the same, beside the accuracy of uneven classes.
BESIDE_ACCURACY = ("balanced_accuracy", "macro_f1")


def constant_score(dataset: Dataset, split: str = "train") -> float:
    """Return the main score of the best constant answer: what comes of learning nothing.

    The share of the majority, of each label the share of its commoner value, or the R² of the mean, 0.

    Examples
    --------
    >>> from klayer.data import load
    >>> round(constant_score(load("digits")), 3)
    0.102
    """
    labels = dataset.splits[split].labels
    if dataset.task == "classification":
        return float(np.bincount(labels).max() / len(labels))
    if dataset.task == "multilabel":
        share = labels.mean(axis=0)
        return float(np.maximum(share, 1 - share).mean())
    return 0.0


def least_learnt(
    guessed: float, rows: int, at_first: float | None = None, task: str = "classification"
) -> float:
    r"""Return the score that a network must exceed to have left chance.

    For shares that is :math:`m + 2 \sqrt{m (1 - m) / n}`, two standard errors above the best constant
    answer's share m of n rows; for :math:`R^2` it is :math:`4 / n`, what a correlation of two standard
    errors explains. Where the network scored more before its first update, that takes the place of m:
    a network that is as it was has learnt nothing. All rows right is always enough.

    Parameters
    ----------
    guessed : float
        m, see :func:`constant_score`.
    rows : int
        n.
    at_first : float, optional
        The network's score before its first update.
    task : str

    Examples
    --------
    >>> least_learnt(0.98, 1000) < 1.0, least_learnt(1 / 300, 6000) < 0.0127
    (True, True)
    >>> least_learnt(0.1, 1000, at_first=0.14) > 0.14
    True
    """
    base = guessed if at_first is None or not math.isfinite(at_first) else max(guessed, at_first)
    if task == "regression":
        return base + 4 / rows
    error = math.sqrt(max(0.0, base * (1 - base)) / rows)
    return min(base + ERRORS * error, 1 - 1 / (2 * rows))


def least_balanced(dataset: Dataset, split: str = "train") -> float:
    """Return the balanced accuracy that a network with weighted classes must exceed to have left chance.

    Whoever lets small classes count more gives accuracy away, down to below the majority's share. Any
    constant answer has the balanced accuracy 1 / K; two standard errors come to that.

    Examples
    --------
    >>> from klayer.data import load
    >>> round(least_balanced(load("digits")), 3)
    0.117
    """
    counts = np.bincount(dataset.splits[split].labels, minlength=dataset.n_classes)
    guessed = 1 / len(counts)
    error = math.sqrt(float(np.sum(guessed * (1 - guessed) / counts))) / len(counts)
    return guessed + ERRORS * error


def uneven(counts: list[int] | None) -> bool:
    """Whether classes with so many rows are uneven: accuracy alone then hides the small ones.

    Examples
    --------
    >>> uneven([100, 120]), uneven([100, 10]), uneven(None)
    (False, True, False)
    """
    return bool(counts) and max(counts or []) > RATIO * min(counts or [])
