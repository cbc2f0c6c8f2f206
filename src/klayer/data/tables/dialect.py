"""How a text file writes a table: what separates its cells, and whether there is a heading."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from klayer.errors import KlayerError

__all__ = ["BLANKS", "GAPS", "Dialect", "lines_of", "sniff"]

# Cells that mean that nothing is there, as spreadsheets and statistics programs write it.
GAPS = (
    *("", "?", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "-NaN"),
    *("NULL", "null", "None", "NaT"),
)
_SEPARATORS = ",;\t|"
BLANKS = " "  # one or more, also tabs
_SAMPLE_LINES = 100


@dataclass(frozen=True)
class Dialect:
    """How a text file writes a table."""

    separator: str
    heading: bool
    names: list[str]
    skip: int  # lines before the first row
    quote: str = '"'
    decimal_comma: bool = False
    gaps: bool = True  # whether the first lines have gaps that are written somehow


def lines_of(text: str) -> list[str]:
    """Cut a text at its line ends, and nowhere else: a form feed may stand in a cell."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


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
    if separator == BLANKS:
        body = [BLANKS.join(line.split()) for line in body]
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
    gaps = any(cell and cell.strip() in GAPS for row in rows for cell in row)
    return Dialect(separator, is_heading, names, skip, decimal_comma=comma, gaps=gaps)


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
    if most[0] < 1 and _is_spaced(lines[:_SAMPLE_LINES]):
        return BLANKS
    return best


def _is_spaced(lines: list[str]) -> bool:
    """Say whether blanks cut the lines into equally many cells, most of them numbers."""
    rows = [row for line in lines if (row := line.split())]
    cells = [cell for row in rows for cell in row]
    numbers = sum(map(_is_number, cells))
    return len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 and 2 * numbers > len(cells)


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
    """Say whether the first row names the columns.

    It does if it has no number and few of its texts come again below, or if it has a text over numbers.
    """
    first, below = rows[0], rows[1:]
    texts = [i for i, cell in enumerate(first) if not _is_number(cell, comma) and cell not in GAPS]
    if len(texts) == sum(cell.strip() not in GAPS for cell in first):
        # Names of columns are hardly ever among their values.
        again = sum(any(row[i : i + 1] == [first[i]] for row in below) for i in texts)
        return 2 * again < len(texts)
    for index in texts:
        cells = [row[index] for row in below if index < len(row) and row[index].strip() not in GAPS]
        if cells and all(_is_number(cell, comma) for cell in cells):
            return True
    return False


def _names(cells: list[str]) -> list[str]:
    """Give each column a name of its own: the heading's, else its position."""
    names: dict[str, None] = {}
    times: dict[str, int] = {}
    for index, cell in enumerate(cells):
        stem = name = cell.strip() or f"column_{index + 1}"
        while name in names:
            times[stem] = times.get(stem, 1) + 1
            name = f"{stem} ({times[stem]})"
        names[name] = None
    return list(names)
