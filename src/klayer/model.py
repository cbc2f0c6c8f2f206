"""Trained networks with the standardisation of their data: raw rows in, answers in raw units out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.calibration import joint_temperature, temperature
from klayer.data import Encoder, Standardiser
from klayer.data.from_arrays import rows_of
from klayer.data.labels import labels_to
from klayer.data.rawness import unlike_training
from klayer.errors import KlayerError
from klayer.nn import Batch, Network
from klayer.nn.lanes import Lanes, chosen_lanes
from klayer.shown import Facts, Part, Told

__all__ = ["Model", "labels_of", "names_of"]

Arrays = Mapping[str, NDArray[Any]]

# Rows at a time: activations of all networks for so many rows are in memory at once.
ROWS = 1000


class Model(Told):
    """P trained networks of one architecture, ready to judge rows.

    Every method takes *raw* rows, as the data set holds them (8-bit images as 8-bit images): the model
    standardises them itself, by the training split that its networks saw. Rows that were standardised
    before can't be told from raw ones, and would give wrong answers.

    Results carry the leading axis P, also for a single network, where P = 1.

    Parameters
    ----------
    network : Network
        The architecture.
    params, running : mapping of array, shape (P, ...)
        Parameters, and running statistics of batch normalisation.
    standardiser : Standardiser
        Of the training split.
    class_names : sequence of str
        K names of the classes, targets or labels, in their order.
    targets : Standardiser, optional
        Of the targets of the training split; of a regression, and only there.
    encoder : Encoder, optional
        What made features of a table's columns: rows may then also be frames, and arrays with the
        table's columns.

    Attributes
    ----------
    task : {"classification", "regression", "multilabel"}
    temperatures : array, shape (P,)
        By which the outputs are divided, in the weights of the last layer: 1 unless the model is
        :meth:`calibrated`.

    Raises
    ------
    KlayerError
        If standardisers or class names don't fit the network.

    Examples
    --------
    >>> import klayer as kl
    >>> network = kl.Network(n_features=3, hidden=(4,), n_classes=2)
    >>> rows = np.array([[0, 1, 2], [3, 4, 5], [3, 1, 2]], dtype=np.uint8)
    >>> model = Model(network, network.init("he", seeds=[0, 1]), {}, Standardiser.fit(rows),
    ...               ["low", "high"])
    >>> model.predict_probs(rows).shape, model.predict_labels(rows).shape
    ((2, 3, 2), (2, 3))
    >>> len(model), len(model.take([1]))
    (2, 1)
    """

    def __init__(
        self,
        network: Network,
        params: Arrays,
        running: Arrays,
        standardiser: Standardiser,
        class_names: Sequence[str],
        targets: Standardiser | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self.task = network.task
        if (targets is not None) != (self.task == "regression"):
            raise KlayerError(
                "`targets` must be given for a regression, and only there, but got "
                f"{targets} for {self.task}."
            )
        for name, have, wanted in (
            ("standardiser", len(standardiser.mean), network.n_features),
            ("class_names", len(class_names), network.n_classes),
            *([("targets", len(targets.mean), network.n_classes)] if targets else []),
            *([("encoder", encoder.n_features, network.n_features)] if encoder else []),
        ):
            if have != wanted:
                raise KlayerError(
                    f"`{name}` must fit the network, which has {wanted}, but got one for {have}."
                )
        for name, shapes, arrays in (
            ("params", network.shapes(), params),
            ("running", network.running_shapes(), running),
        ):
            given = {key: np.shape(value)[1:] for key, value in arrays.items()}
            if given != shapes:
                raise KlayerError(
                    f"`{name}` must fit the network, which has {_listed(shapes)}, but got "
                    f"{_listed(given)}."
                )
        self.network, self.params, self.running = network, dict(params), dict(running)
        self.standardiser, self.class_names = standardiser, tuple(class_names)
        self.targets, self.encoder = targets, encoder
        self.temperatures = np.ones(len(self))

    def __len__(self) -> int:
        """P, the number of networks."""
        return len(next(iter(self.params.values())))

    def __repr__(self) -> str:
        many = f"{len(self)} network{'s' * (len(self) > 1)}"
        widths = "-".join(map(str, self.network.widths))
        return f"<Model of {many} {widths}, {self.task}: {_shortened(self.output_names)}>"

    def parts(self) -> list[Part]:
        """Return what a notebook shows."""
        size = sum(math.prod(shape) for shape in self.network.shapes().values())
        answers = {"classification": "classes", "regression": "targets", "multilabel": "labels"}
        rows = f"raw rows of {self.network.n_features:,} numbers, standardised by the model itself"
        facts = [
            ("networks", f"{len(self)} of {'-'.join(map(str, self.network.widths))}"),
            ("parameters", f"{size:,} each"),
            ("input", rows),
            (answers[self.task], _shortened(self.output_names)),
        ]
        if (self.temperatures != 1).any():
            known = sorted({f"{one:.3g}" for one in self.temperatures})
            facts.append(("calibrated", f"temperature {_shortened(known)}"))
        return [Facts(facts)]

    def _heading(self) -> str:
        return f"Model for {self.task}"

    def take(self, lanes: Lanes) -> Model:
        """Return a model of the networks ``lanes`` alone, in that order."""
        chosen = chosen_lanes(lanes, len(self))
        params, running = (
            {key: value[chosen] for key, value in arrays.items()}
            for arrays in (self.params, self.running)
        )
        taken = self._with(params, running)
        taken.temperatures = self.temperatures[chosen]
        return taken

    def _with(self, params: Arrays, running: Arrays) -> Model:
        return Model(
            self.network,
            params,
            running,
            self.standardiser,
            self.class_names,
            self.targets,
            self.encoder,
        )

    def in_double(self) -> Model:
        """Return the model in float64: an answer then depends on no row but its own."""
        params, running = (
            {key: value.astype(np.float64) for key, value in arrays.items()}
            for arrays in (self.params, self.running)
        )
        model = self._with(params, running)
        model.temperatures = self.temperatures
        return model

    def at_temperatures(self, temperatures: ArrayLike) -> Model:
        """Return the model at other temperatures, one for each network or one for all.

        Examples
        --------
        >>> import klayer as kl
        >>> model = kl.fit("digits", hidden=(8,), cycles=1, half_cycle="1 epoch").model()
        >>> rows = kl.load("digits").splits["test"].features
        >>> surer = model.at_temperatures(0.5)
        >>> bool(surer.predict_probs(rows).max(-1).mean() > model.predict_probs(rows).max(-1).mean())
        True
        >>> surer.temperatures.tolist(), model.temperatures.tolist()
        ([0.5], [1.0])
        """
        self._require("at_temperatures", "classification", "multilabel")
        asked = np.broadcast_to(np.asarray(temperatures, float), (len(self),)).copy()
        if not (np.isfinite(asked) & (asked > 0)).all():
            raise KlayerError(
                f"`temperatures` must be finite and > 0, but got {temperatures!r:.60}."
            )
        last = self.network.pieces[
            -1
        ].params()  # an affine map, or a normalisation: linear in these
        factors = self.temperatures / asked
        params = {
            key: value * factors.reshape(-1, *(1,) * (value.ndim - 1)).astype(value.dtype)
            if key in last
            else value
            for key, value in self.params.items()
        }
        model = self._with(params, self.running)
        model.temperatures = asked
        return model

    def calibrated(self, X: Any, labels: ArrayLike, *, together: bool = False) -> Model:
        """Return the model with temperatures that make its probabilities fit some rows.

        Parameters
        ----------
        X : array of shape (N, D), frame or sparse matrix
            Raw rows that the networks were not trained on.
        labels : array, shape (N,) or (N, K)
            As a data set has them: indices of classes, or 0 and 1.
        together : bool
            Whether one temperature is found for all networks, with which the mean of their answers fits:
            that of an ensemble. Else each network has its own, as if it were alone.

        Raises
        ------
        KlayerError
            For a regression, and rows or labels that can't be.

        Examples
        --------
        >>> import klayer as kl
        >>> population = kl.fit("digits", hidden=(60,), cycles=2, seeds=2)
        >>> held = kl.load("digits").splits["validation"]
        >>> model = population.model().calibrated(held.features, held.labels)
        >>> model.temperatures.shape
        (2,)
        """
        self._require("calibrated", "classification", "multilabel")
        plain = self.at_temperatures(1.0)
        logits = plain.logits(X)
        found = labels_to("calibrate", labels, logits.shape[1], len(self.class_names), self.task)
        if together:
            return plain.at_temperatures(joint_temperature(logits, found))
        return plain.at_temperatures([temperature(each, found) for each in logits])

    def logits(self, X: Any) -> NDArray[Any]:
        """Return what comes before softmax or sigmoid, of raw rows (N, D), shape (P, N, K)."""
        X, dtype = self._checked(X)
        found = np.empty((len(self), len(X), self.network.outputs), dtype)
        for rows, x in self._standardised(X, dtype):
            with np.errstate(all="ignore"):  # of a network that diverged
                found[:, rows] = outputs(self.network, self.params, self.running, x)
        return found

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each column of :meth:`predict` is: class, target or label; or a target's quantile."""
        quantiles = self.network.quantiles
        if not quantiles:
            return self.class_names
        return tuple(f"{name} q{one:g}" for name in self.class_names for one in quantiles)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return what the networks say of raw rows.

        Parameters
        ----------
        X : array of shape (N, D), frame or sparse matrix
            Raw rows: features as the data set holds them; of a table also a frame with the columns of
            training (others may be there), or an array with these columns in their order.

        Returns
        -------
        values : array, shape (P, N, outputs)
            Its columns are :attr:`output_names`. Classification: the probability of each class, which
            sum to 1. Regression: each target in its own unit, or its quantiles. Multilabel: the
            probability of each label.

        Raises
        ------
        KlayerError
            If ``X`` has another number of features, holds anything but finite real numbers, or numbers
            so large that a network has no finite answer.

        Warns
        -----
        UserWarning
            If the rows look as if they were not raw: standardised before, in other units.
        """
        X, dtype = self._checked(X)
        # Targets may be far from 0 beside their spread: float32 could not tell them apart.
        raw = dtype if self.targets is None else np.float64
        found = np.empty((len(self), len(X), self.network.outputs), raw)
        for rows, x in self._standardised(X, dtype):
            with np.errstate(all="ignore"):  # what is not finite is refused below
                found[:, rows] = self.network.predict(self.params, x, self.running)
        if self.targets is not None:
            each = max(1, len(self.network.quantiles))
            with np.errstate(over="ignore"):  # as above
                found *= np.repeat(self.targets.scale, each)
                found += np.repeat(self.targets.mean, each)
        wrong = ~np.isfinite(found).all(axis=-1)
        if wrong.any():
            network, row = (int(i) for i in np.argwhere(wrong)[0])
            raise KlayerError(
                f"network {network} gives outputs that are not finite for row {row} of `X`: it has no "
                "answer for it. Its weights or the row are too large."
            )
        return found

    def _checked(self, X: Any) -> tuple[NDArray[Any], np.dtype[Any]]:
        """Return raw rows that the networks can be asked about, and the precision to do it in."""
        X = rows_of(X, self.network.n_features, self.encoder)
        dtype = next(iter(self.params.values())).dtype
        place = self.standardiser.beyond(X, dtype)
        if place is not None:
            row, column = place
            title = repr(self.encoder.feature_names[column]) if self.encoder else column
            raise KlayerError(
                f"`X`, row {row}, column {title}: must be near enough to the rows of training to be "
                f"calculated with in {dtype}, but got {X[place]:g}, where training has a mean of "
                f"{self.standardiser.mean[column]:g}."
            )
        unlike = unlike_training(X, self.standardiser)
        if unlike:
            warnings.warn(
                f"`X` must be raw rows, as training had them, but {unlike}",
                stacklevel=3,
            )
        return X, dtype

    def _standardised(
        self, X: NDArray[Any], dtype: np.dtype[Any]
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        for start in range(0, len(X), ROWS):
            rows = slice(start, start + ROWS)
            yield rows, self.standardiser.transform(X[rows], dtype)

    def predict_values(self, X: Any) -> NDArray[np.float64]:
        """Return one number for each target of raw rows (N, D), in its own unit, shape (P, N, K).

        Where quantiles are predicted it is the one nearest to the median.
        """
        self._require("predict_values", "regression")
        return self.network.point(self.predict(X))

    def predict_probs(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, or of each label, of raw rows (N, D), (P, N, K)."""
        self._require("predict_probs", "classification", "multilabel")
        return self.predict(X)

    def predict_labels(self, X: Any) -> NDArray[np.int64]:
        """Return the answers for raw rows (N, D) as the labels of a data set count.

        Classification: the index of the most probable class, 0 to K-1, shape (P, N); ``class_names``
        has the names. Multilabel: 1 for each label whose probability is more than 1/2, (P, N, K).
        """
        self._require("predict_labels", "classification", "multilabel")
        return labels_of(self.predict(X), self.task)

    def predict_names(self, X: Any) -> NDArray[np.str_]:
        """Return the most probable class of raw rows (N, D) by its name, shape (P, N)."""
        self._require("predict_names", "classification")
        return names_of(self.predict(X), self.task, self.class_names)

    def _require(self, method: str, *tasks: str) -> None:
        if self.task not in tasks:
            raise KlayerError(
                f"`{method}` is for {' and '.join(tasks)}, but these networks are for {self.task}: "
                f"call `{'predict_values' if self.task == 'regression' else 'predict_labels'}`."
            )


