"""A column of a table as klayer sees it: numbers, yes or no, times, or names."""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

__all__ = [
    "DataColumn",
    "Kind",
    "as_kind",
    "column_of_array",
    "column_of_series",
    "date_text",
    "float32_serves",
    "join_columns",
    "shown",
]

Kind = Literal["number", "boolean", "date", "category"]
Place = Callable[[int], str]

SECONDS_A_DAY = 86_400
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)
# float32 serves a column whose rounding is smaller than this share of its spread.
ROUNDING = 2.0**-16
# A text column of which so much is numbers is a column of numbers with mistakes in it.
MOSTLY = 0.9


def float32_serves(low: float, high: float, spread: float) -> bool:
    """Say whether numbers may be rounded to float32: none overflows, vanishes, or is lost in the rest.

    Parameters
    ----------
    low, high, spread : float
        The range of the numbers, and their standard deviation.

    Examples
    --------
    >>> float32_serves(-1.0, 1.0, 0.5), float32_serves(0.0, 1e40, 1e39)
    (True, False)
    >>> float32_serves(2020.25, 2020.5, 0.1)
    False
    """
    largest = max(abs(low), abs(high))
    if not largest < 1e37 or 0 < largest < 1e-30:
        return False
    return spread == 0 or largest * 2.0**-24 <= ROUNDING * spread


def _row(row: int) -> str:
    return f"row {row}"


