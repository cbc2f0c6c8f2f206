"""A table becomes a `Dataset`: roles of columns, target, splits, features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import SPLITS, Dataset, Split
from klayer.data.encoder import Encoder
from klayer.data.options import DataOptions
from klayer.data.splitting import check_seed
from klayer.data.tables.columns import DataColumn, shown
from klayer.data.tables.kinds import as_kind, join_columns, joined_place
from klayer.data.tables.splits import Parts, Rows, by_class, by_column, by_group, by_time
from klayer.data.tables.table import DataTable
from klayer.data.tables.targets import read_target
from klayer.errors import KlayerError

__all__ = ["TARGETS", "dataset_of", "find_target", "index_left_out", "split_rows_of"]

# What a target is called where nobody says which column it is.
TARGETS = ("target", "label", "class", "y")


def dataset_of(
    tables: Mapping[str, DataTable],
    options: DataOptions,
    *,
    name: str,
    source: str,
    seed: int = 0,
    image_shape: tuple[int, int, int] | None = None,
) -> Dataset:
    """Make a data set of a table, or of one for each split.

    Parameters
    ----------
    tables : mapping of str to DataTable
        ``{"": table}``, to be cut; or ``"train"`` and, as far as there are any, ``"validation"`` and
        ``"test"``. What is read of them is given up.
    options : DataOptions
    name, source : str
        As in `Dataset`.
    seed : int
        Of the split.
    image_shape : (C, H, W), optional

    Returns
    -------
    Dataset
        With the encoder, and notes on what was decided.

    Raises
    ------
    KlayerError
        Naming table, column and row.
    """
    check_seed(seed)
    table, given = _joined(tables)
    if not len(table):
        raise KlayerError(f"{table.where}: must hold rows, but holds none.")
    notes = list(table.notes)
    target = find_target(table, options, notes)
    roles = {
        option: table.find(column, f"`{option}`")
        for option in ("split", "group_by", "time", "weights")
        if (column := getattr(options, option)) and (option, column) != ("split", "none")
    }
    dropped = table.find_all(options.drop, "`drop`")
    category = table.find_all(options.category, "`category`")
    used = {*target, *roles.values(), *dropped}
    for option, column in roles.items():
        if column in target:
            raise KlayerError(
                f"{table.where}: a column has one use, but {shown(column)} is target and {option}."
            )
    both = sorted(set(dropped) & set(target))
    if both:
        raise KlayerError(f"{table.where}: the target {shown(both[0])} can't be left out.")
    used |= index_left_out(table, used | set(category), lambda _: table, notes)

    names = [column for column in table.names if column not in used]
    targets = [table.column(column) for column in target]
    task, labels, classes, note = read_target(table.where, targets, options.task)
    notes.append(note)
    strata = labels if task == "classification" else None
    with table.naming():
        parts, note = split_rows_of(
            table, np.arange(len(labels)), given, roles, options, strata, seed
        )
    notes.append(f"split: {note}")
    for option, column in roles.items():
        if option in ("group_by", "time"):
            notes.append(f"{shown(column)} decides about the split and is no feature")
    weights = _weights(table, roles["weights"]) if "weights" in roles else None
    if weights is not None:
        notes.append(f"{shown(roles['weights'])} says how much each row counts in the loss")

    encoder = Encoder.fit(
        table,
        names,
        parts["train"],
        category=category,
        max_levels=options.max_levels,
        missing=options.missing,
    )
    notes += encoder.notes
    features = encoder.encode(table, parts)
    splits = {
        part: Split(features[part], labels[rows], None if weights is None else weights[rows])
        for part, rows in parts.items()
    }
    # Columns without names that all stay what they are need nothing to go with the networks.
    stays = encoder.plain and list(encoder.columns) == [
        column for column in table.names if column not in target
    ]
    dataset = Dataset(
        name,
        splits,
        classes,
        image_shape,
        source,
        task,
        encoder=encoder if table.named or table.zeros or not stays else None,
        notes=tuple(notes),
        split_by=roles.get("group_by") or roles.get("time") or "",
    )
    _require_near(table, dataset, encoder, parts)
    return dataset


def _weights(table: DataTable, name: str) -> NDArray[np.float64]:
    """Return what each row counts."""
    with table.naming():
        column = as_kind(table.column(name), "number")
        column.require_whole("a row must have a weight: fill the gap, 0 leaves the row out")
        column.require_finite()
        values = np.asarray(column.values, np.float64)
        if (values < 0).any():
            row = int((values < 0).argmax())
            raise KlayerError(
                f"column {shown(name)}, {column.place(row)}: a weight must be >= 0, but got "
                f"{values[row]:g}."
            )
    return values


def _require_near(
    table: DataTable, dataset: Dataset, encoder: Encoder, parts: Mapping[str, Rows]
) -> None:
    """Refuse a number too far from those of training, naming it as the user's table does."""
    for part, split in dataset.splits.items():
        if split.features.dtype != np.float64:
            continue
        place = dataset.standardiser.beyond(split.features)
        if place is not None:
            row, column = place
            raise KlayerError(
                f"{table.where}, column {encoder.feature_names[column]!r}, "
                f"{table.place(int(parts[part][row]))}: must be near enough to the rows of training "
                f"to be calculated with, but got {split.features[place]:g}, where training has a mean "
                f"of {dataset.standardiser.mean[column]:g}: mend the cell, or empty it (a gap)."
            )


