"""Files of rows as plain values, for those who read the same files in another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from klayer.data.npy_rows import NpyRows
from klayer.data.parquet_rows import ParquetRows
from klayer.data.stored_rows import RowFile

__all__ = ["KINDS", "from_plain"]

# A new kind of file is a class and a row.
KINDS: dict[str, Callable[[Mapping[str, Any]], RowFile]] = {
    "npy": NpyRows.from_plain,
    "parquet": ParquetRows.from_plain,
}


def from_plain(plain: Mapping[str, Any]) -> RowFile:
    """Return the file of which `as_plain` gave these values; nothing is read yet."""
    return KINDS[plain["kind"]](plain)
