"""How much each column counts: what a score loses when a column's values change rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from klayer.data import Encoder
from klayer.errors import KlayerError
from klayer.shown import Part, Shown, ShownColumn, ShownSentence, ShownTable

__all__ = ["Importance", "TellsColumns", "importance_of_columns", "importance_of_table_columns"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Importance(Shown):
    """What a score loses, column by column, when the values of that column alone are shuffled.

    Attributes
    ----------
    columns : tuple of str, length C
    drops : array, shape (C, R)
        The loss in each of R shuffles; below 0 where the score rose.
    score : float
        Of the rows as they are.
    name : str
        Of the score.
    n : int
        Rows that it is a score of.
    """

    columns: tuple[str, ...]
    drops: NDArray[np.float64]
    score: float
    name: str
    n: int

    heading = "What each column counts for"
    title = heading

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean loss of each column, shape (C,)."""
        return np.asarray(self.drops.mean(axis=1))

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation over the shuffles, shape (C,): of the shuffles, not of the rows."""
        return np.asarray(self.drops.std(axis=1, ddof=1 if self.drops.shape[1] > 1 else 0))

    @property
    def order(self) -> list[int]:
        """The columns by their places, the one that counts most first."""
        return [int(c) for c in np.argsort(-self.mean, kind="stable")]

    def parts(self) -> list[Part]:
        """Return what is told: the columns, the one that counts most first."""
        order, mean, std = self.order, self.mean, self.std
        columns = [
            ShownColumn("column", [self.columns[c] for c in order], words=True, header=True),
            ShownColumn(f"{self.name} lost", [f"{mean[c]:.4f}" for c in order]),
            ShownColumn("sd", [f"{std[c]:.4f}" for c in order]),
        ]
        R, C = self.drops.shape[1], len(order)
        said = (
            f"{self.name} {self.score:.4g} of {self.n:,} rows; lost when the values of one column "
            f"are shuffled, mean and standard deviation over {R} shuffle{'s' * (R > 1)}. Columns that "
            "tell the same may both seem to count for little."
        )
        table = ShownTable(columns, [""] * C, [False] * C)
        return [table, ShownSentence(said, small=True)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, the column that counts most first."""
        return {
            "score": self.name,
            "value": self.score,
            "n": self.n,
            "columns": [
                {
                    "column": self.columns[c],
                    "mean": float(self.mean[c]),
                    "std": float(self.std[c]),
                    "drops": self.drops[c].tolist(),
                }
                for c in self.order
            ],
        }


class TellsColumns:
    """An estimator that can say what each of its columns counts for."""

    _task: str

    def importance(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        scoring: str | Callable[..., float] | None = None,
        n_repeats: int = 10,
        sample_weight: ArrayLike | None = None,
        random_state: Any = 0,
        n_jobs: int | None = None,
    ) -> Importance:
        """Return what the score loses when the values of one column are shuffled, column by column.

        In a pipeline, whose columns come before this estimator's, it is scikit-learn's
        ``permutation_importance`` that is to be asked, about the pipeline.

        Parameters
        ----------
        X : array, shape (N, D)
            Rows that were not trained on.
        y : array, shape (N,) or (N, K)
        scoring : str or callable, optional
            One score, as scikit-learn names it; by default that of :meth:`score`.
        n_repeats : int, >= 1
            Shuffles of each column.
        sample_weight : array, shape (N,), optional
        random_state : int, RandomState or None
            Decides the shuffles.
        n_jobs : int or None

        Returns
        -------
        importance : Importance
            With ``mean`` and ``std`` over the shuffles of each of ``columns``; printed and shown as a
            table.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from klayer import KLayerClassifier
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = KLayerClassifier(random_state=0).fit(X[::2], y[::2])
        >>> found = model.importance(X[1::2], y[1::2])
        >>> found.columns[found.order[0]] in ("petal width (cm)", "petal length (cm)")
        True
        """
        check_is_fitted(self)
        if isinstance(scoring, list | tuple | set | dict):
            raise KlayerError(f"`scoring` must be one score, but got {scoring!r:.80}.")
        rows = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        nameless = copy(self)
        names = nameless.__dict__.pop("feature_names_in_", [f"x{k}" for k in range(rows.shape[1])])
        own = "accuracy" if self._task == "classification" else "R²"
        called = getattr(scoring, "__name__", scoring) or own
        return importance_of_columns(
            nameless,
            rows,
            np.asarray(y),
            names,
            str(called),
            scoring=scoring,
            n_repeats=n_repeats,
            sample_weight=sample_weight,
            random_state=random_state,
            n_jobs=n_jobs,
        )


def importance_of_columns(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    names: Sequence[str],
    score: str,
    **said: Any,
) -> Importance:
    """Return the importance of the columns of ``X``: ``permutation_importance`` of scikit-learn.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : array or frame, shape (N, C)
    y : array
    names : sequence of str, length C
    score : str
        What the score is called.
    **said
        What else scikit-learn's function takes: ``scoring``, ``n_repeats``, ``random_state``, ...
    """
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import check_scoring

    found = permutation_importance(estimator, X, y, **said)
    weights = said.get("sample_weight")
    more = {} if weights is None else {"sample_weight": weights}
    whole = float(check_scoring(estimator, said.get("scoring"))(estimator, X, y, **more))
    return Importance(tuple(names), found.importances, whole, score, len(y))  # type: ignore[arg-type]


def importance_of_table_columns(
    encoder: Encoder,
    features: Array,
    labels: Array,
    score: Callable[[Array, Array], float],
    name: str,
    repeats: int,
) -> Importance:
    """Return the importance of a table's columns, each with all features that are made of it.

    Parameters
    ----------
    encoder : Encoder
        What made the features.
    features : array, shape (N, D)
    labels : array, shape (N,) or (N, K)
    score : callable ``(features, labels)``
        The greater the better.
    name : str
    repeats : int, >= 1
    """
    ends = np.cumsum([0, *(len(code.feature_names) for code in encoder.codes)])
    # What is shuffled are numbers of rows: a column is read from the rows that its column here names.
    rows = np.arange(len(features))
    places = np.tile(rows[:, None], (1, len(encoder.codes)))

    def scored(_: Any, places: Array, labels: Array) -> float:
        read = features
        for c in np.flatnonzero((places != rows[:, None]).any(axis=0)):
            if read is features:
                read = features.copy()
            part = slice(ends[c], ends[c + 1])
            read[:, part] = features[places[:, c], part]
        return score(read, labels)

    asked = {"scoring": scored, "n_repeats": repeats, "random_state": 0}
    return importance_of_columns(_Nobody(), places, labels, encoder.columns, name, **asked)


class _Nobody:
    """An estimator that is asked for nothing: the score knows whom to ask."""

    def fit(self) -> None:
        """Do nothing."""
