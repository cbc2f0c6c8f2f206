"""What every source becomes: a `Dataset` of named splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.data.encoder import Encoder
from klayer.data.fingerprint import fingerprint, standardiser_digest
from klayer.data.labels import (
    check_every_output_used,
    check_labels,
    check_weights,
    in_one_form,
)
from klayer.data.measure import extremes
from klayer.data.oddities import oddities
from klayer.data.row_blocks import row_blocks
from klayer.data.standardiser import Standardiser
from klayer.data.stored_rows import Features, StoredRows
from klayer.errors import KlayerError, unknown_name
from klayer.printable import printable
from klayer.shown import Facts, Part, ShownColumn, ShownTable, Told

__all__ = ["SPLITS", "Dataset", "Split", "Splits", "check_features", "check_rows"]

SPLITS = ("train", "validation", "test")
_OUTPUTS = {"classification": "classes", "regression": "targets", "multilabel": "labels"}
# Classes that a notebook lists.
MOST_SHOWN = 20


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: samples as rows, their labels and, if they have any, their weights.

    Parameters
    ----------
    features : array or `klayer.data.stored_rows.StoredRows`, shape (N, D)
        Raw values of any real dtype. Images stay ``uint8``, a quarter of the memory of float32.
        Rows on disk may stay there: nothing asks for more than a block of them.
    labels : array, shape (N,) or (N, K)
        Class indices from 0 to K-1, targets, or 0 and 1 for each of K labels: what the data set's
        task says. Any integer dtype of class indices is converted to int64.
    weights : array, shape (N,), optional
        How much each row counts in the loss, >= 0; a row of weight 2 counts like two rows. Scores
        count every row once.

    Raises
    ------
    KlayerError
        If the rows don't form an array. `Dataset` checks the rest, because it knows the names.

    Examples
    --------
    >>> len(Split([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], [0, 1, 1]))
    3
    """

    features: Features
    labels: NDArray[Any]
    weights: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for field in ("features", "labels", "weights"):
            if getattr(self, field) is None or isinstance(getattr(self, field), StoredRows):
                continue
            try:
                value = np.asarray(getattr(self, field))
            except ValueError as error:
                raise KlayerError(f"`{field}` must be an array with equal rows: {error}") from None
            if field == "labels" and value.ndim == 1 and value.dtype.kind in "bui":
                value = value.astype(np.int64, copy=False)
            if field == "weights" and value.dtype.kind in "buif":
                value = value.astype(np.float64, copy=False)
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.labels)


class Splits(dict[str, Split]):
    """The splits of a data set by name; asking for one that is not there is a `KlayerError`.

    Examples
    --------
    >>> Splits("data set 'toy'", train=Split([[0.0], [1.0]], [0, 1]))["test"]
    Traceback (most recent call last):
    klayer.errors.KlayerError: data set 'toy': there is no split 'test', only train: name one of \
these, or add it to the data.
    """

    def __init__(self, where: str, **splits: Split) -> None:
        super().__init__(splits)
        self.where = where

    def __missing__(self, name: object) -> Split:
        if name not in SPLITS:
            raise unknown_name("split", name, self)
        raise KlayerError(
            f"{self.where}: there is no split {name!r}, only {', '.join(self)}: name one of "
            "these, or add it to the data."
        )


def check_rows(
    where: str,
    features: Features,
    labels: NDArray[Any],
    n_classes: int,
    task: str = "classification",
    names: Sequence[str] | None = None,
) -> None:
    """Check the rows of one table: shapes, lengths, labels, finite features.

    Parameters
    ----------
    where : str
        How to name the table in a message: the file, the split.
    features : array, shape (N, D)
    labels : array, as :func:`klayer.data.labels.in_one_form` returns them
    n_classes : int
        K.
    task : str
    names : sequence of str, optional
        Of the columns, for messages; without them they are counted from 0.

    Raises
    ------
    KlayerError
        Naming `where`, the row and the column (both counted from 0), the value and the rule.

    Examples
    --------
    >>> check_rows("sheet.npz", np.ones((2, 3)), np.array([0, 7]), n_classes=3)
    Traceback (most recent call last):
    klayer.errors.KlayerError: sheet.npz, row 1: a label must be 0 to 2 (3 classes), but got 7.
    """
    check_features(where, features, names)
    check_labels(where, labels, len(features), n_classes, task)


