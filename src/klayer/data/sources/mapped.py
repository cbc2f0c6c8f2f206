"""Rows in .npy files, whole or in shards, which may be larger than memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.array_files import npy_header, read_npy
from klayer.data.class_labels import class_indices
from klayer.data.dataset import Dataset, Split, check_features
from klayer.data.image_rows import ImageShape
from klayer.data.measure import extremes
from klayer.data.npy_rows import npy_rows
from klayer.data.options import DataOptions
from klayer.data.source import Request, Source, always
from klayer.data.sources.npy_files import Shards, is_folder_of_rows, npy_files
from klayer.data.sources.npz_keys import find_tables, placed, read_class_names, read_image_shape
from klayer.data.splitting import split_rows, with_validation
from klayer.data.stored_rows import StoredRows, on_disk_note, stays_on_disk
from klayer.data.tables.packed import memory_bound
from klayer.errors import KlayerError

__all__ = ["SOURCE", "load_npy"]


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
        notes.append(on_disk_note(splits["train"].features, size))
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
        notes=tuple(notes),
    )


def _in_memory(where: str, part: Split) -> Split:
    """Read the rows of a split; one that is not finite is named by its file."""
    features = part.features[:]
    if features.dtype.kind == "f" and not np.isfinite(extremes(features)).all():
        check_features(where, part.features)
    return Split(features, part.labels)


def _numbered(word: str, count: int) -> list[str]:
    return [word] if count == 1 else [f"{word}_{i + 1}" for i in range(count)]


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return is_folder_of_rows(path)
    place = placed(path.stem) or placed(path.stem.rpartition("-")[0])
    if path.suffix.lower() != ".npy" or place is None or place[0] != "X":
        return False
    try:
        keys = map(placed, npy_files(path.parent))
    except (KlayerError, OSError):
        return True  # it says what is wrong when it is loaded
    return ("y", place[1]) in keys


def _load(request: Request) -> Dataset:
    return load_npy(request.path, seed=request.seed, options=request.said)


SOURCE = Source(
    name="X.npy",
    description="rows and labels in .npy files, whole or in shards; may stay on disk",
    load=_load,
    find=always("a path"),
    recognises=_recognises,
    kind="a folder of .npy files",
    takes=("task", "keep"),
)
