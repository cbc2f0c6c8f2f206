"""Data that may be larger than memory: .npy files, whole or in shards, and Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.array_files import npy_header, read_npy
from klayer.data.class_labels import class_indices
from klayer.data.dataset import SPLITS, Dataset, Split, check_features
from klayer.data.encoder import Encoder
from klayer.data.image_rows import ImageShape
from klayer.data.measure import extremes
from klayer.data.npy_rows import npy_rows
from klayer.data.options import OPTIONS, DataOptions
from klayer.data.parquet_rows import ParquetRows, parquet_bytes, parquet_columns
from klayer.data.source import Request, Source, always
from klayer.data.sources.npy_files import Shards, is_folder_of_rows, npy_files, visible
from klayer.data.sources.npz_keys import find_tables, placed, read_class_names, read_image_shape
from klayer.data.splitting import split_rows, with_validation
from klayer.data.stored_rows import StoredRows, stays_on_disk
from klayer.data.tables.packed import memory_bound
from klayer.errors import KlayerError

__all__ = ["SOURCE", "is_parquet_of_rows", "load_npy", "load_parquet"]

_PARQUET = (".parquet", ".pq")


def load_npy(path: str | Path, *, seed: int = 0, options: DataOptions | None = None) -> Dataset:
    """Load rows and labels from .npy files; the rows stay there if they are large.

    The folder holds what a .npz file would hold, an array a file: ``X.npy`` and ``y.npy``, or
    ``X_train.npy``, ``y_train.npy``, ..., in any spelling that `klayer.data.sources.npz.load` reads;
    also in subfolders ``train``, ``validation``, ``test``. Each array may be cut into numbered shards,
    ``X-000.npy`` and ``X-001.npy``, one below another. Labels are read into memory.

    Parameters
    ----------
    path : str or Path
        The folder, or one of its files of rows.
    seed : int
        Of the split.
    options : DataOptions, optional
        ``task`` and ``keep``.

    Returns
    -------
    Dataset

    Raises
    ------
    KlayerError
        Naming the file, the row and the rule: shards of another width or dtype, a shard that is missing,
        labels of another number.
    """
    options = options or DataOptions()
    folder = Path(path)
    folder = folder if folder.is_dir() else folder.parent
    arrays = npy_files(folder)
    keys = find_tables(str(folder), arrays)
    notes = [f"not used: {', '.join(keys.ignored)}"] if keys.ignored else []
    content = {key: read_npy(arrays[key].paths[0]) for key in (keys.image_shape,) if key}
    image_shape = read_image_shape(folder, keys.image_shape, content)
    features, labels = {}, {}
    for split, (x, y) in keys.tables.items():
        features[split], image_shape = _rows(arrays[x], image_shape)
        labels[split] = _labels(arrays[x], arrays[y])
    names = read_class_names(
        folder,
        keys.class_names,
        {key: read_npy(arrays[key].paths[0]) for key in (keys.class_names,) if key},
    )
    task = options.task or "classification"
    if task == "classification":
        classes = class_indices(
            {f"{folder}, {y}": labels[split] for split, (_, y) in keys.tables.items()}, names
        )
        notes += filter(None, [classes.note])
        labels = {s: classes.indices[f"{folder}, {y}"] for s, (_, y) in keys.tables.items()}
        class_names = classes.names
    else:
        outputs = {one.shape[1] if one.ndim == 2 else 1 for one in labels.values()}
        class_names = tuple(names or _numbered("target", max(outputs)))
    return _dataset(
        str(folder),
        features,
        labels,
        class_names,
        options,
        name=folder.resolve().name,
        source=f"{sum(len(one.paths) for one in arrays.values())} .npy files, {folder.name}",
        task=task,
        image_shape=image_shape,
        seed=seed,
        notes=notes,
    )


def _rows(shards: Shards, image_shape: ImageShape | None) -> tuple[StoredRows, ImageShape | None]:
    files = []
    for path in _with_rows(shards):
        file, found = npy_rows(path, image_shape)
        image_shape = image_shape or found
        files.append(file)
    return StoredRows(files), image_shape


def _with_rows(shards: Shards) -> list[Path]:
    """Return the shards without empty ones; all, if all are empty."""
    return [one for one in shards.paths if _length(one)] or shards.paths


def _length(path: Path) -> int:
    shape = npy_header(path).shape
    return shape[0] if shape else 0


def _labels(rows: Shards, labels: Shards) -> NDArray[Any]:
    """Read labels, one for each row: of every shard, or of all at once."""
    if len(labels.files) > 1 and sorted(labels.files) != sorted(rows.files):
        odd = sorted(set(labels.files) ^ set(rows.files))[0]
        there = (labels.files.get(odd) or rows.files[odd]).name
        raise KlayerError(
            f"{rows.paths[0].parent}: each shard of rows must have its labels, but {there} has no "
            "partner."
        )
    pairs = [(rows.paths, labels.paths[0])]
    if len(labels.files) > 1:
        pairs = list(zip([[one] for one in rows.paths], labels.paths, strict=True))
    found = []
    for files, path in pairs:
        some, count = read_npy(path), sum(map(_length, files))
        if some.ndim not in (1, 2) or len(some) != count:
            names = files[0].name if len(files) == 1 else f"{len(files)} files of rows"
            raise KlayerError(
                f"{path}: there must be one label per row, but {names} "
                f"{'has' if len(files) == 1 else 'have'} {count:,} rows and this has the shape "
                f"{some.shape}."
            )
        found += [some] if count else []
    try:
        return np.concatenate(found)
    except ValueError:
        shapes = sorted({str(one.shape[1:]) for one in found})
        raise KlayerError(
            f"{labels.paths[0].parent}: labels must have one form in all shards, but have the shapes "
            f"(N, ...) with {' and '.join(shapes)}."
        ) from None


def load_parquet(path: str | Path, *, seed: int = 0, options: DataOptions | None = None) -> Dataset:
    """Load numbers from Parquet files, without reading more of them at once than a group of rows.

    All columns but the target must be numbers without gaps, or lists of one fixed size of them. What
    becomes of other tables needs them in memory: see `klayer.data.sources.table.load`.

    Parameters
    ----------
    path : str or Path
        A file; or a folder of files, which are one below another in the order of their names, or in
        subfolders ``train``, ``validation``, ``test``.
    seed : int
        Of the split.
    options : DataOptions, optional
        ``target``, ``task``, ``drop`` and ``keep``.

    Returns
    -------
    Dataset

    Raises
    ------
    KlayerError
        Naming the file, the column and the rule.
    """
    from klayer.data.tables.build import find_target, index_left_out
    from klayer.data.tables.table import DataTable
    from klayer.data.tables.targets import read_target

    options, path = options or DataOptions(), Path(path)
    unheeded = [name for name in options.given if name not in SOURCE.takes]
    if unheeded:
        flag = OPTIONS[unheeded[0]].flag
        raise KlayerError(
            f"{path}: of a Parquet file that stays on disk only {', '.join(SOURCE.takes)} can be said, "
            f"but got {flag}: leave it out, or read the table into memory (--keep memory)."
        )
    files = _parquet_files(path)
    every = [one for some in files.values() for one in some]
    first = every[0]
    columns = parquet_columns(first)
    for file in every:
        theirs = parquet_columns(file)
        if theirs != columns:
            odd = next(n for n in [*columns, *theirs] if columns.get(n) != theirs.get(n))
            raise KlayerError(
                f"{file}: every file must have the columns of {first}, but {odd!r} differs."
            )
    notes: list[str] = []
    named = DataTable(str(path), dict.fromkeys(columns))
    targets = find_target(named, options, notes)
    dropped = [named.find(one, "`drop`") for one in options.drop]
    dropped += index_left_out(
        named,
        {*targets, *dropped},
        lambda column: _parquet_columns_of(every, [column]),
        notes,
    )
    chosen = [name for name in columns if name not in (*targets, *dropped)]
    wrong = [name for name in chosen if columns[name][0] is None]
    if not chosen:
        raise KlayerError(f"{path}: there must be a column of features, but none is left.")
    if wrong:
        raise KlayerError(
            f"{path}: all columns but the target must be numbers, or lists of one fixed size of them, "
            f"to stay on disk, but {wrong[0]!r} is not: leave it out (--drop), or read the table into "
            "memory (--keep memory)."
        )
    features = {
        split: StoredRows([ParquetRows(one, chosen) for one in files[split]]) for split in files
    }
    for split, rows in features.items():
        if not len(rows):
            raise KlayerError(f"{files[split][0]}: must hold rows, but holds none.")
    values = _parquet_columns_of(every, targets)
    task, labels, class_names, note = read_target(
        str(path), list(values.columns(targets)), options.task
    )
    notes.append(note)
    ends = np.cumsum([len(one) for one in features.values()])[:-1]
    lists = any(columns[name][1] > 1 for name in chosen)
    largest = max(file.largest_group for one in features.values() for file in one.files)  # type: ignore[attr-defined]
    notes.append(f"Parquet in groups of up to {largest:,} rows")
    return _dataset(
        str(path),
        features,
        dict(zip(features, np.split(labels, ends), strict=True)),
        class_names,
        options,
        name=path.resolve().stem,
        source=path.name,
        task=task,
        encoder=None if lists else Encoder.of_numbers(chosen),
        seed=seed,
        notes=notes,
    )


def _parquet_files(path: Path) -> dict[str, list[Path]]:
    """Return the files of each split, or of ``""`` where there is none."""
    from klayer.data.sources.npz_keys import split_of

    if not path.is_dir():
        return {"": [path]}
    own = _parquet_in(path)
    if own:
        return {"": own}
    found = {}
    for folder in sorted(path.iterdir()):
        split = split_of(folder.name)
        inside = _parquet_in(folder) if split and folder.is_dir() else []
        if split and inside:
            found[split] = inside
    return {split: found[split] for split in SPLITS if split in found}


def _parquet_in(folder: Path) -> list[Path]:
    return visible(one for one in folder.iterdir() if one.suffix.lower() in _PARQUET)


def _parquet_columns_of(files: Sequence[Path], names: Sequence[str]) -> Any:
    """Read some columns of all files, such as the target, into memory."""
    import pyarrow as pa

    from klayer.data.parquet_rows import reading_parquet
    from klayer.data.tables.table import frame_of

    parts = []
    for path in files:
        with reading_parquet(path) as file:
            parts.append(file.read(columns=list(names)))
    return frame_of(pa.concat_tables(parts), str(files[0].parent if len(files) > 1 else files[0]))


def _dataset(
    where: str,
    features: Mapping[str, StoredRows],
    labels: Mapping[str, NDArray[Any]],
    class_names: Sequence[str],
    options: DataOptions,
    *,
    name: str,
    source: str,
    task: str,
    seed: int,
    notes: list[str],
    image_shape: ImageShape | None = None,
    encoder: Encoder | None = None,
) -> Dataset:
    """Split the rows, and read them into memory unless they stay where they are."""
    splits = {split: Split(features[split], labels[split]) for split in features}
    if "" in splits:
        rows, own = features[""], splits[""].labels
        groups = own if task == "classification" else np.zeros(len(own), np.int64)
        every = class_names if task == "classification" else ["rows"]
        cut = split_rows(where, np.arange(len(own)), groups, every, seed=seed)
        chosen = {split: np.asarray(part.features) for split, part in cut.items()}
        splits = {split: Split(rows.select(some), own[some]) for split, some in chosen.items()}
    else:
        splits, note = with_validation(
            where, splits, class_names, seed=seed, by_class=task == "classification"
        )
        notes += filter(None, [note])
    size = sum(one.features.nbytes for one in splits.values())
    if stays_on_disk(size, options.keep):
        notes.append(
            f"rows stay on disk ({_in_words(size)} of {splits['train'].features.dtype}); with "
            "shuffle = block:ROWS they are read in large pieces"
        )
    else:
        if size > 2 * memory_bound():
            raise KlayerError(
                f"{where}: {size:,} bytes of features don't fit into memory: leave them on disk "
                "(--keep disk)."
            )
        splits = {one: _in_memory(where, part) for one, part in splits.items()}
    return Dataset(
        name,
        splits,
        tuple(class_names),
        image_shape,
        source=source,
        task=task,
        encoder=encoder,
        notes=tuple(notes),
    )


def _in_memory(where: str, part: Split) -> Split:
    """Read the rows of a split; one that is not finite is named by its file."""
    features = part.features[:]
    if features.dtype.kind == "f" and not np.isfinite(extremes(features)).all():
        check_features(where, part.features)
    return Split(features, part.labels)


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _numbered(word: str, count: int) -> list[str]:
    return [word] if count == 1 else [f"{word}_{i + 1}" for i in range(count)]


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return is_folder_of_rows(path) or _is_folder_of_parquet(path)
    place = placed(path.stem) or placed(path.stem.rpartition("-")[0])
    if path.suffix.lower() != ".npy" or place is None or place[0] != "X":
        return False
    try:
        keys = map(placed, npy_files(path.parent))
    except (KlayerError, OSError):
        return True  # it says what is wrong when it is loaded
    return ("y", place[1]) in keys


def _is_folder_of_parquet(path: Path) -> bool:
    from klayer.data.sources.table import is_folder_of_tables

    try:
        return not is_folder_of_tables(path) and bool(_parquet_files(path))
    except OSError:
        return False


def _load(request: Request) -> Dataset:
    path, said = request.path, request.said
    parquet = path.is_dir() and not is_folder_of_rows(path)
    if not parquet:
        for option, value in said.given.items():
            if option not in ("task", "keep"):
                raise KlayerError(
                    f"{path}: .npy files take the options task and keep, but got {option}={value!r}: "
                    "leave it out."
                )
    return (load_parquet if parquet else load_npy)(path, seed=request.seed, options=said)


def is_parquet_of_rows(path: Path, keep: str) -> bool:
    """Say whether a Parquet file is to stay on disk, or holds lists of numbers, which tables don't."""
    if path.is_dir() or path.suffix.lower() not in _PARQUET:
        return False
    if keep == "disk" or stays_on_disk(parquet_bytes(path), keep):
        return True
    return any(width > 1 for _, width in parquet_columns(path).values())


SOURCE = Source(
    name="X.npy",
    description="rows and labels in .npy files, whole or in shards, or a folder of Parquet files; may "
    "stay on disk",
    load=_load,
    find=always("a path"),
    recognises=_recognises,
    kind="a folder of .npy files",
    takes=("task", "target", "drop", "keep"),
)
