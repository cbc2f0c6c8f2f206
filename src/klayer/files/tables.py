"""Tables as CSV, for other programs to read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from klayer.files.writing import write_text

__all__ = ["csv_text", "write_csv"]

# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\n")


def write_csv(
    path: Path, head: Sequence[object], rows: Iterable[Sequence[object]], separator: str = ","
) -> None:
    """Write a table, whole or not at all; see :func:`csv_text`."""
    write_text(path, csv_text(head, rows, separator))


def csv_text(head: Sequence[object], rows: Iterable[Sequence[object]], separator: str = ",") -> str:
    """Return a table as text; None becomes an empty cell, a list JSON.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which it then doesn't
    show; numbers stay as they are.
    """
    text = io.StringIO()
    out = csv.writer(text, delimiter=separator, lineterminator="\n")
    out.writerow([_cell(value) for value in head])
    out.writerows([_cell(value) for value in row] for row in rows)
    # A lone half of a surrogate pair stands for a byte that is no text, in a name of a file.
    return text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")


def _cell(value: object) -> object:
    """Return what is written for a value.

    Examples
    --------
    >>> _cell("=1+1"), _cell("-0.5"), _cell(-0.5), _cell(" =a"), _cell(None), _cell([1])
    ("'=1+1", '-0.5', -0.5, "' =a", '', '[1]')
    """
    if value is None:
        return ""
    if isinstance(value, list):
        value = json.dumps(value)
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")  # which `csv` would not quote
    formula = value.lstrip(" ").startswith(_FORMULA) and not _is_number(value)
    return f"'{value}" if formula else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
