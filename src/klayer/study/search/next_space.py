"""Coarse to fine without a hand: the next stage's ranges from the best trials of the last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from klayer.study.search.space import Range, Space
from klayer.study.search.tables import measure_in

__all__ = ["next_space"]


def next_space(
    space: Space, rows: Sequence[Mapping[str, Any]], bounds: Space, quantile: float, stage: int
) -> tuple[Space, str] | None:
    """Derive the space of the next stage.

    For each number, the span of the best trials on the stage's scale, widened on both sides by the
    mean distance between trials, since the best point may lie beside the best one tried. For each
    category, the choices that occur among them.

    Parameters
    ----------
    space : Space
        Of the stage that is over.
    rows : sequence of dict
        Its trials, as in :func:`klayer.study.search.tables.trial_table`.
    bounds : Space
        What the next stage may not leave: the space of the first.
    quantile : float, 0 to 1
        The share of the trials to go by; at least two of those that ran to their end.
    stage : int
        The number of the stage that is over, for the reason.

    Returns
    -------
    space, reason : Space, str; or None
        None if fewer than two trials ran to their end.

    Examples
    --------
    >>> rows = [{"l2": 10.0**-e, "validation_accuracy": 0.5 - abs(e - 3) / 10, "state": "trained"}
    ...         for e in (1, 2, 3, 4, 5)]
    >>> first = Space({"l2": Range(1e-5, 1e-1)}, {})
    >>> space, reason = next_space(first, rows, first, quantile=0.4, stage=1)
    >>> print(reason.partition(";")[0])
    the best 2 of 5 trials of stage 1 (validation accuracy >= 40.00 %) have l2 from 0.001 to 0.01
    """
    done = [row for row in rows if row["state"] in ("trained", "at chance")]
    if len(done) < 2:
        return None
    measure = measure_in(rows)
    done.sort(key=lambda row: -row[f"validation_{measure.name}"])
    best = done[: max(2, math.ceil(quantile * len(rows)))]
    ranges: dict[str, Range] = {}
    categories: dict[str, list[Any]] = {}
    found: list[str] = []
    for name, one in space.ranges.items():
        values = [row[name] for row in best]
        positions = [one.position(value) for value in values]
        margin = 1 / len(rows)
        limit = bounds.ranges[name]
        low = max(one.at(min(positions) - margin), limit.low)
        high = min(one.at(max(positions) + margin), limit.high)
        ranges[name] = Range(low, high, one.scale)
        found.append(f"{name} from {min(values):.4g} to {max(values):.4g}")
    for name, choices in space.categories.items():
        categories[name] = [choice for choice in choices if choice in [row[name] for row in best]]
        found.append(f"{name} in {categories[name]}")
    least = best[-1][f"validation_{measure.name}"]
    worst = f"{100 * least:.2f} %" if measure.share else measure.show(least)
    reason = (
        f"the best {len(best)} of {len(rows)} trials of stage {stage} (validation {measure.word} >= "
        f"{worst}) have {', '.join(found)}"
    )
    if ranges:
        reason += "; the mean distance between two trials was added on either side"
    return Space(ranges, categories), reason
