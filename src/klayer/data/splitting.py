"""Cut one table into training, validation and test rows, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import SPLITS, Split
from klayer.data.stored_rows import Features, chosen_rows
from klayer.errors import KlayerError

__all__ = ["check_seed", "split_rows", "with_validation"]

# Of each class, validation and test get this share each; training gets the rest.
HELD_OUT = 0.15


def check_seed(seed: object) -> int:
    """Return `seed` if it is a whole number from 0, as NumPy's generators demand."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise KlayerError(f"`seed` must be a whole number from 0, but got {seed!r}.")
    return int(seed)


def split_rows(
    where: str,
    features: Features,
    labels: NDArray[Any],
    class_names: Sequence[str],
    *,
    seed: int,
) -> dict[str, Split]:
    """Split rows about 70 / 15 / 15 so that every class keeps its share in every split.

    Of a class with n samples, ``max(1, round(0.15 n))`` validate, as many test, the rest train.
    Within a split the rows stay in their order. The same seed gives the same split.

    Parameters
    ----------
    where : str
        How to name the table in a message.
    features : array, shape (N, D)
    labels : array, shape (N,)
        0 to K-1.
    class_names : sequence of str
        K names.
    seed : int

    Returns
    -------
    dict of str to Split

    Raises
    ------
    KlayerError
        If a class has 1 or 2 samples, too few for three splits.

    Examples
    --------
    >>> rows, labels = np.arange(20.0)[:, None], np.repeat([0, 1], 10)
    >>> splits = split_rows("toy", rows, labels, ["a", "b"], seed=0)
    >>> {name: len(split) for name, split in splits.items()}
    {'train': 12, 'validation': 4, 'test': 4}
    """
    generator = np.random.default_rng(check_seed(seed))
    chosen: dict[str, list[NDArray[np.intp]]] = {name: [] for name in SPLITS}
    for index, name in enumerate(class_names):
        rows = generator.permutation(np.flatnonzero(labels == index))
        if 0 < len(rows) < 3:
            raise KlayerError(
                f"{where}: a class needs at least 3 samples to be split into train, validation and "
                f"test, but class {index} ({name!r}) has {len(rows)}: add samples, or give the "
                "splits yourself."
            )
        held_out = min(len(rows), max(1, round(HELD_OUT * len(rows))))
        validation, test, train = np.split(rows, [held_out, 2 * held_out])
        for split, part in zip(SPLITS, (train, validation, test), strict=True):
            chosen[split].append(part)
    order = {name: np.sort(np.concatenate(parts)) for name, parts in chosen.items()}
    return {name: Split(chosen_rows(features, rows), labels[rows]) for name, rows in order.items()}


def with_validation(
    where: str,
    splits: Mapping[str, Split],
    class_names: Sequence[str],
    *,
    seed: int,
    by_class: bool = True,
) -> tuple[dict[str, Split], str]:
    """Cut rows to validate from train, where there are rows to test and none to validate.

    Of a class with n training samples, ``round(0.15 n)`` validate, and one at least if there are
    two: the last one stays in training.

    Parameters
    ----------
    where : str
        How to name the data in a message.
    splits : mapping of str to Split
    class_names : sequence of str
    seed : int
    by_class : bool
        Whether labels are classes; otherwise all rows are alike.

    Returns
    -------
    splits : dict of str to Split
    note : str
        What was done, in a sentence; empty if nothing.

    Examples
    --------
    >>> rows = Split(np.arange(40.0)[:, None], np.repeat([0, 1], 20))
    >>> splits, note = with_validation("toy", {"train": rows, "test": rows}, ["a", "b"], seed=0)
    >>> {name: len(split) for name, split in splits.items()}, note
    ({'train': 34, 'validation': 6, 'test': 40}, 'validation: 6 of the 40 training rows, cut by \
class with seed 0')
    """
    if set(splits) != {"train", "test"}:
        return dict(splits), ""
    train = splits["train"]
    generator = np.random.default_rng(check_seed(seed))
    held_out: list[NDArray[np.intp]] = []
    groups = train.labels if by_class else np.zeros(len(train), np.int64)
    for index in range(len(class_names) if by_class else 1):
        rows = generator.permutation(np.flatnonzero(groups == index))
        held_out.append(rows[: min(max(1, round(HELD_OUT * len(rows))), max(0, len(rows) - 1))])
    cut = np.sort(np.concatenate(held_out))
    if not len(cut):
        return dict(splits), f"{where}: too few training rows to cut a validation split from"
    kept = np.setdiff1d(np.arange(len(train)), cut)
    parts = {
        "train": Split(chosen_rows(train.features, kept), train.labels[kept]),
        "validation": Split(chosen_rows(train.features, cut), train.labels[cut]),
        "test": splits["test"],
    }
    return parts, (
        f"validation: {len(cut):,} of the {len(train):,} training rows, cut"
        f"{' by class' if by_class else ''} with seed {seed}"
    )