def _joined(tables: Mapping[str, DataTable]) -> tuple[DataTable, dict[str, Rows]]:
    """Put tables one below the other; return the rows of each."""
    if list(tables) == [""]:
        return tables[""], {}
    first = tables["train"]
    order = [split for split in SPLITS if split in tables]
    widths = {split: len(tables[split].raw) - len(tables[split].target) for split in order}
    if not first.named and not first.zeros and len(set(widths.values())) > 1:
        found = ", ".join(f"{width} in {split}" for split, width in widths.items())
        raise KlayerError(
            f"{first.where}: without names every split must have as many columns, but there are {found}."
        )
    parts, start = {}, 0
    for split in order:
        parts[split] = np.arange(start, start + len(tables[split]))
        start += len(tables[split])
    raw: dict[str, Any] = {}
    known = dict.fromkeys(name for split in order for name in tables[split].raw)
    for name in known if first.zeros else first.raw:
        columns: list[DataColumn] = []
        for split in order:
            table = tables[split]
            if name not in table.raw and table.zeros and name not in table.target:
                table.raw[name] = np.zeros(len(table))
            columns.append(table.column(table.find(name, "what train has")))
        raw[name] = join_columns(columns, [tables[split].where for split in order])
        for split in order:
            tables[split].raw[name] = np.empty(len(tables[split]), bool)
    joined = DataTable(
        first.where,
        raw,
        joined_place(
            [tables[split].where for split in order],
            [tables[split].place for split in order],
            [len(parts[split]) for split in order],
        ),
        first.named,
        target=first.target,
        notes=first.notes,
        zeros=first.zeros,
        lists=first.lists,
    )
    return joined, parts


def find_target(table: DataTable, options: DataOptions, notes: list[str]) -> list[str]:
    """Return the columns to predict: those that were named, or the one whose name says so."""
    if options.target:
        found = table.find_all(options.target, "`target`")
        if len(set(found)) < len(found):
            raise KlayerError(f"{table.where}: `target` must name each column once.")
        return found
    if table.target:
        return list(table.target)
    titles = table.titles
    named = [name for name in titles if name.strip().lower() in TARGETS]
    if len(named) == 1:
        notes.append(f"target: {shown(named[0])}, by its name")
        return table.find_all(named, "`target`")
    some = ", ".join(map(shown, titles[:20])) + (", ..." if len(titles) > 20 else "")
    raise KlayerError(
        f"{table.where}: the column to predict must be named: --target COLUMN (in Python "
        f"`target=`), by name or position (-1 is the last). Columns: {some}."
    )


def index_left_out(
    table: DataTable,
    used: Set[str],
    read: Callable[[str], DataTable],
    notes: list[str],
) -> set[str]:
    """Return the column that is an index that a frame was saved with, if there is one, and note it.

    Parameters
    ----------
    table : DataTable
        Whose names are asked for.
    used : set of str
        Columns that the user has named for something else.
    read : callable
        ``read(column)`` returns a table that has its values.
    notes : list of str
        Gets a sentence.
    """
    name = _index_column(table)
    if name is None or name in used or not _counts_rows(read(name), name):
        return set()
    notes.append(f"left out: {shown(name)}, which only counts the rows")
    return {name}


def _index_column(table: DataTable) -> str | None:
    """Return the column that may be an index that a frame was saved with, by its name."""
    if not table.raw:
        return None
    first = "__index_level_0__" if "__index_level_0__" in table.raw else table.names[0]
    if first not in ("column_1", "", "Unnamed: 0", "__index_level_0__"):
        return None
    return None if not table.named and first == "column_1" else first


def _counts_rows(table: DataTable, name: str) -> bool:
    """Say whether a column only counts the rows, from 0 or 1."""
    values = table.column(name)
    if values.kind != "number" or values.gaps or len(values) < 2:
        return False
    steps = np.asarray(values.values, np.float64) - np.arange(len(values))
    return bool((steps == steps[0]).all() and steps[0] in (0, 1))


def split_rows_of(
    table: DataTable,
    everything: Rows,
    given: Mapping[str, Rows],
    roles: Mapping[str, str],
    options: DataOptions,
    strata: Any,
    seed: int,
) -> Parts:
    """Return which rows train, validate and test, and a note that says by what.

    Parameters
    ----------
    table : DataTable
        Whose columns are asked for, if any has a role.
    everything : int array
        All rows.
    given : mapping of str to int array
        Rows of splits that have files of their own.
    roles : mapping of str to str
        Columns that decide: ``split``, ``group_by``, ``time``.
    options : DataOptions
    strata : int array, or None
        The classes of all rows.
    seed : int
    """
    if "split" in roles:
        if given:
            raise KlayerError("the splits are given once: by files, or by a column, but got both.")
        parts, note = by_column(everything, table.column(roles["split"]))
        if "validation" in parts or "test" not in parts:
            return parts, note
        given = parts
    elif options.split == "none":
        return (
            (dict(given), "by files") if given else ({"train": everything}, "none, all rows train")
        )
    if given:
        note = f"as column {shown(roles['split'])} says" if "split" in roles else "by files"
        if "validation" in given:
            return dict(given), note
        parts, cut = _cut(table, given["train"], roles, ("train", "validation"), strata, seed)
        ordered = {**parts, **{part: rows for part, rows in given.items() if part != "train"}}
        return ordered, f"{note}; of those to train {cut}"
    return _cut(table, everything, roles, SPLITS, strata, seed)


def _cut(
    table: DataTable,
    rows: Rows,
    roles: Mapping[str, str],
    parts: Sequence[str],
    strata: Any,
    seed: int,
) -> Parts:
    if "group_by" in roles:
        return by_group(rows, table.column(roles["group_by"]), parts, seed)
    if "time" in roles:
        return by_time(rows, table.column(roles["time"]), parts)
    return by_class(rows, None if strata is None else strata[rows], parts, seed)
