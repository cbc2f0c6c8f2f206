"""What a study concludes, claim by claim, and all comparisons that this rests on."""

from __future__ import annotations

from collections.abc import Sequence

from klayer.report.comparisons import ArmComparison
from klayer.report.prose import conclusion
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import VERDICT_MARKS, Table, comparison_cells

__all__ = ["build_conclusion", "build_tables"]

_CLAIMS = (
    "Every sentence is derived from the numbers of this run. Intervals are Student's t at 95\u202f%. "
    "Accuracies are compared pairwise over common seeds (paired t); where some networks did not train, "
    "the numbers that trained are compared (Fisher's exact test). Networks that share a seed also share "
    "their random draws up to scale, so counts over several initialisations are not quite independent. "
    "p-values are corrected after Holm within each question."
)
_TABLES = (
    "Differences are in percentage points of {} accuracy, the named network minus the one it is set "
    "against, over the seeds that both have. Effect d is the mean difference over the standard "
    "deviation of the differences. Where some networks did not train, the table counts those that did."
)


def build_conclusion(material: Material) -> list[Part]:
    """List the claims, those that the data don't carry last."""
    said = conclusion(material.view, material.comparisons)
    if not said:
        return []
    return [Part([block("claims", sentences=said), block("text", text=_CLAIMS, kind="note")])]


def build_tables(material: Material) -> list[Part]:
    """Show the comparisons that were corrected together in one table each."""
    view, found = material.view, material.comparisons.arms
    if not found:
        return []
    blocks = [block("text", text=_TABLES.format(view.judge))]
    for number, family in enumerate(dict.fromkeys(one.family for one in found), start=1):
        members = [one for one in found if one.family == family]
        caption = _caption(family, view.baseline, len(members))
        table = material.table(_table(members, f"comparisons-{number}", caption))
        blocks.append(block("details", summary=caption, tables=[table], open=number == 1))
    return [Part(blocks)]


def _caption(family: tuple[str, bool], baseline: str, n: int) -> str:
    factor, primary = family
    names = {
        "batch_norm": "Batch normalisation against none",
        "init": f"Initialisation against {baseline}",
    }
    text = names.get(factor, f"{factor.replace('_', ' ').capitalize()} against its first value")
    if factor == "batch_norm":
        text += f", {baseline} initialisation" if primary else ", other initialisations"
    return f"{text}: {n} comparison{'s' if n > 1 else ''}, corrected together"


def _table(found: Sequence[ArmComparison], name: str, caption: str) -> Table:
    head = ["Network", "Against", "Seeds", "Difference", "95\u202f% interval", "Effect d", "Test",
            "p (Holm)", "Verdict"]  # fmt: skip
    raw_head = ["factor", "reference", "arm", "n", "reference_trained", "arm_trained", "test",
                "difference", "sd", "low95", "high95", "d_z", "p", "p_holm", "p_wilcoxon",
                "verdict"]  # fmt: skip
    body, raw = [], []
    for one in found:
        cells, r, d = comparison_cells(one.result), one.result, one.result.difference
        against = {"batch_norm": one.a.series, "init": one.a.init}.get(one.factor, one.a.label)
        body.append([one.b.label, against, *(cells[title] for title in head[2:])])
        raw.append([one.factor, one.a.name, one.b.name, r.n, *r.trained, r.test, d.mean, d.sd, d.low,
                    d.high, r.effect, r.p, r.p_holm, r.p_wilcoxon, r.verdict])  # fmt: skip
    marks = [VERDICT_MARKS.get(one.result.verdict, "") for one in found]
    words = ("Against", "Difference", "Test", "Verdict")
    return Table(name, caption, head, body, raw_head, raw, marks, words)
