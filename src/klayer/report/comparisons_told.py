"""One comparison, and several, in words."""

from __future__ import annotations

from collections.abc import Sequence

from klayer.report.comparisons import ArmComparison, Effect
from klayer.report.phrases import (
    THIN,
    capital,
    interval_of,
    is_shown,
    p_value,
    plural,
)
from klayer.study.factors import Factor

__all__ = ["about", "level_of", "tests_of"]


def level_of(factor: Factor) -> str:
    """Write the level that a factor is compared with."""
    return factor.label(factor.reference)


def about(one: ArmComparison) -> str:
    """Say what one comparison shows."""
    result, measure, factor = one.result, one.b.measure, one.factor
    b, a = factor.label(one.b.levels[factor.name]), factor.label(one.a.levels[factor.name])
    first = b if factor.name == "arm" else capital(b)  # a name stays as it was given
    if result.test == "Fisher":
        return (
            f"With {b}, {result.trained[1]} of {result.n} seeds left chance; "
            f"with {a}, {result.trained[0]} (Fisher's exact test, {p_value(result)})."
        )
    if result.identical:
        return f"{first} and {a} have the same values, seed by seed."
    if result.test == "paired t":
        test = f", paired t, {p_value(result)}" if result.p is not None else ""
        text = (
            f"{first} against {a}: {measure.amount(result.difference.mean)} (95{THIN}% interval "
            f"{interval_of(result.difference, measure)}, n\u00a0=\u00a0{result.n}{test})."
        )
        return text if is_shown(result) else f"{text} No difference is shown."
    if result.n < 2:
        return f"{first} against {a}: one seed, so no interval."
    became = (
        "No seed of either left chance" if result.trained == (0, 0) else "All seeds left chance"
    )
    return f"{became}: {b} and {a}."


def tests_of(effects: Sequence[Effect]) -> str:
    """Say in how many comparisons of the tables the numbers that left chance differ."""
    all_cells = [c for one in effects for c in one.cells]
    cells = [one for one in all_cells if one.result.test == "Fisher"]
    shown = [one for one in cells if is_shown(one.result)]
    if not cells:
        return ""
    if len(all_cells) == 1:
        return f" (Fisher's exact test, {p_value(cells[0].result)})"
    least = min(cells, key=lambda one: one.result.p_holm or 1.0)
    return (
        f"; arm by arm, Fisher's exact test shows a difference in {len(shown)} of "
        f"{plural(len(cells), 'comparison')} after Holm's correction (the least {p_value(least.result)})"
    )
