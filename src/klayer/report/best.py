"""The best network of a run, looked at closely on the test split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from klayer.data.dataset import Dataset
from klayer.report.images import picture, weight_sheet
from klayer.study.record import NetworkRecord
from klayer.study.run_dir import Run

__all__ = ["Best", "Mistake", "examine", "load_data", "wilson"]

MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """A test image that the network gets wrong.

    Attributes
    ----------
    index : int
        Row of the test split.
    label, predicted : str
        Class names.
    prob : float
        Probability of the predicted class.
    png : bytes
    """

    index: int
    label: str
    predicted: str
    prob: float
    png: bytes


@dataclass(frozen=True)
class Best:
    """What the best network does on the test split.

    Attributes
    ----------
    record : NetworkRecord
        Its line in the run.
    class_names : tuple of str
    confusion : int array, shape (K, K)
        Rows are true classes, columns predicted ones.
    weights : bytes or None
        First-layer weights as a PNG; None if the data are not images.
    units : int
        Number of units in it.
    mistakes : list of Mistake
        Wrong with the highest probability first; empty if the data are not images.
    """

    record: NetworkRecord
    class_names: tuple[str, ...]
    confusion: np.ndarray
    weights: bytes | None
    units: int
    mistakes: list[Mistake]

    @property
    def accuracy(self) -> float:
        """Share of test samples on the diagonal."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def per_class(self) -> list[dict]:
        """Return for each class: ``n``, ``accuracy``, ``low``, ``high`` (Wilson, 95 %), ``most``.

        ``most`` is the class that its samples are most often taken for, and how often.
        """
        found = []
        for k, name in enumerate(self.class_names):
            row = self.confusion[k]
            n, right = int(row.sum()), int(row[k])
            wrong = np.where(np.arange(len(row)) == k, -1, row)
            taken = int(wrong.argmax())
            low, high = wilson(right, n)
            found.append(
                {
                    "name": name,
                    "n": n,
                    "accuracy": right / n if n else None,
                    "low": low,
                    "high": high,
                    "most": (self.class_names[taken], int(row[taken])) if row[taken] else None,
                }
            )
        return found


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, after Wilson (1927).

    Examples
    --------
    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.49, 0.943]
    """
    if n == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share, scale = right / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def load_data(run: Run) -> Dataset:
    """Load the data that a run was made with, without downloading anything.

    Raises
    ------
    KlayerError
        If they are missing or have changed.
    """
    return run.load_data(may_download=False)


def examine(run: Run, dataset: Dataset) -> Best:
    """Let the best network of a run (by validation accuracy) label the test split.

    Parameters
    ----------
    run : Run
    dataset : Dataset
    """
    record = run.best()
    model, test = run.model(record), dataset.splits["test"]
    probs = model.predict_probs(test.features)[0]
    predicted = probs.argmax(axis=1)
    classes = dataset.n_classes
    cells = np.bincount(test.labels * classes + predicted, minlength=classes**2)
    weights, units, mistakes = None, 0, []
    if dataset.image_shape is not None and dataset.image_shape[0] in (1, 3):
        weights, units = weight_sheet(model.params["W1"][0], dataset.image_shape)
        mistakes = _mistakes(dataset, probs, predicted)
    return Best(
        record, dataset.class_names, cells.reshape(classes, classes), weights, units, mistakes
    )


def _mistakes(dataset: Dataset, probs: np.ndarray, predicted: np.ndarray) -> list[Mistake]:
    test = dataset.splits["test"]
    confidence = np.where(predicted == test.labels, -1.0, probs.max(axis=1))
    order = [int(i) for i in np.argsort(-confidence, kind="stable")[:MISTAKES]]
    low, high = dataset.value_range
    return [
        Mistake(
            i,
            dataset.class_names[test.labels[i]],
            dataset.class_names[predicted[i]],
            float(probs[i].max()),
            picture(test.features[i], dataset.image_shape, min(low, 0.0), high),
        )
        for i in order
        if confidence[i] >= 0
    ]
