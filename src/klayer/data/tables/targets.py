"""What is to be predicted: which task it is, and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.labels import LARGEST_TARGET, TASKS, broken_target
from klayer.data.tables.columns import DataColumn, shown
from klayer.data.tables.kinds import as_kind
from klayer.errors import KlayerError

__all__ = ["Target", "infer_task", "read_target"]

# Whole numbers are classes if there are at most so many, each with so many rows on average.
CLASSES, ROWS_A_CLASS = 20, 5

Target = tuple[str, NDArray[Any], tuple[str, ...], str]


def infer_task(columns: Sequence[DataColumn]) -> tuple[str, str]:
    """Return the task that target columns look like, and why.

    Texts and yes or no are classes; fractions are amounts; whole numbers are classes if there are at
    most 20 different ones with five rows each on average. Several columns of 0 and 1 are labels,
    several columns of numbers are amounts.
    """
    if len(columns) > 1:
        if all(_is_binary(column) for column in columns):
            return "multilabel", f"{len(columns)} columns of 0 and 1"
        return "regression", f"{len(columns)} columns of numbers"
    (column,) = columns
    if column.kind in ("category", "boolean"):
        return "classification", "texts" if column.kind == "category" else "true and false"
    present = np.asarray(column.present)
    if present.dtype.kind == "f" and not (np.floor(present) == present).all():
        return "regression", "numbers with fractions"
    different = len(np.unique(present))
    if different <= CLASSES and different * ROWS_A_CLASS <= len(present):
        return "classification", f"{different} different whole numbers"
    return "regression", f"{different:,} different whole numbers"


def _is_binary(column: DataColumn) -> bool:
    if column.kind == "boolean":
        return True
    return column.kind == "number" and bool(np.isin(column.present, (0, 1)).all())


def read_target(where: str, columns: Sequence[DataColumn], task: str | None) -> Target:
    """Turn target columns into labels.

    Parameters
    ----------
    where : str
        How to name the table in a message.
    columns : sequence of DataColumn
    task : {"classification", "regression", "multilabel"}, optional
        By default :func:`infer_task` says.

    Returns
    -------
    task, labels, names, note
        Labels as `Split` wants them: int64 (N,), float64 (N, K) or uint8 (N, K); K names of classes,
        targets or labels; a line that says what was decided.

    Raises
    ------
    KlayerError
        For a gap, or values that the task can't have, with the row.
    """
    try:
        columns = [as_kind(column, None) for column in columns]
        for column in columns:
            column.require_whole("what is to be predicted can't be filled in: leave these rows out")
            if column.kind == "date":
                raise KlayerError(
                    f"column {shown(column.name)}: a target must be numbers or names, but is dates."
                )
        found, why = infer_task(columns) if task is None else (task, "as you say")
        assert found in TASKS
        titles = ", ".join(shown(column.name) for column in columns)
        if found == "regression":
            labels = np.stack([_amounts(column) for column in columns], axis=1)
            return (
                found,
                labels,
                tuple(one.name for one in columns),
                f"regression of {titles}: {why}",
            )
        if found == "multilabel":
            labels = np.stack([_flags(column) for column in columns], axis=1)
            names = tuple(column.name for column in columns)
            return found, labels, names, f"labels {titles}: {why}"
        if len(columns) > 1:
            raise KlayerError(
                f"a classification must have one target column, but got {titles}: several columns of 0 "
                "and 1 are --task multilabel."
            )
        return (found, *_classes(columns[0]), f"classification of {titles}: {why}")
    except KlayerError as error:
        raise KlayerError(f"{where}, {error}") from None


def _amounts(column: DataColumn) -> NDArray[np.float64]:
    if column.kind == "category":
        raise KlayerError(
            f"column {shown(column.name)}, {column.place(0)}: a regression must have numbers, but got "
            f"{column.levels[column.values[0]]!r}: names are --task classification, with this column "
            "as the only target."
        )
    values = np.asarray(column.values, np.float64)
    wrong = ~(np.abs(values) <= LARGEST_TARGET)
    if wrong.any():
        row = int(wrong.argmax())
        broken = broken_target(values[row])
        raise KlayerError(f"column {shown(column.name)}, {column.place(row)}: {broken}.")
    return values


def _flags(column: DataColumn) -> NDArray[np.uint8]:
    return as_kind(column, "boolean").values.astype(np.uint8)


def _classes(column: DataColumn) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    present = column.present
    if column.kind == "number" and np.asarray(present).dtype.kind == "f":
        wrong = ~np.isfinite(present) | (np.floor(present) != present)
        if wrong.any():
            row = int(wrong.argmax())
            raise KlayerError(
                f"column {shown(column.name)}, {column.place(row)}: a class must be a whole number or "
                f"a text, but got {present[row]:g}: fractions are --task regression."
            )
    names, codes = column.texts
    used, labels = np.unique(codes, return_inverse=True)
    names = tuple(names[code] for code in used)
    if len(names) < 2:
        raise KlayerError(
            f"column {shown(column.name)}: there must be at least two classes, but all rows have "
            f"{names[0]!r}."
        )
    if len(names) > max(1000, len(codes) // 2):
        raise KlayerError(
            f"column {shown(column.name)}: classes must have rows to learn from, but {len(codes):,} "
            f"rows have {len(names):,} different values: amounts are --task regression."
        )
    return labels.reshape(-1).astype(np.int64), names
