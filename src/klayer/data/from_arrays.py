"""Arrays and frames in, a `Dataset` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset
from klayer.data.options import DataOptions
from klayer.data.tables.table import DataTable, frame_of, is_frame
from klayer.errors import KlayerError

__all__ = ["from_arrays", "table_of"]

ImageShape = tuple[int, int, int]


def from_arrays(
    X: Any,
    y: Any = None,
    *,
    validation: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    name: str = "arrays",
    seed: int = 0,
    **said: Any,
) -> Dataset:
    """Make a data set of arrays or frames, as a file with the same content would make it.

    Parameters
    ----------
    X : array of shape (N, D), images (N, H, W) or (N, C, H, W), frame or sparse matrix
        NumPy arrays (or lists) of numbers or objects; frames of pandas, polars or pyarrow; SciPy
        sparse matrices and arrays. Columns of frames may be numbers, yes or no, dates or names.
    y : array of shape (N,) or (N, K), series or frame, optional
        What is to be predicted. Without it, ``target`` names columns of the frame.
    validation, test : (X, y), optional
        Rows of their own. Without them the rows are cut about 70 / 15 / 15 %, or as ``split``,
        ``group_by`` or ``time`` say; with a test part alone, validation is cut from ``X``.
    name : str
    seed : int
        Of the split.
    **said
        The fields of `DataOptions`: ``target``, ``task``, ``missing``, ``split="none"`` (all rows
        train), ...

    Returns
    -------
    Dataset

    Raises
    ------
    KlayerError
        If the rows don't form a table, or don't fit each other; naming column and row.

    Examples
    --------
    >>> data = from_arrays(np.arange(40.0).reshape(20, 2), np.repeat(["low", "high"], 10))
    >>> data.class_names, {name: len(split) for name, split in data.splits.items()}
    (('high', 'low'), {'train': 12, 'validation': 4, 'test': 4})
    """
    from klayer.data.tables.build import dataset_of

    options = DataOptions.from_values(said)
    given = {"train": (X, y), "validation": validation, "test": test}
    parts = {split: pair for split, pair in given.items() if pair is not None}
    for split, pair in parts.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise KlayerError(f"`{split}` must be a pair (X, y), but got {type(pair).__name__}.")
    tables, shapes = {}, {}
    for split, (rows, labels) in parts.items():
        tables[split], shapes[split] = table_of(rows, "X" if len(parts) == 1 else f"X of {split}")
        if labels is not None:
            _add_target(tables[split], labels, "y" if len(parts) == 1 else f"y of {split}")
    if len(set(shapes.values())) > 1:
        raise KlayerError(f"images must have one shape in all splits, but got {shapes}.")
    if len(tables) == 1:
        tables = {"": tables["train"]}
    return dataset_of(
        tables, options, name=name, source="arrays", seed=seed, image_shape=shapes["train"]
    )


def table_of(X: Any, where: str) -> tuple[DataTable, ImageShape | None]:
    """Make a table of a frame, a sparse matrix or an array; of images, with their shape.

    Raises
    ------
    KlayerError
        If it is none of these.
    """
    if is_frame(X):
        return frame_of(X, where), None
    if type(X).__module__.startswith("scipy.sparse"):
        from klayer.data.tables.libsvm import table_of_sparse

        return table_of_sparse(where, X), None
    values = _array(X, where)
    image_shape = None
    if values.ndim in (3, 4):
        from klayer.data.image_rows import flatten_images

        values, image_shape = flatten_images(where, values)
    if values.ndim != 2 or 0 in values.shape:
        raise KlayerError(
            f"`{where}` must have shape (N, D) with at least one row and one column, but got "
            f"{values.shape}: pass samples as rows."
        )
    raw: dict[str, Any] = {f"column_{i + 1}": values[:, i] for i in range(values.shape[1])}
    return DataTable(where, raw, named=False), image_shape


def _array(values: Any, where: str) -> NDArray[Any]:
    if isinstance(values, Mapping | str | bytes) or values is None:
        raise KlayerError(
            f"`{where}` must be an array, a frame or a sparse matrix, but got "
            f"{type(values).__name__}."
        )
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise KlayerError(f"`{where}` must be an array with equal rows: {error}.") from None
    except Exception as error:  # another library's array, which has errors of its own
        raise KlayerError(f"`{where}` can't be made an array: {error}.") from None
    return found


def _add_target(table: DataTable, y: Any, where: str) -> None:
    """Put what is to be predicted beside the features, under names of its own."""
    if is_frame(y):
        columns = {str(name): values for name, values in frame_of(y, where).raw.items()}
    else:
        values = _array(y, where)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim not in (1, 2) or not values.size:
            raise KlayerError(
                f"`{where}` must have shape (N,) or (N, K), but got {values.shape}: give one value, or "
                "K, per row."
            )
        name = getattr(y, "name", None)
        stem = str(name) if isinstance(name, str) and name else "target"
        columns = {stem: values}
        if values.ndim == 2:
            columns = {f"{stem}_{i + 1}": values[:, i] for i in range(values.shape[1])}
    lengths = {len(values) for values in columns.values()}
    if lengths != {len(table)}:
        raise KlayerError(
            f"`{table.where}` and `{where}` must have as many rows, but have {len(table):,} and "
            f"{max(lengths):,}."
        )
    names = []
    for name, values in columns.items():
        while name in table.raw:
            name += " (y)"
        table.raw[name] = values
        names.append(name)
    table.target = tuple(names)
