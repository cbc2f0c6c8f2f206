"""How the columns of a table become numbers: decided in training, kept with the model."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.data.column_code import ColumnCode
from klayer.errors import KlayerError

if TYPE_CHECKING:
    from klayer.data.tables.columns import DataColumn, Extent
    from klayer.data.tables.table import DataTable

__all__ = ["Encoder"]

# A text column with more levels than this share of its rows names rows; it is no category.
_NAMES_ROWS, _ROWS_TO_TELL = 0.5, 20


@dataclass(frozen=True)
class Encoder:
    """What turns rows of a table into the D features that networks see.

    It is decided by the training split alone, stored with every run, and applied to the raw rows that
    a trained network is asked about: files, frames, or arrays with the table's columns.

    Parameters
    ----------
    codes : tuple of ColumnCode
    notes : tuple of str
        What was decided about columns that are not among them.

    Examples
    --------
    >>> from klayer.data.tables.table import DataTable
    >>> columns = {"rooms": np.array([2, 3, 4]), "town": np.array(["Ur", "Uruk", "Ur"])}
    >>> table = DataTable("houses", columns)
    >>> encoder = Encoder.fit(table, table.names, np.arange(3))
    >>> encoder.feature_names
    ('rooms', 'town=Ur', 'town=Uruk')
    >>> new = DataTable("new", {"town": np.array(["Kish"]), "rooms": np.array([5])})
    >>> encoder.transform(new).tolist()
    [[5.0, 0.0, 0.0]]
    """

    codes: tuple[ColumnCode, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the table's columns."""
        return tuple(code.name for code in self.codes)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """D names, of what networks see."""
        return tuple(name for code in self.codes for name in code.feature_names)

    @property
    def n_features(self) -> int:
        """D."""
        return sum(len(code.feature_names) for code in self.codes)

    @property
    def plain(self) -> bool:
        """Whether every column is a number that stays as it is."""
        return all(code.kind == "number" and not code.marks_gaps for code in self.codes)

    @classmethod
    def of_numbers(cls, names: Iterable[str], booleans: Collection[str] = ()) -> Encoder:
        """The encoder of columns that are numbers, or yes and no, and stay as they are."""
        return cls(tuple(ColumnCode(n, "boolean" if n in booleans else "number") for n in names))

    @classmethod
    def fit(
        cls,
        table: DataTable,
        names: Iterable[str],
        train: NDArray[np.intp],
        *,
        category: Sequence[str] = (),
        max_levels: int = 32,
        missing: str = "error",
    ) -> Encoder:
        """Decide how columns become numbers, by the training rows.

        Parameters
        ----------
        table : DataTable
        names : iterable of str
            The columns that are features.
        train : int array
            The training rows.
        category : sequence of str
            Columns whose numbers are names.
        max_levels : int
            Levels of a category that get a column each, the most frequent ones in training.
        missing : {"error", "mean"}
            What to do about gaps: refuse them, or put the mean of training and mark them in a column
            of their own (if training has gaps there).

        Raises
        ------
        KlayerError
            For a gap, if those are refused; for a column that is neither numbers nor names; if no
            column is left.
        """
        from klayer.data.tables.columns import brief, shown
        from klayer.data.tables.kinds import as_kind

        codes, notes = [], []
        gaps = []
        for name in names:
            found = table.column(name)
            with table.naming():
                column = as_kind(found, "category" if name in category else None)
            if column is not found or column.kind in ("category", "date"):
                table.raw[name] = column  # made once, of this kind from here on
            part = column.take(train)
            if not len(part.present):
                notes.append(f"left out: {shown(name)}, which has no value in training")
                continue
            if column.gaps and missing == "error":
                gaps.append(column)
                continue
            if column.kind == "category" and name not in category and _names_rows(part):
                what = f"{len(np.unique(part.present)):,} different texts in {len(part):,} rows"
                what += f", such as {brief(part.levels[part.present[0]])}"
                notes.append(
                    f"left out: {shown(name)}, {what}: more than names of groups; keep it with "
                    f"--category {shown(name)}"
                )
                continue
            code = _code_of(part, max_levels, missing == "mean")
            if code.other:
                notes.append(
                    f"{shown(name)}: the {max_levels} most frequent levels have a column each, the "
                    "others share one"
                )
            codes.append(code)
        if gaps:
            with table.naming():
                gaps[0].require_whole(
                    (
                        f"gaps are also in {', '.join(shown(one.name) for one in gaps[1:6])}; "
                        * (len(gaps) > 1)
                    )
                    + "fill them, leave the column out (--drop), or use --missing mean"
                )
        if not codes:
            raise KlayerError(
                f"{table.where}: there must be a column of features, but none is left: "
                f"{'; '.join(notes) or 'all columns have another use'}."
            )
        return cls(tuple(codes), tuple(notes))

    def transform(self, table: DataTable, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Turn the rows of a table into features.

        Columns go by their names, or by their order if the table has none; others may be there.

        Parameters
        ----------
        table : DataTable
        dtype : dtype

        Returns
        -------
        X : array, shape (N, D)

        Raises
        ------
        KlayerError
            If a column is missing or of another kind, or has a gap that training did not allow.
        """
        out = np.empty((len(table), self.n_features), dtype)
        start = 0
        for code, column in self.columns_of(table):
            width = len(code.feature_names)
            with table.naming():
                code.put(column, out[:, start : start + width])
            start += width
        return out

    def columns_of(self, table: DataTable) -> Iterator[tuple[ColumnCode, DataColumn]]:
        """Give the columns of training, each as it is encoded and as it stands in a table.

        Raises
        ------
        KlayerError
            If a column is missing or of another kind.
        """
        from klayer.data.tables.kinds import as_kind

        names = self._names(table)
        for code in self.codes:
            with table.naming():
                column = as_kind(table.column(names[code.name]), code.kind)
            yield code, column

    def encode(
        self, table: DataTable, rows: Mapping[str, NDArray[np.intp]]
    ) -> dict[str, NDArray[Any]]:
        """Turn the rows of each split into features; what is read of ``table`` is given up.

        The features are float32 where that does no harm: where rounding is small beside the spread
        of each column, and nothing overflows or vanishes. Else they are float64.
        """
        from klayer.data.tables.kinds import as_kind
        from klayer.data.tables.packed import memory_bound

        dtype = self._dtype(table)
        size = sum(map(len, rows.values())) * self.n_features * np.dtype(dtype).itemsize
        if size > memory_bound():
            raise KlayerError(
                f"{table.where}: features must fit into half of the memory, but these "
                f"{self.n_features:,} take {size:,} bytes: allow fewer levels of categories "
                "(--max-levels), or leave columns out (--drop)."
            )
        out = {
            split: np.empty((len(index), self.n_features), dtype) for split, index in rows.items()
        }
        start = 0
        for code in self.codes:
            width = len(code.feature_names)
            with table.naming():
                column = as_kind(table.column(code.name), code.kind)
                for split, index in rows.items():
                    code.put(column.take(index), out[split][:, start : start + width])
            table.raw[code.name] = np.empty(0)  # gives the memory back
            start += width
        return out

    def _dtype(self, table: DataTable) -> type[np.number[Any]]:
        from klayer.data.tables.columns import number_type

        extents = (_extent(table.column(code.name)) for code in self.codes if code.kind == "number")
        return number_type(extents, plain=self.plain)

    def _names(self, table: DataTable) -> dict[str, str]:
        """Where each column stands in a table."""
        missing = [name for name in self.columns if name not in table.raw]
        if not missing:
            return {name: name for name in self.columns}
        if table.zeros:
            for name in missing:
                table.raw[name] = np.zeros(len(table))
            return {name: name for name in self.columns}
        if not table.named and len(table.raw) == len(self.codes):
            return dict(zip(self.columns, table.names, strict=True))
        first = missing[0]
        close = difflib.get_close_matches(first, table.names, n=1, cutoff=0.6)
        hint = f" did you mean {close[0]!r}?" if close else ""
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        if not table.named:
            raise KlayerError(
                f"{table.where}: without names there must be {len(self.codes)} columns, in the order "
                f"of training, but there are {len(table.raw)}: give it a heading line, or take the "
                "others away."
            )
        raise KlayerError(
            f"{table.where}: the columns of training must be there, but {first!r}{more} "
            f"{'is' if len(missing) == 1 else 'are'} missing:{hint} Columns: "
            f"{', '.join(table.names[:20])}{', ...' * (len(table.names) > 20)}."
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns to be read as they are written: categories, such as ``007``."""
        return tuple(code.name for code in self.codes if code.kind == "category")

    def as_plain(self) -> list[dict[str, Any]]:
        """The same as plain values, for JSON; what is at its default is left out."""
        defaults = {one.name: one.default for one in fields(ColumnCode)}
        return [
            {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(code).items()
                if value != defaults[key]
            }
            for code in self.codes
        ]

    @classmethod
    def from_plain(cls, values: Sequence[Mapping[str, Any]]) -> Encoder:
        """Read what :meth:`as_plain` returned.

        Raises
        ------
        KlayerError
            If it is damaged.
        """
        known = {one.name: one.type for one in fields(ColumnCode)}
        codes = []
        for value in values:
            try:
                if not set(value) <= set(known):
                    raise ValueError(f"unknown {sorted(set(value) - set(known))}")
                levels = tuple(str(level) for level in value.get("levels", ()))
                code = ColumnCode(**{**value, "levels": levels})
                good = (
                    isinstance(code.name, str)
                    and code.kind in ("number", "boolean", "date", "category")
                    and isinstance(code.marks_gaps, bool)
                    and isinstance(code.other, bool)
                    and isinstance(code.clock, bool)
                    and (code.fill is None or math.isfinite(code.fill))
                    and math.isfinite(code.origin)
                )
                if not good:
                    raise ValueError("a value of another kind")
            except (TypeError, ValueError, AttributeError) as error:
                raise KlayerError(f"the columns of a model are damaged ({error}).") from None
            codes.append(code)
        return cls(tuple(codes))


def _extent(column: DataColumn) -> Extent:
    from klayer.data.tables.columns import Extent

    values = np.asarray(column.present)
    if not len(values):
        return Extent(0.0, 0.0, False, lambda: 0.0)

    def spread() -> float:
        with np.errstate(over="ignore", invalid="ignore"):  # of a constant column exactly 0
            return float(np.std(np.subtract(values, values[0], dtype=np.float64)))

    whole = values.dtype.kind in "ui" and column.missing is None
    return Extent(float(values.min()), float(values.max()), whole, spread)


def _names_rows(part: DataColumn) -> bool:
    rows = len(part.present)
    return rows >= _ROWS_TO_TELL and len(np.unique(part.present)) > _NAMES_ROWS * rows


def _code_of(part: DataColumn, max_levels: int, fills: bool) -> ColumnCode:
    """Decide how a column becomes numbers, by its training rows."""
    marks = fills and part.missing is not None
    if part.kind == "category":
        index, counts = np.unique(part.present, return_counts=True)
        order = np.lexsort((index, -counts))[:max_levels]
        levels = tuple(part.levels[one] for one in sorted(index[order].tolist()))
        return ColumnCode(
            part.name,
            "category",
            0.0 if fills else None,
            marks,
            levels,
            other=len(index) > max_levels,
        )
    present = np.asarray(part.present, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        fill = float(present.mean()) if fills else None
    if part.kind == "date":
        return ColumnCode(
            part.name, "date", fill, marks, origin=float(present.min()), clock=part.clock
        )
    if fill is not None and not math.isfinite(fill):
        fill = 0.0  # the values themselves are refused, with their place
    return ColumnCode(part.name, part.kind, fill, marks)
