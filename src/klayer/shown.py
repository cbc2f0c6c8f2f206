"""Results described once, as sentences and tables, and written as text, as HTML or as data."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby
from typing import Any, ClassVar

from klayer.printable import printable

__all__ = [
    "Facts",
    "Part",
    "Shown",
    "ShownColumn",
    "ShownSentence",
    "ShownTable",
    "Told",
    "cell_len",
    "number",
    "page",
    "plain",
    "to_html",
    "to_text",
]


@dataclass(frozen=True)
class ShownSentence:
    """A paragraph; ``small`` if it only explains."""

    text: str
    small: bool = False


@dataclass(frozen=True)
class Facts:
    """Labelled sentences, and what they are led in by."""

    facts: Sequence[tuple[str, str]]
    lead: str = ""


@dataclass(frozen=True)
class ShownColumn:
    """A column of a table."""

    head: str
    cells: Sequence[str]
    words: bool = False  # stand on the left, numbers on the right
    header: bool = False  # its cells name their rows
    text_only: bool = False  # HTML leaves it out
    rank: int = 0  # where a line has too little room, the highest goes first; 0 stays


@dataclass(frozen=True)
class ShownTable:
    """Columns of equal length."""

    columns: Sequence[ShownColumn]
    captions: Sequence[str]  # one for each row: HTML makes a table of the rows that share one
    bold: Sequence[bool]  # one for each row
    announced: bool = False  # whether text shows the caption, too


Part = ShownSentence | Facts | ShownTable


class Told:
    """What describes itself by ``parts()``: a notebook shows it as HTML."""

    def parts(self) -> list[Part]:
        """Return what is told, from top to bottom."""
        raise NotImplementedError

    def _heading(self) -> str:
        """What stands above its HTML."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return to_html(self.parts(), self._heading(), 4)


