"""A column of a table as klayer sees it: numbers, yes or no, times, or names."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

__all__ = [
    "DataColumn",
    "Extent",
    "Kind",
    "Place",
    "brief",
    "date_text",
    "float32_serves",
    "number_type",
    "row_place",
    "shown",
    "text_of",
]

Kind = Literal["number", "boolean", "date", "category"]
Place = Callable[[int], str]

# float32 serves a column whose rounding is smaller than this share of its spread.
ROUNDING = 2.0**-16


def float32_serves(low: float, high: float, spread: float) -> bool:
    """Say whether numbers may be rounded to float32: none overflows, vanishes, or is lost in the rest.

    Parameters
    ----------
    low, high, spread : float
        The range of the numbers, and their standard deviation. Its last bits, in which two ways to
        measure it may differ, decide nothing.

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
    return spread == 0 or largest * 2.0**-24 <= ROUNDING * float(f"{spread:.9e}")


@dataclass(frozen=True)
class Extent:
    """What decides in which type the numbers of a column are kept.

    Parameters
    ----------
    low, high : float
    whole : bool
        Whether the column is of whole numbers.
    spread : callable
        Returns their standard deviation; it is asked for only where it decides.
    """

    low: float
    high: float
    whole: bool
    spread: Callable[[], float]

    @property
    def bytes_serve(self) -> bool:
        """Whether 8 bits without a sign hold every number."""
        return self.whole and self.low >= 0 and self.high <= 255

    @property
    def float32_serves(self) -> bool:
        """Whether float32 holds every number, or rounds it harmlessly."""
        if self.whole and max(abs(self.low), abs(self.high)) <= 2**24:
            return True
        return float32_serves(self.low, self.high, self.spread())


def number_type(extents: Iterable[Extent], plain: bool = True) -> type[np.number[Any]]:
    """Return the type in which columns of numbers are kept: uint8, float32, or float64 if need be.

    Parameters
    ----------
    extents : iterable of Extent
        Of each column of numbers.
    plain : bool
        Whether there are no other columns; else bytes don't serve.

    Examples
    --------
    >>> number_type([Extent(0, 255, True, lambda: 1.0)])
    <class 'numpy.uint8'>
    >>> number_type([Extent(0, 256, True, lambda: 1.0), Extent(-0.5, 0.5, False, lambda: 0.1)])
    <class 'numpy.float32'>
    >>> number_type([Extent(0, 2**60, True, lambda: 1.0)])
    <class 'numpy.float64'>
    """
    in_bytes, in_float32 = plain, True
    for one in extents:  # one after another: each may be large
        in_bytes = in_bytes and one.bytes_serve
        in_float32 = in_float32 and one.float32_serves
    if in_bytes:
        return np.uint8
    return np.float32 if in_float32 else np.float64


def row_place(row: int) -> str:
    """Name a row by its number, from 0."""
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
    place: Place = field(default=row_place)

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
            names = tuple(text_of(value, self.kind) for value in found.tolist())
            codes = np.full(len(self), -1, np.int64)
            codes[slice(None) if self.missing is None else ~self.missing] = inverse
        codes = codes.astype(np.int64)
        if self.missing is not None:
            codes[self.missing] = -1
        return names, codes


def shown(name: str) -> str:
    """Write a column's name in a message."""
    return repr(name if len(name) <= 60 else name[:57] + "...")


def brief(value: Any) -> str:
    """Write a value in a message."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def text_of(value: Any, kind: Kind) -> str:
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
