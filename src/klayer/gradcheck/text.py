"""A check as text for a terminal."""

from __future__ import annotations

import math
import textwrap

from klayer.gradcheck.differences import COMPLEX_STEP
from klayer.gradcheck.result import Check, Row

__all__ = [
    "EXPLANATION",
    "VERDICTS",
    "WORDS",
    "check_text",
    "columns",
    "number",
    "row_cells",
    "row_heads",
    "sentences",
    "verdict_of",
]

# Columns of words, to be aligned on the left; the others hold numbers.
WORDS = frozenset({"term", "array", "layer", "kind", "verdict", "worst at", "network", "BN", ""})
VERDICTS = {
    "right": "The gradient is right.",
    "wrong": "The gradient is WRONG.",
    "undecided": "The gradient could not be checked everywhere.",
}
_ZERO = "structurally zero"
EXPLANATION = (
    "scaled: largest |a - n| / max(|a|, |n|, floor). norm: ||a - n|| / max(||a||, ||n||). sum: the "
    "report's measure, the sum of |a - n| / max(eps, |a| + |n|)."
)


def check_text(check: Check, width: int = 100) -> str:
    """Return the report: verdict, causes, table, how it was done."""
    lines = [VERDICTS[check.verdict]]
    for number, cause in enumerate(check.causes, start=1):
        lines += _wrap(f"likely cause {number}", cause.text, width)
    if check.origin and check.verdict == "wrong":
        lines += _wrap("enters at", ", ".join(check.origin), width)
    if check.rows:
        lines += ["", *columns(row_heads(check), [row_cells(check, row) for row in check.rows]), ""]
        lines += _wrap("", EXPLANATION, width)
    lines.append("")
    for label, text in sentences(check):
        lines += _wrap(label, text, width)
    if check.curve:
        lines += ["", f"central differences of the worst entry, {_worst(check)}:"]
        lines += columns(
            ("step", "numeric", "scaled error", ""),
            [
                (f"{p.step:.0e}", f"{p.numeric:.9g}", f"{p.error:.1e}", _bar(p.error))
                for p in check.curve
            ],
        )
    return "\n".join(line.rstrip() for line in lines)


def sentences(check: Check) -> list[tuple[str, str]]:
    """Return what else is to be said, as (label, sentence)."""
    said = [("method", check.reason), ("coverage", f"{check.coverage}.")]
    if check.rows:
        relative = "" if check.step == COMPLEX_STEP else " times the parameters' scale"
        step = f", step {check.step:.2g}{relative}"
        said.append(
            (
                "tolerance",
                f"{check.tolerance:.0e}{step}; loss in {check.precision}; seed {check.seed}.",
            )
        )
    repeats = "two evaluations at the same point agree."
    if not check.deterministic:
        repeats = "NO: evaluations at the same point disagree."
    said.append(("repeatable", repeats))
    if check.kinks:
        said.append(("kinks", _kinks(check)))
    said += [("note", note) for note in check.notes]
    said.append(("cost", f"{check.evaluations:,} evaluations in {check.seconds:.2f} s."))
    return said


def row_heads(check: Check) -> tuple[str, ...]:
    """Return the column heads of the table of rows."""
    term = ("term",) if len({row.term for row in check.rows}) > 1 else ()
    along = ("direction",) if any(row.direction_error is not None for row in check.rows) else ()
    return (*term, "array", "layer", "kind", "checked", "scaled", *along, "norm", "sum",
            "worst at", "analytic", "numeric", "verdict")  # fmt: skip


def row_cells(check: Check, row: Row) -> tuple[str, ...]:
    """Return the cells of one row, in the order of :func:`row_heads`."""
    heads = row_heads(check)
    cells = {
        "term": row.term,
        "array": row.name,
        "layer": row.layer or "-",
        "kind": row.kind,
        "checked": f"{row.checked:,}" + (f"/{row.size:,}" if row.checked < row.size else ""),
        "scaled": number(row.scaled_error),
        "direction": "-" if row.direction_error is None else number(row.direction_error),
        "norm": "-" if row.norm_error is None else number(row.norm_error),
        "sum": number(row.report_error),
        "worst at": "-" if row.worst is None else f"[{', '.join(map(str, row.worst))}]",
        "analytic": f"{row.analytic:.5g}",
        "numeric": f"{row.numeric:.5g}",
        "verdict": verdict_of(row),
    }
    return tuple(cells[head] for head in heads)


def verdict_of(row: Row) -> str:
    """Return the verdict in words."""
    if row.verdict == "zero":
        return f"{_ZERO} (<= {row.magnitude:.0e})" if row.magnitude else f"{_ZERO} (0)"
    if row.verdict == "wrong":
        return f"WRONG: {row.failing:,}"
    return row.verdict


def number(value: float) -> str:
    """Return an error with two digits."""
    return "0" if value == 0 else f"{value:.1e}" if math.isfinite(value) else str(value)


def columns(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Align cells: numbers to the right, words to the left."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    left = [head in WORDS for head in heads]

    def line(cells: tuple[str, ...]) -> str:
        parts = (
            cell.ljust(width) if on_left else cell.rjust(width)
            for cell, width, on_left in zip(cells, widths, left, strict=True)
        )
        return "  ".join(parts).rstrip()

    return [line(heads), *(line(row) for row in rows)]


def _kinks(check: Check) -> str:
    units = check.kinks["units"]
    seen = "units near a kink: not known to the checker" if units is None else (
        f"{units:,} units at or near a kink"
    )  # fmt: skip
    return (
        f"{seen}; {check.kinks['one_sided']:,} entries agree with a one-sided slope, "
        f"{check.kinks['nearby']:,} were compared at a point nearby, "
        f"{check.kinks['left_out']:,} left out."
    )


def _worst(check: Check) -> str:
    wrong = [row for row in check.rows if row.verdict == "wrong"]
    row = max((one for one in wrong if one.term == wrong[0].term), key=lambda one: one.scaled_error)
    index = ", ".join(map(str, row.worst or ()))
    return f"{row.name}[{index}], analytic {row.analytic:.9g}"


def _bar(error: float) -> str:
    """A bar with a mark for each power of ten above 1e-12."""
    return "#" * max(0, min(14, round(math.log10(max(error, 1e-300)) + 12)))


def _wrap(label: str, text: str, width: int) -> list[str]:
    head = f"{label}: " if label else ""
    return textwrap.wrap(head + text, max(width, 40), subsequent_indent="  ") or [head]