def check_features(where: str, features: Features, names: Sequence[str] | None = None) -> None:
    """Check the features of one table: shape, dtype, that all are finite; as :func:`check_rows`."""
    if features.ndim != 2 or 0 in features.shape:
        raise KlayerError(
            f"{where}: features must have shape (N, D) with at least one row and one column, "
            f"but got {features.shape}: pass samples as rows."
        )
    if features.dtype.kind not in "buif":
        raise KlayerError(
            f"{where}: features must be real numbers, but got dtype {features.dtype}: "
            "convert them, for example with `.astype(float)`."
        )
    if features.dtype.kind != "f" or all(np.isfinite(one).all() for one in extremes(features)):
        return
    for block in row_blocks(*features.shape):
        finite = np.isfinite(features[block])
        if not finite.all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            row += block.start
            place = (
                features.place(row) if isinstance(features, StoredRows) else f"{where}, row {row}"
            )
            name = column if names is None else repr(names[column])
            raise KlayerError(
                f"{place}, column {name}: features must be finite, "
                f"but got {features[row, column]}: remove the row or fill the gap."
            )


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Told):
    """Samples and labels in up to three splits: what networks are trained on.

    Parameters
    ----------
    name : str
        Short name, as in file names and headings.
    splits : mapping of str to Split
        ``"train"`` and, as far as there are any, ``"validation"`` and ``"test"``. The field is a
        `Splits`, in this order.
    class_names : sequence of str
        K names: of the classes (label k means ``class_names[k]``), of the targets, or of the labels
        that a row may have.
    image_shape : (channels, height, width), optional
        If each row is an image: ``features[n].reshape(image_shape)``.
    source : str
        Where the data came from, in one line for the report.
    notes : sequence of str
        What was done to the data on the way, and what is odd about them, a sentence each: labels
        that were mapped, rows that were cut, a class that a split lacks. The last kind is found here.
    background : {"white", "black"}
        What was put behind transparent pixels, and is again when the networks label images.
    split_by : str
        The column that decided about the splits, by groups or by time: they are not drawn anew.
    task : {"classification", "regression", "multilabel"}
        What is to be learnt of a row: its class, a number or several, or for each label whether the
        row has it. ``Split.labels`` are then int64 (N,), float64 (N, K), or uint8 (N, K) of 0 and 1.
    every_class : bool
        Whether the training split must have a row of each class; rows that come in parts needn't.
    encoder : Encoder, optional
        What made the features of a table's columns; it goes with the networks.

    Raises
    ------
    KlayerError
        Naming the split, the row and the rule: shapes, lengths, labels out of range, features that
        are not finite, a class without a training sample, an image shape of the wrong size.

    Examples
    --------
    >>> rows = Split(np.array([[0, 10], [2, 10]]), np.array([0, 1]))
    >>> toy = Dataset("toy", {"train": rows, "test": rows}, ("low", "high"))
    >>> toy.n_features, toy.n_classes, list(toy.splits)
    (2, 2, ['train', 'test'])
    >>> toy.standardised("test")
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    >>> prices = Split([[0.0], [1.0], [2.0]], [10.0, 20.0, 40.0])
    >>> Dataset("prices", {"train": prices}, ["price"], task="regression").splits["train"].labels.shape
    (3, 1)
    """

    name: str
    splits: Mapping[str, Split]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None = None
    source: str = ""
    task: str = "classification"
    encoder: Encoder | None = None
    notes: tuple[str, ...] = ()
    background: str = "white"
    split_by: str = ""
    every_class: bool = True

    def __post_init__(self) -> None:
        for field in ("name", "source"):
            object.__setattr__(self, field, printable(getattr(self, field)))
        where = f"data set {self.name!r}" + (f" ({self.source})" if self.source else "")
        if "train" not in self.splits or not set(self.splits) <= set(SPLITS):
            raise KlayerError(
                f"{where}: the splits must be train and, if there are any, validation and test, "
                f"but got {', '.join(self.splits) or 'none'}."
            )
        names = tuple(printable(name) for name in self.class_names)
        few, what = {
            "classification": (2, "two classes"),
            "regression": (1, "one target"),
            "multilabel": (1, "one label"),
        }.get(self.task, (1, "one"))
        if len(names) < few or len(set(names)) != len(names):
            raise KlayerError(
                f"{where}: there must be at least {what} with different names, "
                f"but got {list(names)}."
            )
        ordered = {
            name: replace(split, labels=in_one_form(split.labels, self.task))
            for name in SPLITS
            if (split := self.splits.get(name)) is not None
        }
        object.__setattr__(self, "splits", Splits(where, **ordered))
        object.__setattr__(self, "class_names", names)
        for name, split in self.splits.items():
            here = f"{where}, split {name!r}"
            columns = self.encoder.feature_names if self.encoder is not None else None
            check_rows(here, split.features, split.labels, len(names), self.task, columns)
            if split.weights is not None:
                check_weights(here, split.weights, len(split))
            if split.features.shape[1] != self.n_features:
                raise KlayerError(
                    f"{where}, split {name!r}: every split must have as many features as 'train', "
                    f"{self.n_features}, but got {split.features.shape[1]}."
                )
        if self.every_class:
            check_every_output_used(where, self.splits["train"].labels, names, self.task)
        if self.image_shape is not None:
            shape = tuple(int(size) for size in self.image_shape)
            if len(shape) != 3 or min(shape) < 1 or np.prod(shape) != self.n_features:
                raise KlayerError(
                    f"{where}: `image_shape` must be (channels, height, width) with a product of "
                    f"{self.n_features}, the number of features, but got {shape}."
                )
            object.__setattr__(self, "image_shape", shape)
        tables = {name: (split.features, split.labels) for name, split in self.splits.items()}
        odd = [one for one in oddities(tables, names, self.task) if one not in self.notes]
        object.__setattr__(self, "notes", (*map(printable, self.notes), *odd))

    def __repr__(self) -> str:
        rows = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        what = f"{self.n_features:,} features, {self.task}, {self.n_classes} {_OUTPUTS[self.task]}"
        return f"<Dataset {self.name!r}: {what}; rows: {rows}>"

    def parts(self) -> list[Part]:
        """Return what a notebook shows: shapes, splits, classes, notes."""
        train = self.splits["train"].features
        shape = "" if self.image_shape is None else f" = {' x '.join(map(str, self.image_shape))}"
        low, high = self.value_range
        facts = [
            ("source", self.source or "-"),
            ("features", f"{self.n_features:,}{shape} of {train.dtype}, from {low:g} to {high:g}"),
            ("task", self.task),
            *(("note", note) for note in self.notes),
        ]
        names = list(self.class_names[:MOST_SHOWN])
        rest = self.n_classes - len(names)
        columns = [ShownColumn(_OUTPUTS[self.task], names, words=True, header=True)]
        for name, split in self.splits.items():
            columns.append(ShownColumn(name, self._per_output(split)[: len(names)]))
        caption = "Rows" if self.task != "regression" else "Mean of the targets"
        caption += f"; the first {MOST_SHOWN} of {self.n_classes}" if rest else ""
        table = ShownTable(columns, [caption] * len(names), [False] * len(names))
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        return [Facts([*facts, ("rows", sizes)]), table]

    def _per_output(self, split: Split) -> list[str]:
        """Return what is told of each class, label or target in a split."""
        if self.task == "regression":
            return [f"{mean:.4g}" for mean in split.labels.mean(axis=0)]
        if self.task == "multilabel":
            return [f"{count:,}" for count in split.labels.sum(axis=0, dtype=int)]
        return [f"{count:,}" for count in np.bincount(split.labels, minlength=self.n_classes)]

    def _heading(self) -> str:
        return f"Data set {self.name}"

    @property
    def n_features(self) -> int:
        """D, the number of features of a row."""
        return int(self.splits["train"].features.shape[1])

    @property
    def n_classes(self) -> int:
        """K, the number of classes, targets or labels."""
        return len(self.class_names)

    def measured_as(self, inputs: Standardiser, targets: Standardiser | None) -> Dataset:
        """Return the same rows with a mean and scale that were measured before, on other rows."""
        known = copy(self)
        known.__dict__.update(standardiser=inputs, targets=targets)
        if "fingerprint" in known.__dict__:
            digest = standardiser_digest(inputs)
            known.__dict__["fingerprint"] = {**known.fingerprint, "standardiser": digest}
        return known

    @cached_property
    def standardiser(self) -> Standardiser:
        """Mean and scale of the training split, and of no other; measured at first use."""
        return Standardiser.fit(self.splits["train"].features)

    @cached_property
    def targets(self) -> Standardiser | None:
        """Mean and scale of a regression's targets in the training split; of other tasks None."""
        if self.task != "regression":
            return None
        try:
            return Standardiser.fit(self.splits["train"].labels)
        except KlayerError as error:
            raise KlayerError(f"data set {self.name!r}, the targets: {error}") from None

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """The lowest and highest raw feature of the training split: (0, 255) for 8-bit images."""
        low, high = extremes(self.splits["train"].features)
        return float(low.min()), float(high.max())

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Short digests of features, labels, split and standardiser; taken at first use.

        See `klayer.data.fingerprint.fingerprint`: every byte counts.
        """
        tables = {name: (split.features, split.labels) for name, split in self.splits.items()}
        weights = {name: split.weights for name, split in self.splits.items()}
        return fingerprint(tables, self.standardiser, weights)

    def standardised(self, split: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Standardise the features of a split with the training split's mean and scale.

        Parameters
        ----------
        split : str
            Of `splits`.
        dtype : dtype

        Returns
        -------
        array, shape (N, D), C-contiguous

        Raises
        ------
        KlayerError
            If there is no such split.
        """
        return self.standardiser.transform(self.splits[split].features[:], dtype)
