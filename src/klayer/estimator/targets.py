"""What may be predicted: labels and targets as users have them, as scikit-learn's checks take them."""

from __future__ import annotations

import datetime
from decimal import Decimal
from numbers import Complex, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from klayer.errors import KlayerError

__all__ = ["checked_labels", "checked_targets"]

Array = NDArray[Any]

# By NumPy's letter for what an array holds.
_KINDS = {"M": "dates", "m": "spans of time", "c": "complex numbers", "U": "texts", "S": "bytes"}
_NUMBERS = {
    "dates": "say how long after a date, as in (y - y.min()) / np.timedelta64(1, 'D')",
    "spans of time": "count them in a unit, as in y / np.timedelta64(1, 'D')",
    "complex numbers": "Complex data not supported, but two targets are: "
    "np.column_stack([y.real, y.imag])",
    "texts": "write y.astype(float) if they are numbers; for classes there is KLayerClassifier",
}


def checked_targets(y: Any) -> Any:
    """Return what is to be predicted as real numbers; refuse what only reads like one.

    Raises
    ------
    KlayerError
        For dates, spans of time, complex numbers, texts, other objects, gaps among objects.

    Examples
    --------
    >>> checked_targets([Decimal("1.5"), 2]).tolist()
    [1.5, 2.0]
    >>> checked_targets(np.array(["2026-01-31"], "M8[D]"))
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: `y` must be real numbers, but got dates (datetime64[D]): say how long ...
    """
    if y is None:  # scikit-learn says it
        return y
    values = _array(y)
    what = _what(values)
    if what == "numbers":
        if values.dtype.kind != "O":
            return values
        try:
            return np.array([float(one) for one in values.ravel()]).reshape(values.shape)
        except OverflowError:
            what = "whole numbers beyond the largest float"
    how = _NUMBERS.get(what, "convert them to floats, or leave these rows out")
    raise KlayerError(f"`y` must be real numbers, but got {what}{_dtype(values)}: {how}.")


def checked_labels(y: Any) -> Any:
    """Return labels as numbers, texts, yes and no, or NumPy's dates; refuse what can't be one.

    Raises
    ------
    KlayerError
        For complex numbers, bytes, other objects, labels of several kinds, gaps among objects.

    Examples
    --------
    >>> checked_labels(np.array([True, False], object)).dtype.kind, checked_labels(["b", "a"]).tolist()
    ('b', ['b', 'a'])
    """
    if y is None:
        return y
    values = _array(y)
    what = _what(values)
    if values.dtype.kind == "O":
        kinds = sorted({type(one).__name__ for one in values.ravel()})
        if what == "texts":
            return values
        if what == "numbers":
            plain = np.array(values.tolist())
            if plain.dtype.kind != "O":
                return plain
            what = f"numbers that NumPy has no type for ({', '.join(kinds)})"
        elif what.startswith("several") or len(kinds) > 1:
            raise KlayerError(
                f"`y` must hold labels of one kind, but got {' and '.join(kinds)}: make texts of all of "
                "them, and fill or remove gaps."
            )
    elif what in ("numbers", "texts", "dates", "spans of time"):
        if values.dtype.kind in "mM" and np.isnat(values).any():
            raise KlayerError("`y` must have no gaps, but has NaT: fill or remove them.")
        return values
    how = "make texts of them, as in [str(one) for one in y]"
    how = {
        "dates": "write np.array(y, 'M8[us]'), or make texts of them",
        "complex numbers": f"Complex data not supported; {how}",
        "bytes": "Support for labels represented as bytes is not supported; write y.astype(str)",
    }.get(what, how)
    raise KlayerError(
        f"`y` must hold numbers, texts, yes and no, or NumPy's dates as labels, but got "
        f"{what}{_dtype(values)}: {how}."
    )


def _array(y: Any) -> Array:
    """Return an array of what is given, whose texts were texts."""
    if issparse(y):
        raise KlayerError(f"`y` must be dense, but got {type(y).__name__}: write y.toarray().")
    try:
        values = np.asarray(y)
        if values.dtype.kind in "US" and isinstance(y, list | tuple):
            objects = np.array(y, object)
            if not all(isinstance(one, str | bytes) for one in objects.ravel()):
                values = objects  # NumPy makes texts of numbers beside texts
    except ValueError as error:
        raise KlayerError(f"`y` must be an array with equal rows, but: {error}.") from None
    if not values.ndim:
        raise KlayerError(f"`y` must hold a value for each row, but got {type(y).__name__}.")
    return values


def _what(values: Array) -> str:
    """Say what an array holds."""
    if values.dtype.kind != "O":
        return (
            "numbers" if values.dtype.kind in "buif" else _KINDS.get(values.dtype.kind, "records")
        )
    kinds = sorted({_object(one) for one in values.ravel()})
    return kinds[0] if len(kinds) == 1 else f"several kinds of objects, {' and '.join(kinds)}"


def _object(one: Any) -> str:
    if isinstance(one, Real | Decimal | np.bool_):
        return "numbers"
    if isinstance(one, Complex):
        return "complex numbers"
    if isinstance(one, str):
        return "texts"
    if one is None or type(one).__name__ in ("NAType", "NaTType"):
        return "gaps"
    if isinstance(one, datetime.date | np.datetime64):
        return "dates"
    if isinstance(one, datetime.timedelta | np.timedelta64):
        return "spans of time"
    if isinstance(one, bytes):
        return "bytes"
    return f"objects of type {type(one).__name__}"


def _dtype(values: Array) -> str:
    return "" if values.dtype.kind == "O" else f" ({values.dtype})"
