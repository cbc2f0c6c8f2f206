"""Any data set in one NumPy archive (.npz)."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import SPLITS, Dataset, Split, check_rows
from klayer.data.source import Source, always
from klayer.data.splitting import split_rows
from klayer.errors import KlayerError

__all__ = ["SOURCE", "flatten_images", "load", "read_npz"]

ImageShape = tuple[int, int, int]

_KEYS = {split: (f"X_{split}", f"y_{split}") for split in SPLITS}
_LAYOUT = (
    "`X` and `y`, or `X_train` and `y_train` and, as far as there are any, `X_validation`, "
    "`y_validation`, `X_test` and `y_test`"
)


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read every array of a .npz file; pickled objects are refused.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to array

    Raises
    ------
    KlayerError
        If the file is not a .npz file, is damaged, or holds objects.
    """
    try:
        with Path(path).open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise KlayerError(f"{path}: must be a .npz file, but is damaged or another kind.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as content:
                return {key: content[key] for key in content.files}
    except KlayerError:
        raise
    except FileNotFoundError:
        raise KlayerError(f"{path}: no such file.") from None
    except Exception as error:  # a damaged archive can fail in any way
        if "allow_pickle" in str(error):
            raise KlayerError(
                f"{path}: must hold arrays of numbers or texts, but holds Python objects, which "
                "are never unpickled: save the arrays with a plain dtype."
            ) from None
        raise KlayerError(f"{path}: not a readable .npz file ({error}).") from None


def load(path: str | Path, *, seed: int = 0) -> Dataset:
    """Load a .npz file with features and labels.

    It holds either ``X`` and ``y``, which are split about 70 / 15 / 15 by class and seed, or
    splits: ``X_train`` and ``y_train`` and, as far as there are any, ``X_validation`` (or
    ``X_val``), ``y_validation``, ``X_test``, ``y_test``; ``x`` may stand for ``X``. Optional are
    ``class_names`` and ``image_shape``. Labels are whole numbers from 0, or texts, whose sorted
    values are the classes. Features may be images of shape (N, H, W) or (N, C, H, W).

    Parameters
    ----------
    path : str or Path
    seed : int
        Of the split of ``X`` and ``y``.

    Returns
    -------
    Dataset

    Raises
    ------
    KlayerError
        Naming the file, the key, the row and the rule.
    """
    path = Path(path)
    content: dict[str, NDArray[Any]] = {}
    for key, value in read_npz(path).items():
        if _canonical(key) in content:
            raise KlayerError(
                f"{path}: {_canonical(key)!r} must be there once, but is there twice."
            )
        content[_canonical(key)] = value
    whole = [key for key in ("X", "y") if key in content]
    split = [key for key in content if any(key in pair for pair in _KEYS.values())]
    if whole and split:
        raise KlayerError(
            f"{path}: must hold {_LAYOUT}, but holds both {whole[0]!r} and {split[0]!r}."
        )
    pairs = {
        name: pair for name, pair in _KEYS.items() if name == "train" or set(pair) & set(split)
    }
    if not split:
        pairs = {"": ("X", "y")}
    wanted = [key for pair in pairs.values() for key in pair]
    missing = [key for key in wanted if key not in content]
    if missing:
        raise KlayerError(
            f"{path}: must hold {_LAYOUT}, but {', '.join(map(repr, missing))} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Found: "
            f"{', '.join(content) or 'nothing'}."
        )
    features = {key: flatten_images(f"{path}, {key}", content[key]) for key in wanted[::2]}
    image_shape = _image_shape(path, content, features)
    labels, class_names = _labels(path, {key: content[key] for key in wanted[1::2]}, content)
    tables = {}
    for part, (x, y) in pairs.items():
        # Here and not only in Dataset: a row number must be the file's, before anything is split.
        check_rows(f"{path}, {x}, {y}", features[x][0], labels[y], len(class_names))
        tables[part] = Split(features[x][0], labels[y])
    if not split:
        rows = tables[""]
        tables = split_rows(str(path), rows.features, rows.labels, class_names, seed=seed)
    return Dataset(path.stem, tables, class_names, image_shape, source=path.name)


def flatten_images(where: str, values: NDArray[Any]) -> tuple[NDArray[Any], ImageShape | None]:
    """Make rows of images; leave rows as they are.

    Parameters
    ----------
    where : str
        How to name the array in a message.
    values : array, shape (N, D), (N, H, W) or (N, C, H, W)

    Returns
    -------
    rows : array, shape (N, D)
    image_shape : (C, H, W), or None for an array that came as rows

    Examples
    --------
    >>> rows, image_shape = flatten_images("X", np.zeros((5, 28, 28)))
    >>> rows.shape, image_shape
    ((5, 784), (1, 28, 28))
    """
    if values.ndim == 4 and values.shape[1] not in (1, 3) and values.shape[3] in (1, 3):
        raise KlayerError(
            f"{where}: images must have shape (N, channels, height, width), but got "
            f"{values.shape}: use `X.transpose(0, 3, 1, 2)`."
        )
    if values.ndim not in (3, 4) or not values.size:
        return values, None
    channels, height, width = (1, *values.shape[1:])[-3:]
    return values.reshape(len(values), -1), (channels, height, width)


def _canonical(key: str) -> str:
    """``x_val`` -> ``X_validation``; a key that is not one of ours stays."""
    name, underscore, part = key.partition("_")
    name = "X" if name == "x" else name
    if name not in ("X", "y"):
        return key
    return name + underscore + ("validation" if part == "val" else part)


def _image_shape(
    path: Path,
    content: dict[str, NDArray[Any]],
    features: dict[str, tuple[NDArray[Any], ImageShape | None]],
) -> ImageShape | None:
    if "image_shape" not in content:
        return next(iter(features.values()))[1]
    shape = content["image_shape"]
    if shape.shape != (3,) or shape.dtype.kind not in "iu":
        raise KlayerError(
            f"{path}, image_shape: must be three whole numbers (channels, height, width), "
            f"but got {shape.tolist()}."
        )
    channels, height, width = map(int, shape)
    return channels, height, width


def _texts(where: str, values: NDArray[Any]) -> NDArray[Any]:
    """Texts as texts, also where they were saved as bytes."""
    try:
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    except UnicodeDecodeError as error:
        raise KlayerError(f"{where}: texts must be UTF-8 ({error}).") from None


def _labels(
    path: Path, found: dict[str, NDArray[Any]], content: dict[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Turn labels into class indices, and find the class names."""
    names: Sequence[str] | None = None
    if "class_names" in content:
        given = _texts(f"{path}, class_names", content["class_names"])
        if given.ndim != 1 or given.dtype.kind != "U":
            raise KlayerError(
                f"{path}, class_names: must be a list of texts, but got shape {given.shape}, "
                f"dtype {given.dtype}."
            )
        names = given.tolist()
    found = {key: _texts(f"{path}, {key}", value) for key, value in found.items()}
    for key, value in found.items():
        if value.ndim != 1 or value.dtype.kind not in "buiU" or not value.size:
            raise KlayerError(
                f"{path}, {key}: labels must be whole numbers or texts of shape (N,), but got "
                f"shape {value.shape}, dtype {value.dtype}: give one class per row."
            )
    kinds = {value.dtype.kind == "U" for value in found.values()}
    if len(kinds) > 1:
        raise KlayerError(f"{path}: labels must all be numbers or all be texts, but got both.")
    if not kinds.pop():
        if names is None:
            highest = max(int(value.max()) for value in found.values())
            total = sum(len(value) for value in found.values())
            if highest >= total:  # one wild label must not make a million class names
                raise KlayerError(
                    f"{path}: labels must be class indices from 0, but got {highest} among "
                    f"{total} rows: number the classes 0 to K-1, or give labels as texts."
                )
            names = [str(index) for index in range(max(2, highest + 1))]
        return found, tuple(names)
    if names is None:
        names = sorted(set().union(*(value.tolist() for value in found.values())))
    index = {name: position for position, name in enumerate(names)}
    result = {}
    for key, value in found.items():
        unknown = np.flatnonzero(~np.isin(value, names))
        if unknown.size:
            row = int(unknown[0])
            raise KlayerError(
                f"{path}, {key}, row {row}: a label must be one of class_names, "
                f"but got {str(value[row])!r}."
            )
        result[key] = np.array([index[label] for label in value.tolist()], np.int64)
    return result, tuple(names)


SOURCE = Source(
    name="FILE.npz",
    description="X and y, or their splits",
    load=lambda request: load(request.path, seed=request.seed),
    find=always("a path"),
    recognises=lambda path: path.suffix.lower() == ".npz" and not path.is_dir(),
    kind="a .npz file",
)
