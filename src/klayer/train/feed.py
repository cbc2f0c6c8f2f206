"""The one door for data: raw rows -> (augmentation) -> standardisation -> batch.

Rows of 8-bit integers stay what they are in memory, a quarter of float32, and are standardised when a
batch is gathered, where that is no slower; others are standardised once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.data import Standardiser
from klayer.errors import KlayerError

__all__ = ["Augment", "Feed", "Rows"]

Array = NDArray[Any]
Index = slice | NDArray[np.intp]


class Augment(Protocol):
    """Changes the raw rows (N, D) of the batch of an update, counted from 0."""

    def __call__(self, rows: Array, *, update: int) -> Array: ...


class SplitLike(Protocol):
    """A split: raw rows and their labels."""

    @property
    def features(self) -> Array: ...

    @property
    def labels(self) -> Array: ...


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


class Rows:
    """The rows of a split as training sees them.

    Parameters
    ----------
    stored : array, shape (N, D)
        Raw, if ``standardiser`` is given; else standardised.
    labels : int array, shape (N,)
    dtype : dtype
    standardiser : optional
    """

    def __init__(
        self,
        stored: Array,
        labels: Array,
        dtype: np.dtype[Any],
        standardiser: Standardiser | None = None,
    ) -> None:
        self.stored, self.labels, self.dtype, self.standardiser = (
            stored,
            labels,
            dtype,
            standardiser,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def X(self) -> Array:
        """All rows, standardised, shape (N, D)."""
        return self.take(slice(None))

    def take(self, index: Index, augment: Callable[[Array], Array] | None = None) -> Array:
        """Return some rows, standardised, shape (n, D); ``augment`` sees them raw."""
        if isinstance(index, slice):
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

    def blocks(self, size: int) -> Iterator[tuple[Array, Array]]:
        """Yield rows and labels, ``size`` at a time."""
        for start in range(0, len(self), size):
            some = slice(start, start + size)
            yield self.take(some), self.labels[some]

    def some(self, index: NDArray[np.intp]) -> Rows:
        """Return these rows alone, as a copy."""
        return Rows(self.stored[index], self.labels[index], self.dtype, self.standardiser)


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
        self.dataset, self.dtype, self.augment = dataset, np.dtype(dtype), augment
        self.n_features, self.n_classes = dataset.n_features, dataset.n_classes
        self._rows: dict[str, Rows] = {}

    @property
    def splits(self) -> Sequence[str]:
        """Names of the splits that there are; ``train`` is one of them."""
        return tuple(self.dataset.splits)

    def __getitem__(self, split: str) -> Rows:
        """Return the rows of a split."""
        if split not in self._rows:
            part, standardiser = self.dataset.splits[split], self.dataset.standardiser
            labels = np.ascontiguousarray(part.labels)
            raw = part.features
            if (raw.dtype.kind in "ui" and raw.itemsize == 1) or (
                self.augment and split == "train"
            ):
                self._rows[split] = Rows(raw, labels, self.dtype, standardiser)
            else:
                self._rows[split] = Rows(
                    standardiser.transform(raw, self.dtype), labels, self.dtype
                )
        return self._rows[split]

    def ready(self, split: str) -> Rows:
        """Return the rows of a split standardised in advance: the same bits, for more memory."""
        key = f"{split}, ready"
        if key not in self._rows:
            rows = self[split]
            whole = rows.standardiser is None or self.augment is not None
            self._rows[key] = rows if whole else Rows(rows.X, rows.labels, self.dtype)
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
