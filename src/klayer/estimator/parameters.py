"""What the estimators take: settings of the table under their own names, and a few of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from klayer.train import SETTINGS

__all__ = ["OWN", "defaults_of", "documented", "initialiser", "of_settings"]

# Settings that an estimator has no use for, or another parameter for.
_NOT = {
    "order_seed",  # random_state
    "split_seed",
    "train_samples",
    "curve_samples",
    "cycles",  # epochs
    "half_cycle",
    "class_weights",  # class_weight, as scikit-learn calls it
    "updates_at_once",
    "average_share",
    "snapshots",
    "augment",
    "calibration",  # calibrate
}
_OF_CLASSES, _OF_NUMBERS = {"smoothing"}, {"huber_delta", "quantiles"}

# What differs from the defaults of the table, which are those of the report.
_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "hidden": (64, 64),
        "batch_size": 32,
        "l2": 0.0,
        "optimiser": "adam",
        "lr_min": 0.0,
        "lr_max": 0.005,
        "schedule": "cosine",
        "last_batch": "keep",
    }
)

# The estimators' own parameters, their defaults, and what they mean.
OWN: Mapping[str, tuple[Any, str, str]] = MappingProxyType(
    {
        "n_networks": (
            1,
            "int, >= 1",
            "Networks trained in lockstep; predictions are their mean.",
        ),
        "epochs": (
            40,
            "float, > 0",
            "Passes over the training rows: one course of the learning rate.",
        ),
        "validation_fraction": (
            0.15,
            "float, 0 < f < 1",
            "Share of the rows that early stopping watches, if fit is given none.",
        ),
        "random_state": (
            None,
            "int, RandomState or None",
            "Decides initialisation, order of the rows, dropout, the cut.",
        ),
        "n_jobs": (
            None,
            "int or None",
            "Threads: None is one (or what joblib's context says), -1 all cores.",
        ),
        "time_limit": (
            None,
            "float, > 0, or None",
            "Seconds after which training stops, at the next recorded point.",
        ),
        "warm_start": (
            False,
            "bool",
            "Whether another fit goes on with the networks there are, for `epochs` more.",
        ),
        "callback": (
            None,
            "callable ``(estimator, point)`` or None",
            "Called after each recorded point with its curves, a dict; True stops the training.",
        ),
        "verbose": (False, "bool", "Whether progress is shown."),
    }
)


def of_settings(task: str) -> tuple[str, ...]:
    """Return the names of the settings that an estimator for a task takes.

    Examples
    --------
    >>> "smoothing" in of_settings("classification"), "smoothing" in of_settings("regression")
    (True, False)
    """
    left_out = _NOT | (_OF_NUMBERS if task == "classification" else _OF_CLASSES)
    return tuple(name for name in SETTINGS if name not in left_out)


def defaults_of(task: str) -> dict[str, Any]:
    """Return all parameters of an estimator for a task with their defaults, in their order."""
    own = {name: default for name, (default, *_) in OWN.items()}
    if task == "classification":
        own["class_weight"] = None
    settings = {name: _DEFAULTS.get(name, SETTINGS[name].default) for name in of_settings(task)}
    first = ("hidden", "n_networks", "epochs", "batch_size", "optimiser", "lr_max")
    every = {**settings, **own}
    return {name: every[name] for name in [*first, *(n for n in every if n not in first)]}


def initialiser(task: str, module: str, owner: str) -> Callable[..., None]:
    """Return an ``__init__`` with a keyword for each parameter, as scikit-learn wants to read it.

    ``module`` and ``owner`` name its class: documentation looks a method up where it says it is.
    """
    defaults = defaults_of(task)

    def __init__(self: Any, **given: Any) -> None:
        for name in given:
            if name not in defaults:
                raise TypeError(
                    f"{type(self).__name__} has no parameter {name!r}; there are {', '.join(defaults)}."
                )
        for name, value in {**defaults, **given}.items():
            setattr(self, name, value)

    kind = inspect.Parameter.KEYWORD_ONLY
    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(inspect.Parameter(name, kind, default=value) for name, value in defaults.items()),
        ]
    )
    __init__.__doc__ = None
    __init__.__module__, __init__.__qualname__ = module, f"{owner}.__init__"
    return __init__


def documented(task: str) -> str:
    """Return the parameters as a docstring has them."""
    lines = []
    for name, default in defaults_of(task).items():
        if name in OWN:
            _, values, text = OWN[name]
        elif name == "class_weight":
            values = 'dict, "balanced" or None'
            text = "How much each class counts in the loss, by its label."
        else:
            values, text = SETTINGS[name].allowed, SETTINGS[name].sentence
        lines.append(f"    {name} : {values}\n        {text} Default: {default!r}.\n")
    return "".join(lines)
