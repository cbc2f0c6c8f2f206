"""ARFF files, as Weka and OpenML write them, and the .dat files of KEEL."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from klayer.data.tables.dialect import Dialect, lines_of
from klayer.data.tables.packed import read_all
from klayer.data.tables.table import DataTable
from klayer.data.tables.text_table import parse, polars
from klayer.errors import KlayerError

__all__ = ["looks_like_arff", "read_arff"]

_ATTRIBUTE = re.compile(
    r"@attribute\s+(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|([^\s{]+))\s*(.*)", re.IGNORECASE
)
_NUMBERS = ("real", "numeric", "integer")
_SPARSE = re.compile(r"\s*(\d+)\s+(.*)\s*", re.DOTALL)


def looks_like_arff(head: bytes) -> bool:
    """Say whether a file begins like ARFF: comments, then ``@relation``."""
    lines = (line.strip().lower() for line in head.splitlines())
    first = next((line for line in lines if line and not line.startswith(b"%")), b"")
    return first.startswith((b"@relation", b"@attribute", b"\xef\xbb\xbf@relation"))


@dataclass
class _Header:
    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # "number", "text" or the first level of a set
    levels: dict[str, list[str]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    lines: int = 0


def read_arff(path: Path) -> DataTable:
    """Read an ARFF file, dense or sparse; the target is what it calls so, else its last attribute.

    Raises
    ------
    KlayerError
        Naming the file, the line and the rule.
    """
    try:
        text = read_all(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise KlayerError(f"{path}, line {line}: texts must be UTF-8: save the file so.") from None
    lines = lines_of(text)
    header = _header(path, lines)
    body = lines[header.lines :]
    if next((line for line in body if line.strip() and line[0] != "%"), "").lstrip()[:1] == "{":
        body = [_dense(path, header, n, line) for n, line in enumerate(body, header.lines + 1)]
    blanks = ("" if line.lstrip().startswith("%") else line for line in body)
    content = "\n" * header.lines + "\n".join(blanks)
    pl = polars()
    quote = "'" if "'" in content and '"' not in content else '"'
    separator = "\t" if "," not in content and "\t" in content else ","
    kinds: dict[str, Any] = {
        name: pl.String
        for name, kind in zip(header.names, header.kinds, strict=True)
        if kind == "text"
    }
    dialect = Dialect(separator, True, header.names, header.lines, quote)
    table = parse(path, content.encode(), dialect, kinds=kinds)
    for name in header.levels:
        table.raw[name] = table.raw[name].str.strip_chars("'\"")
    table.target = tuple(header.outputs) or (_target(header.names),)
    return table


def _target(names: list[str]) -> str:
    return next((name for name in names if name.lower() == "class"), names[-1])


def _header(path: Path, lines: list[str]) -> _Header:
    header = _Header()
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        word = line.lower()
        if word.startswith("@data"):
            header.lines = number
            break
        if word.startswith("@attribute"):
            _attribute(path, number, line, header)
        elif word.startswith(("@output", "@outputs")):
            header.outputs = [one.strip() for one in line.partition(" ")[2].split(",")]
    else:
        raise KlayerError(f"{path}: an ARFF file must have a line @data, but has none.")
    if not header.names:
        raise KlayerError(f"{path}: an ARFF file must have lines @attribute, but has none.")
    unknown = [name for name in header.outputs if name not in header.names]
    if unknown:
        raise KlayerError(f"{path}: @outputs names {unknown[0]!r}, which is no @attribute.")
    return header


def _attribute(path: Path, number: int, line: str, header: _Header) -> None:
    found = _ATTRIBUTE.fullmatch(line)
    where = f"{path}, line {number}"
    if found is None:
        raise KlayerError(f"{where}: must be @attribute NAME KIND, but got {line[:60]!r}.")
    name = re.sub(r"\\(.)", r"\1", next(one for one in found.groups()[:3] if one is not None))
    kind = found[4].strip()
    if name in header.names:
        raise KlayerError(f"{where}: attributes must have different names, but {name!r} is twice.")
    word = re.split(r"[\s\[{]", kind.lower(), maxsplit=1)[0]
    header.names.append(name)
    if kind.startswith("{"):
        inside = kind.strip("{} \t")
        cells = next(iter(csv.reader([inside], quotechar="'", skipinitialspace=True)), [])
        header.levels[name] = [cell.strip().strip("'\"") for cell in cells]
        header.kinds.append("text")
    elif word in _NUMBERS:
        header.kinds.append("number")
    elif word in ("string", "date"):
        header.kinds.append("text")
    else:
        raise KlayerError(
            f"{where}: an attribute must be {', '.join(_NUMBERS)}, string, date or a set in braces, "
            f"but got {kind[:60]!r}."
        )


def _dense(path: Path, header: _Header, number: int, line: str) -> str:
    """``{1 5, 3 a}`` -> ``0,5,0,a``; what is left out is 0, or the first of a set."""
    line = line.strip()
    if not line or line.startswith("%"):
        return ""
    cells = ["0"] * len(header.names)
    for index, name in enumerate(header.names):
        if header.levels.get(name):
            cells[index] = header.levels[name][0]
    for one in filter(str.strip, line.strip("{}").split(",")):
        found = _SPARSE.fullmatch(one)
        if found is None or len(found[1]) > 9 or int(found[1]) >= len(cells):
            raise KlayerError(
                f"{path}, line {number}: a sparse row must be {{INDEX VALUE, ...}} with indices below "
                f"{len(cells)}, but got {one.strip()[:40]!r}."
            )
        cells[int(found[1])] = found[2].strip()
    return ",".join(cells)
