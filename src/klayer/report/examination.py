"""A network of a run, looked at closely: its mistakes, its first-layer weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset
from klayer.report.png import picture, weight_sheet
from klayer.report.run_view import RunView
from klayer.study.record import NetworkRecord
from klayer.study.statistics import SHARE, wilson

__all__ = ["ClassResult", "Examination", "Mislabelled", "examine", "seen"]

MISTAKES = 24


@dataclass(frozen=True)
class Mislabelled:
    """An image that the network gets wrong."""

    index: int  # its row in the split
    label: str
    predicted: str
    prob: float  # of the class that was predicted
    png: bytes


@dataclass(frozen=True)
class ClassResult:
    """What becomes of the samples of one class."""

    name: str
    n: int
    accuracy: float | None
    low: float  # of the 95 % interval of the accuracy, after Wilson (1927)
    high: float
    taken_for: str  # the class that they are most often taken for
    times: int

    @property
    def most(self) -> str:
        """The most frequent mistake in words."""
        return f"{self.taken_for} ({self.times})" if self.times else "–"


@dataclass(frozen=True)
class Examination:
    """What a network does on one split; without weights and mistakes if the data are not images."""

    record: NetworkRecord
    split: str
    class_names: tuple[str, ...]
    confusion: NDArray[np.int_]  # (K, K), rows are true classes, columns predicted ones
    weights: bytes | None = None  # those of the first layer, of some units, as a PNG
    units: int = 0
    mistakes: list[Mislabelled] = field(default_factory=list)  # the highest probability first

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
                ClassResult(
                    name,
                    n,
                    right / n if n else None,
                    *(wilson(right / n, n) if n else SHARE),
                    other,
                    times,
                )
            )
        return found


def seen(view: RunView, record: NetworkRecord) -> str:
    """Return the last split that a network was judged by: trials of a search never saw ``test``."""
    known = [split for split in view.splits if record.score(split) is not None]
    return (known or list(view.splits))[-1]


def examine(view: RunView, record: NetworkRecord, dataset: Dataset) -> Examination:
    """Let a network label the split that the run is judged by, or the last one that it may see."""
    name = seen(view, record)
    model, split = view.run.model(record), dataset.splits[name]
    probs = model.predict_probs(split.features)[0]
    predicted, k = probs.argmax(axis=1), dataset.n_classes
    cells = np.bincount(split.labels * k + predicted, minlength=k**2).reshape(k, k)
    found = Examination(record, name, dataset.class_names, cells)
    shape = dataset.image_shape
    if shape is None or shape[0] not in (1, 3):
        return found
    weights, units = weight_sheet(model.params["W1"][0], shape)
    confidence = np.where(predicted == split.labels, -1.0, probs.max(axis=1))
    low, high = dataset.value_range
    mistakes = [
        Mislabelled(
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
