"""CSV and its kin: what separates, whether there is a heading, and which line a row is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from klayer.data.tables.packed import is_packed, read_all, read_head
from klayer.data.tables.table import DataTable
from klayer.errors import KlayerError

__all__ = ["GAPS", "parse", "polars", "read_text_table"]

# Cells that mean that nothing is there, as spreadsheets and statistics programs write it.
GAPS = (
    *("", "?", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "-NaN"),
    *("NULL", "null", "None", "NaT"),
)
_SEPARATORS = ",;\t|"
_SAMPLE_LINES = 100
# How many rows tell a column's kind before it is read; where a later one differs, all do.
_INFER = 1000


def polars() -> Any:
    """Import polars, or say how to install it."""
    try:
        import polars
    except ImportError:
        raise KlayerError(
            "tables are read by polars, which is not installed: `pip install klayer[tables]`."
        ) from None
    return polars


@dataclass(frozen=True)
class Dialect:
    """How a text file writes a table."""

    separator: str
    heading: bool
    names: list[str]
    skip: int  # lines before the first row
    quote: str = '"'
    decimal_comma: bool = False


def read_text_table(
    path: Path, *, heading: str = "auto", texts: Sequence[str] = (), separator: str | None = None
) -> DataTable:
    """Read a CSV or TSV file: UTF-8 (or UTF-16 with its mark), with or without a heading line.

    Parameters
    ----------
    path : Path
    heading : {"auto", "yes", "no"}
        By default the first line is a heading unless it has a number where the lines below it have
        numbers.
    texts : sequence of str
        Columns to be kept as they are written, such as postcodes.
    separator : str, optional
        By default what cuts the first lines into equal numbers of cells, of comma, semicolon, tab
        and bar.
    """
    head = read_head(path)
    content: bytes | None = None
    if is_packed(path) or head[:2] in (b"\xff\xfe", b"\xfe\xff") or _old_line_ends(head):
        content = _plain(path, read_all(path))
        head = content[: len(head)]
    if not head.strip():
        raise KlayerError(f"{path}: must hold a table, but is empty.")
    lines = _sample(path, head)
    dialect = sniff(path, lines, heading, separator)
    source = path if content is None else content
    return parse(path, source, dialect, texts)


def _old_line_ends(head: bytes) -> bool:
    return b"\r" in head and b"\n" not in head


def _plain(path: Path, content: bytes) -> bytes:
    """UTF-8 with ordinary line ends."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            content = content.decode("utf-16").encode()
        except (UnicodeDecodeError, UnicodeEncodeError) as error:
            raise KlayerError(f"{path}: begins like UTF-16, but isn't ({error.reason}).") from None
    return content.replace(b"\r", b"\n") if _old_line_ends(content) else content


def _sample(path: Path, head: bytes) -> list[str]:
    """Return the first lines as text."""
    if b"\x00" in head:
        raise KlayerError(
            f"{path}: must be a table in text, but has bytes of value 0: it is of another kind."
        )
    text = head.decode("utf-8-sig", errors="replace")
    lines = text.splitlines()
    return lines[:_SAMPLE_LINES] if len(lines) > 1 else lines


def sniff(path: Path, lines: list[str], heading: str, separator: str | None) -> Dialect:
    """Find out how a text file writes a table, from its first lines."""
    skip = 0
    if lines and (said := re.fullmatch(r'"?sep=(.)"?', lines[0].strip())):
        separator, skip = said[1], 1  # how Excel is told the separator
    body = lines[skip:]
    while body and not body[0].strip():
        body, skip = body[1:], skip + 1
    if not body:
        raise KlayerError(f"{path}: must hold a table, but is empty.")
    if separator is None:
        separator = _separator(body)
    rows = [row for row in _cells(body[:_SAMPLE_LINES], separator) if any(map(str.strip, row))]
    if not rows:
        raise KlayerError(f"{path}: must hold a table, but its first lines are empty.")
    comma = separator == ";" and _decimal_comma(rows)
    is_heading = heading == "yes" or (heading == "auto" and _is_heading(rows, comma))
    names = [f"column_{i + 1}" for i in range(len(rows[0]))]
    if is_heading:
        reader = csv.reader([line + "\n" for line in body], delimiter=separator)
        names = _names(next(reader))
        skip += reader.line_num
    return Dialect(separator, is_heading, names, skip, decimal_comma=comma)


