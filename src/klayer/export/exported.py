"""What is exported: networks that answer together, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Encoder
from klayer.errors import KlayerError
from klayer.model import Model
from klayer.train import Ensemble, Population

__all__ = ["Exported", "exported", "stacked"]


@dataclass(frozen=True)
class Exported:
    """Networks whose mean is the answer, and what is known of them.

    Attributes
    ----------
    ensemble : Ensemble
        Of one network or more; every one of them counts.
    about : mapping
        Plain values, all of which may be absent: ``data`` (name, fingerprint, samples, image_shape,
        ...), ``labels`` (the classes as the user has them, if they are no texts), ``networks`` (arm,
        seed, settings and scores of each), ``scores``, ``chosen_by`` (the split whose score it is the
        best by), ``versions``.
    """

    ensemble: Ensemble
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models, each of one architecture."""
        return self.ensemble.models

    @property
    def first(self) -> Model:
        """The first model: task, names and columns are those of all."""
        return self.models[0]

    @property
    def encoder(self) -> Encoder | None:
        """What makes features of a table's columns; None where rows are arrays."""
        return self.first.encoder

    @property
    def task(self) -> str:
        """What the networks are for."""
        return self.first.task

    @property
    def labels(self) -> list[Any]:
        """The classes, targets or labels: as the user has them, else by their names."""
        return list(self.about.get("labels") or self.first.class_names)

    @property
    def weights(self) -> list[NDArray[np.float64]]:
        """How much each network counts, for each model; their sum is 1."""
        ends = np.cumsum([len(model) for model in self.models])
        return np.split(self.ensemble.weights, ends[:-1])

    @property
    def prefixes(self) -> list[str]:
        """What the names of each model's arrays begin with: nothing if there is one model."""
        if len(self.models) == 1:
            return [""]
        return [f"model{index}/" for index in range(1, len(self.models) + 1)]

    def predictor(self) -> Model | Ensemble:
        """Return the one network as a model, several as an ensemble."""
        if len(self.first) == len(self.models) == 1 and self.ensemble.mirror is None:
            return self.first
        return self.ensemble


def exported(what: Any, about: Mapping[str, Any] | None = None) -> Exported:
    """Make ready what a user wants to export.

    Parameters
    ----------
    what : Model, Ensemble or Population
        Networks that answer together; of a population those that did not diverge.
    about : mapping, optional
        See :class:`Exported`.

    Raises
    ------
    KlayerError
        If it is none of these, or its models want different columns.
    """
    if isinstance(what, Population):
        if not what.alive:
            raise KlayerError(
                "there must be a network that answers, but all of them have diverged."
            )
        what = what.model(what.alive)
    if isinstance(what, Model):
        what = Ensemble([what])
    if not isinstance(what, Ensemble):
        hint = (
            ": export its last step, which takes what the others make"
            if hasattr(what, "steps")
            else ""
        )
        raise KlayerError(
            "what is exported must be a Model, an Ensemble, a Population, a Run or a fitted estimator, "
            f"but got {type(what).__name__}{hint}."
        )
    models, weights, start = [], [], 0
    for model in what.models:
        own = what.weights[start : start + len(model)]
        start += len(model)
        lanes = np.flatnonzero(own)
        if len(lanes):
            models.append(model.take(lanes.tolist()))
            weights += own[lanes].tolist()
    for model in models:
        if (model.encoder and model.encoder.codes) != (
            models[0].encoder and models[0].encoder.codes
        ):
            raise KlayerError(
                "the models of what is exported must read the same columns of a table, but theirs "
                "differ: train them on the same data."
            )
    return Exported(Ensemble(models, weights, what.mirror), dict(about or {}))


def stacked(models: Sequence[Model]) -> tuple[list[Model], list[int]]:
    """Return models of one data set with those of one architecture joined.

    Returns
    -------
    models : list of Model
    order : list of int
        Which of the given models' networks stand there, one after another.
    """
    groups: dict[Any, list[int]] = {}
    for index, model in enumerate(models):
        groups.setdefault(model.network, []).append(index)
    joined = [_joined([models[index] for index in group]) for group in groups.values()]
    return joined, [index for group in groups.values() for index in group]


def _joined(models: Sequence[Model]) -> Model:
    first = models[0]
    params, running = (
        {key: np.concatenate([getattr(one, group)[key] for one in models]) for key in arrays}
        for group, arrays in (("params", first.params), ("running", first.running))
    )
    joined = Model(
        first.network,
        params,
        running,
        first.standardiser,
        first.class_names,
        first.targets,
        first.encoder,
    )
    joined.temperatures = np.concatenate([one.temperatures for one in models])
    return joined
