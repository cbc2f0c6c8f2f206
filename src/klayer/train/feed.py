"""The one door for data: raw rows -> (augmentation) -> standardisation -> batch.

Rows of 8-bit integers stay what they are in memory, a quarter of float32, and are standardised when a
batch is gathered, where that is no slower; others are standardised once. Rows on disk stay there, and
are standardised on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.data import Dataset, Encoder, Standardiser
from klayer.data.redraw import redrawn
from klayer.data.stored_rows import Features, StoredRows
from klayer.errors import KlayerError

__all__ = ["Augment", "Feed", "Rows"]

# Bytes that rows may take when they are standardised in advance. More gain nothing: a batch of them
# comes from main memory, four times as slowly as one of 8-bit numbers, which pays for standardising it.
# (CIFAR-10, 1 to 16 networks on two busy cores: 0.93 to 1.02 of the time, a quarter of the memory.)
MOST_READY = 2**28

Array = NDArray[Any]
Index = slice | NDArray[np.intp]


class Augment(Protocol):
    """Changes the raw rows (N, D) of the batch of an update, counted from 0."""

    def __call__(self, rows: Array, *, update: int) -> Array: ...


class SplitLike(Protocol):
    """A split: raw rows, their labels and, if they have any, their weights."""

    @property
    def features(self) -> Features: ...

    @property
    def labels(self) -> Array: ...

    @property
    def weights(self) -> Array | None: ...


class Data(Protocol):
    """What training needs of a data set; :class:`klayer.data.Dataset` has it."""

    @property
    def n_features(self) -> int: ...

    @property
    def n_classes(self) -> int: ...

    @property
    def splits(self) -> Mapping[str, SplitLike]: ...

    @property
    def class_names(self) -> Sequence[str]: ...

    @property
    def standardiser(self) -> Standardiser: ...

    @property
    def task(self) -> str: ...

    @property
    def targets(self) -> Standardiser | None: ...

    @property
    def encoder(self) -> Encoder | None: ...


class Rows:
    """The rows of a split as training sees them.

    Parameters
    ----------
    stored : array or StoredRows, shape (N, D)
        Raw, if ``standardiser`` is given; else standardised.
    labels : array, shape (N,) or (N, K)
        As losses take them: class indices, standardised targets, or 0 and 1 as numbers.
    dtype : dtype
    standardiser : optional
    weights : array, shape (N,), optional
        How much each row counts in the loss.
    scale : array, shape (K,), optional
        What standardised targets are to be multiplied by.
    """

    def __init__(
        self,
        stored: Features,
        labels: Array,
        dtype: np.dtype[Any],
        standardiser: Standardiser | None = None,
        weights: Array | None = None,
        scale: Array | None = None,
    ) -> None:
        self.stored, self.labels, self.dtype = stored, labels, dtype
        self.standardiser, self.weights, self.scale = standardiser, weights, scale

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def on_disk(self) -> bool:
        """Whether the rows are read when they are asked for."""
        return isinstance(self.stored, StoredRows)

    @property
    def X(self) -> Array:
        """All rows, standardised, shape (N, D)."""
        return self.take(slice(None))

    def take(self, index: Index, augment: Callable[[Array], Array] | None = None) -> Array:
        """Return some rows, standardised, shape (n, D); ``augment`` sees them raw."""
        rows: Array
        if isinstance(index, slice) or not isinstance(self.stored, np.ndarray):
            rows = self.stored[index]
        else:
            rows = np.take(self.stored, index, axis=0, mode="clip")
        if self.standardiser is None:
            return rows
        if augment:
            shape, rows = rows.shape, augment(rows)
            if rows.shape != shape:
                raise KlayerError(
                    f"an augmentation must return rows of the shape that it got, {shape}, but "
                    f"returned {rows.shape}."
                )
        return self.standardiser.transform(rows, self.dtype)

    def blocks(self, size: int) -> Iterator[tuple[Array, Array, Array | None]]:
        """Yield rows, labels and weights, ``size`` at a time."""
        for start in range(0, len(self), size):
            some = slice(start, start + size)
            weights = None if self.weights is None else self.weights[some]
            yield self.take(some), self.labels[some], weights

    def some(self, index: NDArray[np.intp]) -> Rows:
        """Return these rows alone, as a copy."""
        weights = None if self.weights is None else self.weights[index]
        return self.having(stored=self.stored[index], labels=self.labels[index], weights=weights)

    def standardised(self) -> Rows:
        """Return the same rows, standardised in advance; those on disk as they are."""
        return self if self.on_disk else self.having(stored=self.X, standardiser=None)

    def weighted(self, of_classes: Array | None) -> Rows:
        """Return the same rows, each with the weight of its class as well, (K,)."""
        if of_classes is None:
            return self
        weights = of_classes[self.labels].astype(self.dtype)
        return self.having(weights=weights if self.weights is None else weights * self.weights)

    def having(self, **changed: Any) -> Rows:
        """Return the same rows but for what is named."""
        rows = copy(self)
        rows.__dict__.update(changed)
        return rows


class Feed:
    """The splits of a data set on their way to networks, shared by all populations.

    Parameters
    ----------
    dataset : klayer.data.Dataset
    dtype : float32 or float64
    augment : callable ``(rows, update=t) -> rows``, optional
        Changes the rows of each training batch. It must follow from its arguments alone, so that a
        training can go on from any update.

    Attributes
    ----------
    dataset : klayer.data.Dataset
    n_features, n_classes : int
    dtype : dtype
    original : Feed
        The one whose rows were drawn anew to make this one; by default itself.

    Raises
    ------
    KlayerError
        If a feature is so far from those of training that it can't be calculated with, with its split,
        row and column.

    Examples
    --------
    >>> import klayer as kl
    >>> feed = Feed(kl.load("digits"))
    >>> train = feed["train"]
    >>> train.X.dtype, len(train.X) == len(train.labels), feed.n_features
    (dtype('float32'), True, 64)
    """

    def __init__(
        self, dataset: Data, dtype: DTypeLike = np.float32, augment: Augment | None = None
    ) -> None:
        if not hasattr(dataset, "splits"):
            raise KlayerError(
                f"`dataset` must be a data set, but got {dataset!r:.60} ({type(dataset).__name__}): "
                "kl.load returns one."
            )
        self.dataset, self.dtype, self.augment = dataset, np.dtype(dtype), augment
        self.n_features, self.n_classes = dataset.n_features, dataset.n_classes
        self._rows: dict[str, Rows] = {}
        self._drawn: tuple[int, int | str] = (0, "all")
        self._latest: Feed | None = None
        self.original: Feed = self
        if not self.absent:
            for name, part in dataset.splits.items():
                self._require_range(name, part.features)

    @property
    def absent(self) -> bool:
        """Whether only what is known of the data is there, not their rows."""
        return bool(getattr(self.dataset, "absent", False))

    def _require_range(self, name: str, features: Features) -> None:
        """Refuse features too far from the training split's to be calculated with."""
        standardiser = self.dataset.standardiser
        place = standardiser.beyond(features, self.dtype)
        if place is not None:
            row, column = place
            encoder = self.dataset.encoder
            title = repr(encoder.feature_names[column]) if encoder else column
            raise KlayerError(
                f"split {name!r}, row {row}, column {title}: a feature must be near enough to those "
                f"of training to be calculated with in {self.dtype}, but got {features[place]:g}, "
                f"where training has a mean of {standardiser.mean[column]:g} and a deviation of "
                f"{standardiser.scale[column]:g}: correct the row or leave it away."
            )

    def redrawn(self, split_seed: int, train_samples: int | Literal["all"]) -> Feed:
        """Return the feed of the same data with other rows to train on; see `klayer.data.redrawn`."""
        key = split_seed, train_samples
        if key in ((0, "all"), self._drawn) or self.absent:
            return self
        if self._latest is None or self._latest._drawn != key:
            if not isinstance(self.dataset, Dataset):
                raise KlayerError(
                    "`split_seed` and `train_samples` need a klayer.data.Dataset, but got "
                    f"{type(self.dataset).__name__}."
                )
            dataset = redrawn(self.dataset, split_seed, train_samples)
            self._latest = Feed(dataset, self.dtype, self.augment)
            self._latest._drawn = key
            self._latest.original = self
        return self._latest

    @property
    def splits(self) -> Sequence[str]:
        """Names of the splits that there are; ``train`` is one of them."""
        return tuple(self.dataset.splits)

    def __getitem__(self, split: str) -> Rows:
        """Return the rows of a split."""
        if split not in self._rows:
            rows = self.raw(split)
            stays = rows.stored.dtype.kind in "ui" and rows.stored.itemsize == 1
            augmented = self.augment is not None and split == "train"
            self._rows[split] = rows if stays or augmented else rows.standardised()
        return self._rows[split]

    def raw(self, split: str) -> Rows:
        """Return the rows of a split as they are stored, to be standardised on the way."""
        key = f"{split}, raw"
        if key not in self._rows:
            part, standardiser = self.dataset.splits[split], self.dataset.standardiser
            raw, targets = part.features, self.dataset.targets
            scale = None if targets is None else targets.scale
            labels, weights = self._labels(part), self._weights(part)
            self._rows[key] = Rows(raw, labels, self.dtype, standardiser, weights, scale)
        return self._rows[key]

    def _labels(self, part: SplitLike) -> Array:
        """Return the labels of a split as losses take them."""
        if self.dataset.targets is not None:
            return self.dataset.targets.transform(part.labels, self.dtype)
        if part.labels.ndim == 1:
            return np.ascontiguousarray(part.labels, np.int64)
        return np.ascontiguousarray(part.labels, self.dtype)

    def _weights(self, part: SplitLike) -> Array | None:
        """Return weights whose mean over the training split is 1; of other splits in that measure."""
        train = self.dataset.splits["train"]
        if part.weights is None:
            return None
        unit = float((part if train.weights is None else train).weights.mean())  # type: ignore[union-attr]
        return (part.weights / unit).astype(self.dtype)

    def class_weights(self, asked: str | Sequence[float]) -> Array | None:
        """Return a weight for each class, (K,), such that the mean over the training rows is 1.

        Parameters
        ----------
        asked : {"none", "balanced"} or sequence of K floats >= 0
            ``balanced``: every class counts the same, ``N / (K n_k)`` with ``n_k`` rows of class k. Of
            given weights only the ratios matter.

        Raises
        ------
        KlayerError
            If the data have no classes, or another number of them.
        """
        if asked == "none":
            return None
        dataset = self.dataset
        if dataset.task != "classification":
            raise KlayerError(
                f"`class_weights` are for classes, but the task of the data is {dataset.task}: give "
                "the rows weights instead (`Split.weights`)."
            )
        part = dataset.splits["train"]
        if isinstance(asked, str):
            rows = np.bincount(part.labels, part.weights, minlength=self.n_classes)
            weights = np.divide(1.0, rows, out=np.zeros(len(rows)), where=rows > 0)
        else:
            weights = np.array(asked, float)
        if len(weights) != self.n_classes:
            raise KlayerError(
                f"`class_weights` must be one number for each of the {self.n_classes} classes "
                f"({', '.join(dataset.class_names)}), but got {len(weights)}."
            )
        mean = np.average(weights[part.labels], weights=part.weights)
        if not mean > 0:
            raise KlayerError("`class_weights`: one at least must be > 0, but all are 0.")
        return np.asarray(weights / mean)

    def ready(self, split: str) -> Rows:
        """Return the rows of a split standardised in advance: the same bits, for more memory.

        Rows of 8 bits stay what they are where that would be more than :data:`MOST_READY` bytes.
        """
        key = f"{split}, ready"
        if key not in self._rows:
            rows = self[split]
            whole = rows.standardiser is None or self.augment is not None
            whole = whole or rows.stored.nbytes * self.dtype.itemsize > MOST_READY
            self._rows[key] = rows if whole else rows.standardised()
        return self._rows[key]

    def sample(self, split: str, size: int) -> Rows:
        """Return ``size`` rows of a split, the first of a fixed random order; or all of it."""
        key = f"{split}:{size}"
        if key not in self._rows:
            rows = self[split]
            if size < len(rows):
                rows = rows.some(np.random.default_rng(0).permutation(len(rows))[:size])
            self._rows[key] = rows
        return self._rows[key]