class Shown(Told):
    """What describes itself by ``parts()`` and ``to_dict()`` can be shown in every form.

    ``heading`` stands above its HTML, ``title`` above its text if it isn't empty.
    """

    heading: ClassVar[str]
    title: ClassVar[str] = ""

    def _heading(self) -> str:
        return self.heading

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for JSON; what isn't finite becomes text."""
        raise NotImplementedError

    def to_json(self, indent: int | None = 2) -> str:
        """Return :meth:`to_dict` as strict JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def text(self, width: int = 100) -> str:
        """Return the report for a terminal of ``width`` columns."""
        return to_text(self.parts(), self.title, width)

    def html(self, heading: str | None = None, level: int = 2) -> str:
        """Return a self-contained HTML fragment: no script, no external file, all text escaped.

        ``level`` is that of the heading, 1 ... 6.
        """
        return to_html(self.parts(), self.heading if heading is None else heading, level)

    def __str__(self) -> str:
        return self.text()


def plain(value: Any) -> Any:
    """Return a value as JSON has it; what isn't finite as text.

    Examples
    --------
    >>> plain({"worst": (1, 2), "error": math.inf})
    {'worst': [1, 2], 'error': 'inf'}
    """
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def number(value: float | None) -> str:
    """Return an error with two digits, or a dash if there is none."""
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.1e}" if math.isfinite(value) else str(value)


def to_text(parts: list[Part], title: str, width: int) -> str:
    """Return parts for a terminal: blank lines between them, cells aligned."""
    width = max(width, 40)
    written = [textwrap.wrap(title, width)] if title else []
    for part in parts:
        if isinstance(part, ShownSentence):
            lines = textwrap.wrap(part.text, width)
        elif isinstance(part, Facts):
            lines = textwrap.wrap(part.lead, width) if part.lead else []
            for label, text in part.facts:
                lines += textwrap.wrap(f"{label}: {text}", width, subsequent_indent="  ")
        else:
            lines = textwrap.wrap(f"{part.captions[0]}:", width) if part.announced else []
            lines += _text_table(part, width)
        written.append(lines)
    return "\n\n".join("\n".join(lines) for lines in written)


# Between columns; and how narrow a column of words may become before another column goes, and then.
GAP, READABLE, NARROWEST = 2, 24, 12


def _text_table(table: ShownTable, width: int) -> list[str]:
    """Return the lines of a table that fits: columns are left out or wrapped, no cell is cut."""
    columns = [
        replace(one, head=printable(one.head), cells=list(map(printable, one.cells)))
        for one in table.columns
    ]
    widths = [_width(column) for column in columns]
    left_out: list[str] = []
    while True:
        excess = sum(widths) + GAP * (len(widths) - 1) - width
        room = sum(w - READABLE for c, w in zip(columns, widths, strict=True)
                   if c.words and w > READABLE)  # fmt: skip
        if excess <= room or not any(column.rank for column in columns):
            break
        last = max(range(len(columns)), key=lambda i: (columns[i].rank, i))
        left_out.append(columns.pop(last).head)
        widths.pop(last)
    while excess > 0:
        narrowest = READABLE if room > 0 else NARROWEST
        able = [i for i, c in enumerate(columns) if c.words and widths[i] > narrowest]
        if not able:
            break  # a line is longer than the terminal: the reader still has every digit
        widths[max(able, key=widths.__getitem__)] -= 1
        excess, room = excess - 1, room - 1
    lines: list[str] = []
    for r in range(-1, len(table.captions)):
        cells = [
            _wrapped(column.head if r < 0 else column.cells[r], w)
            for column, w in zip(columns, widths, strict=True)
        ]
        for k in range(max(map(len, cells))):
            parts = [cell[k] if k < len(cell) else "" for cell in cells]
            lines.append((" " * GAP).join(map(_aligned, columns, parts, widths)).rstrip())
    if left_out:
        heads = [column.head for column in table.columns if column.head in left_out]
        note = f"({width} columns leave no room for: {', '.join(heads)}.)"
        lines += textwrap.wrap(note, width)
    return lines


def _width(column: ShownColumn) -> int:
    return max(map(cell_len, [column.head, *column.cells]))


def _wrapped(cell: str, width: int) -> list[str]:
    """Break a cell's text between words, or in a word that is longer than a line."""
    cells = cell_len(cell)
    if cells <= width:
        return [cell]
    room = max(1, width * len(cell) // cells)
    return textwrap.wrap(cell, room, subsequent_indent="  " if room > 4 else "")


def cell_len(text: str) -> int:
    """Return how many columns of a terminal a text takes: East Asian characters take two."""
    if text.isascii():
        return len(text)
    from rich import cells

    return cells.cell_len(text)


def _aligned(column: ShownColumn, cell: str, width: int) -> str:
    space = " " * (width - cell_len(cell))
    return cell + space if column.words else space + cell


def to_html(parts: list[Part], heading: str, level: int) -> str:
    """Return parts as a ``<section>``, with colours inherited from the page."""
    html = ['<section class="klayer-shown">', f"<h{level}>{escape(heading)}</h{level}>"]
    for part in parts:
        if isinstance(part, ShownSentence):
            text = escape(part.text)
            html.append(f"<p><small>{text}</small></p>" if part.small else f"<p>{text}</p>")
        elif isinstance(part, Facts):
            if part.lead:
                html.append(f"<p><strong>{escape(part.lead)}</strong></p>")
            if part.facts:
                told = (f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in part.facts)
                html.append(f"<dl>{''.join(told)}</dl>")
        else:
            for caption, rows in groupby(range(len(part.captions)), part.captions.__getitem__):
                html.append(_html_table(part, caption, list(rows)))
    return "\n".join([*html, "</section>"]) + "\n"


def _html_table(table: ShownTable, caption: str, rows: list[int]) -> str:
    # The page's own colours, in light and in dark; wide tables scroll by themselves.
    line = "border-bottom:1px solid;border-color:color-mix(in srgb,currentColor 25%,transparent)"
    columns = [column for column in table.columns if not column.text_only]

    def cell(column: ShownColumn, scope: str, text: str) -> str:
        align = "text-align:left" if column.words else "text-align:right;white-space:nowrap"
        tag, scope = ("th", f' scope="{scope}"') if scope else ("td", "")
        return f'<{tag}{scope} style="padding:.2em .6em;{line};{align}">{text}</{tag}>'

    def row(r: int) -> str:
        around = "<strong>{}</strong>" if table.bold[r] else "{}"
        return "".join(
            cell(one, "row" if one.header else "", around.format(escape(one.cells[r])))
            for one in columns
        )

    heads = "".join(cell(one, "col", escape(one.head)) for one in columns)
    body = "".join(f"<tr>{row(r)}</tr>" for r in rows)
    # A region that scrolls must be reachable by keyboard, and named.
    return (
        f'<div role="region" aria-label="{escape(caption)}" tabindex="0" '
        'style="overflow-x:auto;margin:1em 0">'
        f'<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">'
        f'<caption style="text-align:left;font-weight:bold">{escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def page(fragment: str, title: str) -> str:
    """Return a whole page around a fragment, in the reader's light or dark colours."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n"
        "<style>body{font:100%/1.5 system-ui,sans-serif;max-width:75rem;margin:1rem auto;"
        "padding:0 1rem}dt{font-weight:bold}</style>\n</head>\n<body>\n<main>\n"
        f"{fragment}</main>\n</body>\n</html>\n"
    )
