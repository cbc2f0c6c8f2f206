"""Labels as people write them, turned into class indices: numbers, texts, booleans, one-hot rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError

__all__ = ["Classes", "class_indices"]

_SHOWN = 6  # labels named in a sentence
_OWN_LABELS = 20  # so many rows with a label each are numbers to be predicted, not classes
_REGRESSION = "If they are numbers to be predicted, the task is regression (--task regression)"


@dataclass(frozen=True)
class Classes:
    """What labels became.

    Attributes
    ----------
    indices : dict of str to array, shape (N,), int64
        Of each table, 0 to K-1.
    names : tuple of str
        K names; index k stands for ``names[k]``.
    note : str
        How labels were mapped, in a sentence; empty where they were indices already.
    """

    indices: dict[str, NDArray[np.int64]]
    names: tuple[str, ...]
    note: str = ""


def class_indices(
    tables: Mapping[str, ArrayLike], class_names: Sequence[str] | None = None
) -> Classes:
    """Turn the labels of one data set into class indices, the same way for all its tables.

    Read are whole numbers of any kind (also as floats), booleans, texts (also as bytes), Python
    objects that are all of one of these kinds, each of shape (N,) or (N, 1), and one-hot rows
    (N, K). The classes are the sorted values; whole numbers that already are 0 to K-1 stay.

    Parameters
    ----------
    tables : mapping of str to array
        The labels of each table; the key names it in messages: the file and its part.
    class_names : sequence of str, optional
        K names. Numbers are then indices among them or, where they are not, K different numbers
        in ascending order; texts must be among them.

    Returns
    -------
    Classes

    Raises
    ------
    KlayerError
        Naming the table and, where there is one, the row (from 0): fractions, NaN, gaps, mixed
        kinds, several or no classes in a row.

    Examples
    --------
    >>> found = class_indices({"y": [-1, 1, 1]})
    >>> found.indices["y"].tolist(), found.names, found.note
    ([0, 1, 1], ('-1', '1'), 'the labels -1, 1 became the classes 0 to 1')
    >>> class_indices({"y": [[0, 1, 0], [1, 0, 0]]}).indices["y"].tolist()
    [1, 0]
    >>> class_indices({"y": [0.0, 0.5]})
    Traceback (most recent call last):
    klayer.errors.KlayerError: y, row 1: a class label must be a whole number, but got 0.5. If they \
are numbers to be predicted, the task is regression (--task regression).
    """
    columns = {where: _column(where, values) for where, values in tables.items()}
    widths = {array.shape[1] if array.ndim == 2 else 0 for array in columns.values()}
    if len(widths) > 1:
        where = next(iter(columns))
        shapes = ", ".join(f"{array.shape} in {where}" for where, array in columns.items())
        raise KlayerError(
            f"{where}: labels must have the same form in every split, but got {shapes}."
        )
    if widths != {0}:
        return _one_hot(columns, class_names)
    kinds = {where: "text" if a.dtype.kind == "U" else a.dtype.kind for where, a in columns.items()}
    found = set(kinds.values())
    if len(found) > 1:
        where = next(iter(kinds))
        listed = ", ".join(f"{_word(kind)} in {where}" for where, kind in kinds.items())
        raise KlayerError(
            f"{where}: labels must be of one kind in every split, all numbers or all texts, but got "
            f"{listed}."
        )
    values = np.unique(np.concatenate([np.unique(array) for array in columns.values()]))
    if found == {"text"}:
        return _texts(columns, values, class_names)
    return _numbers(columns, values, class_names, boolean=found == {"b"})


def _word(kind: str) -> str:
    return {"text": "texts", "b": "booleans"}.get(kind, "numbers")


def _column(where: str, values: ArrayLike) -> NDArray[Any]:
    """Labels as an array of texts, booleans or whole numbers; (N,), or (N, K) if K > 1."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise KlayerError(f"{where}: labels must be an array with equal rows: {error}.") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or not array.size:
        raise KlayerError(
            f"{where}: labels must have shape (N,), (N, 1) or, one-hot, (N, K), with at least one "
            f"row, but got {array.shape}."
        )
    if array.dtype.kind == "O":
        array = _of_objects(where, array)
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise KlayerError(f"{where}: texts must be UTF-8 ({error}).") from None
    if array.dtype.kind in "UT":
        array = array.astype(np.str_)
        if array.ndim == 2:
            raise KlayerError(
                f"{where}: labels that are texts must have shape (N,), but got {array.shape}: give "
                "one class per row."
            )
        empty = np.char.str_len(np.char.strip(array)) == 0
        if empty.any():
            raise KlayerError(
                f"{where}, row {int(empty.argmax())}: a class label must not be empty: fill it in, "
                "or leave the row away."
            )
    elif array.dtype.kind == "f":
        array = _whole(where, array)
    elif array.dtype.kind == "i":
        array = array.astype(np.int64)
    elif array.dtype.kind == "u":
        if array.max() >= 2**63:
            row = int(np.argwhere(array >= 2**63)[0][0])
            _integer(f"{where}, row {row}", int(array[row].max()))
        array = array.astype(np.int64)
    elif array.dtype.kind != "b":
        raise KlayerError(
            f"{where}: labels must be whole numbers, booleans or texts, but got dtype {array.dtype}."
        )
    return array


