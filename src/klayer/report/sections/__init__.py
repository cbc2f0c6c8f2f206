"""The sections of a run's page, in their order: one row each."""

from __future__ import annotations

from klayer.report.sections import (
    arms,
    best_network,
    comparisons,
    gradient_check,
    how_made,
    published,
    search,
)
from klayer.report.sections.section import Section

__all__ = ["SECTIONS"]

SECTIONS = (
    Section("gradcheck", "Gradient check",
            gradient_check.applies, gradient_check.build),
    Section("arms", "Networks",
            lambda m: bool(m.view.groups(baseline=True)), arms.build),
    Section("search", "Search",
            search.applies, search.build),
    Section("initialisation", "Other initialisations",
            lambda m: bool(m.view.groups(baseline=False)), arms.build_others),
    Section("conclusion", "Conclusion",
            lambda m: bool(m.conclusion), comparisons.build_conclusion),
    Section("fidelity", "Published and measured",
            lambda m: bool(m.comparisons.fidelity), published.build, appendix=True),
    Section("best", "The best network",
            lambda m: m.view.best is not None, best_network.build, appendix=True),
    Section("comparisons", "All comparisons",
            lambda m: bool(m.comparisons.arms), comparisons.build_tables, appendix=True),
    Section("made", "How it was made",
            lambda _: True, how_made.build, appendix=True),
)  # fmt: skip
