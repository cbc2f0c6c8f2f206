"""A check as an HTML fragment: no script, no external file, colours inherited from the page."""

from __future__ import annotations

from html import escape

from klayer.gradcheck.result import Check, Row
from klayer.gradcheck.text import (
    EXPLANATION,
    VERDICTS,
    WORDS,
    number,
    row_cells,
    row_heads,
    sentences,
)

__all__ = ["check_html", "page", "table"]

# The page's own colours, in light and in dark; wide tables scroll by themselves.
_CELL = (
    "padding:.2em .6em;border-bottom:1px solid;"
    "border-color:color-mix(in srgb,currentColor 25%,transparent)"
)


def check_html(check: Check, heading: str = "Gradient check", level: int = 2) -> str:
    """Return a ``<section>`` with the verdict, the causes, the table and how it was done."""
    parts = [
        '<section class="klayer-gradcheck">',
        f"<h{level}>{escape(heading)}</h{level}>",
        f"<p><strong>{escape(VERDICTS[check.verdict])}</strong></p>",
    ]
    if check.causes:
        items = "".join(f"<li>{escape(cause.text)}</li>" for cause in check.causes)
        parts.append(f"<p>Likely causes:</p><ol>{items}</ol>")
    if check.rows:
        cells = [row_cells(check, row) for row in check.rows]
        parts.append(
            table(
                "Analytic against numeric gradient, a row for each array",
                row_heads(check),
                cells,
                head_column=row_heads(check).index("array"),
                bold=[row.verdict == "wrong" for row in check.rows],
            )
        )
        parts.append(f"<p><small>{escape(EXPLANATION)}</small></p>")
    told = "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in sentences(check))
    parts.append(f"<dl>{told}</dl>")
    if check.curve:
        parts.append(
            table(
                f"Central differences of the worst entry against the step; analytic "
                f"{_worst(check).analytic:.9g}",
                ("step", "numeric", "scaled error"),
                [(f"{p.step:.0e}", f"{p.numeric:.9g}", number(p.error)) for p in check.curve],
            )
        )
    parts.append("</section>")
    return "\n".join(parts) + "\n"


def table(
    caption: str,
    heads: tuple[str, ...],
    rows: list[tuple[str, ...]],
    head_column: int = 0,
    bold: list[bool] | None = None,
) -> str:
    """Return a table with a caption, column heads and, in ``head_column``, row heads."""
    right = [head not in WORDS for head in heads]

    def style(i: int) -> str:
        numbers = "text-align:right;white-space:nowrap" if right[i] else "text-align:left"
        return f' style="{_CELL};{numbers}"'

    head = "".join(f'<th scope="col"{style(i)}>{escape(one)}</th>' for i, one in enumerate(heads))
    body = []
    for r, cells in enumerate(rows):
        line = []
        for i, cell in enumerate(cells):
            text = escape(cell)
            if bold and bold[r]:
                text = f"<strong>{text}</strong>"
            if i == head_column:
                line.append(f'<th scope="row"{style(i)}>{text}</th>')
            else:
                line.append(f"<td{style(i)}>{text}</td>")
        body.append(f"<tr>{''.join(line)}</tr>")
    # A region that scrolls must be reachable by keyboard, and named.
    return (
        f'<div role="region" aria-label="{escape(caption)}" tabindex="0" '
        'style="overflow-x:auto;margin:1em 0">'
        f'<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">'
        f'<caption style="text-align:left;font-weight:bold">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
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


def _worst(check: Check) -> Row:
    wrong = [row for row in check.rows if row.verdict == "wrong"]
    return max(
        (one for one in wrong if one.term == wrong[0].term), key=lambda one: one.scaled_error
    )
