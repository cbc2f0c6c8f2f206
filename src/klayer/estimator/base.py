"""What the estimators share: arrays to a data set, a data set to a population, its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self, cast

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from klayer.data import Dataset, Split
from klayer.errors import KlayerError
from klayer.estimator.exporting import Exportable, of_estimator
from klayer.estimator.importance import TellsColumns
from klayer.estimator.lockstep import Feeds, Training, train_in_lockstep
from klayer.estimator.parameters import of_its_own, of_settings, unknown_parameter
from klayer.estimator.weighted import measured_by_weights
from klayer.export import Exported
from klayer.model import Model
from klayer.nn import loss_of
from klayer.progress import Meter
from klayer.train import (
    SETTINGS,
    Engine,
    Member,
    Population,
    Settings,
    TrainingState,
)
from klayer.train.told import standing

__all__ = ["Estimator"]

Array = NDArray[Any]
Rows = tuple[Array, Array]


class Estimator(TellsColumns, Exportable, BaseEstimator):  # type: ignore[misc]
    """The common part of :class:`KLayerClassifier` and :class:`KLayerRegressor`."""

    _task: str
    n_networks: Any
    epochs: Any
    batch_size: Any
    early_stopping: Any
    validation_fraction: Any
    random_state: Any
    n_jobs: Any
    time_limit: Any
    warm_start: Any
    callback: Any
    verbose: Any
    n_features_in_: int
    model_: Model
    history_: dict[str, Array]
    n_iter_: int
    _state: TrainingState
    _own_seeds: Array
    _samples: dict[str, int]

    def set_params(self, **params: Any) -> Self:
        """Set parameters by their names; one that isn't one is told which was meant."""
        known = self.get_params()
        for name in params:
            if name not in known:
                raise unknown_parameter(name, known)
        super().set_params(**params)
        return self

    # Fitting.

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Train.

        Parameters
        ----------
        X : array, shape (N, D)
            float32 stays float32.
        y : array, shape (N,) or (N, K)
        sample_weight : array, shape (N,), optional
            How much each row counts in the loss; any scale.
        X_val, y_val : array, optional
            Rows of your own for the validation curves and early stopping.

        Returns
        -------
        self : Estimator
            With ``model_``, ``history_``, ``n_iter_`` (updates done), ``n_features_in_``.

        Raises
        ------
        ValueError
            For rows or parameters that can't be, in scikit-learn's words or as a ``KlayerError``.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, go_on=bool(self.warm_start))

    def _fit(self, *given: Any, go_on: bool, **more: Any) -> Self:
        training = self._begin(*given, go_on=go_on, feeds=Feeds(), **more)
        many = len(training.population)
        who = f"{type(self).__name__}: {many} network{'s' * (many > 1)}"
        with Meter(None if self.verbose else "off") as meter:
            meter.begin(who, 1.0)
            train_in_lockstep([training], Engine(self._workers()), meter.move)
            meter.leave(f"{who}, {standing(training.population.state)}")
        training.end()
        return self

    def _begin(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        *,
        go_on: bool,
        feeds: Feeds,
        **more: Any,
    ) -> Training:
        """Return the networks that :meth:`fit` trains, as they are before."""
        going_on = go_on and hasattr(self, "model_")
        if not going_on:  # a fit that fails leaves no networks beside classes that aren't theirs
            self.__dict__.pop("model_", None)
        rows, targets = feeds.read(self, X, y, going_on=going_on, **more)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, rows, ensure_non_negative=True)
            counts = weights > 0
            if not counts.any():
                raise ValueError("`sample_weight` must not be all zero.")
            rows, targets, weights = rows[counts], targets[counts], weights[counts]
            weights = np.ldexp(weights, -np.frexp(weights.max())[1])  # about 1, to the same bits
        if (X_val is None) != (y_val is None):
            raise ValueError("`X_val` and `y_val` must be given together.")
        validation = None
        if X_val is not None:
            try:
                validation = self._read(X_val, cast(ArrayLike, y_val), going_on=True)
            except ValueError as error:
                raise KlayerError(f"validation rows (X_val, y_val): {error}") from error
        population = self._population(rows, targets, weights, validation, going_on, feeds)
        rates = self.history_["lr"].reshape(len(population), -1) if going_on else None
        return Training(self, population, rates=rates)

    def _read(self, X: ArrayLike, y: ArrayLike, going_on: bool, **more: Any) -> Rows:
        """Return rows and targets as training takes them; refuse what can't be."""
        if issparse(y):
            raise KlayerError(f"`y` must be dense, but got {type(y).__name__}: write y.toarray().")
        rows, labels = validate_data(
            self,
            X,
            y,
            reset=not going_on,
            dtype=(np.float64, np.float32),
            order="C",
            multi_output=True,
            y_numeric=self._task == "regression",
        )
        return rows, self._encoded(labels, going_on, **more)

    def _population(
        self,
        rows: Array,
        targets: Array,
        weights: Array | None,
        validation: Rows | None,
        going_on: bool,
        feeds: Feeds,
    ) -> Population:
        settings = self._settings()
        if going_on:
            self._require_the_same(settings)
        seeds = self._own_seeds if going_on else self._new_seeds()
        holds_out = settings.early_stopping != "none" or self._calibrates
        if not holds_out and self.validation_fraction != type(self)().validation_fraction:
            raise KlayerError(
                "`validation_fraction` has an effect with early_stopping or calibrate only, but got "
                f"validation_fraction={self.validation_fraction!r}: leave it away, or set one of them."
            )
        if holds_out and validation is None:
            rows, targets, weights, validation = self._cut(rows, targets, weights, seeds[0])
        splits = {"train": Split(rows, targets, weights)}
        if validation is not None:
            splits["validation"] = Split(*validation)
        names = tuple(self._output_names(targets.shape[-1]))
        dataset = Dataset("fit", splits, names, task=self._data_task, every_class=False)
        state: TrainingState | None = None
        if going_on:
            # What the weights mean hangs on the rows of the first call.
            dataset = dataset.measured_as(self.model_.standardiser, self.model_.targets)
            # A copy: what a failure or Ctrl-C ends leaves the estimator as it was.
            state = self._state.take(range(len(self._state))).going_on()
        else:
            dataset = measured_by_weights(dataset)
        updates = max(1, round(self.epochs * settings.batches(len(rows)).per_epoch))
        half_cycle = -(-updates // 2)
        course = {"half_cycle": half_cycle, "cycles": updates / (2 * half_cycle)}
        settings = Settings.from_values(
            {**settings.as_dict(), **course, "order_seed": int(seeds[0])}
        )
        members = [Member(settings, int(seed)) for seed in seeds]
        return Population(feeds.of(dataset, settings.dtype), members, state)

    def _end(self, population: Population) -> None:
        """Take what has been trained."""
        if not population.alive:
            many = len(population)
            who = "the network" if many == 1 else f"all {many} networks"
            raise KlayerError(f"{who} diverged ({population.state.failures[0]}): lower lr_max.")
        self._state = population.state
        self._own_seeds = np.array([member.seed for member in population.members])
        self.model_ = population.model(population.alive).in_double()
        if self._calibrates:
            held = population.feed.dataset.splits["validation"]
            self.model_ = self.model_.calibrated(held.features, held.labels, together=True)
        self.history_ = population.curves()
        splits = population.feed.dataset.splits
        self._samples = {name: len(split.labels) for name, split in splits.items()}
        self.n_iter_ = int(population.state.update)

    def _settings(self) -> Settings:
        """Return the settings that the parameters ask for; a wrong one is named as it is."""
        for name, row in of_its_own(self._task).items():
            row.check(name, getattr(self, name))
        values = {name: getattr(self, name) for name in of_settings(self._task)}
        values |= self._more_settings()
        whole, defaults = Settings(), type(self)().get_params()
        asked = SimpleNamespace(**{**whole.as_dict(), **values})
        if asked.loss == "auto":
            asked.loss = loss_of(self._data_task)
        # A parameter at its default gives way to the others, and may have no effect beside them.
        if asked.layer_norm != "none" and asked.batch_norm == defaults.get("batch_norm"):
            values["batch_norm"] = asked.batch_norm = "none"
        values = {
            name: value
            for name, value in values.items()
            if SETTINGS[name].has_effect(asked) or value != defaults.get(name, object())
        }
        return Settings.from_values(values)

    def _more_settings(self) -> dict[str, Any]:
        return {}

    @property
    def _calibrates(self) -> bool:
        return bool(getattr(self, "calibrate", False))

    def _require_the_same(self, settings: Settings) -> None:
        """Refuse parameters with which the networks that there are can't go on."""
        was, dtype = self.model_.network, next(iter(self._state.params.values())).dtype
        now = settings.network(was.n_features, was.n_classes, self._data_task)
        pairs = [
            ("n_networks", len(self._own_seeds), self.n_networks),
            ("dtype", str(dtype), settings.dtype),
        ]
        if (was.shapes(), was.running_shapes()) != (now.shapes(), now.running_shapes()):
            of_shapes = ("hidden", "batch_norm", "layer_norm", "loss", "quantiles")
            pairs += [(name, getattr(was, name), getattr(now, name)) for name in of_shapes]
        for name, before, after in pairs:
            if before != after:
                raise KlayerError(
                    f"`{name}` can't change while training goes on, but is {after!r} after {before!r}: "
                    "begin anew with warm_start=False."
                )

    def _new_seeds(self) -> Array:
        random = check_random_state(self.random_state)
        return np.asarray(random.randint(2**31 - 1, size=int(self.n_networks)))

    def _workers(self) -> int:
        return int(effective_n_jobs(self.n_jobs))

    def _cut(
        self, rows: Array, targets: Array, weights: Array | None, seed: int
    ) -> tuple[Array, Array, Array | None, Rows]:
        """Hold some rows out, of each class its share where there are enough."""
        N = len(rows)
        held_out = max(1, round(self.validation_fraction * N))
        if held_out >= N:
            raise KlayerError(
                "early stopping and calibration hold rows out, but "
                f"validation_fraction={self.validation_fraction!r} of {N} leaves none to train on: "
                "lower it, give more rows, or fit(..., X_val=..., y_val=...)."
            )
        classes = targets if targets.ndim == 1 else None
        if classes is not None:
            counts = np.unique(classes, return_counts=True)[1]
            if counts.min() < 2 or len(counts) > min(held_out, N - held_out):
                classes = None
        train, held = train_test_split(
            np.arange(N), test_size=held_out, random_state=seed, stratify=classes
        )
        train.sort()
        kept = None if weights is None else weights[train]
        return rows[train], targets[train], kept, (rows[held], targets[held])

    # What the two kinds say for themselves.

    def _encoded(self, labels: Array, going_on: bool, classes: ArrayLike | None = None) -> Array:
        raise NotImplementedError

    def _output_names(self, columns: int) -> Sequence[str]:
        raise NotImplementedError

    @property
    def _data_task(self) -> str:
        return self._task

    # Predictions.

    def members(self, X: ArrayLike) -> Array:
        """Return what each network answers: probabilities, or values in the target's unit.

        Returns
        -------
        values : array, shape (P, N, K)
            Of the networks that did not diverge.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        return self.model_.predict(rows)

    def _mean(self, X: ArrayLike) -> Array:
        mean: Array = self.members(X).mean(axis=0)
        return mean

    def predict_std(self, X: ArrayLike) -> Array:
        """Return the standard deviation of the networks' answers, shape (N, K): their disagreement."""
        std: Array = self.members(X).std(axis=0)
        return std

    def _exported(self) -> Exported:
        check_is_fitted(self)
        return of_estimator(self)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")
