"""The classifier."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Real
from reprlib import repr as printed
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted

from klayer.calibration import Reliability, reliability
from klayer.errors import KlayerError
from klayer.estimator.base import Estimator
from klayer.estimator.parameters import constraints, documented, initialiser
from klayer.estimator.targets import checked_labels

__all__ = ["KLayerClassifier"]

Array = NDArray[Any]


class KLayerClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A classifier: one fully connected network, or an ensemble trained in lockstep.

    Several labels at once are a ``y`` of zeros and ones, (N, K).

    Attributes
    ----------
    classes_ : array, shape (K,)
        The labels, sorted; of several labels at once their numbers.
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
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = KLayerClassifier(n_networks=4, epochs=30, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9, model.predict_proba(X).shape, model.members(X).shape
    (True, (150, 3), (4, 150, 3))
    """

    _task = "classification"
    _answers = staticmethod(checked_labels)
    _several = False
    classes_: Array
    class_weight: Any

    _parameter_constraints = constraints("classification")
    __init__ = initialiser("classification", __module__, __qualname__)

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Train for ``cycles`` more, from where the last call ended: weights, optimiser, order of rows.

        With the same rows, calls give bit for bit what one call with as many ``cycles`` gives; also in
        another process, by a copy that was pickled. ``classes`` names all labels at the first call,
        where ``y`` may lack some.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, go_on=True, classes=classes)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return probabilities, the mean over the networks, shape (N, K)."""
        return self._mean(X)

    @property
    def temperature_(self) -> float:
        """By which outputs are divided before they become probabilities: 1 without ``calibrate``."""
        check_is_fitted(self)
        return float(self.model_.temperatures[0])

    def reliability(self, X: ArrayLike, y: ArrayLike) -> Reliability:
        """Return how often answers to rows are right beside how sure they are, log-loss included.

        Parameters
        ----------
        X : array, shape (N, D)
            Rows that neither training nor calibration saw.
        y : array, shape (N,) or (N, K)
        """
        probs = self.predict_proba(X)
        return reliability(probs, self._encoded(checked_labels(y), True))

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithms of :meth:`predict_proba`, shape (N, K)."""
        with np.errstate(divide="ignore"):
            logs: Array = np.log(self.predict_proba(X))
        return logs

    def predict(self, X: ArrayLike) -> Array:
        """Return labels, shape (N,); of several labels at once 0 or 1, shape (N, K)."""
        probs = self.predict_proba(X)
        if self._several:
            return (probs > 0.5).astype(int)
        found: Array = self.classes_[probs.argmax(axis=1)]
        return found

    def _encoded(self, labels: Array, going_on: bool, classes: ArrayLike | None = None) -> Array:
        classes = None if classes is None else checked_labels(classes)
        check_classification_targets(labels)
        kind = type_of_target(labels)
        if not going_on:
            self._several = kind == "multilabel-indicator"
            if kind == "multiclass-multioutput":
                raise ValueError(
                    "`y` must have one column of labels, or columns of zeros and ones, but got "
                    f"{labels.shape[1]} columns of labels: fit one classifier for each."
                )
            if self._several:
                self.classes_ = np.arange(labels.shape[1])
            else:
                self.classes_ = np.unique(classes if classes is not None else labels)
        if self._several:
            if kind != "multilabel-indicator" or labels.shape[1] != len(self.classes_):
                raise ValueError(
                    f"`y` must be zeros and ones of shape (N, {len(self.classes_)}), but got shape "
                    f"{labels.shape}, {kind}."
                )
            return np.asarray(labels, np.uint8)
        if labels.ndim == 2:
            if labels.shape[1] != 1:
                raise ValueError(f"`y` should be a 1d array, got an array of shape {labels.shape}.")
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected. Please change the shape of "
                "y to (n_samples, ), for example using ravel().",
                DataConversionWarning,
                stacklevel=4,
            )
            labels = labels.ravel()
        if (
            going_on
            and classes is not None
            and not np.array_equal(np.unique(classes), self.classes_)
        ):
            raise ValueError(
                f"`classes` must stay those of the first call, {printed(self.classes_.tolist())}, but "
                f"got {printed(np.unique(classes).tolist())}."
            )
        unknown = np.setdiff1d(unique_labels(labels), self.classes_)
        if len(unknown):
            raise ValueError(
                f"`y` must hold the classes {printed(self.classes_.tolist())}, but got "
                f"{printed(unknown.tolist())} too."
            )
        if len(self.classes_) < 2:
            raise ValueError(
                f"`y` must hold at least two classes, but got one class: {self.classes_.tolist()[0]!r}."
            )
        return np.searchsorted(self.classes_, labels)

    def _output_names(self, columns: int) -> Sequence[str]:
        return [str(k) for k in range(columns if self._several else len(self.classes_))]

    @property
    def _data_task(self) -> str:
        return "multilabel" if self._several else "classification"

    def _more_settings(self) -> dict[str, Any]:
        if self.class_weight is None:
            return {}
        if self._several:
            raise KlayerError(
                "`class_weight` is for rows of one class each, but `y` has several labels: leave it "
                "out, or weight rows by `sample_weight`."
            )
        if isinstance(self.class_weight, dict):
            given, classes = self.class_weight, self.classes_.tolist()
            unknown = [one for one in given if one not in classes]
            # Where every class has its weight, those of others may wait: a part of the rows lacks some.
            if unknown and not given.keys() >= set(classes):
                raise KlayerError(
                    f"`class_weight` must name classes of `y`, {printed(classes)}, but got "
                    f"{printed(unknown)}: name them as they are, or every class where rows may lack "
                    "some."
                )
            weights = [given.get(one, 1.0) for one in classes]
            fits = all(isinstance(one, Real) and 0 <= float(one) < np.inf for one in weights)
            if not fits or not any(weights):
                raise KlayerError(
                    "`class_weight` must be numbers >= 0, not all of them 0, but got "
                    f"{printed(list(given.values()))}."
                )
            return {"class_weights": ",".join(repr(float(one)) for one in weights)}
        return {"class_weights": self.class_weight}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


KLayerClassifier.__doc__ = f"{KLayerClassifier.__doc__}".replace(
    "    Attributes\n",
    "    Parameters\n    ----------\n" + documented("classification") + "\n    Attributes\n",
    1,
)
