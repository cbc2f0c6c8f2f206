"""Parquet and Feather (Arrow IPC) files, read by pyarrow: what it can't read it says, and lives on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from klayer.data.tables.packed import is_packed, read_all
from klayer.data.tables.table import DataTable, frame_of
from klayer.errors import KlayerError

__all__ = ["read_feather", "read_parquet"]


def read_parquet(path: Path) -> DataTable:
    """Read a Parquet file."""
    return _read(path, "parquet")


def read_feather(path: Path) -> DataTable:
    """Read a Feather file of either version, or an Arrow IPC file."""
    return _read(path, "feather")


def _read(path: Path, module: str) -> DataTable:
    try:
        from pyarrow import ArrowException, feather, parquet
    except ImportError:
        raise KlayerError(
            "Parquet and Feather files are read by pyarrow, which is not installed: "
            "`pip install klayer[tables]`."
        ) from None
    read: Any = {"parquet": parquet.read_table, "feather": feather.read_table}[module]
    try:
        # A name would be taken for a URL where it looks like one.
        with io.BytesIO(read_all(path)) if is_packed(path) else path.open("rb") as file:
            table = read(file)
        table.validate(full=True)
    except (ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise KlayerError(f"{path}: can't be read ({reason or type(error).__name__}).") from None
    if not table.num_rows or not table.num_columns:
        raise KlayerError(f"{path}: must hold rows and columns, but holds none.")
    return frame_of(table, str(path))
