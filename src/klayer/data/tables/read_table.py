"""Any file that holds a table, by its ending or by what it begins with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from klayer.data.array_files import read_npy
from klayer.data.parquet_files import is_parquet
from klayer.data.regular_file import require_file
from klayer.data.tables.arff import looks_like_arff, read_arff
from klayer.data.tables.arrow_table import read_feather, read_parquet
from klayer.data.tables.libsvm import looks_like_libsvm, read_libsvm
from klayer.data.tables.packed import PACKINGS, ending, is_packed, read_head
from klayer.data.tables.table import DataTable
from klayer.data.tables.text_table import read_text_table
from klayer.errors import KlayerError

__all__ = ["ENDINGS", "is_table", "read_table"]


@dataclass(frozen=True)
class _Call:
    """What a reader is told."""

    heading: str
    texts: Sequence[str]
    exact: Sequence[str]
    known: Sequence[str]


Reader = Callable[[Path, _Call], DataTable]


def _text(separator: str | None = None) -> Reader:
    def read(path: Path, call: _Call) -> DataTable:
        if separator is None:
            head = read_head(path)
            if looks_like_arff(head):
                return read_arff(path)
            if looks_like_libsvm(head):
                return read_libsvm(path)
        return read_text_table(
            path,
            heading=call.heading,
            texts=call.texts,
            exact=call.exact,
            separator=separator,
            known=call.known,
        )

    return read


def _rows_of_array(path: Path) -> DataTable:
    values = read_npy(path)
    if values.ndim != 2 or 0 in values.shape:
        raise KlayerError(
            f"{path}: a table must have shape (N, D) with at least one row and one column, but got "
            f"{values.shape}."
        )
    raw = {f"column_{i + 1}": values[:, i] for i in range(values.shape[1])}
    return DataTable(str(path), raw, named=False)


# A new format is a reader and its endings.
ENDINGS: dict[str, Reader] = {
    ".csv": _text(),
    ".tsv": _text("\t"),
    ".tab": _text("\t"),
    ".dat": _text(),
    ".data": _text(),
    ".txt": _text(),
    ".parquet": lambda path, _: read_parquet(path),
    ".pq": lambda path, _: read_parquet(path),
    ".feather": lambda path, _: read_feather(path),
    ".arrow": lambda path, _: read_feather(path),
    ".ipc": lambda path, _: read_feather(path),
    ".npy": lambda path, _: _rows_of_array(path),
    ".arff": lambda path, _: read_arff(path),
    ".libsvm": lambda path, _: read_libsvm(path),
    ".svmlight": lambda path, _: read_libsvm(path),
    ".svm": lambda path, _: read_libsvm(path),
}


def is_table(path: Path) -> bool:
    """Say whether a path is a file that :func:`read_table` reads: by its ending, else by its content.

    Files without an ending that we know (``a9a``, ``a9a.t``) are looked into for LibSVM.
    """
    known = ending(path)
    if known in ENDINGS:
        return not path.is_dir()
    if known in (".npz", ".png", ".toml", ".json") or not path.is_file():
        return False
    try:
        head = read_head(path, 2**12)
    except KlayerError:
        return False
    return looks_like_libsvm(head) or looks_like_arff(head)


def read_table(
    path: str | Path,
    *,
    heading: str = "auto",
    texts: Sequence[str] = (),
    exact: Sequence[str] = (),
    known: Sequence[str] = (),
) -> DataTable:
    """Read a file that holds a table.

    Parameters
    ----------
    path : str or Path
        A text file (.csv, .tsv, .tab, .dat, .data, .txt), .parquet, .feather, .arff or LibSVM; each
        also as .gz, .bz2 or .xz; or a folder of .parquet files.
    heading : {"auto", "yes", "no"}
        Whether the first line of a text file names the columns.
    texts : sequence of str
        Columns of a text file that are kept as they are written.
    exact : sequence of str
        Columns, by name or position, that stay float64 also in a large file, of which others become
        float32 where that does no harm.
    known : sequence of str
        Names of columns that the table is to have: a first line of a text file that has them all is its
        heading.

    Returns
    -------
    DataTable

    Raises
    ------
    KlayerError
        Naming the file, the line and the rule.
    """
    path = Path(path)
    if path.is_dir() and is_parquet(path):
        return read_parquet(path)
    require_file(path)
    reader = ENDINGS.get(ending(path))
    if reader is None:
        head = read_head(path, 2**12)
        if looks_like_libsvm(head):
            reader = ENDINGS[".libsvm"]
        elif looks_like_arff(head):
            reader = ENDINGS[".arff"]
        else:
            packed = f", also with {', '.join(PACKINGS)}" if not is_packed(path) else ""
            raise KlayerError(
                f"{path}: a table must be one of {', '.join(ENDINGS)}{packed}: rename or convert it."
            )
    return reader(path, _Call(heading, tuple(texts), tuple(exact), tuple(known)))
