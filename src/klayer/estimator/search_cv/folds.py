"""Candidates in folds: prepared one by one, trained all at once, scored as scikit-learn scores them.

An estimator is one of ours, or a `Pipeline` that ends in one, or in such a pipeline: what comes before
it is fitted once in each fold, for all candidates that agree in it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from klayer.errors import KlayerError
from klayer.estimator.base import Estimator
from klayer.estimator.lockstep import Feeds, Training, train_in_lockstep
from klayer.train import Engine

__all__ = ["Fold", "FoldFit", "fit_candidates", "own_prefix", "require_ours"]

Array = NDArray[Any]


def own_prefix(estimator: Any) -> str:
    """Return what stands before our parameters' names in those of the whole: "", "step__", ...

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from klayer import KLayerRegressor
    >>> own_prefix(KLayerRegressor()), own_prefix(make_pipeline(StandardScaler(), KLayerRegressor()))
    ('', 'klayerregressor__')
    """
    if not isinstance(estimator, Pipeline):
        return ""
    name, last = estimator.steps[-1]
    return f"{name}__{own_prefix(last)}"


def require_ours(estimator: Any) -> Estimator:
    """Return the estimator of ours that one is, or ends in.

    Raises
    ------
    KlayerError
        If it is neither.
    """
    own = estimator
    while isinstance(own, Pipeline):
        own = own.steps[-1][1]
    if isinstance(own, Estimator):
        return own
    if isinstance(own, type) and issubclass(own, Estimator):
        raise KlayerError(
            f"`estimator` must be an estimator, but got the class: write {own.__name__}()."
        )
    what = type(own).__name__ + (", a pipeline's last step" if own is not estimator else "")
    raise KlayerError(
        "`estimator` must be a KLayerClassifier, a KLayerRegressor or a Pipeline that ends in one, "
        f"whose networks train in lockstep, but got {what}: for others there is "
        "sklearn.model_selection.RandomizedSearchCV."
    )


@dataclass
class Fold:
    """The rows of one split.

    Attributes
    ----------
    X, y : the training rows
    X_test, y_test : those to score on
    train, test : int array
        Their places among all rows.
    fit_params : dict
        What `fit` is given beside the training rows.
    """

    X: Any
    y: Any
    X_test: Any
    y_test: Any
    train: Array
    test: Array
    fit_params: dict[str, Any]
    feeds: Feeds = field(default_factory=Feeds)

    @classmethod
    def cut(
        cls, estimator: Any, X: Any, y: Any, train: Array, test: Array, params: Mapping[str, Any]
    ) -> Fold:
        """Cut a fold out of all rows."""
        X_train, y_train = _safe_split(estimator, X, y, train)
        X_test, y_test = _safe_split(estimator, X, y, test, train)
        own = _check_method_params(X, params=dict(params), indices=train)
        # Rows of the user's own aren't cut, should they be as many.
        own |= {name: value for name, value in params.items() if name.endswith(("X_val", "y_val"))}
        return cls(X_train, y_train, X_test, y_test, train, test, own)


@dataclass
class FoldFit:
    """A candidate in a fold.

    Attributes
    ----------
    estimator : the whole estimator, fitted
    seconds : float
        What fitting it took.
    error : str or None
        Why it could not be fitted, a traceback.
    """

    estimator: Any
    seconds: float = 0.0
    error: str | None = None
    training: Training | None = None


def fit_candidates(
    base: Any,
    candidates: Sequence[Mapping[str, Any]],
    folds: Sequence[Fold],
    engine: Engine,
    *,
    raises: bool,
    on_progress: Callable[[float], None] | None = None,
    deadline: float = np.inf,
) -> list[list[FoldFit]]:
    """Fit each candidate in each fold, all at the same time.

    Parameters
    ----------
    base : estimator
    candidates : sequence of dict
        Parameters to set.
    folds : sequence of Fold
    engine : Engine
    raises : bool
        Whether a candidate that can't be fitted is an error at once.
    on_progress, deadline
        As in :func:`klayer.estimator.lockstep.train_in_lockstep`.

    Returns
    -------
    fits : list of list of FoldFit
        For each candidate, in each fold.
    """
    fits: list[list[FoldFit]] = [[] for _ in candidates]
    for fold in folds:
        heads = _Heads(fold)
        for of_candidate, candidate in zip(fits, candidates, strict=True):
            # Parameters may be estimators themselves.
            whole = clone(base).set_params(**clone(dict(candidate), safe=False))
            require_ours(whole)
            fit = FoldFit(whole)
            of_candidate.append(fit)
            with _noted(fit, raises):
                fit.training = heads.begin(whole, candidate)
    begun = [fit for of_candidate in fits for fit in of_candidate if fit.training]
    train_in_lockstep(
        [fit.training for fit in begun if fit.training], engine, on_progress, deadline
    )
    for fit in begun:
        training, fit.training = fit.training, None
        assert training is not None
        with _noted(fit, raises):
            training.end()
        fit.seconds += training.seconds
    return fits


@contextmanager
def _noted(fit: FoldFit, raises: bool) -> Iterator[None]:
    """Note how long something takes, and why it fails."""
    started = time.monotonic()
    try:
        yield
    except Exception:
        if raises:
            raise
        fit.error = traceback.format_exc()
    finally:
        fit.seconds += time.monotonic() - started


class _Heads:
    """What stands before the networks in a fold: nothing, or the first steps of a pipeline.

    These are fitted once for all candidates that agree in them.
    """

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._known: dict[str, tuple[Pipeline, Any]] = {}

    def begin(self, whole: Any, candidate: Mapping[str, Any]) -> Training:
        """Return the networks of a candidate, before they are trained."""
        fold, rows, params = self._fold, self._fold.X, self._fold.fit_params
        prefix, part = own_prefix(whole), whole
        key = joblib.hash({k: one for k, one in candidate.items() if not k.startswith(prefix)})
        while isinstance(part, Pipeline):  # a pipeline may end in another one
            rows, params = self._through(part, key, rows, params)
            name, part = part.steps[-1]
            key = f"{key} {name}"
        own: Training = require_ours(whole)._begin(
            rows, fold.y, **params, go_on=False, feeds=fold.feeds
        )
        return own

    def _through(
        self, whole: Pipeline, key: str, rows: Any, params: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Give a pipeline its fitted first steps; return what comes out, and its last step's parameters.

        What has the same key has the same first steps, here and before.
        """
        head, prefix = whole[:-1], f"{whole.steps[-1][0]}__"
        mine, others = _shared_out(whole, head, prefix, params)
        if key not in self._known:
            if len(head):
                rows = head.fit_transform(rows, self._fold.y, **others)
            self._known[key] = head, rows
        head, rows = self._known[key]
        whole.steps[:-1] = head.steps
        for name in getattr(whole, "transform_input", None) or ():
            if name in mine and len(head):
                mine[name] = head.transform(mine[name])
        return rows, mine


def _shared_out(
    whole: Pipeline, head: Pipeline, prefix: str, params: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `fit` is given for the last step of a pipeline, and for those before it."""
    if not get_config()["enable_metadata_routing"]:
        mine = {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}
        return mine, {k: v for k, v in params.items() if not k.startswith(prefix)}
    if not params:
        return {}, {}
    routed = process_routing(whole, "fit", **params)[prefix.removesuffix("__")]
    asked = (
        head.get_metadata_routing().consumes("fit_transform", params.keys()) if len(head) else ()
    )
    return dict(routed.fit), {name: params[name] for name in asked}