def _of_objects(where: str, array: NDArray[Any]) -> NDArray[Any]:
    """Python objects that are all of one kind, as an array of that kind."""
    first: str | None = None
    for row, value in enumerate(array.ravel().tolist()):
        row //= 1 if array.ndim == 1 else array.shape[1]
        kind = next((name for name, types in _OBJECTS if isinstance(value, types)), None)
        if value is None or kind is None or value != value:
            shown = "nothing" if value is None else f"{value!r:.60}"
            raise KlayerError(
                f"{where}, row {row}: a class label must be a whole number, a boolean or a text, but "
                f"got {shown}: fill it in, or leave the row away."
            )
        if first is not None and kind != first:
            raise KlayerError(
                f"{where}, row {row}: labels must be of one kind, but the first is a {first} and this "
                f"one, {value!r:.60}, is a {kind}."
            )
        first = kind
    try:
        if first == "number":  # NumPy would turn large whole numbers beside floats into floats
            width = 1 if array.ndim == 1 else array.shape[1]
            found = [
                _integer(f"{where}, row {place // width}", value)
                for place, value in enumerate(array.ravel().tolist())
            ]
            return np.array(found, np.int64).reshape(array.shape)
        return array.astype({"boolean": np.bool_, "text": np.str_, "byte string": np.bytes_}[first])  # type: ignore[index]
    except (OverflowError, UnicodeError) as error:
        raise KlayerError(f"{where}: labels can't be read ({error}).") from None


_OBJECTS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("boolean", (bool, np.bool_)),
    ("number", (int, float, np.integer, np.floating)),
    ("text", (str,)),
    ("byte string", (bytes,)),
)


def _integer(where: str, value: Any) -> int:
    if not -(2**63) <= value < 2**63 or value != value // 1:
        raise KlayerError(
            f"{where}: a class label must be a whole number below 2^63, but got {value!r:.60}. "
            f"{_REGRESSION}."
        )
    return int(value)


def _whole(where: str, array: NDArray[Any]) -> NDArray[np.int64]:
    wrong = ~np.isfinite(array)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise KlayerError(
            f"{where}, row {place[0]}: a class label must not be missing or infinite, but got "
            f"{array[place]}: fill it in, or leave the row away."
        )
    wrong = (array != np.trunc(array)) | (np.abs(array) >= 2.0**63)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise KlayerError(
            f"{where}, row {place[0]}: a class label must be a whole number, but got {array[place]}. "
            f"{_REGRESSION}."
        )
    return array.astype(np.int64)


def _named(class_names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if class_names is None else tuple(str(name) for name in class_names)


def _one_hot(columns: dict[str, NDArray[Any]], class_names: Sequence[str] | None) -> Classes:
    names = _named(class_names)
    K = next(iter(columns.values())).shape[1]
    for where, array in columns.items():
        wrong = ((array != 0) & (array != 1)).any(axis=1) | (array.astype(bool).sum(axis=1) != 1)
        if wrong.any():
            row = int(wrong.argmax())
            raise KlayerError(
                f"{where}, row {row}: labels of shape {array.shape} must be one-hot, one 1 among "
                f"zeros in each row, but got {_listed(array[row].tolist())}. Several labels in a row "
                "are --task multilabel, several numbers --task regression."
            )
    if names is not None and len(names) != K:
        raise KlayerError(
            f"one-hot labels must have a column for each of the {len(names)} class names, but have "
            f"{K} columns."
        )
    return Classes(
        {where: array.argmax(axis=1).astype(np.int64) for where, array in columns.items()},
        names or tuple(map(str, range(K))),
        f"one-hot labels of {K} columns became the classes 0 to {K - 1}",
    )


def _texts(
    columns: dict[str, NDArray[Any]], values: NDArray[Any], class_names: Sequence[str] | None
) -> Classes:
    given = _named(class_names)
    names = tuple(values.tolist()) if given is None else given
    index = {name: position for position, name in enumerate(names)}
    for where, array in columns.items():
        unknown = np.flatnonzero(~np.isin(array, names))
        if unknown.size:
            row = int(unknown[0])
            raise KlayerError(
                f"{where}, row {row}: a label must be one of class_names, "
                f"but got {str(array[row])!r}."
            )
    known = np.array([index.get(name, -1) for name in values.tolist()], np.int64)
    return Classes(
        {where: known[np.searchsorted(values, array)] for where, array in columns.items()}, names
    )


def _numbers(
    columns: dict[str, NDArray[Any]],
    values: NDArray[Any],
    class_names: Sequence[str] | None,
    *,
    boolean: bool,
) -> Classes:
    rows = sum(len(array) for array in columns.values())
    own = values.tolist()
    names = _named(class_names)
    if names is None and len(own) == rows >= _OWN_LABELS:
        raise KlayerError(
            f"{next(iter(columns))}: a class must have several rows, but each of the {rows:,} rows has "
            f"a label of its own ({_listed(own)}). {_REGRESSION}."
        )
    if names is None and not boolean and own == list(range(len(own))) and len(own) > 1:
        return Classes({k: a.astype(np.int64) for k, a in columns.items()}, tuple(map(str, own)))
    if names is not None and own[0] >= 0 and own[-1] < len(names):
        return Classes({k: a.astype(np.int64) for k, a in columns.items()}, names)
    if names is not None and len(own) != len(names):
        where, row, value = next(
            (where, int(row), array[row])
            for where, array in columns.items()
            for row in np.flatnonzero((array < 0) | (array >= len(names)))
        )
        raise KlayerError(
            f"{where}, row {row}: a label must be 0 to {len(names) - 1} ({len(names)} classes), "
            f"but got {value}."
        )
    note = f"the labels {_listed(own)} became the classes 0 to {len(own) - 1}"
    return Classes(
        {
            where: np.searchsorted(values, array).astype(np.int64)
            for where, array in columns.items()
        },
        names or tuple(map(str, own)),
        note + (f", named {_listed(names)}" if names else ""),
    )


def _listed(values: Any) -> str:
    values = list(values)
    shown = ", ".join(f"{value!r:.40}" for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown}, … ({len(values):,} in all)"
