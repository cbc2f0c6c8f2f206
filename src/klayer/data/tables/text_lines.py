"""Which line of a text file a row of its table is on."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from klayer.data.tables.dialect import Dialect
from klayer.errors import KlayerError

__all__ = ["TextLines"]


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

    def not_utf8(self) -> KlayerError:
        """Name the first line that is not UTF-8."""
        line = self._first_not_utf8()
        place = f"line {line}" if line else "somewhere"
        return KlayerError(
            f"{self.path}, {place}: texts must be UTF-8: save the file as UTF-8, for example "
            "with `iconv -f latin1 -t utf-8`."
        )

    def require_utf8_heading(self) -> None:
        """Refuse a heading that is not UTF-8; one with a true replacement character is none of these."""
        line = self._first_not_utf8()
        if line and line <= self.dialect.skip:
            raise self.not_utf8()

    def _first_not_utf8(self) -> int:
        """Return the first line that is not UTF-8, from 1; 0 if all are."""
        file = self.source.open("rb") if isinstance(self.source, Path) else io.BytesIO(self.source)
        with file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    return number
        return 0

    def stray_quote(self) -> str:
        """Return a remedy, with the first line that has a quotation mark within a cell, if one has."""
        separator = re.escape(self.dialect.separator)
        within = re.compile(rf'[^{separator}"\s]\s*"[^{separator}"\r\n]')
        with self._text() as text:
            for number, line in enumerate(text, start=1):
                if within.search(line):
                    return (
                        f"; line {number} has '\"' within a cell: such cells stand in quotes, with each "
                        "'\"' in them doubled"
                    )
        return ""

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
