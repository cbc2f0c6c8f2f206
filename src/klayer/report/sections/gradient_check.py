"""The gradient check of a study as the page shows it: a table for each network that was checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klayer.errors import KlayerError
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import Table

__all__ = ["build", "build_appendix"]

_VERDICTS = {"right": "right", "wrong": "WRONG", "zero": "zero by structure", "undecided": "open"}
_BN = {
    "none": "no batch normalisation",
    "hidden": "batch normalisation of hidden layers",
    "all": "batch normalisation of all layers",
}
_METHODS = {"complex": "complex steps", "central": "central differences"}


def build(material: Material) -> list[Part]:
    """Show the check first, where the study repeats a publication or has no arms beside it."""
    return _parts(material) if _is_its_matter(material) else []


def build_appendix(material: Material) -> list[Part]:
    """Show the check at the end of a study that is about something else."""
    return [] if _is_its_matter(material) else _parts(material)


def _is_its_matter(material: Material) -> bool:
    return bool(material.view.run.study.published) or not material.view.with_results


def _parts(material: Material) -> list[Part]:
    """Say what was checked and how it came out, with a table for each network."""
    try:
        stored = material.view.run.result("gradcheck.json") or {}
    except KlayerError as error:
        return [Part([block("text", text=str(error))])]
    rows = stored.get("rows")
    if not rows:
        return []
    networks = list(dict.fromkeys((row["layers"], row["batch_norm"]) for row in rows))
    repeats = bool(material.view.run.study.published)
    tables = [
        _table(
            repeats,
            layers,
            norm,
            [r for r in rows if (r["layers"], r["batch_norm"]) == (layers, norm)],
        )
        for layers, norm in networks
    ]
    for table in tables:
        material.table(table)
    lines = _lines(stored, rows, len(networks), repeats)
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


def _lines(
    stored: Mapping[str, Any], rows: list[Mapping[str, Any]], networks: int, repeats: bool
) -> list[str]:
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
    published = (
        "Published, and differences: the same sum by difference quotients, as published and as "
        "repeated here. "
    )
    lines.append(
        "Sum: of |a − n| / max(ε, |a| + |n|) over an array's entries; it grows with their number, and "
        "counts nothing but rounding where a gradient is zero by structure. "
        f"{published if repeats else ''}Norm: "
        "‖a − n‖ / max(‖a‖, ‖n‖). Scaled: the largest |a − n| / max(|a|, |n|, 10⁻⁶ max |g|)."
    )
    return lines


def _table(repeats: bool, layers: int, norm: str, rows: list[Mapping[str, Any]]) -> Table:
    published = repeats and any(row["published"] is not None for row in rows)
    head = ["Array", "Verdict", *(["Published", "Differences"] if published else [])]
    head += ["Sum", "Norm", "Scaled"]
    keys = ["name", *(["published", "central"] if published else [])]
    keys += ["measured", "norm_error", "scaled_error"]
    body = [
        [
            row["name"],
            _VERDICTS.get(row["verdict"], row["verdict"]),
            *(_number(row[key]) for key in keys[1:]),
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
