"""What is odd about data that may be trained on all the same: said, not refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.row_blocks import row_blocks
from klayer.data.stored_rows import Features

__all__ = ["oddities"]

_SHOWN = 5


def oddities(
    tables: Mapping[str, tuple[Features, NDArray[Any]]],
    class_names: Sequence[str],
    task: str = "classification",
) -> list[str]:
    """Say what hinders training or judging: constant columns, classes with hardly a sample.

    Parameters
    ----------
    tables : mapping of str to (features, labels)
        Of each split, as `task` has them; ``train`` among them.
    class_names : sequence of str
    task : {"classification", "regression", "multilabel"}

    Returns
    -------
    list of str
        A sentence each.

    Examples
    --------
    >>> rows = np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    >>> tables = {"train": (rows, np.array([0, 0, 1])), "test": (rows, np.array([0, 0, 0]))}
    >>> oddities(tables, ["a", "b"])
    ["split 'train' has one sample only of class 'b'", "split 'test' has no sample of class 'b'"]
    """
    features, _ = tables["train"]
    found = []
    if _all_constant(features):
        found.append(
            f"every column of split 'train' is constant ({len(features):,} equal rows): there is "
            "nothing to learn from"
        )
    if task != "classification":
        labels = tables["train"][1]
        what = "target" if task == "regression" else "label"
        constant = np.flatnonzero((labels == labels[:1]).all(axis=0))
        for index in constant[:_SHOWN]:
            found.append(f"{what} {class_names[index]!r} is the same in every row of split 'train'")
        return found
    for name, (_, labels) in tables.items():
        counts = np.bincount(labels, minlength=len(class_names))
        for words, wanted in (("no sample", 0), ("one sample only", 1)):
            if wanted and name != "train":
                continue
            classes = np.flatnonzero(counts == wanted)
            if classes.size:
                shown = ", ".join(repr(class_names[index]) for index in classes[:_SHOWN])
                more = f" and {len(classes) - _SHOWN} others" if len(classes) > _SHOWN else ""
                word = "class" if len(classes) == 1 else "classes"
                found.append(f"split {name!r} has {words} of {word} {shown}{more}")
    return found


def _all_constant(features: Features) -> bool:
    return all((features[block] == features[0]).all() for block in row_blocks(*features.shape))
