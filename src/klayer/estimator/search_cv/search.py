"""`RandomizedSearchCV` whose candidates train in lockstep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, get_tags, indexable
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_method_params

from klayer.errors import KlayerError
from klayer.estimator.search_cv.candidates import (
    ROUND,
    Rounds,
    known_samplers,
    learns,
    require_parameters,
    rounds,
)
from klayer.estimator.search_cv.ensemble import Judge, choose
from klayer.estimator.search_cv.evaluation import Evaluation
from klayer.estimator.search_cv.folds import Fold, fit_candidates, own_prefix, require_ours
from klayer.estimator.weighted import weights_of
from klayer.progress import Meter
from klayer.train import Engine

__all__ = ["PopulationSearchCV"]

Array = NDArray[Any]

# Candidates of a round where time is limited: between two rounds the clock is asked.
LIMITED_ROUND = 16


class PopulationSearchCV(BaseSearchCV):  # type: ignore[misc]
    """A search over parameters with cross-validation: `RandomizedSearchCV`, in lockstep.

    All candidates of a fold that share architecture and mini-batches train as one population; folds
    and architectures train at the same time. Each candidate gets, bit for bit, the networks that it
    would get alone: candidates, scores and ``best_estimator_`` are those of ``RandomizedSearchCV`` with
    the same ``random_state``, for an estimator with a ``random_state`` of its own.

    Parameters
    ----------
    estimator : KLayerClassifier, KLayerRegressor or Pipeline that ends in one
        Also by way of further pipelines. Steps before it are fitted once in each fold for all candidates
        that agree in them. Without a ``random_state`` all candidates get the same, drawn from that of
        the search.
    param_distributions : dict, or list of dict
        Of each parameter a list of values, a distribution of ``scipy.stats``, or a range as ``klayer
        search`` has it: ``"1e-4:1e-1"`` on the log scale, ``"0:0.5:linear"``.
    n_iter : int, >= 1
        How many candidates are drawn; a grid is tried whole.
    sampler : str
        ``random``; ``grid``, lists only; or Optuna's: ``qmc``; and ``tpe``, ``gp`` and ``cmaes``, which
        learn from batch to batch, the last one of ranges and distributions alone.
    keep : {"best", "ensemble"}
        What answers in the end: the best candidate, trained anew on all rows; or a greedy ensemble of
        the candidates' networks of all folds, chosen by their answers to the rows held out, without
        any further training. Source: Caruana et al. 2004, "Ensemble selection from libraries of models".
    ensemble_size : int, >= 1
        How many candidates an ensemble takes, repetitions counted.
    scoring : str, callable, list, tuple, dict or None
        As in ``RandomizedSearchCV``; so are ``refit``, ``cv``, ``error_score``, ``return_train_score``.
    n_jobs : int or None
        Threads: None is one (or what joblib's context says), -1 all cores.
    refit : bool, str or callable
    cv : int, splitter, iterable or None
    random_state : int, RandomState or None
        Decides what is drawn.
    error_score : "raise" or number
    return_train_score : bool
    time_limit : float, > 0, or None
        Seconds after which no more candidates are begun; those under way end with the weights that they
        have. Training the best anew comes on top.
    verbose : bool or int
        Whether progress is shown.

    Attributes
    ----------
    cv_results_ : dict of array
        ``params``, ``param_NAME``, ``split0_test_score``, ``mean_test_score``, ``rank_test_score``, ...
        ``mean_fit_time`` is a candidate's share of the time of its population.
    best_estimator_, best_params_, best_index_, best_score_
    ensemble_weights_ : array, shape (candidates,)
        With ``keep="ensemble"``; and ``ensemble_score_``, on the rows held out, which chose it.
    scorer_, n_splits_, refit_time_, multimetric_, classes_, n_features_in_, feature_names_in_

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from klayer import KLayerClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> base = KLayerClassifier(hidden=(16,), epochs=20, random_state=0)
    >>> space = {"lr_max": "1e-3:1e-1", "l2": [0.0, 1e-3]}
    >>> search = PopulationSearchCV(base, space, n_iter=8, cv=3, random_state=0).fit(X, y)
    >>> bool(search.best_score_ > 0.9), sorted(search.best_params_), len(search.cv_results_["params"])
    (True, ['l2', 'lr_max'], 8)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{k: v for k, v in BaseSearchCV._parameter_constraints.items() if k != "pre_dispatch"},
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "sampler": [StrOptions(set(known_samplers()))],
        "keep": [StrOptions({"best", "ensemble"})],
        "ensemble_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        sampler: str = "random",
        keep: str = "best",
        ensemble_size: int = 25,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        time_limit: float | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator, self.param_distributions = estimator, param_distributions
        self.n_iter, self.sampler = n_iter, sampler
        self.keep, self.ensemble_size = keep, ensemble_size
        self.scoring, self.n_jobs, self.refit, self.cv = scoring, n_jobs, refit, cv
        self.random_state, self.error_score = random_state, error_score
        self.return_train_score, self.time_limit = return_train_score, time_limit
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: ArrayLike | None = None, **params: Any) -> Self:
        """Search, then train the best candidate on all rows, or choose the ensemble.

        Parameters
        ----------
        X : array or frame, shape (N, D)
        y : array, shape (N,) or (N, K)
        **params
            ``sample_weight``, cut into folds; ``X_val`` and ``y_val``, which aren't; ``groups`` for
            ``cv``. Of a pipeline ``step__name``, or what metadata routing says.

        Returns
        -------
        self : PopulationSearchCV

        Raises
        ------
        KlayerError
            For an estimator whose networks can't train in lockstep, and unknown parameters.
        ValueError
            For what scikit-learn refuses; if every fit failed.
        """
        require_ours(self.estimator)
        known, prefix = self.estimator.get_params(), own_prefix(self.estimator)
        require_parameters(self.param_distributions, known, prefix)
        self._require_something_to_keep()
        scorers, metric = self._get_scorers()
        many, drawn = rounds(
            self.param_distributions,
            self.n_iter,
            self.sampler,
            self.random_state,
            ROUND if self.time_limit is None else LIMITED_ROUND,
        )
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        self._require_rows(X, y, {**params, **routed.estimator.fit})
        base = self._seeded()
        cv = check_cv(self.cv, y, classifier=is_classifier(base))
        splits = list(cv.split(X, y, **routed.splitter.split))
        if not splits:
            raise KlayerError(f"`cv` must give at least one split, but {cv!r:.60} gives none.")
        self.n_splits_ = len(splits)
        folds = [Fold.cut(base, X, y, a, b, routed.estimator.fit) for a, b in splits]
        evaluation = Evaluation(
            X,
            folds,
            scorers,
            routed.scorer.score,
            error_score=self.error_score,
            return_train_score=self.return_train_score,
            keeps_fits=self.keep == "ensemble",
        )
        self._search(base, many, drawn, evaluation, metric)
        results = self._format_results(evaluation.candidates, self.n_splits_, evaluation.finished())
        first = evaluation.out[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = results
        if self.refit:
            started = time.time()
            if self.keep == "ensemble":
                judge = self._judge(scorers, metric, X, y, routed.scorer.score)
                self.best_estimator_, self.ensemble_weights_, self.ensemble_score_ = choose(
                    evaluation.fits, folds, y, judge, self.ensemble_size
                )
            else:
                best = clone(base).set_params(**clone(self.best_params_, safe=False))
                self.best_estimator_ = best.fit(X, y, **routed.estimator.fit)
            self.refit_time_ = time.time() - started
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags = deepcopy(get_tags(self.estimator).target_tags)
        return tags

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Refuse scikit-learn's callbacks: candidates that train at once have no fits to tell of.

        Raises
        ------
        KlayerError
            Always.
        """
        raise KlayerError(
            f"scikit-learn's callbacks follow one fit at a time, but candidates train at once here, and "
            f"got {len(callbacks)}: use verbose=1, or the estimator's own `callback`."
        )

    def _require_rows(self, X: Any, y: Any, params: Mapping[str, Any]) -> None:
        """Refuse rows, weights and rows to validate on that can't be, before anything is trained."""
        for name, value in params.items():
            if name.endswith("sample_weight") and value is not None:
                weights_of(value, X)
        if not isinstance(self.estimator, Pipeline):  # whose first steps may make sense of anything
            own = clone(self.estimator)
            own._read(X, y, going_on=False)
            own._read_validation(params.get("X_val"), params.get("y_val"))

    def _require_something_to_keep(self) -> None:
        """Refuse what contradicts itself before anything is trained."""
        if self.keep == "ensemble" and self.refit is False:
            raise KlayerError(
                "keep='ensemble' keeps an ensemble in the place of the best candidate, but got "
                "refit=False: leave one of them out."
            )
        several = isinstance(self.scoring, list | tuple | dict | set)
        one_score = isinstance(self.refit, str) or not several
        wanted = "keep='ensemble'" if self.keep == "ensemble" else f"sampler={self.sampler!r}"
        if not one_score and (self.keep == "ensemble" or learns(self.sampler)):
            raise KlayerError(
                f"{wanted} goes by one score, but there are several and refit={self.refit!r}: name "
                "one in `refit`."
            )

    def _seeded(self) -> Any:
        """Return the estimator, unfitted, with one random state for all candidates."""
        base = clone(self.estimator)
        if require_ours(base).random_state is None:
            # A generator of the user's own is left to the candidates, as `RandomizedSearchCV` does.
            given = self.random_state
            random = (
                deepcopy(given) if isinstance(given, RandomState) else check_random_state(given)
            )
            base.set_params(**{f"{own_prefix(base)}random_state": int(random.randint(2**31 - 1))})
        return base

    def _search(
        self, base: Any, many: int, drawn: Rounds, evaluation: Evaluation, metric: str
    ) -> None:
        """Draw, train and score, round by round."""
        engine = Engine(int(effective_n_jobs(self.n_jobs)))
        name = self.refit if isinstance(self.refit, str) else metric
        limit = math.inf if self.time_limit is None else self.time_limit
        deadline = time.monotonic() + limit
        with Meter(None if self.verbose else "off") as meter:
            scores: list[float] | None = None
            while scores is None or time.monotonic() < deadline:
                try:
                    candidates = next(drawn) if scores is None else drawn.send(scores)
                except StopIteration:
                    break
                done = len(evaluation.candidates)
                meter.begin(f"{many} candidates in {len(evaluation.folds)} folds", many)
                moved = partial(_move, meter, done, len(candidates))
                fits = fit_candidates(
                    base,
                    candidates,
                    evaluation.folds,
                    engine,
                    raises=self.error_score == "raise",
                    on_progress=moved,
                    deadline=deadline,
                )
                evaluation.add(candidates, fits)
                scores = evaluation.scores(name)[done:].tolist()

    def _judge(self, scorers: Any, metric: str, X: Any, y: Any, params: Mapping[str, Any]) -> Judge:
        """Return what judges estimators by the one score that counts, on some of the rows."""

        def judge(rows: Array) -> Callable[[Any], float]:
            X_some, y_some = _safe_indexing(X, rows), _safe_indexing(y, rows)
            more = _check_method_params(X, params=dict(params), indices=rows)

            def score(estimator: Any) -> float:
                value = scorers(estimator, X_some, y_some, **more)
                return float(value[metric] if isinstance(value, dict) else value)

            return score

        return judge


def _move(meter: Meter, done: int, of: int, share: float) -> None:
    meter.move(done + share * of)
