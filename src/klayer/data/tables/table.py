"""A table as it was read: named columns, and how its rows are counted."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from klayer.data.tables.arrow_lists import holds_lists, names_in_list, spread
from klayer.data.tables.columns import DataColumn, row_place, shown
from klayer.data.tables.make_columns import column_of_array, column_of_series
from klayer.errors import KlayerError

__all__ = ["DataTable", "frame_of", "is_frame"]


@dataclass(eq=False)
class DataTable:
    """Columns by name, made into `DataColumn` objects when they are asked for.

    Parameters
    ----------
    where : str
        How to name the table in a message: the file.
    raw : dict of str to series or array
        In the table's order; a narwhals series, or a NumPy array of shape (N,).
    place : callable
        ``place(row) -> str``: the row as the user's file counts it.
    named : bool
        Whether the names are the user's; otherwise columns go by their order.
    target : tuple of str
        What the format itself calls the target.
    notes : list of str
        What was decided in reading.
    zeros : bool
        Whether a column that isn't there is all zero, as in a sparse file.
    lists : dict of str to tuple of str
        Columns of lists in the file or frame, and the columns of numbers that stand for them here.
    """

    where: str
    raw: dict[str, Any]
    place: Callable[[int], str] = row_place
    named: bool = True
    target: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    zeros: bool = False
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.raw.values()))) if self.raw else 0

    @property
    def names(self) -> list[str]:
        """The columns' names, in the table's order."""
        return list(self.raw)

    @property
    def titles(self) -> list[str]:
        """The names that the file or frame has itself: a column of lists is one."""
        home = {name: title for title, names in self.lists.items() for name in names}
        return list(dict.fromkeys(home.get(name, name) for name in self.raw))

    def put(self, name: str, series: Any) -> None:
        """Add a narwhals series; one of lists of numbers becomes so many columns.

        Lists that can't be that stay what they are: the column may be of no use to anybody.
        """
        try:
            numbers = _numbers_in_lists(name, series, self.place)
        except KlayerError:
            numbers = None
        added: dict[str, Any] = {name: series}
        if numbers is not None:
            self.lists[name] = names_in_list(name, len(numbers))
            added = dict(zip(self.lists[name], numbers, strict=True))
        for one, values in added.items():
            if one in self.raw:
                raise _twice(self.where, one)
            self.raw[one] = values

    def column(self, name: str) -> DataColumn:
        """Return a column; errors name the table."""
        series = self.raw[name]
        if isinstance(series, DataColumn):
            return series
        with self.naming():
            if not hasattr(series, "to_native"):
                return column_of_array(name, series, self.place)
            _numbers_in_lists(name, series, self.place)  # says why they could not be columns
            try:
                return column_of_series(series, self.place)
            except KlayerError:
                raise
            except Exception as error:  # each library has errors of its own
                raise KlayerError(f"column {shown(name)}: can't be read ({error}).") from None

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """Let errors about columns begin with the table's name, once."""
        try:
            yield
        except KlayerError as error:
            named = f"{self.where}, "
            raise KlayerError(named + str(error).removeprefix(named)) from None

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that hold texts: other files are to be read the same way."""
        return tuple(
            name
            for name, values in self.raw.items()
            if "String" in str(values.dtype) or "Categorical" in str(values.dtype)
        )

    def columns(self, names: Iterable[str]) -> Iterator[DataColumn]:
        """Make columns one after another."""
        return map(self.column, names)

    def find(self, wanted: str, what: str) -> str:
        """Return the name of a column given by its name, or by its position.

        Raises
        ------
        KlayerError
            Saying what the column is for, with "did you mean".
        """
        names = self.find_all([wanted], what)
        if len(names) > 1:
            raise KlayerError(
                f"{self.where}: {what} must be one column, but {shown(wanted)} holds lists of "
                f"{len(names):,} numbers: name one of them, as in {shown(names[0])}."
            )
        return names[0]

    def find_all(self, wanted: Iterable[str], what: str) -> list[str]:
        """Find columns; the name of a column of lists stands for all of its own."""
        found: list[str] = []
        for one in wanted:
            title = self._title(one, what)
            found += self.lists.get(title, (title,))
        return found

    def _title(self, wanted: str, what: str) -> str:
        if wanted in self.raw:
            return wanted
        names = self.titles
        if wanted in names:
            return wanted
        if wanted.lstrip("+-").isdecimal() and wanted.lstrip("+-").isascii() and len(wanted) < 10:
            position = int(wanted)
            if 1 <= abs(position) <= len(names):
                return names[position - 1 if position > 0 else position]
        folded = [name for name in names if name.strip().lower() == wanted.strip().lower()]
        if len(folded) == 1:
            return folded[0]
        close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
        hint = f" did you mean {close[0]!r}?" if close else ""
        known = ", ".join(map(shown, names[:20])) + (", ..." if len(names) > 20 else "")
        raise KlayerError(
            f"{self.where}: {what} must be a column, but there is no {shown(wanted)}:{hint} "
            f"Columns: {known}."
        )


def is_frame(data: Any) -> bool:
    """Say whether data are a frame that narwhals knows (pandas, polars, pyarrow, ...)."""
    if type(data).__module__.partition(".")[0] in ("numpy", "builtins", "pathlib"):
        return False
    import narwhals as nw

    try:
        found = nw.from_native(data, pass_through=True)
    except nw.exceptions.NarwhalsError:  # a frame, but not a good one: `frame_of` says why
        return True
    return isinstance(found, nw.DataFrame | nw.LazyFrame)


def frame_of(data: Any, where: str, place: Callable[[int], str] = row_place) -> DataTable:
    """Make a table of a frame of pandas, polars or pyarrow.

    A column of lists of numbers, all of one length, becomes so many columns.

    Parameters
    ----------
    data : frame
    where : str
        How to name it in a message.
    place : callable
        As in :class:`DataTable`.

    Raises
    ------
    KlayerError
        If narwhals doesn't know it, or two columns share a name.
    """
    import narwhals as nw

    table, seen = DataTable(where, {}, place), set[str]()
    try:
        for name in getattr(data, "column_names", ()):  # pyarrow's, which narwhals refuses
            if name in seen:
                raise _twice(where, name)
            seen.add(name)
        frame = nw.from_native(_with_plain_texts(data))
        if isinstance(frame, nw.LazyFrame):
            frame = frame.collect()
        for column in frame.columns:
            name = str(column)
            if name in table.raw or name in table.lists:
                raise _twice(where, name)
            table.put(name, frame.get_column(column))
    except KlayerError:
        raise
    except Exception as error:  # each library has errors of its own
        raise KlayerError(f"{where}: can't be read as a frame ({error}).") from None
    return table


def _twice(where: str, name: str) -> KlayerError:
    return KlayerError(
        f"{where}: columns must have different names, but there are two {shown(name)}."
    )


def _numbers_in_lists(name: str, series: Any, place: Callable[[int], str]) -> Any:
    """Return the numbers of a column of lists, (W, N); None of any other column."""
    import narwhals as nw

    if isinstance(series.dtype, nw.List | nw.Array):
        lists = series.to_arrow()
    elif series.dtype == nw.Object and len(series) and _is_list(series[0]):
        import pyarrow as pa

        lists = pa.array(series.to_list())
    else:
        return None
    lists = lists.combine_chunks() if hasattr(lists, "combine_chunks") else lists
    if not holds_lists(lists.type):
        return None
    return np.ascontiguousarray(spread(name, lists, place=place).T)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _with_plain_texts(data: Any) -> Any:
    """Return a table of pyarrow whose categories are of plain texts: it can't look up views of texts.

    Newer Arrow files have them; polars writes them by default.
    """
    if not type(data).__module__.startswith("pyarrow"):
        return data
    import pyarrow as pa

    for index, column in enumerate(data.columns):
        kind = column.type
        if not pa.types.is_dictionary(kind) or not pa.types.is_string_view(kind.value_type):
            continue
        chunks = [
            pa.DictionaryArray.from_arrays(one.indices, one.dictionary.cast(pa.string()))
            for one in column.chunks
        ]
        plain = pa.chunked_array(chunks, pa.dictionary(kind.index_type, pa.string()))
        data = data.set_column(index, data.schema.names[index], plain)
    return data
