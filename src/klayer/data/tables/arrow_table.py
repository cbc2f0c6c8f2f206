"""Parquet and Feather (Arrow IPC) files, read by pyarrow: what it can't read it says, and lives on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from klayer.data.parquet_files import (
    ParquetPart,
    arrow_errors,
    opened,
    parquet_parts,
    reading_parquet,
)
from klayer.data.tables.columns import row_place, shown
from klayer.data.tables.kinds import joined_place
from klayer.data.tables.table import DataTable, frame_of
from klayer.errors import KlayerError

__all__ = ["parquet_table", "read_feather", "read_parquet"]


def read_parquet(path: Path) -> DataTable:
    """Read a Parquet file, or a folder of them, one below another."""
    return parquet_table(str(path), parquet_parts(path))


def parquet_table(
    where: str, parts: Sequence[ParquetPart], columns: Sequence[str] | None = None
) -> DataTable:
    """Read Parquet files, one below another; those without rows are passed over.

    Parameters
    ----------
    where : str
        How to name the table in a message.
    parts : sequence of ParquetPart
    columns : sequence of str, optional
        Those to be read; by default all of the first file.

    Raises
    ------
    KlayerError
        Naming the file: if it is damaged, or lacks a column.
    """
    import pyarrow as pa

    found = [(part, table) for part in parts if (table := _read_part(part, columns)).num_rows]
    if not found or not found[0][1].num_columns:
        raise KlayerError(f"{where}: must hold rows and columns, but holds none.")
    if len(found) == 1:
        return frame_of(found[0][1], where)
    first, names = found[0][0].path, found[0][1].column_names
    for part, table in found[1:]:
        gone = [name for name in names if name not in table.column_names]
        if gone:
            raise KlayerError(
                f"{part.path}: every file must have the columns of {first}, but {shown(gone[0])} is "
                "missing."
            )
    try:
        whole = pa.concat_tables(
            [table.select(names) for _, table in found], promote_options="permissive"
        )
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise KlayerError(
            f"{where}: the columns of all files must be of one kind, but aren't ({reason})."
        ) from None
    place = joined_place(
        [os.path.relpath(part.path, _common(found)) for part, _ in found],
        [row_place] * len(found),
        [table.num_rows for _, table in found],
    )
    return frame_of(whole, where, place)


def _common(found: Sequence[tuple[ParquetPart, Any]]) -> str:
    return os.path.commonpath([part.path.parent for part, _ in found])


def _read_part(part: ParquetPart, columns: Sequence[str] | None) -> Any:
    """Read one file; the keys of its folders are columns too, unless it has them itself."""
    import pyarrow as pa

    with reading_parquet(part.path) as file:
        own = None if columns is None else [n for n in columns if n in file.schema_arrow.names]
        table = file.read(columns=own)
        table.validate(full=True)
    for name, value in part.keys:
        if name not in table.column_names and (columns is None or name in columns):
            table = table.append_column(name, pa.array([value] * table.num_rows))
    return table


def read_feather(path: Path) -> DataTable:
    """Read a Feather file of either version, or an Arrow IPC file."""
    try:
        from pyarrow import feather
    except ImportError:
        raise KlayerError(
            "Feather files are read by pyarrow, which is not installed: `pip install klayer[tables]`."
        ) from None
    with arrow_errors(path), opened(path) as file:
        table = feather.read_table(file)
        table.validate(full=True)
    if not table.num_rows or not table.num_columns:
        raise KlayerError(f"{path}: must hold rows and columns, but holds none.")
    return frame_of(table, str(path))
