"""What is known of the candidates so far, in the form in which scikit-learn's searches keep it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _score,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils.validation import _check_method_params, _num_samples

from klayer.estimator.search_cv.folds import Fold, FoldFit

__all__ = ["Evaluation"]

Array = NDArray[Any]


class Evaluation:
    """Scores of candidates in folds.

    Parameters
    ----------
    X : all rows
    folds : sequence of Fold
    scorer : one of scikit-learn's, or a callable
    score_params : dict
        What the scorer is given beside rows.
    error_score : "raise" or number
    return_train_score : bool
    keeps_fits : bool
        Whether fitted candidates are wanted later.

    Attributes
    ----------
    candidates : list of dict
    fits : list of list of FoldFit
        For each candidate, in each fold.
    out : list of dict
        The same, one after another, in the words of ``sklearn.model_selection``.
    """

    def __init__(
        self,
        X: Any,
        folds: Sequence[Fold],
        scorer: Any,
        score_params: Mapping[str, Any],
        *,
        error_score: Any,
        return_train_score: bool,
        keeps_fits: bool,
    ) -> None:
        self.folds, self.scorer = folds, scorer
        self._score_params = [
            [_check_method_params(X, params=dict(score_params), indices=rows) for rows in pair]
            for pair in ((fold.train, fold.test) for fold in folds)
        ]
        self._error_score, self._train_too = error_score, return_train_score
        self._keeps_fits = keeps_fits
        self.candidates: list[Mapping[str, Any]] = []
        self.fits: list[list[FoldFit]] = []
        self.out: list[dict[str, Any]] = []

    def add(self, candidates: Sequence[Mapping[str, Any]], fits: list[list[FoldFit]]) -> None:
        """Score some candidates that have been fitted."""
        self.candidates += candidates
        for of_candidate in fits:
            for place, fit in enumerate(of_candidate):
                self.out.append(self._scored(fit, place))
        if self._keeps_fits:
            self.fits += fits

    def scores(self, metric: str) -> Array:
        """Return each candidate's mean score over the folds; NaN where a fit failed."""
        found = [one["test_scores"] for one in self.out]
        values = [one.get(metric, np.nan) if isinstance(one, dict) else one for one in found]
        failed = [one["fit_error"] is not None for one in self.out]
        means: Array = np.where(failed, np.nan, values).reshape(-1, len(self.folds)).mean(axis=1)
        return means

    def finished(self) -> list[dict[str, Any]]:
        """Return all that there is, after a warning about what failed; an error if everything did."""
        _warn_or_raise_about_fit_failures(self.out, self._error_score)
        if callable(self.scorer) and not isinstance(self.scorer, _MultimetricScorer):
            _insert_error_scores(self.out, self._error_score)
        return self.out

    def _scored(self, fit: FoldFit, place: int) -> dict[str, Any]:
        fold, (train_params, test_params) = self.folds[place], self._score_params[place]
        found: dict[str, Any] = {
            "fit_error": fit.error,
            "fit_time": fit.seconds,
            "score_time": 0.0,
            "n_test_samples": _num_samples(fold.X_test),
        }
        if fit.error is not None:
            scores: Any = self._error_score
            if isinstance(self.scorer, _MultimetricScorer):
                scores = dict.fromkeys(self.scorer._scorers, scores)
            return {
                **found,
                "test_scores": scores,
                **({"train_scores": scores} if self._train_too else {}),
            }
        started = time.monotonic()
        found["test_scores"] = self._of(fit, fold.X_test, fold.y_test, test_params)
        found["score_time"] = time.monotonic() - started
        if self._train_too:
            found["train_scores"] = self._of(fit, fold.X, fold.y, train_params)
        return found

    def _of(self, fit: FoldFit, X: Any, y: Any, params: Mapping[str, Any]) -> Any:
        return _score(fit.estimator, X, y, self.scorer, params, self._error_score)
