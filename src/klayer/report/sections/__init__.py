"""The sections of a run's page, in their order: one row each."""

from __future__ import annotations

from klayer.report.sections import (
    arms,
    best_network,
    comparisons,
    gradient_check,
    how_made,
    importance,
    ladder,
    published,
    reliability,
    search,
    variance,
)
from klayer.report.sections.section import Section

__all__ = ["SECTIONS"]

SECTIONS = (
    Section("gradcheck", "Gradient check", gradient_check.build),
    Section("steps", "What each step brings", ladder.build),
    Section("conclusion", "Conclusion", comparisons.build_conclusion),
    Section("all-arms", "All arms", arms.build_table),
    Section("variance", "Where the spread comes from", variance.build),
    Section("search", "Search", search.build),
    Section("arms", "Networks", arms.build),
    Section("others", "Others", arms.build_others),
    Section("fidelity", "Published and measured", published.build, appendix=True),
    Section("best", "The best network", best_network.build, appendix=True),
    Section("sure", "How sure it is", reliability.build, appendix=True),
    Section("columns", "What each column counts for", importance.build, appendix=True),
    Section("comparisons", "All comparisons", comparisons.build_tables, appendix=True),
    Section("gradients", "Gradient check", gradient_check.build_appendix, appendix=True),
    Section("made", "How it was made", how_made.build, appendix=True),
)
