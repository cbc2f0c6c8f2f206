"""How a text file writes a table: what separates its cells, and whether there is a heading."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
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
# A row that is likelier than this to be a row like others is no heading.
_BY_CHANCE = 0.05


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
    counted: bool = False  # whether the heading was known by its numbers, 0, 1, 2, ...


def lines_of(text: str) -> list[str]:
    """Cut a text at its line ends, and nowhere else: a form feed may stand in a cell."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def sniff(
    path: Path,
    lines: list[str],
    heading: str,
    separator: str | None,
    known: Sequence[str] = (),
) -> Dialect:
    """Find out how a text file writes a table, from its first lines.

    A first line that has all of the names in ``known`` is a heading; one that only counts the columns is
    one if no names are known.
    """
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
    counted = False
    is_heading = heading == "yes"
    if heading == "auto":
        is_heading = bool(known) and set(known) <= set(_names(rows[0]))
        counted = not known and _counts(rows, comma)
        is_heading = is_heading or counted or _is_heading(rows, comma)
    names = [f"column_{i + 1}" for i in range(len(rows[0]))]
    if is_heading:
        reader = csv.reader([line + "\n" for line in body], delimiter=separator)
        names = _names(next(reader))
        skip += reader.line_num
    gaps = any(cell and cell.strip() in GAPS for row in rows for cell in row)
    return Dialect(
        separator, is_heading, names, skip, decimal_comma=comma, gaps=gaps, counted=counted
    )


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


def _counts(rows: list[list[str]], comma: bool) -> bool:
    """Say whether the first row only counts the columns, as pandas heads those of an array: 0, 1, 2, ...

    It may count from 0 or 1, and have texts beside that don't come again below. It is a row like the
    others if most of those count too; or if all columns are of whole numbers, so few or so alike that a
    row may well look like this by chance.
    """
    first, below = [cell.strip() for cell in rows[0]], rows[1:]
    places = [i for i, cell in enumerate(first) if _is_number(cell, comma)]
    if len(places) < 2 or not below or not _in_order([first[i] for i in places]):
        return False
    columns = [[row[i].strip() for row in below if i < len(row)] for i in range(len(first))]
    if any(first[i] in columns[i] for i in range(len(first)) if i not in places and first[i]):
        return False
    cells_below = [[row[i].strip() for i in places if i < len(row)] for row in below]
    if 2 * sum(_in_order(cells, any_start=True) for cells in cells_below) >= len(below):
        return False
    numbers = [[cell for cell in columns[i] if re.search(r"\d", cell)] for i in places]  # no gaps
    if any(cells and not any(map(_is_whole, cells)) for cells in numbers):
        return True  # 0 is how nobody writes 0.0 among numbers such as 0.5
    chance = math.prod(
        (1 + cells.count(first[i])) / (1 + len(cells))
        for i, cells in zip(places, numbers, strict=True)
    )
    return chance < _BY_CHANCE


def _is_whole(cell: str) -> bool:
    return cell.lstrip("+-").isdecimal()


def _in_order(cells: list[str], *, any_start: bool = False) -> bool:
    """Say whether cells are successive whole numbers, from 0 or 1."""
    if not all(cell.isdecimal() and len(cell) < 10 for cell in cells):
        return False
    start = int(cells[0]) if cells else 0
    wanted = [str(start + i) for i in range(len(cells))]
    return (any_start or start in (0, 1)) and cells == wanted


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
