"""Fitted estimators for other programs: their networks, with the user's columns and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from klayer.data import Encoder
from klayer.data.fingerprint import standardiser_digest
from klayer.errors import KlayerError
from klayer.export import Exported, Written, export_model, exported
from klayer.files import plain
from klayer.model import Model
from klayer.study.provenance import versions
from klayer.study.summary import spread
from klayer.train import Ensemble
from klayer.train.metrics import metrics_of

if TYPE_CHECKING:
    from klayer.estimator.base import Estimator

__all__ = ["Exportable", "of_estimator", "of_estimators"]


class Exportable:
    """An estimator whose networks can be written for other programs."""

    def _exported(self) -> Exported:
        raise NotImplementedError

    def export(
        self, path: str | Path, to: str | None = None, *, X: Any = None, force: bool = False
    ) -> Written:
        """Write the networks, whose mean answers, for other programs; with a model card.

        Parameters
        ----------
        path : path
            A file, ``.onnx`` or ``.safetensors``, with its card beside it; or a folder, with ``to``.
        to : {"safetensors", "onnx", "csv"}, optional
            The format; by default as the ending says.
        X : array of shape (N, D), optional
            Real rows by which what is written is verified; by default rows are drawn.
        force : bool
            Whether files that are there are replaced.

        Returns
        -------
        written : Written
            ``files``, ``format``, ``verified`` with the largest ``difference``.

        Raises
        ------
        KlayerError
            As :func:`klayer.export_model`; nothing is written then.
        """
        return export_model(self, path, to, X=X, force=force)


def of_estimator(estimator: Estimator) -> Exported:
    """Return the networks of a fitted estimator, which answer by their mean, and what it knows."""
    own, classes = estimator.model_, getattr(estimator, "classes_", None)
    labels = None
    names = list(own.class_names)
    if own.task == "classification" and classes is not None:
        labels = classes.tolist()
        names = [str(one) for one in labels]
    columns = getattr(estimator, "feature_names_in_", None)
    encoder = None if columns is None else Encoder.of_numbers(map(str, columns))
    model = Model(
        own.network, own.params, own.running, own.standardiser, names, own.targets, encoder
    )
    model.temperatures = own.temperatures
    return replace(exported(Ensemble([model])), about=_about(estimator, labels))


def of_estimators(estimators: Sequence[Any], weights: Sequence[float]) -> Exported:
    """Return the networks of several fitted estimators, which answer by a weighted mean.

    Raises
    ------
    KlayerError
        If one of them has steps before its networks, or saw fewer classes than others.
    """
    for one in estimators:
        if not isinstance(one, Exportable):
            raise KlayerError(
                "networks can be exported without the steps before them, but these answer only "
                f"together with the steps of a {type(one).__name__}: export what its last step is."
            )
    parts = [of_estimator(one) for one in estimators]
    known = max((part.labels for part in parts), key=len)
    if any(part.labels != known for part in parts):
        raise KlayerError(
            "networks that are exported together must know the same classes, but some were trained on "
            "folds that lack one: search with a stratified `cv`, or keep='best'."
        )
    models: list[Model] = []
    shares: list[float] = []
    for part, weight in zip(parts, weights, strict=True):
        models += part.models
        shares += [weight * one for one in part.ensemble.weights.tolist()]
    about = {
        **parts[0].about,
        "networks": [one for part in parts for one in part.about["networks"]],
        "scores": [],
    }
    counted = [one for one, share in zip(about["networks"], shares, strict=True) if share]
    return replace(exported(Ensemble(models, shares)), about={**about, "networks": counted})


def _about(estimator: Estimator, labels: list[Any] | None) -> dict[str, Any]:
    state, model = estimator._state, estimator.model_
    alive = [lane for lane, failure in enumerate(state.failures) if failure is None]
    defaults = type(estimator)().get_params()
    settings = {
        name: value
        for name, value in estimator.get_params().items()
        if name != "callback" and not _same(value, defaults[name])
    }
    curves: Any = estimator.history_
    found: dict[str, Any] = plain(
        {
            "data": {
                "name": f"What {type(estimator).__name__} was fitted to",
                "samples": estimator._samples,
                "fingerprint": {"standardiser": standardiser_digest(model.standardiser)},
            },
            "networks": [
                {"seed": int(estimator._own_seeds[lane]), "settings": settings} for lane in alive
            ],
            "scores": [
                {"split": split, "score": name, **spread(values)}
                for split in ("train", "validation")
                for name in metrics_of(model.task)
                if (values := _last(curves, f"{split}_{name}", len(state.failures), alive))
            ],
            "diverged": len(state.failures) - len(alive),
            "versions": versions(),
        }
    )
    return {**found, "labels": labels}


def _last(curves: Any, name: str, networks: int, alive: list[int]) -> list[float]:
    """Return where each network's curve ends; nothing if there is no such curve."""
    if name not in curves:
        return []
    values = np.asarray(curves[name], float)
    values = values.reshape(networks, -1) if values.ndim == 1 else values
    kept = [row[np.isfinite(row)] for row in values[alive]]
    return [float(row[-1]) for row in kept if len(row)]


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(np.all(value == default))
