"""A network of a run, looked at closely: its mistakes, its first-layer weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset
from klayer.report.png import picture, weight_sheet
from klayer.report.run_view import RunView
from klayer.study.record import NetworkRecord

__all__ = ["ClassResult", "Examination", "Mistake", "examine"]

MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """An image that the network gets wrong.

    ``index`` is its row in the split, ``prob`` the probability of the class that was predicted.
    """

    index: int
    label: str
    predicted: str
    prob: float
    png: bytes


@dataclass(frozen=True)
class ClassResult:
    """What becomes of the samples of one class.

    ``low`` and ``high`` bound the 95 % interval of the accuracy, after Wilson; ``taken_for`` is the
    class that they are most often taken for, so many ``times``.
    """

    name: str
    n: int
    accuracy: float | None
    low: float
    high: float
    taken_for: str
    times: int

    @property
    def most(self) -> str:
        """The most frequent mistake in words."""
        return f"{self.taken_for} ({self.times})" if self.times else "–"


@dataclass(frozen=True)
class Examination:
    """What a network does on one split.

    Attributes
    ----------
    confusion : int array, shape (K, K)
        Rows are true classes, columns predicted ones.
    weights : bytes or None
        The first-layer weights of ``units`` units as a PNG; None if the data are not images.
    mistakes : list of Mistake
        Wrong with the highest probability first; empty if the data are not images.
    """

    record: NetworkRecord
    split: str
    class_names: tuple[str, ...]
    confusion: NDArray[np.int_]
    weights: bytes | None
    units: int
    mistakes: list[Mistake]

    @property
    def accuracy(self) -> float:
        """Share of the samples on the diagonal."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def classes(self) -> list[ClassResult]:
        """Return what becomes of each class."""
        found = []
        for k, name in enumerate(self.class_names):
            row = self.confusion[k]
            n, right = int(row.sum()), int(row[k])
            taken = int(np.where(np.arange(len(row)) == k, -1, row).argmax())
            times = 0 if taken == k else int(row[taken])
            other = self.class_names[taken] if times else ""
            found.append(
                ClassResult(name, n, right / n if n else None, *_wilson(right, n), other, times)
            )
        return found


def _wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, after Wilson (1927).

    Examples
    --------
    >>> [round(x, 3) for x in _wilson(8, 10)]
    [0.49, 0.943]
    """
    if n == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share, scale = right / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def examine(view: RunView, record: NetworkRecord, dataset: Dataset) -> Examination:
    """Let a network label the split that the run is judged by."""
    model, split = view.run.model(record), dataset.splits[view.judge]
    probs = model.predict_probs(split.features)[0]
    predicted, k = probs.argmax(axis=1), dataset.n_classes
    cells = np.bincount(split.labels * k + predicted, minlength=k**2).reshape(k, k)
    found = Examination(record, view.judge, dataset.class_names, cells, None, 0, [])
    shape = dataset.image_shape
    if shape is None or shape[0] not in (1, 3):
        return found
    weights, units = weight_sheet(model.params["W1"][0], shape)
    confidence = np.where(predicted == split.labels, -1.0, probs.max(axis=1))
    low, high = dataset.value_range
    mistakes = [
        Mistake(
            int(i),
            dataset.class_names[split.labels[i]],
            dataset.class_names[predicted[i]],
            float(probs[i].max()),
            picture(split.features[i], shape, min(low, 0.0), high),
        )
        for i in np.argsort(-confidence, kind="stable")[:MISTAKES]
        if confidence[i] >= 0
    ]
    return replace(found, weights=weights, units=units, mistakes=mistakes)
