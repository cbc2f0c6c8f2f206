"""Parquet files whose rows stay on disk: read as they would be in memory, a group of rows at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from klayer.data.dataset import SPLITS, Dataset, Split
from klayer.data.encoder import Encoder
from klayer.data.options import OPTIONS, DataOptions
from klayer.data.parquet_files import (
    NumberColumn,
    ParquetPart,
    parquet_columns,
    parquet_parts,
    parquet_rows,
)
from klayer.data.parquet_rows import ParquetRows
from klayer.data.stored_rows import StoredRows, on_disk_note
from klayer.data.tables.arrow_table import parquet_table
from klayer.data.tables.build import find_target, index_left_out, split_rows_of
from klayer.data.tables.columns import Extent, number_type, shown
from klayer.data.tables.table import DataTable
from klayer.data.tables.targets import read_target
from klayer.errors import KlayerError

__all__ = ["TAKES", "load_on_disk"]

# What can be said of a table that is never in memory.
TAKES = ("task", "target", "drop", "keep")


def load_on_disk(
    path: Path, places: Mapping[str, Path], *, seed: int = 0, options: DataOptions
) -> Dataset:
    """Make a data set of Parquet files without reading more of them at once than a group of rows.

    All columns but the target must be numbers without gaps, or lists of one length of them. What becomes
    of other tables needs them in memory: see `klayer.data.sources.table.load`, which gives the same data
    set, bit for bit.

    Parameters
    ----------
    path : Path
        How to name the data.
    places : mapping of str to Path
        The file or folder of each split; of one alone, which is cut, under ``"train"``.
    seed : int
        Of the split.
    options : DataOptions
        Of which those in :data:`TAKES` are heeded.

    Raises
    ------
    KlayerError
        Naming the file, the column and the rule; for an option that needs the table in memory.
    """
    unheeded = [name for name in options.given if name not in TAKES]
    if unheeded:
        raise KlayerError(
            f"{path}: of a Parquet file that stays on disk only {', '.join(TAKES)} can be said, but got "
            f"{OPTIONS[unheeded[0]].flag}: leave it out, or read the table into memory (--keep memory)."
        )
    parts = {
        split: _with_rows(places[split], parquet_parts(places[split]))
        for split in SPLITS
        if split in places
    }
    every = [part for some in parts.values() for part in some]
    columns = _columns_of(every)
    notes: list[str] = []
    lists = {name: one.features for name, one in columns.items() if one.width is not None}
    features = [feature for one in columns.values() for feature in one.features]
    named = DataTable(str(path), dict.fromkeys(features), lists=lists)
    target = find_target(named, options, notes)
    dropped = named.find_all(options.drop, "`drop`")
    used = {*target, *dropped}
    used |= index_left_out(
        named, used, lambda column: parquet_table(str(path), every, [column]), notes
    )
    homes = {feature: one for one in columns.values() for feature in one.features}
    chosen = [feature for feature in features if feature not in used]
    _require_numbers(path, [homes[feature] for feature in chosen])

    own = dict.fromkeys(homes[feature].name for feature in target)
    values = parquet_table(str(path), every, list(own))
    task, labels, class_names, note = read_target(
        str(path), list(values.columns(target)), options.task
    )
    notes.append(note)
    given, start = {}, 0
    for split, some in parts.items():
        count = sum(parquet_rows(part.path) for part in some)
        given[split] = np.arange(start, start + count)
        start += count
    strata = labels if task == "classification" else None
    with named.naming():
        cut, note = split_rows_of(
            named,
            np.arange(len(labels)),
            given if len(given) > 1 else {},
            {},
            options,
            strata,
            seed,
        )
    notes.append(f"split: {note}")
    rows = _rows(every, chosen, _type_of(every, {feature: homes[feature] for feature in chosen}))
    splits = {split: Split(rows.select(index), labels[index]) for split, index in cut.items()}
    size = sum(split.features.nbytes for split in splits.values())
    largest = max(file.largest_group for file in rows.files if isinstance(file, ParquetRows))
    notes += [f"Parquet in groups of up to {largest:,} rows", on_disk_note(rows, size)]
    booleans = {feature for feature in chosen if homes[feature].dtype == np.bool_}
    return Dataset(
        path.name if path.is_dir() else path.stem,
        splits,
        class_names,
        source=", ".join(place.name for place in places.values()),
        task=task,
        encoder=Encoder.of_numbers(chosen, booleans),
        notes=tuple(notes),
    )


def _with_rows(path: Path, parts: Sequence[ParquetPart]) -> list[ParquetPart]:
    """Return the files without those that hold no row."""
    found = [part for part in parts if parquet_rows(part.path)]
    if not found:
        raise KlayerError(f"{path}: must hold rows, but holds none.")
    return found


def _columns_of(parts: Sequence[ParquetPart]) -> dict[str, NumberColumn]:
    """Return the columns of the first file, each with the type that serves all files."""
    first, *others = parts
    found = parquet_columns(first)
    for part in others:
        theirs = parquet_columns(part)
        for name, ours in found.items():
            other = theirs.get(name)
            if other is None or other.width != ours.width:
                what = "is missing" if other is None else "has lists of another length"
                raise KlayerError(
                    f"{part.path}: every file must have the columns of {first.path}, but "
                    f"{shown(name)} {what}."
                )
            dtype = None
            if ours.dtype is not None and other.dtype is not None:
                dtype = np.result_type(ours.dtype, other.dtype)
            found[name] = NumberColumn(name, dtype, ours.width)
    return found


def _require_numbers(path: Path, columns: Sequence[NumberColumn]) -> None:
    if not columns:
        raise KlayerError(f"{path}: there must be a column of features, but none is left.")
    for one in columns:
        if one.dtype is None:
            raise KlayerError(
                f"{path}: all columns but the target must be numbers, or lists of one length of them, "
                f"to stay on disk, but {shown(one.name)} is not: leave it out (--drop), or read the "
                "table into memory (--keep memory)."
            )


def _rows(parts: Sequence[ParquetPart], features: Sequence[str], dtype: DTypeLike) -> StoredRows:
    return StoredRows([ParquetRows(part, features, dtype) for part in parts])


def _type_of(
    parts: Sequence[ParquetPart], columns: Mapping[str, NumberColumn]
) -> type[np.number[Any]]:
    """Return the type that the features would have in memory, by a pass over the files if need be."""
    if all(one.dtype == np.uint8 for one in columns.values()):
        return np.uint8
    found = _rows(parts, list(columns), np.float64).measured
    extents = [
        Extent(float(low), float(high), column.dtype.kind in "ui", partial(math.sqrt, variance))
        for low, high, variance, column in zip(
            found.low, found.high, found.variance, columns.values(), strict=True
        )
        if column.dtype is not None and column.dtype != np.bool_
    ]
    return number_type(extents, plain=len(extents) == len(columns))
