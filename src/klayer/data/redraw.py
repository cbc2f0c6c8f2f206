"""The same data with other rows to train on: a new draw of training and validation, or fewer rows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset, Split
from klayer.data.stored_rows import chosen_rows, joined_rows
from klayer.errors import KlayerError

__all__ = ["redrawn"]


def redrawn(
    dataset: Dataset, split_seed: int = 0, train_samples: int | Literal["all"] = "all"
) -> Dataset:
    """Draw the rows of training and validation anew, and keep some of the training rows.

    Both splits keep their sizes, and of classes every one its share. The test split stays, and so does
    the standardisation, so that one of them serves a whole study.

    Parameters
    ----------
    dataset : Dataset
    split_seed : int, >= 0
        0 leaves the splits as they are.
    train_samples : int or "all"
        Training rows that are kept: the first of a fixed random order, so that fewer are among more; of
        each class its share. As many as there are, if there are fewer.

    Returns
    -------
    Dataset
        The very same one if nothing changes.

    Raises
    ------
    KlayerError
        If a new draw is asked for and there is no validation split, or too few rows are kept for every
        class to have one.

    Examples
    --------
    >>> rows = Split(np.arange(40.0).reshape(20, 2), np.arange(20) % 2)
    >>> toy = Dataset("toy", {"train": rows, "validation": rows}, ("even", "odd"))
    >>> less = redrawn(toy, split_seed=1, train_samples=6)
    >>> {name: len(split) for name, split in less.splits.items()}
    {'train': 6, 'validation': 20}
    """
    splits = dict(dataset.splits)
    if split_seed:
        splits |= _drawn(dataset, split_seed)
    train = splits["train"]
    if train_samples != "all" and train_samples < len(train):
        order = _order(_classes(dataset, train), np.random.default_rng([split_seed, 1]))
        splits["train"] = _rows(train, np.sort(order[:train_samples]))
    if all(splits[name] is dataset.splits[name] for name in splits):
        return dataset
    try:
        found = replace(dataset, splits=splits)
    except KlayerError as error:
        raise KlayerError(
            f"{error} Here `train_samples` is {train_samples}, which leaves too few: raise it."
        ) from None
    for name in ("standardiser", "targets", "value_range"):
        found.__dict__[name] = getattr(dataset, name)  # where cached_property keeps what it found
    return found


def _drawn(dataset: Dataset, seed: int) -> dict[str, Split]:
    if dataset.split_by:
        raise KlayerError(
            f"`split_seed` draws training and validation anew by chance, but {dataset.split_by!r} "
            f"decides about the splits of {dataset.name!r}: leave it at 0."
        )
    if "validation" not in dataset.splits:
        raise KlayerError(
            f"`split_seed` draws training and validation anew, but {dataset.name!r} has only "
            f"{', '.join(dataset.splits)}: give the data a validation split, or leave it at 0."
        )
    train, validation = dataset.splits["train"], dataset.splits["validation"]
    pooled = _joined(train, validation)
    order = _order(_classes(dataset, pooled), np.random.default_rng([seed, 0]))
    return {
        "train": _rows(pooled, np.sort(order[: len(train)])),
        "validation": _rows(pooled, np.sort(order[len(train) :])),
    }


def _classes(dataset: Dataset, split: Split) -> NDArray[np.int64]:
    """Return what keeps its share: the classes; in other tasks all rows are alike."""
    if dataset.task == "classification":
        return np.asarray(split.labels, np.int64)
    return np.zeros(len(split), np.int64)


def _order(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return a random order of rows, every beginning of which has each class in about its share."""
    place = np.empty(len(classes))
    for one in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == one))
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


def _joined(a: Split, b: Split) -> Split:
    pairs = {one.name: (getattr(a, one.name), getattr(b, one.name)) for one in fields(Split)}
    whole: dict[str, Any] = {
        name: None if pair[0] is None or pair[1] is None else joined_rows(*pair)
        for name, pair in pairs.items()
    }
    return Split(**whole)


def _rows(split: Split, rows: NDArray[np.intp]) -> Split:
    parts = {one.name: getattr(split, one.name) for one in fields(Split)}
    kept: dict[str, Any] = {
        k: None if one is None else chosen_rows(one, rows) for k, one in parts.items()
    }
    return Split(**kept)
