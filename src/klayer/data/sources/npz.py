"""Any data set in one NumPy archive (.npz)."""

from __future__ import annotations

from pathlib import Path

from klayer.data.array_files import read_npz
from klayer.data.class_labels import class_indices
from klayer.data.dataset import Dataset, Split, check_rows
from klayer.data.from_arrays import add_target, table_of
from klayer.data.image_rows import image_rows
from klayer.data.options import DataOptions
from klayer.data.source import Source, always
from klayer.data.sources.npz_keys import find_tables, read_class_names, read_image_shape
from klayer.data.splitting import split_rows, with_validation
from klayer.data.tables.build import dataset_of

__all__ = ["SOURCE", "load"]


def load(path: str | Path, *, seed: int = 0, task: str | None = None) -> Dataset:
    """Load a .npz file with features and labels.

    It holds either ``X`` and ``y``, which are split about 70 / 15 / 15 by class and seed, or
    splits: ``X_train`` and ``y_train`` and, as far as there are any, ``X_validation``,
    ``y_validation``, ``X_test``, ``y_test``. Other spellings are understood, in any case:
    ``data``, ``images``, ``features`` and ``target``, ``labels``; ``val``, ``valid``, ``dev``;
    ``train_images``, ``xtrain``; ``arr_0`` and ``arr_1``. With train and test only, rows to
    validate are cut from train. Optional are ``class_names`` and ``image_shape``. Labels are as in
    `klayer.data.class_labels.class_indices`, features rows or images as in
    `klayer.data.image_rows.flatten_images`. `Dataset.notes` says what was done.

    Parameters
    ----------
    path : str or Path
    seed : int
        Of the split.
    task : {"classification", "regression", "multilabel"}, optional
        By default the labels are classes; otherwise they are numbers (N,) or (N, K), or 0 and 1 (N, K).

    Returns
    -------
    Dataset

    Raises
    ------
    KlayerError
        Naming the file, the key, the row and the rule.
    """
    path = Path(path)
    content = read_npz(path)
    keys = find_tables(str(path), content)
    notes = []
    if keys.ignored:
        notes.append(f"not used: {', '.join(keys.ignored)}")
    rows, image_shape = image_rows(
        {f"{path}, {x}": content[x] for x, _ in keys.tables.values()},
        read_image_shape(path, keys.image_shape, content),
    )
    if task not in (None, "classification"):
        if keys.class_names:
            notes.append(f"not used: {keys.class_names}")
        described = {}
        for part, (x, y) in keys.tables.items():
            described[part], _ = table_of(rows[f"{path}, {x}"], f"{path}, {x}")
            add_target(described[part], content[y], f"{path}, {y}", one_hot=False)
            described[part].notes += notes
        return dataset_of(
            described,
            DataOptions(task=task),
            name=path.stem,
            source=path.name,
            seed=seed,
            image_shape=image_shape,
        )
    classes = class_indices(
        {f"{path}, {y}": content[y] for _, y in keys.tables.values()},
        read_class_names(path, keys.class_names, content),
    )
    notes += filter(None, [classes.note])
    tables = {}
    for part, (x, y) in keys.tables.items():
        features, labels = rows[f"{path}, {x}"], classes.indices[f"{path}, {y}"]
        # Here and not only in Dataset: a row number must be the file's, before anything is split.
        check_rows(f"{path}, {x}, {y}", features, labels, len(classes.names))
        tables[part] = Split(features, labels)
    if "" in tables:
        whole = tables[""]
        tables = split_rows(str(path), whole.features, whole.labels, classes.names, seed=seed)
    else:
        tables, note = with_validation(str(path), tables, classes.names, seed=seed)
        notes += filter(None, [note])
    return Dataset(
        path.stem, tables, classes.names, image_shape, source=path.name, notes=tuple(notes)
    )


SOURCE = Source(
    name="FILE.npz",
    description="X and y, or their splits",
    load=lambda request: load(request.path, seed=request.seed, task=request.said.task),
    find=always("a path"),
    recognises=lambda path: path.suffix.lower() == ".npz" and not path.is_dir(),
    kind="a .npz file",
    takes=("task",),
)
