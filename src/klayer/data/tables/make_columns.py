"""Columns of what frames and arrays hold: numbers, booleans, texts, times, Python objects."""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.tables.columns import DataColumn, Place, brief, row_place, shown
from klayer.errors import KlayerError

__all__ = ["column_of_array", "column_of_series", "dates_of"]

SECONDS_A_DAY = 86_400


def column_of_array(name: str, values: NDArray[Any], place: Place = row_place) -> DataColumn:
    """Make a column of a NumPy array of numbers, booleans, texts, times, or Python objects.

    Examples
    --------
    >>> column_of_array("age", np.array([3.0, np.nan])).gaps
    1
    >>> column_of_array("town", np.array(["Ur", "Uruk", "Ur"])).levels
    ('Ur', 'Uruk')
    """
    kind = values.dtype.kind
    if kind == "b":
        return DataColumn(name, "boolean", values, place=place)
    if kind in "ui":
        return DataColumn(name, "number", values, place=place)
    if kind == "f":
        missing = np.isnan(values)
        return DataColumn(name, "number", values, missing if missing.any() else None, place=place)
    if kind == "M":
        return dates_of(name, values, place)
    if kind == "m":
        missing = np.isnat(values)
        days = values.astype("timedelta64[us]").astype(np.float64)
        seconds = np.where(missing, 0, days) / 1e6
        return DataColumn(name, "number", seconds, missing if missing.any() else None, place=place)
    if kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if kind in "US":
        return _category(name, values.astype(object), place)
    if kind == "O":
        return _of_objects(name, values, place)
    raise _no_column(name, str(values.dtype))


def _no_column(name: str, what: str) -> KlayerError:
    return KlayerError(
        f"column {shown(name)}: must hold numbers, yes or no, dates or texts, but holds {what}: leave "
        "it out with --drop, or spread it over columns of numbers."
    )


def column_of_series(series: Any, place: Place = row_place) -> DataColumn:
    """Make a column of a narwhals series, whatever frame it comes from."""
    import narwhals as nw

    name, dtype = str(series.name), series.dtype
    if dtype in (nw.String, nw.Categorical) or isinstance(dtype, nw.Enum):
        texts = series.cast(nw.String)
        missing = texts.is_null().to_numpy().astype(bool)
        levels = sorted(texts.drop_nulls().unique().to_list())
        if not levels:
            return DataColumn(
                name, "category", np.zeros(len(series), np.int32), missing, place=place
            )
        codes = (
            texts.fill_null(levels[0])
            .replace_strict(levels, list(range(len(levels))), return_dtype=nw.Int32)
            .to_numpy()
        )
        return _without_blanks(
            DataColumn(name, "category", codes, missing, tuple(levels), place=place)
        )
    if dtype.is_numeric():
        whole = dtype.is_integer() and not series.null_count() and dtype not in (nw.Int128,)
        values = series.to_numpy() if whole else series.cast(nw.Float64).to_numpy()
        return column_of_array(name, np.asarray(values), place)
    if dtype == nw.Boolean:
        missing = series.is_null().to_numpy().astype(bool)
        values = series.fill_null(False).to_numpy().astype(bool)
        return DataColumn(name, "boolean", values, missing if missing.any() else None, place=place)
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if isinstance(dtype, nw.Date | nw.Datetime | nw.Duration):
        return column_of_array(name, np.asarray(series.to_numpy()), place)
    if dtype in (nw.List, nw.Struct, nw.Array, nw.Binary, nw.Time):
        raise _no_column(name, str(dtype))
    values = np.asarray(series.to_numpy())
    if values.dtype.kind == "f" and len(values) and np.isnan(values).all():  # nothing but gaps
        return column_of_array(name, values, place)
    return column_of_array(name, values, place)


def dates_of(name: str, values: NDArray[Any], place: Place) -> DataColumn:
    """Make a column of dates of datetime64."""
    missing = np.isnat(values)
    try:
        moments = values.astype("datetime64[us]").astype(np.int64)
    except (OverflowError, ValueError) as error:
        raise KlayerError(f"column {shown(name)}: dates are out of range ({error}).") from None
    moments[missing] = 0
    return DataColumn(
        name,
        "date",
        moments / (1e6 * SECONDS_A_DAY),
        missing if missing.any() else None,
        clock=bool((moments % (10**6 * SECONDS_A_DAY)).any()),
        place=place,
    )


def _category(name: str, values: NDArray[Any], place: Place) -> DataColumn:
    """Make a category of texts; None and blank ones are missing."""
    missing = np.array([value is None for value in values.tolist()], bool)
    values = np.where(missing, "", values).astype(str)
    levels, codes = np.unique(values, return_inverse=True)
    column = DataColumn(
        name, "category", codes.reshape(-1), missing, tuple(levels.tolist()), place=place
    )
    return _without_blanks(column)


def _without_blanks(column: DataColumn) -> DataColumn:
    """Count blank texts as missing; levels that no row has are dropped."""
    levels, codes = column.levels, column.values
    assert column.missing is not None
    blank = np.array([not level.strip() for level in levels], bool)
    missing = column.missing | blank[codes] if len(levels) else column.missing
    keep = np.flatnonzero(~blank)
    order = np.full(len(levels), 0, np.int64)
    order[keep] = np.arange(len(keep))
    return replace(
        column,
        values=order[codes] if len(levels) else codes,
        missing=missing if missing.any() else None,
        levels=tuple(levels[index] for index in keep),
    )


def _of_objects(name: str, values: NDArray[Any], place: Place) -> DataColumn:
    """Make a column of Python objects that are all of one kind."""
    found = values.reshape(-1).tolist()
    missing = np.array([_is_gap(value) for value in found], bool)
    kinds: dict[str, int] = {}
    for row, value in enumerate(found):
        if not missing[row]:
            kinds.setdefault(_kind_of(value), row)
    if list(kinds) == ["other"]:
        raise _no_column(name, type(found[kinds["other"]]).__name__)
    if len(kinds) > 1:
        row = max(kinds.values())
        raise KlayerError(
            f"column {shown(name)}, {place(row)}: a column must hold values of one kind, but this "
            f"one is {brief(found[row])} among {', '.join(sorted(kinds))}: mend it, or leave the "
            "column out."
        )
    gaps = missing if missing.any() else None
    kind = next(iter(kinds), "number")
    if kind == "text":
        return _category(
            name, np.array([None if m else v for m, v in zip(missing, found, strict=True)]), place
        )
    if kind == "date":
        whole = [_iso(v) if not m else "NaT" for m, v in zip(missing, found, strict=True)]
        return dates_of(name, np.array(whole, "datetime64[us]"), place)
    if kind == "yes or no":
        flags = np.array([bool(v) and not m for m, v in zip(missing, found, strict=True)], bool)
        return DataColumn(name, "boolean", flags, gaps, place=place)
    try:
        floats = [math.nan if m else float(v) for m, v in zip(missing, found, strict=True)]
    except OverflowError:
        raise KlayerError(f"column {shown(name)}: a number must fit into float64.") from None
    return DataColumn(name, "number", np.array(floats), gaps, place=place)


def _is_gap(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "yes or no"
    if isinstance(value, numbers.Real | decimal.Decimal):
        return "number"
    if isinstance(value, datetime.date | np.datetime64):
        return "date"
    return "other"


def _iso(value: Any) -> str:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value.isoformat() if isinstance(value, datetime.date) else str(value)
