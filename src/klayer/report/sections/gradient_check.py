"""The gradient check of a study as the page shows it: a table for each network that was checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klayer.errors import KlayerError
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import Table

__all__ = ["build"]

_VERDICTS = {"right": "right", "wrong": "WRONG", "zero": "zero by structure", "undecided": "open"}
_BN = {
    "none": "no batch normalisation",
    "hidden": "batch normalisation of hidden layers",
    "all": "batch normalisation of all layers",
}
_METHODS = {"complex": "complex steps", "central": "central differences"}


def build(material: Material) -> list[Part]:
    """Say what was checked and how it came out, with a table for each network."""
    try:
        stored = material.view.run.result("gradcheck.json") or {}
    except KlayerError as error:
        return [Part([block("text", text=str(error))])]
    rows = stored.get("rows")
    if not rows:
        return []
    networks = list(dict.fromkeys((row["layers"], row["batch_norm"]) for row in rows))
    tables = [
        _table(layers, norm, [r for r in rows if (r["layers"], r["batch_norm"]) == (layers, norm)])
        for layers, norm in networks
    ]
    for table in tables:
        material.table(table)
    lines = _lines(stored, rows, len(networks))
    blocks = [block("text", text=line) for line in lines[:-1]]
    blocks.append(block("text", text=lines[-1], kind="note"))
    blocks.append(block("pair", tables=[table for table in tables if table.short]))
    blocks += [
        block("details", summary=table.caption, tables=[table])
        for table in tables
        if not table.short
    ]
    return [Part(blocks)]


def _number(value: Any) -> str:
    return f"{value:.1e}".replace("-", "\u2212") if isinstance(value, int | float) else "–"


def _lines(stored: Mapping[str, Any], rows: list[Mapping[str, Any]], networks: int) -> list[str]:
    def named(verdict: str) -> list[str]:
        return [
            f"{row['layers']} layers, {_BN[row['batch_norm']]}, {row['name']}"
            for row in rows
            if row["verdict"] == verdict
        ]

    errors = [r["scaled_error"] for r in rows if isinstance(r["scaled_error"], int | float)]
    found = [_METHODS.get(row["method"], row["method"]) for row in rows]
    methods = " and ".join(dict.fromkeys(found))
    line = (
        f"The gradients that training computes, against numerical ones by {methods}: {networks} "
        f"networks, {len(rows)} arrays, every entry. "
    )
    wrong, opened = named("wrong"), named("undecided")
    if wrong:
        line += f"Wrong: {'; '.join(wrong)}."
    elif opened:
        line += f"None is wrong; not decided: {'; '.join(opened)}."
    else:
        line += "All of them are right."
    if errors:
        line += f" The largest scaled error of any entry is {_number(max(errors))}."
    lines = [line]
    if stored.get("setting"):
        lines.append(f"Checked with {stored['setting']}")
    lines.append(
        "Sum: of |a − n| / max(ε, |a| + |n|) over an array's entries, the published measure; it "
        "grows with their number, and counts nothing but rounding where a gradient is zero by "
        "structure. Published, and differences: the same sum by difference quotients, as "
        "published and as repeated here. Norm: "
        "‖a − n‖ / max(‖a‖, ‖n‖). Scaled: the largest |a − n| / max(|a|, |n|, 10⁻⁶ max |g|)."
    )
    return lines


def _table(layers: int, norm: str, rows: list[Mapping[str, Any]]) -> Table:
    published = any(row["published"] is not None for row in rows)
    head = ["Array", *(["Published", "Differences"] if published else [])]
    head += ["Sum", "Norm", "Scaled", "Verdict"]
    keys = ["name", *(["published", "central"] if published else [])]
    keys += ["measured", "norm_error", "scaled_error"]
    body = [
        [
            row["name"],
            *(_number(row[key]) for key in keys[1:]),
            _VERDICTS.get(row["verdict"], row["verdict"]),
        ]
        for row in rows
    ]
    raw_head = ["layers", "batch_norm", "layer", "kind", "name", "published", "central", "measured",
                "norm_error", "scaled_error", "verdict", "method"]  # fmt: skip
    return Table(
        f"gradcheck-{layers}-layers-{norm}",
        f"{layers} layers, {_BN[norm]}.",
        head,
        body,
        raw_head,
        [[row.get(key) for key in raw_head] for row in rows],
        ["bad" if row["verdict"] == "wrong" else "" for row in rows],
        ("Verdict",),
    )