def _cells(lines: list[str], separator: str) -> list[list[str]]:
    try:
        return list(csv.reader([line + "\n" for line in lines], delimiter=separator, strict=False))
    except csv.Error:
        return [line.split(separator) for line in lines]


def _separator(lines: list[str]) -> str:
    """Return what cuts the lines into equally many cells, at least two; the comma if nothing does."""
    best, most = ",", (0.0, 1)
    for one in _SEPARATORS:
        rows = [row for row in _cells(lines[:_SAMPLE_LINES], one) if row]
        width = len(rows[0]) if rows else 0
        alike = sum(len(row) == width for row in rows) / max(1, len(rows))
        if width > 1 and (alike, width) > most:
            best, most = one, (alike, width)
    return best


def _is_number(cell: str, comma: bool = False) -> bool:
    cell = cell.strip().replace(",", ".") if comma else cell.strip()
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _decimal_comma(rows: list[list[str]]) -> bool:
    cells = [cell.strip() for row in rows for cell in row]
    return any(re.fullmatch(r"[+-]?\d+,\d+", cell) for cell in cells) and not any(
        re.fullmatch(r"[+-]?\d+\.\d+", cell) for cell in cells
    )


def _is_heading(rows: list[list[str]], comma: bool) -> bool:
    """Say whether the first row names the columns: it has no number, or a text over numbers."""
    first, below = rows[0], rows[1:]
    texts = [i for i, cell in enumerate(first) if not _is_number(cell, comma) and cell not in GAPS]
    if len(texts) == sum(cell.strip() not in GAPS for cell in first):
        return bool(texts)
    for index in texts:
        cells = [row[index] for row in below if index < len(row) and row[index].strip() not in GAPS]
        if cells and all(_is_number(cell, comma) for cell in cells):
            return True
    return False


def _names(cells: list[str]) -> list[str]:
    """Give each column a name of its own: the heading's, else its position."""
    names: list[str] = []
    for index, cell in enumerate(cells):
        stem = cell.strip() or f"column_{index + 1}"
        name, again = stem, 2
        while name in names:
            name, again = f"{stem} ({again})", again + 1
        names.append(name)
    return names


def parse(
    path: Path,
    source: Path | bytes,
    dialect: Dialect,
    texts: Sequence[str] = (),
    kinds: Mapping[str, Any] | None = None,
) -> DataTable:
    """Read a text file of a known dialect with polars.

    Parameters
    ----------
    path : Path
        For messages.
    source : Path or bytes
    dialect : Dialect
    texts : sequence of str
        Columns to be kept as they are written.
    kinds : mapping of str to polars dtype, optional
        What the file says of its columns.
    """
    pl = polars()
    kept = {name: pl.String for name in texts if name in dialect.names} | dict(kinds or {})
    lines = TextLines(path, source, dialect)

    def read(infer: int | None) -> Any:
        return pl.read_csv(
            source if isinstance(source, Path) else io.BytesIO(source),
            has_header=False,
            skip_lines=dialect.skip,
            separator=dialect.separator,
            quote_char=dialect.quote,
            decimal_comma=dialect.decimal_comma,
            null_values=list(GAPS),
            schema_overrides={
                f"column_{index + 1}": kept[name]
                for index, name in enumerate(dialect.names)
                if name in kept
            },
            infer_schema_length=infer,
        )

    frame = without_panic(path, lambda: _first_that_reads(pl, path, read, lines))
    if frame.width != len(dialect.names):
        raise lines.uneven()
    frame = frame.rename(dict(zip(frame.columns, dialect.names, strict=True)))
    frame = without_panic(path, lambda: _tidied(pl, frame, kept, lines))
    if not frame.height:
        raise KlayerError(f"{path}: must hold rows below its heading, but holds none.")
    lines.require_whole(frame)
    notes = (
        [] if dialect.heading else ["no heading line: columns are called column_1, column_2, ..."]
    )
    if dialect.decimal_comma:
        notes.append("numbers are written with a decimal comma")
    return table_of_polars(path, frame, lines, dialect.heading, notes)


def table_of_polars(
    path: Path, frame: Any, place: Callable[[int], str], named: bool, notes: list[str]
) -> DataTable:
    """Make a table of a polars frame."""
    import narwhals as nw

    whole = nw.from_native(frame, eager_only=True)
    raw = {name: whole.get_column(name) for name in whole.columns}
    return DataTable(str(path), raw, place, named, notes=notes)


