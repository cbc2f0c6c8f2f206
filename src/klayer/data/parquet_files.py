"""Parquet files: one, or a folder of them, and what columns of numbers they hold."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import numpy as np

from klayer.data.regular_file import require_file
from klayer.data.tables.arrow_lists import holds_lists, holds_numbers, names_in_list
from klayer.data.tables.columns import shown
from klayer.data.tables.packed import is_packed, read_all
from klayer.data.tables.splits import SPELLINGS
from klayer.errors import KlayerError

__all__ = [
    "NumberColumn",
    "ParquetPart",
    "arrow_errors",
    "is_parquet",
    "opened",
    "parquet_bytes",
    "parquet_columns",
    "parquet_parts",
    "parquet_places",
    "parquet_rows",
    "reading_parquet",
]

ENDINGS = (".parquet", ".pq")
# How Hive writes that a key has no value.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class ParquetPart:
    """One file, and what the names of its folders say of its rows: ``year=2026/part-0.parquet``.

    Attributes
    ----------
    path : Path
    keys : tuple of (name, value)
        The values are whole numbers, if all of a key are, or texts; None where there is none.
    """

    path: Path
    keys: tuple[tuple[str, int | str | None], ...] = ()


@dataclass(frozen=True)
class NumberColumn:
    """A column of a file, of which as many features come as its rows have numbers.

    Attributes
    ----------
    name : str
    dtype : dtype or None
        Of its numbers; None for a column of anything else.
    width : int or None
        The length of its lists; None for a column of single numbers.
    """

    name: str
    dtype: np.dtype[Any] | None
    width: int | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of what it becomes."""
        return (self.name,) if self.width is None else names_in_list(self.name, self.width)


@contextmanager
def arrow_errors(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises about a file into an error of ours."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, KlayerError):
            raise
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise KlayerError(f"{path}: can't be read ({reason or type(error).__name__}).") from None


def opened(path: Path) -> IO[bytes]:
    """Open a file that may be packed; pyarrow would take a name for a URL where it looks like one."""
    return io.BytesIO(read_all(path)) if is_packed(path) else path.open("rb")


@contextmanager
def reading_parquet(path: Path) -> Iterator[Any]:
    """Open a Parquet file, as a `pyarrow.parquet.ParquetFile`; its errors become ours."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise KlayerError(
            "Parquet files are read by pyarrow, which is not installed: `pip install klayer[tables]`."
        ) from None
    require_file(path)
    with arrow_errors(path), opened(path) as file:
        yield parquet.ParquetFile(file)


def is_parquet(path: Path) -> bool:
    """Say whether a path is a Parquet file, or a folder that holds some, by their names."""
    return bool(parquet_places(path)) if path.is_dir() else path.suffix.lower() in ENDINGS


def parquet_places(folder: Path) -> dict[str, Path]:
    """Return the file or folder of each split; ``{"train": folder}`` where there is only one.

    The files of a folder are one below another in the order of their names; ``train.parquet`` and
    ``test.parquet``, or subfolders ``train`` and ``test``, are splits of their own.
    """
    try:
        inside = [*_files(folder), *_folders(folder)]
        named = {split: one for one in inside if (split := SPELLINGS.get(one.stem.lower()))}
        if "train" in named and all(map(parquet_parts, named.values())):
            return named
        return {"train": folder} if parquet_parts(folder) else {}
    except OSError:
        return {}


def parquet_parts(place: Path) -> list[ParquetPart]:
    """Return the files of a place in the order of their names: itself, or those of the folder.

    Subfolders are read if they are named as Hive does, ``year=2026``.
    """
    if not place.is_dir():
        return [ParquetPart(place)]
    found = list(_walk(place, {}))
    names = {name for _, keys in found for name in keys}
    values = {name: {keys.get(name, "") for _, keys in found} for name in names}
    whole = {name for name, texts in values.items() if all(map(str.isdecimal, texts - {""}))}
    return [
        ParquetPart(
            path,
            tuple(
                (n, int(text) if text and n in whole else text or None) for n, text in keys.items()
            ),
        )
        for path, keys in found
    ]


def _walk(folder: Path, keys: dict[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Give files and what their folders are named; a key without a value is an empty text."""
    for path in _files(folder):
        yield path, keys
    for inside in _folders(folder):
        name, equals, value = inside.name.partition("=")
        if equals and name:
            text = "" if value == NO_VALUE else unquote(value)
            yield from _walk(inside, {**keys, unquote(name): text})


def _files(folder: Path) -> list[Path]:
    """The Parquet files of a folder, without what systems and writers lay beside them."""
    return sorted(
        one
        for one in folder.iterdir()
        if one.suffix.lower() in ENDINGS and not one.name.startswith((".", "_")) and one.is_file()
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(
        one for one in folder.iterdir() if one.is_dir() and not one.name.startswith((".", "_"))
    )


def parquet_bytes(place: Path) -> int:
    """Return how many bytes the numbers of a file or folder are, unpacked, about."""
    size = 0
    for part in parquet_parts(place):
        with reading_parquet(part.path) as file:
            about = file.metadata
            size += sum(about.row_group(g).total_byte_size for g in range(about.num_row_groups))
    return size


def parquet_rows(path: Path) -> int:
    """Return how many rows a file has."""
    with reading_parquet(path) as file:
        return int(file.metadata.num_rows)


def parquet_columns(part: ParquetPart) -> dict[str, NumberColumn]:
    """Return the columns of a file, and after them the keys of its folders.

    A column of lists counts as so many columns of numbers as the first of them has.
    """
    found: dict[str, NumberColumn] = {}
    known: set[str] = set()
    with reading_parquet(part.path) as file:
        for one in file.schema_arrow:
            kind, width = one.type, None
            if holds_lists(kind):
                width = getattr(kind, "list_size", None)
                width = _first_length(file, one.name) if width is None else width
                kind = kind.value_type
            numbers = holds_numbers(kind) and width != 0
            dtype = np.dtype(kind.to_pandas_dtype()) if numbers else None
            found[one.name] = NumberColumn(one.name, dtype, width or None)
            for feature in found[one.name].features:
                if feature in known:
                    raise KlayerError(
                        f"{part.path}: columns must have different names, but there are two "
                        f"{shown(feature)}."
                    )
                known.add(feature)
    for name, value in part.keys:
        dtype = np.dtype(np.int64) if isinstance(value, int) else None
        found.setdefault(name, NumberColumn(name, dtype))
    return found


def _first_length(file: Any, name: str) -> int:
    """Return the length of the first list of a column, 0 if there is none."""
    for batch in file.iter_batches(batch_size=64, columns=[name], use_threads=False):
        for one in batch.column(0):
            if one.is_valid:
                return len(one)
    return 0
