"""A column as another kind, where its values allow it; columns of several tables as one."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from klayer.data.tables.columns import DataColumn, Kind, brief, shown, text_of
from klayer.data.tables.make_columns import dates_of
from klayer.errors import KlayerError

__all__ = ["as_kind", "join_columns", "joined_place"]

_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)
# A text column of which so much is numbers, or dates, is one of these with mistakes in it.
MOSTLY = 0.9
_WORDS = {
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2026-11-26",
    "category": "a text",
}


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


def _another_kind(column: DataColumn, kind: Kind, row: int) -> KlayerError:
    value = column.values[row]
    text = column.levels[value] if column.kind == "category" else text_of(value, column.kind)
    return KlayerError(
        f"column {shown(column.name)}, {column.place(row)}: must be {_WORDS[kind]} as in training, "
        f"but got {brief(text)}."
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
        except (ValueError, OverflowError):
            if kind is not None:
                wrong = np.array([not _is_date(level) for level in levels])
                raise _another_kind(column, "date", _first(column, wrong)) from None
        else:
            dates = dates_of(column.name, moments[column.values], column.place)
            return replace(dates, missing=column.missing)
    values, wrong = _numbers(levels)
    if kind is None:
        if not wrong[column.present].any():
            return _numbers_of(column, values, "number")
        _require_few("number", column, wrong)
        _require_few("date", column, np.array([not _is_iso_date(one) for one in levels]))
        return column
    if kind == "boolean":
        flags = {"true": 1.0, "false": 0.0}
        said = [flags.get(one.lower()) for one in levels]
        values = np.array([v if s is None else s for s, v in zip(said, values, strict=True)])
        wrong &= np.array([one is None for one in said])
        wrong |= (values != 0) & (values != 1)
    if wrong[column.present].any():
        raise _another_kind(column, kind, _first(column, wrong))
    return _numbers_of(column, values, kind)


def _require_few(kind: Kind, column: DataColumn, wrong: NDArray[np.bool_]) -> None:
    """Refuse a column of many levels that is of a kind but for a few mistakes."""
    share = 1 - np.count_nonzero(wrong[column.present]) / max(1, len(column.present))
    if share >= MOSTLY and len(column.levels) > 20:
        row = _first(column, wrong)
        word, _, _ = _WORDS[kind].partition(" such as ")
        raise KlayerError(
            f"column {shown(column.name)}, {column.place(row)}: must be {word} like {share:.1%} of the "
            f"column, but got {brief(column.levels[column.values[row]])}: mend the cell, empty it (a "
            f"gap), or say that the column holds names: --category {shown(column.name)}."
        )


def _numbers_of(column: DataColumn, of_level: NDArray[np.float64], kind: Kind) -> DataColumn:
    values = of_level[column.values]
    missing = np.isnan(values) | (False if column.missing is None else column.missing)
    return replace(
        column, kind=kind, values=values, levels=(), missing=missing if missing.any() else None
    )


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


def _is_iso_date(text: str) -> bool:
    return _ISO.fullmatch(text) is not None and _is_date(text)


def _is_date(text: str) -> bool:
    try:
        _moment(text)
    except (ValueError, OverflowError):
        return False
    return True


def joined_place(
    wheres: Sequence[str], places: Sequence[Callable[[int], str]], lengths: Sequence[int]
) -> Callable[[int], str]:
    """Return how rows of tables that stand one below the other are named: table and row."""
    ends = np.cumsum(lengths)

    def place(row: int) -> str:
        table = int(np.searchsorted(ends, row, side="right"))
        inner = row - (int(ends[table - 1]) if table else 0)
        return f"{wheres[table]}, {places[table](inner)}"

    return place


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
    place = joined_place(wheres, [one.place for one in found], [len(one) for one in found])
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