def without_panic(path: Path, read: Callable[[], Any]) -> Any:
    """Call polars, whose bugs in damaged files are no exceptions but panics."""
    try:
        return read()
    except KlayerError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        if isinstance(error, Exception) and not _of_polars(error):
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise KlayerError(f"{path}: can't be read ({reason}).") from None


def _of_polars(error: BaseException) -> bool:
    return isinstance(error, OSError | ValueError | OverflowError) or any(
        one.__module__.startswith(("polars", "pyo3")) for one in type(error).__mro__
    )


def _first_that_reads(
    pl: Any, path: Path, read: Callable[[int | None], Any], lines: TextLines
) -> Any:
    """Read by what the first rows look like; where later ones differ, by what all look like."""
    try:
        return read(_INFER)
    except pl.exceptions.ComputeError as error:
        if "invalid utf-8" in str(error):
            raise KlayerError(
                f"{path}, {lines.not_utf8()}: texts must be UTF-8: save the file as UTF-8, for example "
                "with `iconv -f latin1 -t utf-8`."
            ) from None
        if "more fields" in str(error):
            raise lines.uneven() from None
    except pl.exceptions.NoDataError:
        raise KlayerError(f"{path}: must hold rows below its heading, but holds none.") from None
    return read(None)


def _tidied(pl: Any, frame: Any, kept: Mapping[str, Any], lines: TextLines) -> Any:
    """Drop empty lines; strip texts, which may turn out as numbers or gaps."""
    first = frame.columns[0]
    if frame[first].null_count():
        empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        if empty.any():
            lines.rows = (~empty).arg_true().to_numpy()
            frame = frame.filter(~empty)
    changes = []
    for name, dtype in frame.schema.items():
        if dtype == pl.String:
            text = frame[name].str.strip_chars()
            text = pl.select(pl.when(text.is_in(list(GAPS))).then(None).otherwise(text)).to_series()
            if name not in kept:
                number = text.cast(pl.Float64, strict=False)
                if number.null_count() == text.null_count() < len(text):
                    text = number
            changes.append(text.alias(name))
        elif dtype == pl.Int128:
            changes.append(frame[name].cast(pl.Float64))
    return frame.with_columns(changes) if changes else frame


class TextLines:
    """Which line of a text file a row is on; the file is only searched where a message needs it."""

    def __init__(self, path: Path, source: Path | bytes, dialect: Dialect) -> None:
        self.path, self.source, self.dialect = path, source, dialect
        self.rows: Any = None  # the records that became rows, if not all did

    def __call__(self, row: int) -> str:
        record = int(row if self.rows is None else self.rows[row])
        for number, (line, _) in enumerate(self.records()):
            if number == record:
                return f"line {line}"
        return f"row {row}"

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each record with the number of its first line, from 1."""
        skip = self.dialect.skip
        with self._text() as text:
            for _ in range(skip):
                text.readline()
            reader = csv.reader(
                (line.replace("\x00", " ") for line in text),
                delimiter=self.dialect.separator,
                quotechar=self.dialect.quote,
            )
            line = 1
            try:
                for cells in reader:
                    yield line + skip, cells
                    line = reader.line_num + 1
            except csv.Error:
                return

    def _text(self) -> IO[str]:
        if isinstance(self.source, Path):
            return self.source.open(encoding="utf-8-sig", errors="replace", newline="")
        return io.TextIOWrapper(
            io.BytesIO(self.source), encoding="utf-8-sig", errors="replace", newline=""
        )

    def not_utf8(self) -> str:
        """Name the first line that is not UTF-8."""
        file = self.source.open("rb") if isinstance(self.source, Path) else io.BytesIO(self.source)
        with file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    return f"line {number}"
        return "somewhere"

    def uneven(self) -> KlayerError:
        """Name the first line with another number of cells than the first."""
        width = len(self.dialect.names)
        for line, cells in self.records():
            if cells and len(cells) != width:
                return KlayerError(
                    f"{self.path}, line {line}: a line must have {width} cells like the first, but "
                    f"has {len(cells)}: mend it; texts with {self.dialect.separator!r} stand in "
                    "quotes."
                )
        return KlayerError(f"{self.path}: every line must have {width} cells like the first.")

    def require_whole(self, frame: Any) -> None:
        """Refuse lines that end too early, which polars fills up with gaps."""
        if frame[frame.columns[-1]].null_count() and frame.width > 1:
            error = self.uneven()
            if ", line " in str(error):
                raise error
