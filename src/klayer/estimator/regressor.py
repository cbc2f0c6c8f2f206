"""The regressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from klayer.errors import KlayerError
from klayer.estimator.base import Estimator
from klayer.estimator.parameters import constraints, documented, initialiser
from klayer.estimator.targets import checked_targets

__all__ = ["KLayerRegressor"]

Array = NDArray[Any]


class KLayerRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A regressor: one fully connected network, or an ensemble trained in lockstep.

    Several targets are a ``y`` of shape (N, K). Targets are standardised for training and given back in
    their own unit.

    Attributes
    ----------
    model_ : Model
        The trained networks.
    history_ : dict of array
        The curves, a row for each network and recorded point: see ``Population.curves``.
    n_iter_ : int
        Updates done.
    n_features_in_, feature_names_in_
        As in all of scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = KLayerRegressor(hidden=(16,), n_networks=4, epochs=20, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.4, model.predict(X).shape, model.predict_std(X).shape
    (True, (442,), (442,))
    """

    _task = "regression"
    _answers = staticmethod(checked_targets)
    _columns: int

    _parameter_constraints = constraints("regression")
    __init__ = initialiser("regression", __module__, __qualname__)

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Train for ``cycles`` more, from where the last call ended: weights, optimiser, order of rows.

        With the same rows, calls give bit for bit what one call with as many ``cycles`` gives; also in
        another process, by a copy that was pickled.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, go_on=True)

    def predict(self, X: ArrayLike) -> Array:
        """Return the mean of the networks' answers, shape (N,), or (N, K) for several targets."""
        return self._like_y(self._mean(X))

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R², of several targets the mean; of quantiles that of the one nearest the median."""
        mean = self._mean(X)
        point = self._like_y(self.model_.network.point(mean))
        return float(r2_score(checked_targets(y), point, sample_weight=sample_weight))

    def predict_std(self, X: ArrayLike) -> Array:
        """Return the standard deviation of the networks' answers, of the shape of :meth:`predict`."""
        return self._like_y(super().predict_std(X))

    def _like_y(self, values: Array) -> Array:
        return values[:, 0] if self._one_column and values.shape[1] == 1 else values

    def _encoded(self, labels: Array, going_on: bool, classes: ArrayLike | None = None) -> Array:  # noqa: ARG002
        if not going_on:
            self._one_column = labels.ndim == 1
        targets: Array = np.asarray(labels, float).reshape(len(labels), -1)
        if going_on and targets.shape[1] != self._columns:
            raise KlayerError(
                f"`y` must have as many columns as in the first call, {self._columns}, but has "
                f"{targets.shape[1]}: begin anew with warm_start=False for other targets."
            )
        self._columns = targets.shape[1]
        return targets

    def _output_names(self, columns: int) -> Sequence[str]:
        return [f"target {k + 1}" for k in range(columns)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


KLayerRegressor.__doc__ = f"{KLayerRegressor.__doc__}".replace(
    "    Attributes\n",
    "    Parameters\n    ----------\n" + documented("regression") + "\n    Attributes\n",
    1,
)
