"""What a study concludes, claim by claim."""

from __future__ import annotations

from klayer.report.sections.section import Material, Part, block

__all__ = ["build"]

NOTE = (
    "Every sentence is derived from the numbers of this run. Intervals are Student's t at 95\u202f%. "
    "Accuracies are compared pairwise over common seeds (paired t); where some networks did not train, "
    "the numbers that trained are compared (Fisher's exact test). Networks that share a seed also share "
    "their random draws up to scale, so counts over several initialisations are not quite independent. "
    "p-values are corrected after Holm within each question."
)


def build(material: Material) -> list[Part]:
    """List the claims, those that the data don't carry last."""
    claims = block("claims", sentences=material.conclusion)
    return [Part([claims, block("text", text=NOTE, kind="note")])]
