"""Which rows of a table train, validate and test: by class, by group, by time, or as a column says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import SPLITS
from klayer.data.splitting import HELD_OUT, check_seed
from klayer.data.tables.columns import DataColumn, shown
from klayer.data.tables.kinds import as_kind
from klayer.errors import KlayerError, unknown_name

__all__ = ["SPELLINGS", "by_class", "by_column", "by_group", "by_time"]

Rows = NDArray[np.intp]
Parts = tuple[dict[str, Rows], str]

# How people call the splits.
SPELLINGS = {
    **dict.fromkeys(("train", "training", "tr", "fit"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development", "eval"), "validation"),
    **dict.fromkeys(("test", "testing", "te", "holdout", "hold-out"), "test"),
}


def by_class(
    rows: Rows, labels: NDArray[np.int64] | None, parts: Sequence[str], seed: int
) -> Parts:
    """Cut rows so that every class keeps its share in every part; without labels by chance alone.

    Of n rows of a class, ``max(1, round(0.15 n))`` go to each part that is held out, the rest train; a
    class of too few rows for that trains only.

    Parameters
    ----------
    rows : int array
        Those to be cut.
    labels : int array, shape (len(rows),), or None
    parts : sequence of str
        ``"train"`` and those to be held out.
    seed : int

    Examples
    --------
    >>> cut, note = by_class(np.arange(20), np.repeat([0, 1], 10), ("train", "test"), seed=0)
    >>> {name: len(one) for name, one in cut.items()}, note
    ({'train': 16, 'test': 4}, '15 % of each class to test, by chance')
    """
    generator = np.random.default_rng(check_seed(seed))
    groups = [np.arange(len(rows))]
    if labels is not None:
        groups = [np.flatnonzero(labels == index) for index in np.unique(labels)]
    held = [part for part in parts if part != "train"]
    chosen: dict[str, list[Rows]] = {part: [] for part in parts}
    small = 0
    for group in groups:
        order = generator.permutation(group)
        count = max(1, round(HELD_OUT * len(order)))
        if len(order) <= len(held):
            count, small = 0, small + 1
        for part in held:
            chosen[part].append(order[:count])
            order = order[count:]
        chosen["train"].append(order)
    if labels is not None and small == len(groups):
        raise KlayerError(
            f"a class must have at least {len(parts)} rows to be cut into {', '.join(parts)}, but none "
            f"of the {small:,} classes has: amounts are --task regression and must be numbers; or let "
            "all rows train with --split none."
        )
    cut = {part: rows[np.sort(np.concatenate(some))] for part, some in chosen.items()}
    what = "15 %" if labels is None else "15 % of each class"
    note = f"{what} to {' and '.join(held)}{' each' if len(held) > 1 else ''}, by chance"
    if small:
        which = "a class" if small == 1 else f"{small} classes"
        note += f"; {which} of {len(held)} rows or fewer only train{'s' if small == 1 else ''}"
    return _checked(cut), note


def by_group(rows: Rows, column: DataColumn, parts: Sequence[str], seed: int) -> Parts:
    """Cut rows about 70 / 15 / 15 % so that rows that agree in a column stay together."""
    column.require_whole("a row must belong to a group: fill the gaps, or leave these rows out")
    _, codes = column.take(rows).texts
    generator = np.random.default_rng(check_seed(seed))
    groups, counts = np.unique(codes, return_counts=True)
    if len(groups) < len(parts):
        raise KlayerError(
            f"column {shown(column.name)}: there must be at least {len(parts)} groups to be cut into "
            f"{', '.join(parts)}, but there are {len(groups)}."
        )
    order = generator.permutation(len(groups))
    part_of = np.full(len(groups), "train", dtype=object)
    at = 0
    for left, part in enumerate(parts[1:][::-1], start=1):
        taken = 0
        last = len(order) - (len(parts) - left)  # the parts to come need a group each
        while at < last and taken < HELD_OUT * len(rows):
            # The group that would go far beyond the share trains.
            if taken and taken + counts[order[at]] > 2 * HELD_OUT * len(rows):
                break
            part_of[order[at]] = part
            taken += counts[order[at]]
            at += 1
    of_row = part_of[np.searchsorted(groups, codes)]
    cut = {part: rows[of_row == part] for part in parts}
    return _checked(cut), f"whole groups of {shown(column.name)}, {len(groups):,} in all, by chance"


def by_time(rows: Rows, column: DataColumn, parts: Sequence[str]) -> Parts:
    """Cut rows about 70 / 15 / 15 %: the latest test, those before them validate."""
    column = as_kind(column, None)
    column.require_whole("a row must have a time: fill the gaps, or leave these rows out")
    if column.kind == "category":
        raise KlayerError(
            f"column {shown(column.name)}, {column.place(0)}: a time must be a number or a date such as "
            f"2026-11-26, but got {column.levels[column.values[0]]!r}."
        )
    times = np.asarray(column.values)[rows]
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    held = len(parts) - 1
    # Rows of one moment stay together, with the earlier ones as long as each part gets a moment.
    ends = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if len(ends) < held:
        raise KlayerError(
            f"column {shown(column.name)}: there must be enough different times to cut the rows into "
            f"{', '.join(parts)}, but there are {len(ends) + 1:,}."
        )
    chosen: list[int] = []
    for left in range(held, 0, -1):
        at = int(np.searchsorted(ends, round(len(rows) * (1 - HELD_OUT * left))))
        chosen.append(min(max(at, len(chosen) and chosen[-1] + 1), len(ends) - left))
    pieces = np.split(order, ends[chosen])
    cut = {part: rows[np.sort(piece)] for part, piece in zip(parts, pieces, strict=True)}
    return cut, f"the latest rows by {shown(column.name)} to {' and '.join(parts[:0:-1])}"


def by_column(rows: Rows, column: DataColumn) -> Parts:
    """Cut rows as a column of train, validation and test says."""
    column.require_whole("a row must belong to a split")
    names, codes = column.take(rows).texts
    cut: dict[str, list[Rows]] = {}
    for index, name in enumerate(names):
        part = SPELLINGS.get(name.strip().lower())
        where = np.flatnonzero(codes == index)
        if not len(where):
            continue
        if part is None:
            error = unknown_name("split", name, SPLITS)
            place = column.place(int(rows[where[0]]))
            raise KlayerError(f"column {shown(column.name)}, {place}: {error}")
        cut.setdefault(part, []).append(where)
    if "train" not in cut:
        raise KlayerError(f"column {shown(column.name)}: there must be rows to train, but none is.")
    found = {part: rows[np.sort(np.concatenate(cut[part]))] for part in SPLITS if part in cut}
    return found, f"as column {shown(column.name)} says"


def _checked(cut: dict[str, Rows]) -> dict[str, Rows]:
    empty = [part for part, rows in cut.items() if not len(rows)]
    if empty:
        raise KlayerError(
            f"each split must have rows, but none is left to {empty[0]}: give more rows, or let all "
            "train with --split none."
        )
    return cut
