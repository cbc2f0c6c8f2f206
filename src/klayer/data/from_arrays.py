"""Arrays and frames in, a `Dataset` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.class_labels import class_indices
from klayer.data.dataset import Dataset
from klayer.data.encoder import Encoder
from klayer.data.measure import extremes
from klayer.data.options import DataOptions
from klayer.data.row_blocks import row_blocks
from klayer.data.stored_rows import Features, StoredRows
from klayer.data.tables.table import DataTable, frame_of, is_frame
from klayer.errors import KlayerError

__all__ = ["add_target", "from_arrays", "rows_of", "table_of"]

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
        What is to be predicted; one-hot rows are classes. Without it, ``target`` names columns of the
        frame.
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
            where = "y" if len(parts) == 1 else f"y of {split}"
            add_target(tables[split], labels, where, options.task in (None, "classification"))
    if len(set(shapes.values())) > 1:
        raise KlayerError(f"images must have one shape in all splits, but got {shapes}.")
    if len(tables) == 1:
        tables = {"": tables["train"]}
    return dataset_of(
        tables, options, name=name, source=_told(X), seed=seed, image_shape=shapes["train"]
    )


def _told(X: Any) -> str:
    """Say in a line what was given."""
    kind = type(X)
    module = kind.__module__.partition(".")[0]
    return f"{'' if module == 'builtins' else f'{module}.'}{kind.__qualname__}, given in Python"


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


def rows_of(X: Any, n_features: int, encoder: Encoder | None = None) -> Features:
    """Make features of whatever a trained network is asked about.

    Parameters
    ----------
    X : array, frame, sparse matrix or `DataTable`
        With an encoder, frames and tables hold the columns of training, by name; arrays hold
        features (N, D), or the columns of training in their order.
    n_features : int
        D.
    encoder : Encoder, optional
        Of the data that the network was trained on.

    Returns
    -------
    rows : array, shape (N, D), of finite real numbers

    Raises
    ------
    KlayerError
        Naming column and row.

    Examples
    --------
    >>> rows_of([[1, 2], [3, 4]], 2).shape
    (2, 2)
    """
    if isinstance(X, StoredRows):
        return _checked(X, n_features, encoder)
    plain = not isinstance(X, DataTable) and not is_frame(X)
    if plain and not type(X).__module__.startswith("scipy.sparse"):
        values = _array(X, "X")
        width = values.shape[1] if values.ndim == 2 else None
        if values.dtype.kind in "buif" and (encoder is None or width == n_features):
            return _checked(values, n_features, encoder)
        if encoder is not None and width != len(encoder.codes):
            raise KlayerError(
                f"`X` must have shape (N, {n_features}), or (N, {len(encoder.codes)}) with the columns "
                f"of training, but got {values.shape}: pass samples as rows, or a frame."
            )
    table = X if isinstance(X, DataTable) else table_of(X, "X")[0]
    encoder = encoder or Encoder.of_numbers(table.names[:n_features])
    if len(table.raw) != n_features and encoder.plain and not table.named and not table.zeros:
        raise KlayerError(
            f"{table.where}: must have {n_features} columns, but has {len(table.raw)}: without names "
            "they go by their order, the columns of training alone. Give it a heading line."
        )
    return _checked(encoder.transform(table), n_features, encoder, table)


def _checked(
    rows: Features,
    n_features: int,
    encoder: Encoder | None,
    table: DataTable | None = None,
) -> Features:
    if rows.dtype.kind not in "buif":
        raise KlayerError(f"`X` must hold real numbers, but got dtype {rows.dtype}.")
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise KlayerError(
            f"`X` must have shape (N, {n_features}), but got {rows.shape}: pass samples as rows."
        )
    if rows.dtype.kind != "f" or not len(rows) or np.isfinite(extremes(rows)).all():
        return rows
    for block in row_blocks(*rows.shape):
        wrong = ~np.isfinite(rows[block])
        if not wrong.any():
            continue
        row, column = (int(one) for one in np.argwhere(wrong)[0])
        row += block.start
        name = f"column {encoder.feature_names[column]!r}" if encoder else f"column {column}"
        where = f"{table.where}, {table.place(row)}" if table else f"`X`, row {row}"
        where = rows.place(row) if isinstance(rows, StoredRows) else where
        raise KlayerError(f"{where}, {name}: must be finite, but got {rows[row, column]}.")
    return rows


def _array(values: Any, where: str) -> NDArray[Any]:
    if isinstance(values, Mapping | str | bytes) or values is None:
        raise KlayerError(
            f"`{where}` must be an array, a frame or a sparse matrix, but got "
            f"{type(values).__name__}."
        )
    try:
        if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
            values = np.ma.filled(values.astype(float), np.nan)
        found = np.asarray(values)
        if found.dtype.kind == "U" and isinstance(values, list | tuple):
            objects = np.array(values, object)
            if not all(isinstance(one, str) for one in objects.ravel().tolist()):
                found = objects  # NumPy makes texts of numbers beside texts
    except ValueError as error:
        raise KlayerError(f"`{where}` must be an array with equal rows: {error}.") from None
    except Exception as error:  # another library's array, which has errors of its own
        raise KlayerError(f"`{where}` can't be made an array: {error}.") from None
    return found


def _is_one_hot(values: NDArray[Any]) -> bool:
    if values.dtype.kind not in "buif" or not np.isin(values, (0, 1)).all():
        return False
    return bool((values.sum(axis=1) == 1).all())


def add_target(table: DataTable, y: Any, where: str, one_hot: bool) -> None:
    """Put what is to be predicted beside the features, under names of its own."""
    if is_frame(y):
        columns = {str(name): values for name, values in frame_of(y, where).raw.items()}
    else:
        values = _array(y.toarray() if type(y).__module__.startswith("scipy.sparse") else y, where)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim not in (1, 2) or not values.size:
            raise KlayerError(
                f"`{where}` must have shape (N,) or (N, K), but got {values.shape}: give one value, or "
                "K, per row."
            )
        if values.ndim == 2 and one_hot and _is_one_hot(values):
            values = class_indices({where: values}).indices[where]
            table.notes.append(f"`{where}`: one-hot rows became classes")
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
