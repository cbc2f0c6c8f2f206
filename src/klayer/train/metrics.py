"""Scores: how good a network's outputs are beside the labels, one row each in a table.

A score is added up over blocks of rows, and so a row says what a block adds and what becomes of the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["METRICS", "Metric", "main_metric", "measures", "metrics_of"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """A row of :data:`METRICS`.

    Attributes
    ----------
    task : str
        Whose outputs it judges.
    title : str
        What it is called in a heading.
    block : callable ``(outputs, labels)``
        What some rows add, shape (P, ...), float64: ``outputs`` are one number for each class, target or
        label, (P, N, K), as they are before softmax or sigmoid; ``labels`` as the network sees them.
    result : callable ``(total, labels, scale)``
        What the score is, (P,), of the sum over all blocks; ``labels`` are those of all rows, and
        ``scale`` (K,) is what a standardised target is to be multiplied by, in other tasks 1.
    greater_is_better : bool
    share : bool
        Whether it is a share of rows, 0 to 1, to be written in per cent.
    curve : bool
        Whether curves follow it; else it is measured in the end, on whole splits.
    """

    task: str
    title: str
    block: Callable[[Array, Array], Array]
    result: Callable[[Array, Array, Array], Array]
    greater_is_better: bool = True
    share: bool = True
    curve: bool = True


def _right(outputs: Array, labels: Array) -> Array:
    right: Array = outputs.argmax(axis=-1) == labels
    return np.asarray(right.sum(axis=-1), float)  # (P, N) -> (P,)


def _by_class(outputs: Array, labels: Array) -> Array:
    """Rows of each class that are right, and rows that are taken for it: (P, 2, K)."""
    P, _, K = outputs.shape
    predicted = outputs.argmax(axis=-1)  # (P, N)
    lane = K * np.arange(P)[:, None]
    taken = np.bincount((lane + predicted).ravel(), minlength=P * K)
    right = np.bincount((lane + predicted)[predicted == labels], minlength=P * K)
    return np.stack([right.reshape(P, K), taken.reshape(P, K)], axis=1).astype(float)


def _balanced(total: Array, labels: Array, scale: Array) -> Array:  # noqa: ARG001
    """The mean over the classes that are there of the share of their rows that is right."""
    there = np.bincount(labels, minlength=total.shape[-1])
    # Network by network: a sum's bits may depend on how many there are.
    return np.array([(right[there > 0] / there[there > 0]).mean() for right, _ in total])


def _macro_f1(total: Array, labels: Array, scale: Array) -> Array:  # noqa: ARG001
    """The mean over classes of ``2 right / (rows of it + rows taken for it)``; as scikit-learn has it.

    A class that neither has a row nor is taken for one doesn't count.
    """
    there = np.bincount(labels, minlength=total.shape[-1])
    found = []
    for right, taken in total:
        both = there + taken  # (K,)
        found.append((2 * right[both > 0] / both[both > 0]).mean())
    return np.array(found)


def _right_labels(outputs: Array, labels: Array) -> Array:
    right: Array = (outputs > 0) == (labels > 0)
    return np.asarray(right.mean(axis=-1).sum(axis=-1))  # (P, N, K) -> (P,)


def _all_right(outputs: Array, labels: Array) -> Array:
    right: Array = (outputs > 0) == (labels > 0)
    return np.asarray(right.all(axis=-1).sum(axis=-1), float)


def _squares(outputs: Array, labels: Array) -> Array:
    distance = outputs.astype(float) - labels
    return np.asarray((distance * distance).sum(axis=1))  # (P, N, K) -> (P, K)


def _mean(total: Array, labels: Array, scale: Array) -> Array:  # noqa: ARG001
    return total / len(labels)


def _r2(total: Array, labels: Array, scale: Array) -> Array:  # noqa: ARG001
    """``1 - sum (y - z)^2 / sum (y - mean y)^2``, the mean over the targets; as scikit-learn has it.

    A target that is the same in all rows counts 1 where it is met exactly, else 0.
    """
    labels = labels.astype(float)
    spread = ((labels - labels.mean(axis=0)) ** 2).sum(axis=0)  # (K,)
    varies = (labels != labels[0]).any(axis=0)
    found = 1 - total / np.where(varies, spread, 1)
    return np.asarray(np.where(varies, found, np.where(total == 0, 1.0, 0 * total)).mean(axis=-1))


def _rmse(total: Array, labels: Array, scale: Array) -> Array:
    """``sqrt(1/N sum (y - z)^2)`` in the target's unit, the mean over the targets."""
    return np.asarray((np.sqrt(total / len(labels)) * scale).mean(axis=-1))


METRICS: dict[str, Metric] = {
    "accuracy": Metric("classification", "accuracy", _right, _mean),
    "balanced_accuracy": Metric(
        "classification", "balanced accuracy", _by_class, _balanced, curve=False
    ),
    "macro_f1": Metric("classification", "macro F1", _by_class, _macro_f1, curve=False),
    "r2": Metric("regression", "R²", _squares, _r2, share=False),
    "rmse": Metric("regression", "RMSE", _squares, _rmse, greater_is_better=False, share=False),
    "label_accuracy": Metric("multilabel", "accuracy per label", _right_labels, _mean),
    "exact_match": Metric("multilabel", "exact match", _all_right, _mean),
}


def metrics_of(task: str, *, curves: bool = False) -> dict[str, Metric]:
    """Return the scores of a task by name, the main one first; or those alone that curves follow.

    Examples
    --------
    >>> list(metrics_of("regression"))
    ['r2', 'rmse']
    """
    return {
        name: metric
        for name, metric in METRICS.items()
        if metric.task == task and (metric.curve or not curves)
    }


def main_metric(task: str) -> str:
    """Return the score that networks of a task are compared by; the greater the better.

    Examples
    --------
    >>> main_metric("classification"), main_metric("multilabel")
    ('accuracy', 'label_accuracy')
    """
    return next(iter(metrics_of(task)))


def measures(task: str, *, curves: bool = False) -> tuple[str, ...]:
    """Return all that is measured on a split; or that alone which curves follow.

    Examples
    --------
    >>> measures("classification", curves=True)
    ('cost', 'loss', 'accuracy')
    >>> measures("classification")
    ('cost', 'loss', 'accuracy', 'balanced_accuracy', 'macro_f1')
    """
    return ("cost", "loss", *metrics_of(task, curves=curves))
