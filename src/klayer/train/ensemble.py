"""Several networks that answer together: the mean of what they say, of some or all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.calibration import joint_temperature
from klayer.data import Encoder
from klayer.data.labels import labels_to
from klayer.errors import KlayerError, unknown_name
from klayer.model import Model, labels_of, names_of
from klayer.train.metrics import METRICS, main_metric, metrics_of

__all__ = ["Ensemble", "LeftOut", "select_greedily"]

Array = NDArray[Any]

# Arms whose left out networks are named.
MOST_NAMED = 6


@dataclass(frozen=True)
class LeftOut:
    """A network that might have answered with others, but isn't asked.

    Attributes
    ----------
    arm : str
    seed : int
    why : str
        As in ``"at chance"``, ``"diverged"``.
    """

    arm: str
    seed: int
    why: str


class Ensemble:
    """Trained networks, of one architecture or several, and how much each counts.

    ``answer(x) = sum_m w_m answer_m(x)``: probabilities of classes or labels, or targets in their
    own unit.

    Parameters
    ----------
    models : sequence of Model
        Of one task and with the same names of classes, targets or labels. A model may hold several
        networks.
    weights : sequence of float, >= 0, optional
        One for each network of all models in order; by default all count the same. They are divided by
        their sum.
    mirror : (channels, height, width), optional
        Of images: every network's answer is the mean of those to the image and to its mirror image.
    left_out : sequence of LeftOut
        Networks that are none of these, for the reader: see :attr:`left_out`.

    Attributes
    ----------
    left_out : tuple of LeftOut
        What :meth:`klayer.Run.ensemble` left out by itself, and why: what is at chance or diverged.

    Raises
    ------
    KlayerError
        For models that don't fit each other, and weights that don't fit them.

    Examples
    --------
    >>> import klayer as kl
    >>> data = kl.load("digits")
    >>> settings = kl.Settings(hidden=(20,), cycles=1, half_cycle="1 epoch")
    >>> population = kl.fit(data, settings, seeds=3)
    >>> ensemble = Ensemble([population.model()])
    >>> rows = data.splits["test"].features
    >>> ensemble.predict(rows).shape == (len(rows), 10)
    True
    >>> held = data.splits["validation"]
    >>> best = Ensemble.select([population.model()], held.features, held.labels, size=5)
    >>> best.weights.shape, round(float(best.weights.sum()), 12)
    ((3,), 1.0)
    """

    def __init__(
        self,
        models: Sequence[Model],
        weights: Sequence[float] | Array | None = None,
        mirror: tuple[int, int, int] | None = None,
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        models = [models] if isinstance(models, Model) else list(models)
        if not sum(map(len, models)):
            raise KlayerError(
                "an ensemble needs at least one network, but got none: have all of them diverged?"
            )
        first = models[0]
        for name in ("task", "output_names"):
            for model in models:
                if getattr(model, name) != getattr(first, name):
                    raise KlayerError(
                        f"the models of an ensemble must have the same {name.replace('_', ' ')}, but "
                        f"got {getattr(first, name)} and {getattr(model, name)}: take those of one "
                        "kind alone, of a run by its arm."
                    )
        networks = sum(len(model) for model in models)
        found = np.ones(networks) if weights is None else np.asarray(weights, float)
        if found.shape != (networks,) or not (found >= 0).all() or not 0 < found.sum() < np.inf:
            raise KlayerError(
                f"`weights` must be numbers >= 0, not all 0, one for each of the {networks} networks, "
                f"but got {weights!r:.60}."
            )
        if mirror is not None and np.prod(mirror) != first.network.n_features:
            raise KlayerError(
                f"`mirror` must be the shape of the images, with a product of "
                f"{first.network.n_features}, but got {mirror}."
            )
        self.models, self.weights, self.mirror = tuple(models), found / found.sum(), mirror
        self.task, self.class_names = first.task, first.class_names
        self.left_out = tuple(left_out)

    def __len__(self) -> int:
        """Number of networks that count."""
        return int((self.weights > 0).sum())

    def __repr__(self) -> str:
        """Say how many networks count, out of how many, for what, and which were left out before."""
        text = f"Ensemble of {len(self)} of {len(self.weights)} networks for {self.task}"
        return "; ".join([text, *([_told(self.left_out)] if self.left_out else [])])

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each column of :meth:`predict` is: see :attr:`klayer.Model.output_names`."""
        return self.models[0].output_names

    @property
    def encoder(self) -> Encoder | None:
        """What makes features of a table's columns; None where rows are arrays."""
        return self.models[0].encoder

    def predict(self, X: ArrayLike) -> Array:
        """Return the ensemble's answer to raw rows (N, D), shape (N, outputs).

        Its columns are as in :meth:`klayer.Model.predict`.
        """
        total: Array | None = None
        for weight, model, lane in self._networks():
            if weight:
                one = weight * _answers(model.take([lane]), X, self.mirror)[0]
                total = one if total is None else total + one
        assert total is not None
        return total

    def predict_labels(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the answers as the labels of a data set count, (N,), or (N, K) for several labels."""
        return labels_of(self.predict(X), self.task)

    def predict_names(self, X: ArrayLike) -> NDArray[np.str_]:
        """Return the most probable class of raw rows (N, D) by its name, (N,)."""
        return names_of(self.predict(X), self.task, self.class_names)

    def scores(self, X: ArrayLike, labels: ArrayLike) -> dict[str, float]:
        """Return the scores of the task on raw rows (N, D) with labels: ``accuracy``, or ``r2``, ...

        Parameters
        ----------
        X : array, shape (N, D)
        labels : array, shape (N,) or (N, K)
            As a data set has them.
        """
        answers = self.predict(X)[None]
        labels = self._labels(labels, answers.shape[1])
        network = self.models[0].network
        return {
            name: float(_score(name, _decided(answers, self.task, network), labels)[0])
            for name in metrics_of(self.task)
        }

    @classmethod
    def select(
        cls,
        models: Sequence[Model],
        X: ArrayLike,
        labels: ArrayLike,
        size: int = 50,
        metric: str | None = None,
        mirror: tuple[int, int, int] | None = None,
        left_out: Sequence[LeftOut] = (),
    ) -> Ensemble:
        """Choose greedily, on validation data, networks whose mean answers best.

        See :func:`select_greedily`.

        Parameters
        ----------
        models : sequence of Model
        X : array, shape (N, D)
            Raw rows that none of the networks was trained on.
        labels : array, shape (N,) or (N, K)
        size : int, >= 1
            How many networks are taken, repetitions counted.
        metric : str, optional
            By default the main one of the task: accuracy, R², accuracy per label.
        mirror, left_out : optional
            As in the constructor.
        """
        if type(size) is not int or size < 1:
            raise KlayerError(f"`size` must be a whole number >= 1, but got {size!r}.")
        all_of_them = cls(models, mirror=mirror)
        task = all_of_them.task
        known, name = list(metrics_of(task)), metric or main_metric(task)
        if name not in known:
            raise unknown_name("metric", name, known)
        sign = 1 if METRICS[name].greater_is_better else -1
        models = all_of_them.models
        answers = np.concatenate([_answers(model, X, mirror) for model in models]).astype(float)
        labels, network = all_of_them._labels(labels, answers.shape[1]), models[0].network

        def score(means: Array) -> Array:
            return sign * _score(name, _decided(means, task, network), labels)

        chosen, _ = select_greedily(answers, score, size)
        if not chosen.any():
            raise KlayerError(f"no network has a {name} on these rows: all have diverged.")
        return cls(models, chosen, mirror, left_out)

    def calibrated(self, X: ArrayLike, labels: ArrayLike) -> Ensemble:
        """Return the ensemble with one temperature for all networks, with which their mean fits rows.

        Parameters
        ----------
        X : array, shape (N, D)
            Raw rows that none of the networks was trained on.
        labels : array, shape (N,) or (N, K)

        Raises
        ------
        KlayerError
            For a regression, and rows or labels that can't be.

        Examples
        --------
        >>> import klayer as kl
        >>> population = kl.fit("digits", hidden=(60,), cycles=1, seeds=3)
        >>> held = population.feed.dataset.splits["validation"]
        >>> calibrated = population.ensemble().calibrated(held.features, held.labels)
        >>> len({float(heat) for model in calibrated.models for heat in model.temperatures})
        1
        """
        if self.task == "regression":
            raise KlayerError("`calibrated` is for classes and labels, but this is a regression.")
        plain = [model.at_temperatures(1.0) for model in self.models]
        seen, weights = [X], self.weights
        if self.mirror is not None:
            seen, weights = [*seen, _turned(X, self.mirror)], np.tile(weights / 2, 2)
        logits = np.concatenate([model.logits(rows) for rows in seen for model in plain])
        heat = joint_temperature(logits, self._labels(labels, logits.shape[1]), weights)
        calibrated = [one.at_temperatures(heat) for one in plain]
        return Ensemble(calibrated, self.weights, self.mirror, self.left_out)

    def _labels(self, labels: ArrayLike, rows: int) -> Array:
        """Return labels as scores take them, checked."""
        found = labels_to("judge", labels, rows, len(self.class_names), self.task)
        return found if self.task == "classification" else found.astype(float)

    def _networks(self) -> list[tuple[float, Model, int]]:
        lanes = [(model, lane) for model in self.models for lane in range(len(model))]
        return [(float(w), *one) for w, one in zip(self.weights, lanes, strict=True)]


def select_greedily(
    answers: Array, score: Callable[[Array], Array], size: int
) -> tuple[Array, float]:
    """Choose among some answers those whose mean is best, with repetitions.

    Starting with the best one, the one that makes the mean's score best is added, again and again, the
    same one as often as it helps. Source: Caruana et al. 2004, "Ensemble selection from libraries of
    models".

    Parameters
    ----------
    answers : array, shape (M, ...)
    score : callable
        Of means (M, ...) the scores (M,): the greater the better; NaN is none.
    size : int, >= 1
        How many are taken.

    Returns
    -------
    counts : array, shape (M,)
        How often each was taken for the best of all means on the way; all 0 if none had a score.
    best : float
        Its score.

    Examples
    --------
    >>> answers = np.array([[0.0, 2.0], [3.0, 1.0], [9.0, 9.0]])
    >>> select_greedily(answers, lambda means: -np.abs(means - [1.0, 1.6]).sum(axis=1), size=5)
    (array([2., 1., 0.]), -0.0666...)
    """
    counts, total = np.zeros(len(answers)), np.zeros(answers.shape[1:])
    best, chosen = -np.inf, counts
    for taken in range(1, size + 1):
        values = score((total + answers) / taken)
        values = np.where(np.isnan(values), -np.inf, values)
        winner = int(values.argmax())
        total, counts = total + answers[winner], counts.copy()
        counts[winner] += 1
        if values[winner] > best:
            best, chosen = float(values[winner]), counts
    return chosen, best


def _told(left_out: Sequence[LeftOut]) -> str:
    """Say which networks were left out, by the reason and the arm."""
    seeds: dict[str, dict[str, list[str]]] = {}
    for one in left_out:
        seeds.setdefault(one.why, {}).setdefault(one.arm, []).append(str(one.seed))
    told = []
    for why, arms in seeds.items():
        named = [
            f"{arm} (seed{'s' * (len(which) > 1)} {', '.join(which)})"
            for arm, which in list(arms.items())[:MOST_NAMED]
        ]
        if len(arms) > MOST_NAMED:
            named.append(f"{len(arms) - MOST_NAMED} arms more")
        told.append(f"{sum(map(len, arms.values()))} {why}: {', '.join(named)}")
    return f"left out: {'; '.join(told)}"


def _answers(model: Model, X: ArrayLike, mirror: tuple[int, int, int] | None) -> Array:
    """Return what a model's networks say of raw rows, (P, N, outputs)."""
    found = model.predict(X)
    if mirror is not None:
        found = (found + model.predict(_turned(X, mirror))) / 2
    return found


def _turned(X: ArrayLike, mirror: tuple[int, int, int]) -> Array:
    """Return the mirror images of images."""
    X = np.asarray(X)
    return X.reshape(len(X), *mirror)[..., ::-1].reshape(X.shape)


def _decided(answers: Array, task: str, network: Any) -> Array:
    """Return answers as scores take them: one number for each class, target or label."""
    if task == "regression":
        return np.asarray(network.point(answers))
    return answers - 0.5 if task == "multilabel" else answers


def _score(name: str, answers: Array, labels: Array) -> Array:
    metric = METRICS[name]
    return metric.result(metric.block(answers, labels), labels, np.ones(1))
