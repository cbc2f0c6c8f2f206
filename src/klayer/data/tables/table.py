"""A table as it was read: named columns, and how its rows are counted."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from klayer.data.tables.columns import DataColumn, shown
from klayer.data.tables.make_columns import column_of_array, column_of_series
from klayer.errors import KlayerError

__all__ = ["DataTable", "frame_of", "is_frame"]


def _row(row: int) -> str:
    return f"row {row}"


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
    """

    where: str
    raw: dict[str, Any]
    place: Callable[[int], str] = _row
    named: bool = True
    target: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    zeros: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.raw.values()))) if self.raw else 0

    @property
    def names(self) -> list[str]:
        """The columns' names, in the table's order."""
        return list(self.raw)

    def column(self, name: str) -> DataColumn:
        """Return a column; errors name the table."""
        series = self.raw[name]
        if isinstance(series, DataColumn):
            return series
        with self.naming():
            if not hasattr(series, "to_native"):
                return column_of_array(name, series, self.place)
            try:
                return column_of_series(series, self.place)
            except KlayerError:
                raise
            except Exception as error:  # each library has errors of its own
                raise KlayerError(f"column {shown(name)}: can't be read ({error}).") from None

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """Let errors about columns begin with the table's name."""
        try:
            yield
        except KlayerError as error:
            raise KlayerError(f"{self.where}, {error}") from None

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
        if wanted in self.raw:
            return wanted
        names = self.names
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


def frame_of(data: Any, where: str) -> DataTable:
    """Make a table of a frame of pandas, polars or pyarrow.

    Raises
    ------
    KlayerError
        If narwhals doesn't know it, or two columns share a name.
    """
    import narwhals as nw

    try:
        frame = nw.from_native(_with_plain_texts(data))
        if isinstance(frame, nw.LazyFrame):
            frame = frame.collect()
        names = [str(name) for name in frame.columns]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise KlayerError(
                f"{where}: columns must have different names, but there are two {shown(twice)}."
            )
        raw = {
            name: frame.get_column(column)
            for name, column in zip(names, frame.columns, strict=True)
        }
    except KlayerError:
        raise
    except Exception as error:  # each library has errors of its own
        raise KlayerError(f"{where}: can't be read as a frame ({error}).") from None
    return DataTable(where, raw)


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