@dataclass(frozen=True, eq=False)
class DataColumn:
    """One column: N values of one kind, and which of them are missing.

    Parameters
    ----------
    name : str
    kind : {"number", "boolean", "date", "category"}
    values : array, shape (N,)
        Numbers as they came; booleans; days since 1970-01-01 in float64, for dates; for a category
        the index of its level. Where a value is missing, anything may stand.
    missing : bool array, shape (N,), or None
        None if nothing is.
    levels : tuple of str
        Of a category, sorted.
    clock : bool
        Whether dates have a time of day.
    place : callable
        ``place(row) -> str`` names a row as the user's table counts it: ``"line 7"``.
    """

    name: str
    kind: Kind
    values: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    levels: tuple[str, ...] = ()
    clock: bool = False
    place: Place = field(default=_row)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.intp] | slice) -> DataColumn:
        """Return some rows alone; places are still those of the whole."""
        missing = None if self.missing is None else self.missing[rows]
        place = self.place
        if not isinstance(rows, slice):
            return replace(
                self,
                values=self.values[rows],
                missing=missing if missing is not None and missing.any() else None,
                place=lambda row: place(int(rows[row])),
            )
        return replace(self, values=self.values[rows], missing=missing)

    @property
    def gaps(self) -> int:
        """How many values are missing."""
        return 0 if self.missing is None else int(self.missing.sum())

    def require_whole(self, why: str) -> None:
        """Refuse gaps, naming the first; ``why`` is the next step."""
        if self.missing is not None and self.missing.any():
            first = int(self.missing.argmax())
            raise KlayerError(
                f"column {shown(self.name)}, {self.place(first)}: a value must be there, but "
                f"{self.gaps:,} of {len(self):,} are missing: {why}."
            )

    def require_finite(self) -> None:
        """Refuse infinite numbers, naming the first."""
        if self.values.dtype.kind != "f":
            return
        wrong = np.isinf(self.values)
        if self.missing is not None:
            wrong &= ~self.missing
        if wrong.any():
            row = int(wrong.argmax())
            raise KlayerError(
                f"column {shown(self.name)}, {self.place(row)}: must be finite, but got "
                f"{self.values[row]}: mend the cell, or empty it (a gap)."
            )

    @cached_property
    def present(self) -> NDArray[Any]:
        """The values that are not missing."""
        return self.values if self.missing is None else self.values[~self.missing]

    @cached_property
    def texts(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Levels and the index of each row's, also of numbers and booleans; -1 where missing."""
        if self.kind == "category":
            names, codes = self.levels, self.values
        else:
            found, inverse = np.unique(self.present, return_inverse=True)
            names = tuple(_text_of(value, self.kind) for value in found.tolist())
            codes = np.full(len(self), -1, np.int64)
            codes[slice(None) if self.missing is None else ~self.missing] = inverse
        codes = codes.astype(np.int64)
        if self.missing is not None:
            codes[self.missing] = -1
        return names, codes


def shown(name: str) -> str:
    """Write a column's name in a message."""
    return repr(name if len(name) <= 60 else name[:57] + "...")


def _text_of(value: Any, kind: Kind) -> str:
    """Write a number as a level's name: whole ones without a point."""
    if kind == "boolean":
        return str(bool(value))
    if kind == "date":
        return date_text(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return str(value)


def date_text(days: float) -> str:
    """Write days since 1970-01-01 as a date, with the time of day if it isn't midnight."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(days=days)
    return moment.isoformat(sep=" ").removesuffix(" 00:00:00")


def column_of_array(name: str, values: NDArray[Any], place: Place = _row) -> DataColumn:
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
        return _dates(name, values, place)
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
    raise KlayerError(
        f"column {shown(name)}: must hold numbers, yes or no, times or texts, but holds "
        f"{values.dtype}: leave it out, or turn it into numbers."
    )


def column_of_series(series: Any, place: Place = _row) -> DataColumn:
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
    if dtype in (nw.List, nw.Struct, nw.Array, nw.Binary):
        raise KlayerError(
            f"column {shown(name)}: must hold numbers, yes or no, times or texts, but holds "
            f"{dtype}: leave it out with --drop, or spread it over columns of numbers."
        )
    values = np.asarray(series.to_numpy())
    if values.dtype.kind == "f" and len(values) and np.isnan(values).all():  # nothing but gaps
        return column_of_array(name, values, place)
    return column_of_array(name, values, place)


def _dates(name: str, values: NDArray[Any], place: Place) -> DataColumn:
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
    if len(kinds) > 1 or "other" in kinds:
        row = max(kinds.values())
        raise KlayerError(
            f"column {shown(name)}, {place(row)}: a column must hold values of one kind, but this "
            f"one is {_brief(found[row])} among {', '.join(sorted(kinds))}: mend it, or leave the "
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
        return _dates(name, np.array(whole, "datetime64[us]"), place)
    if kind == "yes or no":
        flags = np.array([bool(v) and not m for m, v in zip(missing, found, strict=True)], bool)
        return DataColumn(name, "boolean", flags, gaps, place=place)
    try:
        floats = [math.nan if m else float(v) for m, v in zip(missing, found, strict=True)]
    except OverflowError:
        raise KlayerError(f"column {shown(name)}: a number must fit into float64.") from None
    return DataColumn(name, "number", np.array(floats), gaps, place=place)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


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


def as_kind(column: DataColumn, kind: Kind | None) -> DataColumn:
    """Return the column as another kind where its values allow it; with None as what it looks like.

    Texts become dates where all are written as ISO 8601 (``2026-11-26``, ``2026-11-26 17:30``), and
    numbers where all are numbers.

    Raises
    ------
    KlayerError
        Naming column, row and value, if a value is of another kind.
    """
    if kind == column.kind:
        return column
    if kind == "category":
        levels, codes = column.texts
        values = np.where(codes < 0, 0, codes)
        return replace(column, kind="category", values=values, levels=levels)
    if column.kind == "category":
        return _of_texts(column, kind)
    if kind is None or {kind, column.kind} == {"number", "boolean"}:
        if kind != "boolean":
            return column if kind is None else replace(column, kind=kind)
        wrong = (column.values != 0) & (column.values != 1)
        if column.missing is not None:
            wrong &= ~column.missing
        if wrong.any():
            raise _another_kind(column, kind, int(wrong.argmax()))
        return replace(column, kind=kind)
    if not len(column.present):
        return replace(column, kind=kind, values=np.zeros(len(column)))
    row = 0 if column.missing is None else int((~column.missing).argmax())
    raise _another_kind(column, kind, row)


_WORDS = {
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2026-11-26",
    "category": "a text",
}


def _another_kind(column: DataColumn, kind: Kind, row: int) -> KlayerError:
    value = column.values[row]
    text = column.levels[value] if column.kind == "category" else _text_of(value, column.kind)
    return KlayerError(
        f"column {shown(column.name)}, {column.place(row)}: must be {_WORDS[kind]} as in training, "
        f"but got {_brief(text)}."
    )


def _of_texts(column: DataColumn, kind: Kind | None) -> DataColumn:
    """Read the texts of a category as dates or numbers, level by level."""
    levels = [level.strip() for level in column.levels]
    if not levels:
        return replace(column, kind=kind or "number", values=np.zeros(len(column)), levels=())
    wrong: NDArray[np.bool_]
    if kind == "date" or (kind is None and all(map(_ISO.fullmatch, levels))):
        try:
            moments = np.array([_moment(level) for level in levels], "datetime64[us]")
        except ValueError:
            if kind is None:
                return column
            wrong = np.array([not _is_date(level) for level in levels])
            raise _another_kind(column, "date", int(wrong[column.values].argmax())) from None
        dates = _dates(column.name, moments[column.values], column.place)
        return replace(dates, missing=column.missing)
    values, wrong = _numbers(levels)
    if kind is None:
        share = 1 - np.count_nonzero(wrong[_codes(column)]) / max(1, len(_codes(column)))
        if share == 1:
            return _numbers_of(column, values, "number")
        if share >= MOSTLY and len(column.levels) > 20:
            row = _first(column, wrong)
            raise KlayerError(
                f"column {shown(column.name)}, {column.place(row)}: must be a number like "
                f"{share:.1%} of the column, but got {_brief(column.levels[column.values[row]])}: "
                "mend the cell, empty it (a gap), or say that the column holds names: "
                f"--category {shown(column.name)}."
            )
        return column
    if kind == "boolean":
        flags = {"true": 1.0, "false": 0.0}
        said = [flags.get(one.lower()) for one in levels]
        values = np.array([v if s is None else s for s, v in zip(said, values, strict=True)])
        wrong &= np.array([one is None for one in said])
        wrong |= (values != 0) & (values != 1)
    if wrong[_codes(column)].any():
        raise _another_kind(column, kind, _first(column, wrong))
    return _numbers_of(column, values, kind)


def _numbers_of(column: DataColumn, of_level: NDArray[np.float64], kind: Kind) -> DataColumn:
    values = of_level[column.values]
    missing = np.isnan(values) | (False if column.missing is None else column.missing)
    return replace(
        column, kind=kind, values=values, levels=(), missing=missing if missing.any() else None
    )


def _codes(column: DataColumn) -> NDArray[Any]:
    return column.present


def _first(column: DataColumn, wrong: NDArray[np.bool_]) -> int:
    rows = wrong[column.values]
    return int((rows if column.missing is None else rows & ~column.missing).argmax())


def _numbers(levels: list[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers that texts say, and which of them say none."""
    values, wrong = np.zeros(len(levels)), np.zeros(len(levels), bool)
    for index, level in enumerate(levels):
        try:
            if "_" in level:
                raise ValueError
            values[index] = float(level)
        except ValueError:
            wrong[index] = True
    return values, wrong


def _moment(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return moment


def _is_date(text: str) -> bool:
    try:
        _moment(text)
    except (ValueError, OverflowError):
        return False
    return True


def join_columns(columns: Sequence[DataColumn], wheres: Sequence[str]) -> DataColumn:
    """Put columns of several tables one below the other; places name the table too.

    Raises
    ------
    KlayerError
        If they can't be of one kind.
    """
    first = columns[0]
    kinds = {column.kind for column in columns if len(column.present)}
    kind: Kind = first.kind if len(first.present) or not kinds else min(kinds)
    if kind == "boolean" and "number" in kinds:
        kind = "number"
    found = []
    for column, where in zip(columns, wheres, strict=True):
        try:
            found.append(as_kind(column, kind))
        except KlayerError as error:
            raise KlayerError(f"{where}, {error}") from None
    ends = np.cumsum([len(column) for column in found])

    def place(row: int) -> str:
        table = int(np.searchsorted(ends, row, side="right"))
        inner = row - (int(ends[table - 1]) if table else 0)
        return f"{wheres[table]}, {found[table].place(inner)}"

    missing = np.concatenate(
        [np.zeros(len(one), bool) if one.missing is None else one.missing for one in found]
    )
    values = [one.values for one in found]
    levels: tuple[str, ...] = ()
    if kind == "category":
        levels = tuple(sorted(set().union(*(one.levels for one in found))))
        index = {level: position for position, level in enumerate(levels)}
        values = [
            np.array([index[level] for level in one.levels] or [0], np.int64)[one.values]
            for one in found
        ]
    return DataColumn(
        first.name,
        kind,
        np.concatenate(values),
        missing if missing.any() else None,
        levels,
        any(one.clock for one in found),
        place,
    )
