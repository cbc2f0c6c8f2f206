"""Candidates of a search that answer together, chosen on rows that they had not been trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.utils.multiclass import type_of_target

from klayer.errors import KlayerError
from klayer.estimator.exporting import Exportable, of_estimators
from klayer.estimator.search_cv.folds import Fold, FoldFit
from klayer.export import Exported
from klayer.train.ensemble import select_greedily

__all__ = ["EnsembleClassifier", "EnsembleRegressor", "Judge", "choose"]

Array = NDArray[Any]
Judge = Callable[[Array], Callable[[Any], float]]


class _Weighted(Exportable, BaseEstimator):  # type: ignore[misc]
    """Fitted estimators whose weighted mean answers.

    Parameters
    ----------
    estimators : list
    weights : array, shape (M,)
        Their sum is 1.
    """

    def __init__(self, estimators: Any, weights: Any) -> None:
        self.estimators, self.weights = estimators, weights

    def _mean(self, X: Any) -> Array:
        pairs = zip(self.weights, self.estimators, strict=True)
        total: Array = sum(weight * self._answers(one, X) for weight, one in pairs)
        return total

    def _answers(self, estimator: Any, X: Any) -> Array:
        raise NotImplementedError

    def _exported(self) -> Exported:
        return of_estimators(self.estimators, self.weights)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def n_features_in_(self) -> int:
        """Number of features."""
        found: int = self.estimators[0].n_features_in_
        return found

    @property
    def feature_names_in_(self) -> Array:
        """Names of the features, of a frame."""
        found: Array = self.estimators[0].feature_names_in_
        return found


class EnsembleClassifier(ClassifierMixin, _Weighted):  # type: ignore[misc]
    """Fitted classifiers that answer by the weighted mean of their probabilities.

    Parameters
    ----------
    estimators : list
    weights : array, shape (M,)
        Their sum is 1.
    classes : array, shape (K,), or None
        None for several labels at once.
    """

    def __init__(self, estimators: Any, weights: Any, classes: Any) -> None:
        super().__init__(estimators, weights)
        self.classes = classes

    @property
    def classes_(self) -> Array:
        """The classes of all: one that a fold didn't have has probability 0 there."""
        found: Array = self.estimators[0].classes_ if self.classes is None else self.classes
        return found

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class or label, shape (N, K)."""
        return self._mean(X)

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable class of each row, (N,); of several labels 0 or 1, (N, K)."""
        probs = self.predict_proba(X)
        if self.classes is None:
            return (probs > 0.5).astype(np.int64)
        found: Array = self.classes_[probs.argmax(axis=1)]
        return found

    def _answers(self, estimator: Any, X: Any) -> Array:
        probs = np.asarray(estimator.predict_proba(X))
        if self.classes is None or len(estimator.classes_) == len(self.classes):
            return probs
        whole = np.zeros((len(probs), len(self.classes)))
        whole[:, np.searchsorted(self.classes, estimator.classes_)] = probs
        return whole


class EnsembleRegressor(RegressorMixin, _Weighted):  # type: ignore[misc]
    """Fitted regressors that answer by their weighted mean."""

    def predict(self, X: ArrayLike) -> Array:
        """Return the value of each row, shape (N,), or (N, K) for several targets."""
        return self._mean(X)

    def _answers(self, estimator: Any, X: Any) -> Array:
        return np.asarray(estimator.predict(X))


class _Told:
    """An estimator whose answers are known."""

    def __init__(self, answers: Array, classes: Array | None) -> None:
        self.answers = answers
        self.classes_ = np.arange(answers.shape[-1]) if classes is None else classes

    def predict(self, X: Any) -> Array:  # noqa: ARG002
        return self.answers

    predict_proba = predict


def choose(
    fits: Sequence[Sequence[FoldFit]],
    folds: Sequence[Fold],
    y: Any,
    judge: Judge,
    size: int,
) -> tuple[EnsembleClassifier | EnsembleRegressor, Array, float]:
    """Choose greedily candidates whose mean answers best where they had not been trained.

    A row is answered by those of a candidate's folds that held it out; rows that no fold held out don't
    count. See :func:`klayer.train.ensemble.select_greedily`.

    Parameters
    ----------
    fits : for each candidate, in each fold
    folds : sequence of Fold
    y : of all rows
    judge : callable
        Of the places of some rows; returns what scores an estimator on them, the greater the better.
    size : int, >= 1
        How many are taken, repetitions counted.

    Returns
    -------
    ensemble : EnsembleClassifier or EnsembleRegressor
        Of all folds of the chosen candidates.
    weights : array, shape (candidates,)
    value : float
        Its score on the rows held out, which were chosen by: somewhat too good.
    """
    whole = [i for i, one in enumerate(fits) if not any(fit.error for fit in one)]
    if not whole:
        raise KlayerError(
            "keep='ensemble' needs a candidate that could be fitted in every fold, but there is none: "
            "set error_score='raise' to see why, or keep='best'."
        )
    classes: Array | None = None
    classifier = is_classifier(fits[0][0].estimator)
    if classifier and type_of_target(y) != "multilabel-indicator":
        classes = np.unique(y)

    def among(estimators: Any, weights: Any) -> EnsembleClassifier | EnsembleRegressor:
        if classifier:
            return EnsembleClassifier(estimators, weights, classes)
        return EnsembleRegressor(estimators, weights)

    held = np.zeros(len(y), int)
    for fold in folds:
        held[fold.test] += 1
    rows = np.flatnonzero(held)
    answers = []
    for i in whole:
        parts = [
            among([fit.estimator], [1.0])._mean(fold.X_test)
            for fit, fold in zip(fits[i], folds, strict=True)
        ]
        found = np.zeros((len(held), *parts[0].shape[1:]))
        for fold, part in zip(folds, parts, strict=True):
            found[fold.test] += part
        answers.append((found.T / np.maximum(held, 1)).T[rows])
    score = judge(rows)

    def scores(means: Array) -> Array:
        return np.array([score(among([_Told(mean, classes)], [1.0])) for mean in means])

    counts, value = select_greedily(np.array(answers), scores, size)
    if not counts.any():
        raise KlayerError("keep='ensemble': no candidate has a score on the rows held out.")
    weights = np.zeros(len(fits))
    weights[whole] = counts / counts.sum()
    chosen = np.flatnonzero(weights).tolist()
    estimators = [fit.estimator for i in chosen for fit in fits[i]]
    return among(estimators, np.repeat(weights[chosen] / len(folds), len(folds))), weights, value
