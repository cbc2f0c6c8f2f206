"""A table in a file, or one for each split in files or a folder."""

from __future__ import annotations

from pathlib import Path

from klayer.data.dataset import Dataset
from klayer.data.options import DataOptions
from klayer.data.parquet_files import is_parquet, parquet_bytes, parquet_places
from klayer.data.source import Request, Source, always
from klayer.data.sources.parquet import load_on_disk
from klayer.data.stored_rows import stays_on_disk
from klayer.data.tables.build import TARGETS, dataset_of
from klayer.data.tables.overview import ColumnOverview, overview
from klayer.data.tables.read_table import ENDINGS, is_table, read_table
from klayer.data.tables.splits import SPELLINGS
from klayer.data.tables.table import DataTable
from klayer.errors import KlayerError

__all__ = ["SOURCE", "files_of", "is_folder_of_tables", "load"]


def load(path: str | Path, *, seed: int = 0, options: DataOptions | None = None) -> Dataset:
    """Load a table from a file, with files of its own for validation and test if they are named.

    Parameters
    ----------
    path : str or Path
        A file that `read_table` reads; a folder with ``train.csv`` and, as far as there are any,
        ``validation.csv`` and ``test.csv`` (or another ending, or spelling); or a folder of Parquet
        files, which are one below another, or in subfolders of these names.
    seed : int
        Of the split.
    options : DataOptions, optional

    Returns
    -------
    Dataset

    Raises
    ------
    KlayerError
        Naming the file, the column, the line and the rule.
    """
    path, options = Path(path), options or DataOptions()
    files = files_of(path, options)
    tables: dict[str, DataTable] = {}
    texts: tuple[str, ...] = options.category
    deciding = (options.split, options.group_by, options.time)
    exact = (*options.target, *TARGETS, *(one for one in deciding if one))
    known: tuple[str, ...] = ()
    for split, file in files.items():
        tables[split] = read_table(
            file, heading=options.heading, texts=texts, exact=exact, known=known
        )
        if split == "train":
            texts = (*texts, *tables[split].texts)
            known = tuple(tables[split].names) if tables[split].named else ()
        elif gone := [
            one
            for one in options.target
            if one in tables["train"].raw and one not in tables[split].raw
        ]:
            raise KlayerError(
                f"{file}: rows to {'test' if split == 'test' else 'validate'} by must have the target, "
                f"but there is no column {gone[0]!r}: name {files['train']} alone, and give this to "
                "`klayer predict`."
            )
    if len(tables) == 1:
        tables = {"": tables["train"]}
    name = path.resolve().name if path.is_dir() else _stem(path)
    source = ", ".join(file.name for file in files.values())
    return dataset_of(tables, options, name=name, source=source, seed=seed)


def files_of(path: Path, options: DataOptions) -> dict[str, Path]:
    """Return the file of each split, as far as there are any; the first one trains.

    Instead of a file there may be a folder of Parquet files.
    """
    files = (_folder(path) or parquet_places(path)) if path.is_dir() else {"train": path}
    for split in ("validation", "test"):
        file = getattr(options, f"{split}_data")
        if file is not None:
            files[split] = Path(file).expanduser()
    return files


def _stem(path: Path) -> str:
    """``houses`` of ``houses.csv.gz``."""
    stem = path.name
    while Path(stem).suffix.lower() in (*ENDINGS, ".gz", ".bz2", ".xz") and Path(stem).stem:
        stem = Path(stem).stem
    return stem


def _folder(folder: Path) -> dict[str, Path]:
    """The tables of a folder by split."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = SPELLINGS.get(_stem(path).lower())
        if split and is_table(path):
            if split in found:
                raise KlayerError(
                    f"{folder}: there must be one table to {split}, but there are {found[split].name} "
                    f"and {path.name}."
                )
            found[split] = path
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return is_folder_of_tables(path) or is_parquet(path)
    return is_table(path)


def is_folder_of_tables(path: Path) -> bool:
    """Say whether a folder holds a table to train on, and maybe others for the other splits."""
    try:
        return "train" in _folder(path)
    except (OSError, KlayerError):
        return False


def _columns(request: Request) -> list[ColumnOverview]:
    file = next(iter(files_of(request.path, request.said).values()))
    options = request.said
    table = read_table(file, heading=options.heading, texts=options.category)
    return overview(table, [table.find(one, "`category`") for one in options.category])


def _load(request: Request) -> Dataset:
    path, said = request.path, request.said
    files = files_of(path, said)
    if said.keep != "memory" and all(map(is_parquet, files.values())):
        if stays_on_disk(sum(map(parquet_bytes, files.values())), said.keep):
            return load_on_disk(path, files, seed=request.seed, options=said)
    elif said.keep == "disk":
        raise KlayerError(
            f"{path}: of tables only Parquet can stay on disk (keep=disk), a file or a folder of them: "
            "convert it, or leave `keep` out."
        )
    return load(path, seed=request.seed, options=said)


SOURCE = Source(
    name="FILE.csv",
    description="a table: CSV, TSV, Parquet (also a folder; may stay on disk), Feather, ARFF, LibSVM; "
    "also .gz; --target COLUMN",
    load=_load,
    find=always("a path"),
    recognises=_recognises,
    kind="a table such as .csv",
    columns=_columns,
    takes=(
        *("target", "task", "drop", "category", "max_levels", "missing", "split", "group_by"),
        *("time", "weights", "validation_data", "test_data", "heading", "keep"),
    ),
)
