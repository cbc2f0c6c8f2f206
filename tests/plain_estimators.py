"""The estimators with plain networks, whatever their defaults are: no normalisation, no dropout."""

import functools

from klayer import estimator

PLAIN = {
    "hidden": (64, 64),
    "activation": "relu",
    "batch_norm": "none",
    "dropout": 0.0,
    "batch_size": 32,
    "optimiser": "adam",
    "lr_max": 0.005,
    "schedule": "cosine",
}


def _plain(kind, **more):
    @functools.wraps(kind, updated=())
    def make(**values):
        return kind(**{**PLAIN, **more, **values})

    make._parameter_constraints = kind._parameter_constraints
    return make


KLayerClassifier = _plain(estimator.KLayerClassifier, smoothing=0.0)
KLayerRegressor = _plain(estimator.KLayerRegressor)
