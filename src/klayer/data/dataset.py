"""What every source becomes: a `Dataset` of named splits, and its `Standardiser`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from klayer.errors import KlayerError, unknown_name

__all__ = ["SPLITS", "Dataset", "Split", "Standardiser", "check_rows", "row_blocks"]

SPLITS = ("train", "validation", "test")

# Numbers worked on at once where a pass goes by row blocks: 2**18 float64 are 2 MB and fit into
# the cache.
_BLOCK = 2**18


def row_blocks(rows: int, features: int) -> Iterator[slice]:
    """Cut `rows` rows of `features` numbers into slices that fit into the cache.

    Examples
    --------
    >>> list(row_blocks(5, 2**17))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, _BLOCK // max(1, features))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: samples as rows, and their labels.

    Parameters
    ----------
    features : array, shape (N, D)
        Raw values of any real dtype. Images stay ``uint8``, a quarter of the memory of float32.
    labels : array, shape (N,)
        Class indices from 0 to K-1; any integer dtype is converted to int64.

    Raises
    ------
    KlayerError
        If the rows don't form an array. `Dataset` checks the rest, because it knows the names.

    Examples
    --------
    >>> len(Split([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], [0, 1, 1]))
    3
    """

    features: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        for field in ("features", "labels"):
            try:
                value = np.asarray(getattr(self, field))
            except ValueError as error:
                raise KlayerError(f"`{field}` must be an array with equal rows: {error}") from None
            if field == "labels" and value.dtype.kind in "bui":
                value = value.astype(np.int64, copy=False)
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.labels)


def check_rows(where: str, features: np.ndarray, labels: np.ndarray, classes: int) -> None:
    """Check the rows of one table: shapes, lengths, label range, finite features.

    Parameters
    ----------
    where : str
        How to name the table in a message: the file, the split.
    features : array, shape (N, D)
    labels : array, shape (N,)
    classes : int
        K, the number of classes.

    Raises
    ------
    KlayerError
        Naming `where`, the row and the column (both counted from 0), the value and the rule.

    Examples
    --------
    >>> check_rows("sheet.npz", np.ones((2, 3)), np.array([0, 7]), classes=3)
    Traceback (most recent call last):
    klayer.errors.KlayerError: sheet.npz, row 1: a label must be 0 to 2 (3 classes), but got 7.
    """
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
    if labels.ndim != 1 or labels.dtype.kind not in "bui":
        raise KlayerError(
            f"{where}: labels must be whole numbers of shape (N,), but got shape {labels.shape}, "
            f"dtype {labels.dtype}: pass one class index per row."
        )
    if len(labels) != len(features):
        raise KlayerError(
            f"{where}: there must be one label per row, but got {len(features):,} rows "
            f"and {len(labels):,} labels."
        )
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise KlayerError(
            f"{where}, row {row}: a label must be 0 to {classes - 1} ({classes} classes), "
            f"but got {labels[row]}."
        )
    if features.dtype.kind != "f":
        return
    for block in row_blocks(*features.shape):
        finite = np.isfinite(features[block])
        if not finite.all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            row += block.start
            raise KlayerError(
                f"{where}, row {row}, column {column}: features must be finite, "
                f"but got {features[row, column]}: remove the row or fill the gap."
            )


@dataclass(frozen=True, eq=False)
class Standardiser:
    r"""Zero mean and unit standard deviation per feature, as the training split has them.

    .. math:: \hat{x}_d = (x_d - \mu_d) / \sigma_d, \qquad
              \mu_d = \tfrac1N \sum_n x_{nd}, \qquad
              \sigma_d^2 = \tfrac1N \sum_n (x_{nd} - \mu_d)^2

    Parameters
    ----------
    mean : array, shape (D,), float64
        :math:`\mu`, the mean of each feature.
    scale : array, shape (D,), float64
        :math:`\sigma`, the population standard deviation of each feature; 1 for a constant
        feature, which therefore becomes 0 and not NaN.

    Examples
    --------
    >>> standardiser = Standardiser.fit(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> standardiser.mean, standardiser.scale
    (array([2., 7.]), array([1., 1.]))
    >>> standardiser.transform(np.array([[5.0, 7.0]]))
    array([[3., 0.]], dtype=float32)
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Standardiser:
        """Measure mean and scale in float64, by row blocks.

        Parameters
        ----------
        features : array, shape (N, D)
            Raw features of any real dtype; the whole array is never converted at once.

        Returns
        -------
        Standardiser

        Raises
        ------
        KlayerError
            If the values are so large that their squares overflow float64.
        """
        rows, columns = features.shape
        # Both passes work on distances from the first row: those of a constant feature are exactly
        # 0, so that scale == 0 recognises it, whatever its value and whatever the rounding.
        origin = features[0].astype(np.float64)
        total = np.zeros(columns)
        squares = np.zeros(columns)
        with np.errstate(over="ignore", invalid="ignore"):
            for block in row_blocks(rows, columns):
                total += (features[block] - origin).sum(axis=0)
            shift = total / rows
            mean = origin + shift
            for block in row_blocks(rows, columns):
                distance = features[block] - origin
                distance -= shift
                squares += (distance * distance).sum(axis=0)
            scale = np.sqrt(squares / rows)
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            column = int((~np.isfinite(scale) | ~np.isfinite(mean)).argmax())
            raise KlayerError(
                f"column {column}: features must be small enough to be squared in float64 (below "
                "about 1e150): rescale the column."
            )
        scale[scale == 0] = 1.0
        return cls(mean, scale)

    def transform(self, features: np.ndarray, dtype=np.float32) -> np.ndarray:
        """Standardise rows: computed in float64, by row blocks, then rounded once to `dtype`.

        Parameters
        ----------
        features : array, shape (N, D)
        dtype : dtype
            Of the result: float32 to train, float64 to check gradients.

        Returns
        -------
        array, shape (N, D), C-contiguous
        """
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise KlayerError(
                f"features must have shape (N, {len(self.mean)}), but got {features.shape}: "
                "pass samples as rows."
            )
        result = np.empty(features.shape, dtype)
        for block in row_blocks(*features.shape):
            distance = features[block] - self.mean
            distance /= self.scale
            result[block] = distance
        return result


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and labels in three splits: what networks are trained on.

    Parameters
    ----------
    name : str
        Short name, as in file names and headings.
    splits : mapping of str to Split
        Exactly ``"train"``, ``"validation"`` and ``"test"``.
    class_names : sequence of str
        K names; label k means ``class_names[k]``.
    image_shape : (channels, height, width), optional
        If each row is an image: ``features[n].reshape(image_shape)``.
    source : str
        Where the data came from, in one line for the report.

    Raises
    ------
    KlayerError
        Naming the split, the row and the rule: shapes, lengths, labels out of range, features that
        are not finite, a class without a training sample, an image shape of the wrong size.

    Examples
    --------
    >>> rows = Split(np.array([[0, 10], [2, 10]]), np.array([0, 1]))
    >>> toy = Dataset("toy", {"train": rows, "validation": rows, "test": rows}, ("low", "high"))
    >>> toy.n_features, toy.n_classes
    (2, 2)
    >>> toy.standardised("test")
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """

    name: str
    splits: Mapping[str, Split]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None = None
    source: str = ""

    def __post_init__(self):
        where = f"data set {self.name!r}" + (f" ({self.source})" if self.source else "")
        if set(self.splits) != set(SPLITS):
            raise KlayerError(
                f"{where}: the splits must be train, validation and test, "
                f"but got {', '.join(self.splits) or 'none'}."
            )
        names = tuple(str(name) for name in self.class_names)
        if len(names) < 2 or len(set(names)) != len(names):
            raise KlayerError(
                f"{where}: there must be at least two classes with different names, "
                f"but got {list(names)}."
            )
        object.__setattr__(self, "splits", {name: self.splits[name] for name in SPLITS})
        object.__setattr__(self, "class_names", names)
        for name, split in self.splits.items():
            check_rows(f"{where}, split {name!r}", split.features, split.labels, len(names))
            if split.features.shape[1] != self.n_features:
                raise KlayerError(
                    f"{where}, split {name!r}: every split must have as many features as 'train', "
                    f"{self.n_features}, but got {split.features.shape[1]}."
                )
        counts = np.bincount(self.splits["train"].labels, minlength=len(names))
        if not counts.all():
            empty = int(counts.argmin())
            raise KlayerError(
                f"{where}, split 'train': every class must have a sample, but class {empty} "
                f"({names[empty]!r}) has none: labels count from 0 without gaps; add samples or "
                "drop the class."
            )
        if self.image_shape is not None:
            shape = tuple(int(size) for size in self.image_shape)
            if len(shape) != 3 or min(shape) < 1 or np.prod(shape) != self.n_features:
                raise KlayerError(
                    f"{where}: `image_shape` must be (channels, height, width) with a product of "
                    f"{self.n_features}, the number of features, but got {shape}."
                )
            object.__setattr__(self, "image_shape", shape)

    @property
    def n_features(self) -> int:
        """D, the number of features of a row."""
        return self.splits["train"].features.shape[1]

    @property
    def n_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @cached_property
    def standardiser(self) -> Standardiser:
        """Mean and scale of the training split, and of no other; measured at first use."""
        return Standardiser.fit(self.splits["train"].features)

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """The lowest and highest raw feature of the training split: (0, 255) for 8-bit images."""
        features = self.splits["train"].features
        return float(features.min()), float(features.max())

    def standardised(self, split: str, dtype=np.float32) -> np.ndarray:
        """Standardise the features of a split with the training split's mean and scale.

        Parameters
        ----------
        split : {"train", "validation", "test"}
        dtype : dtype

        Returns
        -------
        array, shape (N, D), C-contiguous
        """
        if split not in self.splits:
            raise unknown_name("split", split, SPLITS)
        return self.standardiser.transform(self.splits[split].features, dtype)
