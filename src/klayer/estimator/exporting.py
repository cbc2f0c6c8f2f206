"""What a fitted estimator gives to be exported: its networks, with the user's columns and classes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from klayer.data import Encoder
from klayer.data.fingerprint import standardiser_digest
from klayer.export import Exported, exported
from klayer.files import plain
from klayer.model import Model
from klayer.study.provenance import versions
from klayer.study.summary import spread
from klayer.train import Ensemble
from klayer.train.metrics import metrics_of

if TYPE_CHECKING:
    from klayer.estimator.base import Estimator

__all__ = ["of_estimator"]


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
