"""CSV and its kin: what separates, whether there is a heading, and which line a row is."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from klayer.data.tables.columns import float32_serves
from klayer.data.tables.dialect import BLANKS, GAPS, Dialect, lines_of, sniff
from klayer.data.tables.packed import is_packed, read_all, read_head
from klayer.data.tables.table import DataTable
from klayer.data.tables.text_lines import TextLines
from klayer.errors import KlayerError

__all__ = ["parse", "polars", "read_text_table"]

# How many rows tell a column's kind before it is read; where a later one differs, all do.
_INFER = 1000
# Bytes read at once; a file of more than _LARGE is kept in float32 where that does no harm.
_BLOCK, _LARGE = 2**25, 2**26
_SAMPLE_LINES = 100


def polars() -> Any:
    """Import polars, or say how to install it."""
    try:
        import polars
    except ImportError:
        raise KlayerError(
            "tables are read by polars, which is not installed: `pip install klayer[tables]`."
        ) from None
    return polars


def read_text_table(
    path: Path,
    *,
    heading: str = "auto",
    texts: Sequence[str] = (),
    exact: Sequence[str] = (),
    separator: str | None = None,
    known: Sequence[str] = (),
) -> DataTable:
    """Read a CSV or TSV file: UTF-8 (or UTF-16 with its mark), with or without a heading line.

    Parameters
    ----------
    path : Path
    heading : {"auto", "yes", "no"}
        By default the first line is a heading unless it has a number where the lines below it have
        numbers, and also if its numbers only count the columns.
    texts : sequence of str
        Columns to be kept as they are written, such as postcodes.
    exact : sequence of str
        Columns that stay float64 also in a large file, by name or position: those that decide.
    separator : str, optional
        By default what cuts the first lines into equal numbers of cells, of comma, semicolon, tab,
        bar and, between numbers, blanks.
    known : sequence of str
        Names of columns that the table is to have: a line that has them all is its heading.
    """
    head = _head(path)
    content: bytes | None = None
    if is_packed(path) or head[:2] in (b"\xff\xfe", b"\xfe\xff") or _old_line_ends(head):
        content = _plain(path, read_all(path))
        head = content[: len(head)]
    if not head.strip():
        raise KlayerError(f"{path}: must hold a table, but is empty.")
    lines = _sample(path, head)
    dialect = sniff(path, lines, heading, separator, known)
    if dialect.separator == BLANKS:
        blanks = re.sub(rb"[ \t]+", b" ", read_all(path) if content is None else content)
        content = re.sub(rb"(?m)^ | (?=\r?$)", b"", blanks)
    source = path if content is None else content
    return parse(path, source, dialect, texts, exact=[*exact, *_positions(dialect.names, exact)])


def _positions(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The names of columns that are given by position: from 1, or from the end by -1."""
    places = [int(one) for one in wanted if one.lstrip("-").isdecimal() and len(one) < 6]
    return [names[at - (at > 0)] for at in places if 0 < abs(at) <= len(names)]


def _head(path: Path) -> bytes:
    """Return the beginning of a file, with two whole lines at least as far as it has them."""
    size = 2**16
    while len(head := read_head(path, size)) == size and head.count(b"\n") < 2 and size < 2**26:
        size *= 4
    return head


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
    lines = lines_of(head.decode("utf-8-sig", errors="replace"))
    if len(lines) > 2 and not head.endswith((b"\n", b"\r")):
        lines.pop()  # it may be half a line
    return lines[:_SAMPLE_LINES]


