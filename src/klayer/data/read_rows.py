"""What a trained network is asked to label: images, or rows of numbers, from files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.array_files import read_npy, read_npz
from klayer.data.encoder import Encoder
from klayer.data.from_arrays import rows_of
from klayer.data.image_files import ENDINGS, read_image
from klayer.data.image_rows import flatten_images
from klayer.data.npy_rows import npy_rows
from klayer.data.parquet_files import is_parquet
from klayer.data.regular_file import require_file
from klayer.data.sources.npz_keys import find_features
from klayer.data.stored_rows import Features, StoredRows, stays_on_disk
from klayer.data.tables.columns import row_place
from klayer.data.tables.read_table import ENDINGS as TABLES
from klayer.data.tables.read_table import is_table, read_table
from klayer.errors import KlayerError

__all__ = ["read_rows"]


def read_rows(
    paths: Iterable[str | Path],
    *,
    n_features: int,
    image_shape: tuple[int, int, int] | None = None,
    value_range: tuple[float, float] = (0.0, 255.0),
    background: str = "white",
    encoder: Encoder | None = None,
) -> tuple[Features, list[str]]:
    """Read files into rows of the shape that a network was trained on.

    An image becomes one row, resized and converted to the network's channels. A .npy file and the
    ``X`` of a .npz file (in any spelling that training reads) hold rows of D numbers, or images of the
    training images' shape. A table (.csv, .parquet, ...) holds the columns of training, by name, for a
    network that was trained on a table; else D columns of numbers.

    Parameters
    ----------
    paths : iterable of str or Path
    n_features : int
        D, the length of a row.
    image_shape : (channels, height, width), optional
        Of the training images; without it, images are refused.
    value_range : (lowest, highest)
        What black and white were in training, `Dataset.value_range`: (0, 255) for 8-bit images,
        (0, 16) for `digits`. The bytes of an image file are scaled to it.
    background : {"white", "black"}
        Behind transparent pixels, as in training: `Dataset.background`.
    encoder : Encoder, optional
        Of the table that the network was trained on.

    Returns
    -------
    X : array, or StoredRows if a .npy file would fill a quarter of the memory; shape (N, D)
        Raw, not yet standardised.
    names : list of str
        One per row: the image's file, or ``"rows.csv, row 3"``, counted from 0.

    Raises
    ------
    KlayerError
        Naming the file, the row and the rule.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "new.csv").write_text("1,2\\n3,4\\n")
    ...     X, names = read_rows([Path(folder) / "new.csv"], n_features=2)
    >>> X.tolist(), [Path(name).name for name in names]
    ([[1.0, 2.0], [3.0, 4.0]], ['new.csv, row 0', 'new.csv, row 1'])
    """
    tables, names = [], []
    for path in map(Path, paths):
        table, table_names = _read(path, n_features, image_shape, value_range, background, encoder)
        tables.append(table)
        names += table_names
    if not tables:
        raise KlayerError(
            "there must be at least one file to read: name images, tables, .npy or .npz."
        )
    if all(isinstance(one, StoredRows) for one in tables):
        return StoredRows([file for one in tables for file in one.files]), names  # type: ignore[union-attr]
    return tables[0] if len(tables) == 1 else np.concatenate(tables), names


def _read(
    path: Path,
    n_features: int,
    image_shape: tuple[int, int, int] | None,
    value_range: tuple[float, float],
    background: str,
    encoder: Encoder | None,
) -> tuple[Features, list[str]]:
    folder = path.is_dir() and is_parquet(path)
    if not folder:
        require_file(path, f"name its files, {path}/*")
    ending = path.suffix.lower()
    if ending in ENDINGS:
        return _image_row(path, n_features, image_shape, value_range, background), [str(path)]
    if folder or (is_table(path) and not (ending == ".npy" and (encoder is None or encoder.plain))):
        texts, known = (encoder.texts, encoder.columns) if encoder else ((), ())
        table = read_table(path, texts=texts, known=known)
        of_table = rows_of(table, n_features, encoder)
        place = table.place if folder else row_place
        return of_table, [f"{path}, {place(row)}" for row in range(len(of_table))]
    if ending == ".npy" and stays_on_disk(path.stat().st_size, "auto"):
        stored = StoredRows([npy_rows(path, image_shape)[0]])
        _require_width(path, stored.shape, n_features)
        return stored, [f"{path}, row {row}" for row in range(len(stored))]
    if ending == ".npy":
        rows = read_npy(path)
    elif ending == ".npz":
        content = read_npz(path)
        rows = content[find_features(str(path), content)]
    else:
        raise KlayerError(
            f"{path}: must be an image ({', '.join(ENDINGS)}), a table ({', '.join(TABLES)}) or "
            "rows of numbers (.npy, .npz)."
        )
    rows = _check(path, rows, n_features, image_shape)
    return rows, [f"{path}, row {row}" for row in range(len(rows))]


def _image_row(
    path: Path,
    n_features: int,
    image_shape: tuple[int, int, int] | None,
    value_range: tuple[float, float],
    background: str,
) -> NDArray[Any]:
    if image_shape is None:
        raise KlayerError(
            f"{path}: the network was trained on rows of {n_features} numbers, not on images: give a "
            "table, or a .npy or .npz file."
        )
    row = read_image(path, image_shape, background)[np.newaxis]  # (1, D)
    low, high = value_range
    if (low, high) == (0, 255):
        return row
    return (low + row * ((high - low) / 255)).astype(np.float32)


def _check(
    path: Path, rows: NDArray[Any], n_features: int, image_shape: tuple[int, int, int] | None
) -> NDArray[Any]:
    """Rows as (N, D): a single row is one sample, images are flattened as in training."""
    if rows.dtype.kind not in "buif":
        raise KlayerError(f"{path}: must hold real numbers, but got dtype {rows.dtype}.")
    shape = rows.shape
    if shape == (n_features,):
        rows = rows[np.newaxis]
    else:
        if image_shape is not None and shape in (image_shape, image_shape[-rows.ndim :]):
            rows = rows[np.newaxis]  # one image
        rows, _ = flatten_images(str(path), rows, image_shape)
    _require_width(path, rows.shape, n_features, shape)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise KlayerError(
            f"{path}, row {row}, column {column}: must be finite, but got {rows[row, column]}."
        )
    return rows


def _require_width(
    path: Path, shape: tuple[int, ...], n_features: int, given: tuple[int, ...] | None = None
) -> None:
    if len(shape) != 2 or not shape[0] or shape[1] != n_features:
        raise KlayerError(
            f"{path}: must have shape (N, {n_features}) with at least one row, but got "
            f"{given or shape}: pass samples as rows."
        )
