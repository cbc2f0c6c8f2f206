"""What a network does where the answer is no class: numbers beside the true ones, label by label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset
from klayer.report.examination import seen
from klayer.report.run_view import RunView
from klayer.study.record import NetworkRecord
from klayer.study.statistics import SHARE, wilson

__all__ = ["LabelResult", "TargetResult", "examine_labels", "examine_targets"]

RESAMPLES = 1000


@dataclass(frozen=True)
class TargetResult:
    """The predictions of one target on a split, beside the true values."""

    name: str
    split: str
    true: NDArray[np.float64]  # (N,)
    predicted: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        """Predicted minus true."""
        return self.predicted - self.true

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in the target's unit."""
        return float(np.sqrt((self.errors**2).mean()))

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(np.abs(self.errors).mean())

    @property
    def bias(self) -> float:
        """Mean error."""
        return float(self.errors.mean())

    @property
    def r2(self) -> float | None:
        """``1 - sum (y - z)^2 / sum (y - mean y)^2``; None where all true values are one."""
        spread = float(((self.true - self.true.mean()) ** 2).sum())
        return None if not spread else 1 - float((self.errors**2).sum()) / spread

    def r2_interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of R² by resampling the rows (percentile bootstrap, fixed seed)."""
        n = len(self.true)
        if self.r2 is None or n < 3:
            return None
        rng = np.random.default_rng(0)
        found = []
        for _ in range(RESAMPLES):
            rows = rng.integers(0, n, n)
            y, squares = self.true[rows], (self.errors**2)[rows]
            spread = float(((y - y.mean()) ** 2).sum())
            if spread:
                found.append(1 - float(squares.sum()) / spread)
        low, high = np.quantile(found, [0.025, 0.975])
        return float(low), float(high)


@dataclass(frozen=True)
class LabelResult:
    """How a network decides about one label on a split."""

    name: str
    split: str
    n: int  # rows
    having: int  # rows that have the label
    right: int  # rows that are decided rightly
    found: int  # rows that have it and get it
    given: int  # rows that get it

    @property
    def accuracy(self) -> float:
        """Share of the rows that are decided rightly."""
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval, after Wilson."""
        return wilson(self.accuracy, self.n) if self.n else SHARE

    @property
    def recall(self) -> float | None:
        """Share of the rows with the label that get it."""
        return self.found / self.having if self.having else None

    @property
    def precision(self) -> float | None:
        """Share of the rows that get the label that have it."""
        return self.found / self.given if self.given else None


def examine_targets(view: RunView, record: NetworkRecord, dataset: Dataset) -> list[TargetResult]:
    """Let a network predict the split that the run is judged by, target by target."""
    name = seen(view, record)
    split, model = dataset.splits[name], view.run.model(record)
    predicted = model.predict_values(split.features)[0]
    true = np.asarray(split.labels, float).reshape(len(split), -1)
    return [
        TargetResult(target, name, true[:, k], predicted[:, k])
        for k, target in enumerate(dataset.class_names)
    ]


def examine_labels(view: RunView, record: NetworkRecord, dataset: Dataset) -> list[LabelResult]:
    """Let a network label the split that the run is judged by, label by label."""
    name = seen(view, record)
    split, model = dataset.splits[name], view.run.model(record)
    given = np.asarray(model.predict_labels(split.features)[0]) > 0
    having = np.asarray(split.labels) > 0
    return [
        LabelResult(
            label,
            name,
            len(split),
            int(having[:, k].sum()),
            int((given[:, k] == having[:, k]).sum()),
            int((given[:, k] & having[:, k]).sum()),
            int(given[:, k].sum()),
        )
        for k, label in enumerate(dataset.class_names)
    ]
