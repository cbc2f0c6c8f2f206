"""What the labels of a data set may be: classes, numbers, or several truth values for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError, unknown_name

__all__ = [
    "LARGEST_TARGET",
    "TASKS",
    "broken_target",
    "check_every_output_used",
    "check_labels",
    "check_weights",
    "in_one_form",
    "labels_to",
]

# Squares of what lies within this bound, and sums of them, fit into float64: errors are squared.
LARGEST_TARGET = 1e150
# The largest weight of a split is at most so much, and at least one over it.
_HEAVY = 1e15
# What networks may learn: one class of each row; a number, or several; for each label yes or no.
TASKS = ("classification", "regression", "multilabel")


def in_one_form(labels: NDArray[Any], task: str) -> NDArray[Any]:
    """Return labels as a task has them, as far as they can be; :func:`check_labels` judges them.

    Parameters
    ----------
    labels : array
    task : str
        A name in :data:`TASKS`.

    Returns
    -------
    labels : array
        Classification: int64 (N,). Regression: float64 (N, K), where (N,) is taken as (N, 1).
        Multilabel: uint8 (N, K), likewise. Anything else as it was.

    Raises
    ------
    KlayerError
        For an unknown task.

    Examples
    --------
    >>> in_one_form(np.array([1.5, 2.5]), "regression").shape
    (2, 1)
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    real = labels.dtype.kind in "buif"
    if task == "classification":
        return labels.astype(np.int64, copy=False) if labels.dtype.kind in "bui" else labels
    if task == "regression":
        numbers = labels.astype(np.float64, copy=False) if real else labels
        return numbers[:, None] if numbers.ndim == 1 else numbers
    truths = real and bool(np.isin(labels, (0, 1)).all())
    labels = labels.astype(np.uint8, copy=False) if truths else labels
    return labels[:, None] if labels.ndim == 1 else labels


def check_labels(where: str, labels: NDArray[Any], rows: int, outputs: int, task: str) -> None:
    """Check the labels of one table; ``outputs`` is the number of classes, targets or labels.

    Raises
    ------
    KlayerError
        Naming ``where``, the row (from 0), the value and the rule.

    Examples
    --------
    >>> check_labels("sheet.npz", np.array([[0.5], [np.nan]]), 2, 1, "regression")
    Traceback (most recent call last):
    klayer.errors.KlayerError: sheet.npz, row 1, target 0: a target must be finite, but got nan: \
remove the row or fill the gap.
    """
    of_task = {
        "classification": (1, "bui", "whole numbers of shape (N,)", "one class index per row"),
        "regression": (
            2,
            "f",
            f"real numbers of shape (N, {outputs})",
            "one row of targets per row",
        ),
        "multilabel": (2, "u", f"0 or 1, of shape (N, {outputs})", "one row of 0 and 1 per row"),
    }
    ndim, kinds, wanted, pass_this = of_task[task]
    fits = labels.ndim == ndim and labels.dtype.kind in kinds
    if not fits or (ndim == 2 and labels.shape[1] != outputs):
        raise KlayerError(
            f"{where}: labels must be {wanted}, but got shape {labels.shape}, "
            f"dtype {labels.dtype}: pass {pass_this}."
        )
    if len(labels) != rows:
        raise KlayerError(
            f"{where}: there must be one label per row, but got {rows:,} rows "
            f"and {len(labels):,} labels."
        )
    if task == "classification":
        wrong = (labels < 0) | (labels >= outputs)
        if wrong.any():
            row = int(wrong.argmax())
            raise KlayerError(
                f"{where}, row {row}: a label must be 0 to {outputs - 1} ({outputs} classes), "
                f"but got {labels[row]}."
            )
    elif task == "regression":
        wrong = ~(np.abs(labels) <= LARGEST_TARGET)
        if wrong.any():
            row, target = (int(i) for i in np.argwhere(wrong)[0])
            broken = broken_target(labels[row, target])
            raise KlayerError(f"{where}, row {row}, target {target}: {broken}.")


def broken_target(value: float) -> str:
    """Say which rule a target breaks, and what to do about it.

    Examples
    --------
    >>> broken_target(1e200)
    'a target must lie from -1e+150 to 1e+150, but got 1e+200: errors are squared, rescale the target'
    """
    if not np.isfinite(value):
        return f"a target must be finite, but got {value}: remove the row or fill the gap"
    return (
        f"a target must lie from {-LARGEST_TARGET:g} to {LARGEST_TARGET:g}, but got {value:g}: errors "
        "are squared, rescale the target"
    )


def labels_to(purpose: str, labels: ArrayLike, rows: int, outputs: int, task: str) -> NDArray[Any]:
    """Return labels that somebody gives beside rows, in the one form of their task, checked.

    Parameters
    ----------
    purpose : str
        What they are for, in a message: ``"judge"``.
    labels : array
    rows, outputs, task
        As in :func:`check_labels`.

    Raises
    ------
    KlayerError
        If there is no row, and as :func:`check_labels`.

    Examples
    --------
    >>> labels_to("judge", [0, 2], 2, 2, "classification")
    Traceback (most recent call last):
    klayer.errors.KlayerError: the rows to judge by, row 1: a label must be 0 to 1 (2 classes), but \
got 2.
    """
    if not rows:
        raise KlayerError(f"there must be at least one row to {purpose} by, but got none.")
    found = in_one_form(np.asarray(labels), task)
    check_labels(f"the rows to {purpose} by", found, rows, outputs, task)
    return found


def check_weights(where: str, weights: NDArray[Any], rows: int) -> None:
    """Check the weights of the rows of one table: finite, not negative, not all 0.

    Raises
    ------
    KlayerError
        Naming ``where``, the row (from 0), the value and the rule.
    """
    if weights.shape != (rows,) or weights.dtype.kind != "f":
        raise KlayerError(
            f"{where}: weights must be {rows:,} real numbers, one per row, but got shape "
            f"{weights.shape}, dtype {weights.dtype}."
        )
    wrong = ~np.isfinite(weights) | (weights < 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise KlayerError(
            f"{where}, row {row}: a weight must be a finite number >= 0, but got {weights[row]}."
        )
    if not weights.any():
        raise KlayerError(f"{where}: one weight at least must be > 0, but all are 0.")
    row = int(weights.argmax())
    if (
        not 1 / _HEAVY <= weights[row] <= _HEAVY
    ):  # only ratios matter, and these must fit into float32
        raise KlayerError(
            f"{where}, row {row}: the largest weight must be from {1 / _HEAVY:g} to {_HEAVY:g}, but is "
            f"{weights[row]:g}: divide all by one number."
        )


def check_every_output_used(
    where: str, labels: NDArray[Any], names: Sequence[str], task: str
) -> None:
    """Check that training labels hold every class.

    Raises
    ------
    KlayerError
        For a class without a sample.
    """
    if task != "classification":
        return
    counts = np.bincount(labels, minlength=len(names))
    if not counts.all():
        empty = int(counts.argmin())
        raise KlayerError(
            f"{where}, split 'train': every class must have a sample, but class {empty} "
            f"({names[empty]!r}) has none: labels count from 0 without gaps; add samples, or leave the "
            "class out of the other splits too."
        )
