"""What a study concludes, claim by claim, and all comparisons that this rests on."""

from __future__ import annotations

from collections.abc import Sequence

from klayer.report.comparisons import ArmComparison, Effect
from klayer.report.conclusion import conclusion
from klayer.report.run_view import RunView
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import (
    COMPARISON_TIPS,
    INTERVAL,
    VERDICT_MARKS,
    Table,
    comparison_cells,
)
from klayer.study.comparison import Comparison
from klayer.study.factors import Factor

__all__ = ["build_conclusion", "build_tables"]

_CLAIMS = (
    "Every sentence is derived from the numbers of this run, and every p-value is one of the tables "
    "below. Intervals are Student's t at 95\u202f% over seeds. Values are compared pairwise over common "
    "seeds (paired t); where some networks never left chance, the numbers that did are compared "
    "(Fisher's exact test). p-values are corrected after Holm within each question."
)
_TABLES = (
    "Differences are the named network minus the one it is set against, in {}, over the seeds that both "
    "have. Ahead: how often a seed of the one is better than a seed of the other, a tie counting half. "
    "Could show: the smallest true difference that these seeds would have shown in 80\u202f% of cases. "
    "Where some networks never left chance, the table counts those that did."
)
_HEAD = ["Verdict", "Difference", INTERVAL, "p (Holm)", "Ahead", "Could show", "Seeds"]
_RAW = ["n", "reference_trained", "arm_trained", "test", "difference", "sd", "low95", "high95", "d_z",
        "p", "p_holm", "p_wilcoxon", "superiority", "could_show", "verdict"]  # fmt: skip


def build_conclusion(material: Material) -> list[Part]:
    """List the claims, those that the data don't carry last."""
    said = conclusion(material.view, material.comparisons)
    if not said:
        return []
    carried, held = ([one for one in said if one.carried is wanted] for wanted in (True, False))
    blocks = [block("claims", sentences=carried or held)]
    if carried and held:
        blocks.append(block("held", summary=f"What is not shown ({len(held)})", sentences=held))
    return [Part([*blocks, block("text", text=_CLAIMS, kind="note")])]


def build_tables(material: Material) -> list[Part]:
    """Show the comparisons that were corrected together in one table each."""
    view, found = material.view, material.comparisons.arms
    if not found:
        return []
    unit = f"percentage points of {view.judged}" if view.measure.share else view.judged
    blocks = [block("text", text=_TABLES.format(unit))]
    tables = _mean_tables(material)
    for family in dict.fromkeys(one.family for one in found):
        members = [one for one in found if one.family == family]
        caption = _caption(view, members)
        tables.append(_table(members, f"comparisons-{len(tables) + 1}", caption))
    for number, table in enumerate(tables):
        material.table(table)
        blocks.append(block("details", summary=table.caption, tables=[table], open=number == 0))
    return [Part(blocks)]


def _mean_tables(material: Material) -> list[Table]:
    """Show what each level does on average, of factors with several comparisons a level."""
    tables: list[Table] = []
    for factor in material.view.factors:
        effects = [one for one in material.comparisons.effects if one.factor == factor]
        if any(one.used > 1 for one in effects):
            tables.append(_mean_table(material.view, factor, effects))
    return tables


def _mean_table(view: RunView, factor: Factor, effects: Sequence[Effect]) -> Table:
    against = factor.label(factor.reference)
    body, raw = [], []
    for one in effects:
        cells = comparison_cells(one.result, view.measure)
        if not one.result.difference.n:
            cells["Difference"] = (
                f"{one.trained[0]} → {one.trained[1]} of {one.networks} left chance"
            )
            cells["Verdict"] = "–"
        kept = [cells[title] for title in _HEAD if title != "Ahead"]
        body.append([factor.label(one.level), against, *kept, f"{one.used} of {len(one.cells)}"])
        raw.append([factor.name, against, factor.label(one.level), *_raw(one.result)])
    caption = f"{_capital(factor.title)} against {against}, means over all that else varies"
    head = ["Level", "Against", *(title for title in _HEAD if title != "Ahead"), "Pairs of arms"]
    tips = COMPARISON_TIPS | {"Pairs of arms": "Those of which every network left chance."}
    marks = [VERDICT_MARKS.get(one.result.verdict, "") for one in effects]
    return Table(f"effects-{factor.name}", caption, head, body, ["factor", "reference", "level", *_RAW],
                 raw, marks, ("Against", "Verdict"), tips)  # fmt: skip


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _caption(view: RunView, members: Sequence[ArmComparison]) -> str:
    factor, primary = members[0].family[0], members[0].primary
    one = members[0].factor
    text = f"{_capital(one.title)} against {one.label(one.reference)}"
    if view.ladder:
        text = "Each step against the one before it"
        text = (
            text
            if primary
            else f"Arms beside the steps against the last of these, {members[0].a.label}"
        )
    init = view.factor("init")
    if factor != "init" and init:
        text += f", {init.label(init.reference) if primary else 'other'} initialisation"
        text += "" if primary else "s"
    n = len(members)
    return f"{text}: {n} comparison{'s' if n > 1 else ''}, corrected together"


def _table(found: Sequence[ArmComparison], name: str, caption: str) -> Table:
    body, raw = [], []
    for one in found:
        cells = comparison_cells(one.result, one.b.measure)
        against = one.factor.label(one.a.levels[one.factor.name]) or one.a.label
        body.append([one.b.label, against, *(cells[title] for title in _HEAD)])
        raw.append([one.factor.name, one.a.label, one.b.label, *_raw(one.result)])
    marks = [VERDICT_MARKS.get(one.result.verdict, "") for one in found]
    return Table(name, caption, ["Network", "Against", *_HEAD], body,
                 ["factor", "reference", "arm", *_RAW], raw, marks, ("Against", "Verdict"),
                 COMPARISON_TIPS)  # fmt: skip


def _raw(r: Comparison) -> list[object]:
    d = r.difference
    return [r.n, *r.trained, r.test, d.mean, d.sd, d.low, d.high, r.effect, r.p, r.p_holm,
            r.p_wilcoxon, r.superiority, r.smallest_shown, r.verdict]  # fmt: skip