def labels_of(answers: NDArray[Any], task: str) -> NDArray[np.int64]:
    """Return probabilities (..., K) as labels of a data set count: (...,), of several labels (..., K).

    Raises
    ------
    KlayerError
        For a regression.
    """
    if task == "regression":
        raise KlayerError("a regression has no labels: call `predict`.")
    if task == "multilabel":
        return (answers > 0.5).astype(np.int64)
    labels: NDArray[np.int64] = answers.argmax(axis=-1)
    return labels


def names_of(answers: NDArray[Any], task: str, class_names: Sequence[str]) -> NDArray[np.str_]:
    """Return the most probable class by its name, of probabilities (..., K), shape (...,).

    Raises
    ------
    KlayerError
        For another task.
    """
    if task != "classification":
        raise KlayerError(f"classes have names, but this is a {task}: call `predict`.")
    return np.array(class_names)[labels_of(answers, task)]


def outputs(network: Network, params: Arrays, running: Arrays, x: NDArray[Any]) -> NDArray[Any]:
    """Return what comes before softmax or sigmoid, of standardised rows (N, D), (P, N, K)."""
    batch = Batch(x, np.zeros(len(x), int))
    return network.plan(params, batch, running=running, training=False).forward().copy()


def _shortened(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{key} {shape}" for key, shape in shapes.items()) or "none"
