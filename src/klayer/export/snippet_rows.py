"""The beginning of the programs of a model card: rows to ask about, as features."""

from __future__ import annotations

import datetime
import math
from typing import Any

from klayer.data.column_code import ColumnCode
from klayer.export.exported import Exported
from klayer.export.onnx_inputs import inputs_of

__all__ = ["encoding", "example_rows", "is_table", "quoted"]

# Columns that an example row of numbers names, at the most.
_WIDE = 12
_EPOCH = datetime.datetime(1970, 1, 1)


def quoted(value: object) -> str:
    r"""Return a value as Python reads it: a text in double quotes and in ASCII.

    Examples
    --------
    >>> print(quoted('a "b" é'))
    "a \"b\" \xe9"
    >>> quoted(3)
    '3'
    """
    if not isinstance(value, str):
        return repr(value)
    text = value.encode("unicode_escape").decode("ascii")
    return '"' + text.replace('"', '\\"') + '"'


def is_table(what: Exported) -> bool:
    """Say whether rows are more than numbers in the order of the columns."""
    return what.encoder is not None and not what.encoder.plain


def example_rows(what: Exported, *, for_onnx: bool = False) -> str:
    """Return a line ``rows = ...`` with a row like the mean of training.

    Of a table it is a mapping; the names are those of its columns, or of the inputs of ONNX.
    """
    encoder, mean = what.encoder, what.first.standardiser.mean
    if encoder is None:
        return f"rows = [[0.0] * {len(mean)}]  # raw, as the data set has them"
    named: list[tuple[str, str]] = []
    start = 0
    names = [one.name for one in inputs_of(what, mean.dtype)] if for_onnx else encoder.columns
    for name, code in zip(names, encoder.codes, strict=True):
        named.append((name, _example(code, float(mean[start]), for_onnx)))
        start += len(code.feature_names)
    if encoder.plain and not for_onnx and len(named) > _WIDE:
        return f"rows = [[0.0] * {len(mean)}]  # the columns of the table above, in their order"
    if encoder.plain and not for_onnx:
        values = ", ".join(value for _, value in named)
        order = ", ".join(quoted(name) for name, _ in named)
        return f"# {order}\nrows = [[{values}]]"
    row = ", ".join(f"{quoted(name)}: {value}" for name, value in named)
    return f"rows = [{{{row}}}]"


def _example(code: ColumnCode, mean: float, days: bool) -> str:
    if code.kind == "category":
        return quoted(code.levels[0] if code.levels else "")
    if code.kind == "boolean":
        return "1.0" if mean > 0.5 else "0.0"
    if code.kind == "date" and not days:
        form = "%Y-%m-%d %H:%M" if code.clock else "%Y-%m-%d"
        return quoted(f"{_EPOCH + datetime.timedelta(days=_day(code, mean)):{form}}")
    if code.kind == "date":
        return repr(_day(code, mean))
    return repr(float(f"{code.origin + mean:.6g}"))


def _day(code: ColumnCode, mean: float) -> float:
    """Return a day since 1970, or a minute of it: what the text of a date can say."""
    minutes = 24 * 60 if code.clock else 1
    return round((code.origin + mean) * minutes) / minutes


def encoding(what: Exported, form: str, file: str) -> list[str]:
    """Return lines of a function that makes the D features of a row, a mapping."""
    assert what.encoder is not None
    codes = what.encoder.codes
    kinds = {code.kind for code in codes}
    gaps = any(code.fill is not None for code in codes)
    lines = [*_columns(form, file), "", "", "def features(row):", "    x = []"]
    lines.append("    for column in columns:")
    lines.append('        value = row[column["name"]]' + ("  # None is a gap" if gaps else ""))
    branches: list[tuple[str, list[str]]] = []
    if "category" in kinds:
        found = ['found = [float(value == level) for level in column.get("levels", [])]']
        if any(code.other for code in codes):
            other = (
                "float(value is not None and not any(found))" if gaps else "float(not any(found))"
            )
            found.append(f'found += [{other}] * column.get("other", False)')
        branches.append(('column["kind"] == "category"', [*found, "x += found"]))
    fill = 'column["fill"] if value is None else ' if gaps else ""
    if "date" in kinds:
        branches.append(('column["kind"] == "date"', _date_lines(codes, fill)))
    if kinds & {"number", "boolean"}:
        branches.append(("", [f"x.append({fill}float(value))"]))
    lines += _branches(branches)
    if any(code.marks_gaps for code in codes):
        lines.append('        x += [float(value is None)] * column.get("marks_gaps", False)')
    return [*lines, "    return x", "", ""]


def _branches(branches: list[tuple[str, list[str]]]) -> list[str]:
    """Lines that go one of some ways; the last needs no test."""
    if len(branches) == 1:
        return [f"        {line}" for line in branches[0][1]]
    lines = []
    for index, (test, inside) in enumerate(branches):
        last = index == len(branches) - 1
        word = "else" if last else f"{'elif' if index else 'if'} {test}"
        lines += [f"        {word}:", *(f"            {line}" for line in inside)]
    return lines


def _date_lines(codes: Any, fill: str) -> list[str]:
    days = "(datetime.fromisoformat(value) - datetime(1970, 1, 1)) / timedelta(days=1)"
    cycles = sorted({code.cycles for code in codes if code.kind == "date"}, key=len)
    shorter, longest = cycles[0], cycles[-1]
    inside = repr(longest)
    if len(cycles) > 1:
        inside = f'{longest!r} if column.get("clock") else {shorter!r}'
    return [
        f"days = {fill}{days}",
        'x.append(days - column.get("origin", 0))',
        f"for cycle in {inside}:",
        f"    angle = {2 * math.pi!r} / cycle * days",
        "    x += [math.sin(angle), math.cos(angle)]",
    ]


def _columns(form: str, file: str) -> list[str]:
    """Lines that read how the columns become numbers."""
    if form == "safetensors":
        return [
            f'with safe_open({quoted(file)}, "np") as stored:',
            '    columns = json.loads(stored.metadata()["klayer"])["encoder"]',
        ]
    if form == "onnx":
        return [
            f"about = {{one.key: one.value for one in onnx.load({quoted(file)}).metadata_props}}",
            'columns = json.loads(about["klayer"])["encoder"]',
        ]
    return ['columns = json.loads(Path("model.json").read_text(encoding="utf-8"))["encoder"]']