def parse(
    path: Path,
    source: Path | bytes,
    dialect: Dialect,
    texts: Sequence[str] = (),
    kinds: Mapping[str, Any] | None = None,
    exact: Sequence[str] = (),
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
    exact : sequence of str
        Columns that stay float64 also in a large file.
    """
    pl = polars()
    kept = {name: pl.String for name in texts if name in dialect.names} | dict(kinds or {})
    lines = TextLines(path, source, dialect)
    if any("\ufffd" in name for name in dialect.names):  # polars does not see the heading
        lines.require_utf8_heading()

    def read(infer: int | None) -> Any:
        return _read_blocks(pl, source, dialect, kept, infer, exact)

    frame = _without_panic(lines, lambda: _first_that_reads(pl, path, read, lines))
    if frame.width != len(dialect.names):
        raise lines.uneven()
    frame = _without_panic(lines, lambda: _tidied(pl, frame, kept, lines))
    if not frame.height:
        raise KlayerError(f"{path}: must hold rows below its heading, but holds none.")
    lines.require_whole(frame)
    notes = (
        [] if dialect.heading else ["no heading line: columns are called column_1, column_2, ..."]
    )
    if dialect.counted:
        some = ", ".join(dialect.names[:3]) + (", ..." if len(dialect.names) > 3 else "")
        notes.append(f"the first line is the heading: {some} (--heading no if it is a row)")
    if dialect.decimal_comma:
        notes.append("numbers are written with a decimal comma")
    return _table_of(path, frame, lines, dialect.heading, notes)


def _table_of(
    path: Path, frame: Any, place: Callable[[int], str], named: bool, notes: list[str]
) -> DataTable:
    """Make a table of a polars frame."""
    import narwhals as nw

    whole = nw.from_native(frame, eager_only=True)
    raw = {name: whole.get_column(name) for name in whole.columns}
    return DataTable(str(path), raw, place, named, notes=notes)


def _without_panic(lines: TextLines, read: Callable[[], Any]) -> Any:
    """Call polars, whose bugs in damaged files are no exceptions but panics, told on stderr."""
    try:
        with _no_stderr():
            return read()
    except KlayerError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        if isinstance(error, Exception) and not _of_polars(error):
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise KlayerError(f"{lines.path}: can't be read ({reason}){lines.stray_quote()}.") from None


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Keep what a library writes to the process's stderr to ourselves; the exception says it too."""
    try:
        kept = os.dup(2)
    except OSError:  # a process without one
        yield
        return
    try:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


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
    except (pl.exceptions.PolarsError, ValueError) as error:
        if isinstance(error, pl.exceptions.NoDataError):
            raise KlayerError(
                f"{path}: must hold rows below its heading, but holds none."
            ) from None
        if "invalid utf-8" in str(error):
            raise lines.not_utf8() from None
        if "more fields" in str(error) or "new_columns" in str(error):
            raise lines.uneven() from None
    return read(None)


class _TooWide(Exception):
    """A column of a large file needs float64."""


def _read_blocks(
    pl: Any,
    source: Path | bytes,
    dialect: Dialect,
    kept: Mapping[str, Any],
    infer: int | None,
    exact: Sequence[str],
) -> Any:
    """Read a file block by block, so that no more than the table itself is in memory.

    The first block tells the kinds of columns, by its first rows; without ``infer``, all rows do, at
    once. Of a large file numbers become float32 where that does no harm.
    """
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    narrow = infer is not None and size > _LARGE
    try:
        return _joined_blocks(pl, source, dialect, kept, infer, set(exact) if narrow else None)
    except _TooWide:
        return _joined_blocks(pl, source, dialect, kept, infer, None)


def _joined_blocks(
    pl: Any,
    source: Path | bytes,
    dialect: Dialect,
    kept: Mapping[str, Any],
    infer: int | None,
    exact: set[str] | None,
) -> Any:
    """Read the blocks; numbers become float32 but for ``exact`` ones, none at all if that is None."""
    frames: list[Any] = []
    schema: dict[str, Any] | None = None
    gaps = infer is None or dialect.gaps  # a search for them in every cell takes half as long again
    for block in _blocks(source, _BLOCK if infer else None):
        kinds: dict[str, Any] = {"new_columns": dialect.names, "schema_overrides": dict(kept)}
        if schema:
            kinds = {"schema": schema}
        frame = pl.read_csv(
            block,
            has_header=False,
            skip_lines=0 if frames else dialect.skip,
            separator=dialect.separator,
            quote_char=dialect.quote,
            decimal_comma=dialect.decimal_comma,
            null_values=list(GAPS) if gaps else None,
            infer_schema_length=infer,
            **kinds,
        )
        schema = schema or dict(frame.schema)
        if exact is not None:
            frame = _narrowed(pl, frame, [one for one in frame.columns if one not in exact])
        frames.append(frame)
    if not frames:
        raise pl.exceptions.NoDataError
    return pl.concat(frames, rechunk=False) if len(frames) > 1 else frames[0]


def _blocks(source: Path | bytes, size: int | None) -> Iterator[bytes]:
    """Cut a file at ends of lines that are outside of quotes; with no size not at all."""
    file: IO[bytes] = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    whole = source.stat().st_size if isinstance(source, Path) else len(source)
    size = None if size is None else min(size, whole + 1)
    with file:
        while block := file.read(-1 if size is None else size):
            block += file.readline()
            while size is not None and _opens_quote(block) and (line := file.readline()):
                block += line
            yield block


def _opens_quote(block: bytes) -> bool:
    return b'"' in block and block.count(b'"') % 2 == 1


def _narrowed(pl: Any, frame: Any, names: Sequence[str]) -> Any:
    """Make float32 of float64; whoever decides later must find the same numbers.

    Raises
    ------
    _TooWide
        If a number would overflow, vanish or lose its digits beside its column's spread.
    """
    wide = [name for name in names if frame.schema[name] == pl.Float64]
    if not wide:
        return frame
    columns = pl.col(wide)
    summary = (frame.select(one).row(0) for one in (columns.min(), columns.max(), columns.std()))
    for low, high, spread in zip(*summary, strict=True):
        if low is not None and not float32_serves(low, high, spread or 0.0):
            raise _TooWide
    return frame.with_columns(columns.cast(pl.Float32))


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
