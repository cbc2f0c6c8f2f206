"""What the estimators take: settings of the table under their own names, and a few of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, make_constraint

from klayer.errors import KlayerError, unknown_name
from klayer.train import SETTINGS
from klayer.train.other_names import LENGTHS, unknown_setting

__all__ = [
    "allowed",
    "constraints",
    "defaults_of",
    "documented",
    "initialiser",
    "of_its_own",
    "of_settings",
    "takes_a_range",
    "unknown_parameter",
]

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
    "snapshots",
    "cycle_growth",  # each cycle is a course of its own
    "peak_decay",
    "calibration",  # calibrate
}
_OF_CLASSES = {"smoothing", "class_weight", "calibrate"}
_OF_NUMBERS = {"huber_delta", "quantiles"}

# What differs from the defaults of the table, which are those of the report: chosen on real tables, by
# benchmarks/defaults.py.
_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "hidden": (128, 128),
        "batch_norm": "hidden",
        "activation": "silu",
        "dropout": 0.2,
        "smoothing": 0.03,
        "batch_size": 64,
        "l2": 0.0,
        "optimiser": "adamw",
        "lr_min": 0.0,
        "lr_max": 0.01,
        "schedule": "one_cycle",
        "last_batch": "keep",
    }
)

# What others call them.
_OTHER_NAMES = {
    "epochs": LENGTHS,
    "n_networks": ("n_estimators", "n_ens", "networks", "ensemble", "seeds"),
    "random_state": ("seed", "random_seed", "rng"),
    "callback": ("callbacks",),
    "calibrate": ("calibration", "temperature", "temperature_scaling", "use_ls"),
    "time_limit": ("time_limit_s", "max_time", "timeout"),
    "n_jobs": ("n_threads", "threads", "workers", "num_cpus"),
    "class_weight": ("class_weights",),
    "schedule": ("learning_rate",),  # the rate itself is learning_rate_init there
    "optimiser": ("nesterovs_momentum",),
    "optimiser_eps": ("epsilon",),
}

_BOOLEAN = ("True or False", ["boolean"])
_POSITIVE = Interval(Real, 0, None, closed="neither")


class Own(NamedTuple):
    """A parameter that is no setting: default, values in words and in scikit-learn's, meaning."""

    default: Any
    values: str
    constraints: list[Any]
    text: str

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that can't be, naming the rule."""
        refused = isinstance(value, bool | np.bool_) and "boolean" not in self.constraints
        fits = (make_constraint(one).is_satisfied_by(value) for one in self.constraints)
        if refused or not any(fits):
            raise KlayerError(f"`{name}` must be {self.values}, but got {value!r:.80}.")


OWN: Mapping[str, Own] = MappingProxyType(
    {
        "n_networks": Own(
            1,
            "a whole number >= 1",
            [Interval(Integral, 1, None, closed="left")],
            "Networks trained in lockstep; predictions are their mean.",
        ),
        "epochs": Own(
            40,
            "a number > 0",
            [_POSITIVE],
            "Passes over the training rows in a cycle, one course of the learning rate.",
        ),
        "cycles": Own(
            1,
            "a whole number >= 1",
            [Interval(Integral, 1, None, closed="left")],
            "Cycles, one after another; each call of `partial_fit` trains for as many more.",
        ),
        "calibrate": Own(
            False,
            *_BOOLEAN,
            "Whether held-out rows find a temperature that makes probabilities honest.",
        ),
        "validation_fraction": Own(
            0.15,
            "a number > 0 and < 1",
            [Interval(Real, 0, 1, closed="neither")],
            "Share of the rows held out for early stopping and calibration, if fit is given none.",
        ),
        "random_state": Own(
            None,
            "a whole number >= 0, a RandomState or None",
            ["random_state"],
            "Decides initialisation, order of the rows, dropout, the cut.",
        ),
        "n_jobs": Own(
            None,
            "a whole number other than 0, or None",
            [
                Interval(Integral, 1, None, closed="left"),
                Interval(Integral, None, -1, closed="right"),
                None,
            ],
            "Threads: None is one (or what joblib's context says), -1 all cores.",
        ),
        "time_limit": Own(
            None,
            "a number > 0, or None",
            [_POSITIVE, None],
            "Seconds after which training stops, and ends with the weights that it has.",
        ),
        "warm_start": Own(
            False,
            *_BOOLEAN,
            "Whether another fit goes on with the networks there are, for `cycles` more.",
        ),
        "callback": Own(
            None,
            "a callable ``(estimator, point)`` or None",
            [callable, None],
            "Called after each recorded point with its curves, a dict; True, of an array all of it, "
            "stops the training.",
        ),
        "verbose": Own(False, *_BOOLEAN, "Whether progress is shown."),
        "class_weight": Own(
            None,
            'a dict, "balanced" or None',
            [dict, StrOptions({"balanced"}), None],
            "How much each class counts in the loss, by its label.",
        ),
    }
)


def of_settings(task: str) -> tuple[str, ...]:
    """Return the names of the settings that an estimator for a task takes.

    Examples
    --------
    >>> "smoothing" in of_settings("classification"), "smoothing" in of_settings("regression")
    (True, False)
    """
    return tuple(name for name in SETTINGS if name not in _NOT | _of_others(task))


def of_its_own(task: str) -> dict[str, Own]:
    """Return the parameters that are no settings, of an estimator for a task."""
    return {name: row for name, row in OWN.items() if name not in _of_others(task)}


def _of_others(task: str) -> set[str]:
    return _OF_NUMBERS if task == "classification" else _OF_CLASSES


def defaults_of(task: str) -> dict[str, Any]:
    """Return all parameters of an estimator for a task with their defaults, in their order."""
    own = {name: row.default for name, row in of_its_own(task).items()}
    settings = {name: _DEFAULTS.get(name, SETTINGS[name].default) for name in of_settings(task)}
    first = ("hidden", "n_networks", "epochs", "batch_size", "optimiser", "lr_max")
    every = {**settings, **own}
    return {name: every[name] for name in [*first, *(n for n in every if n not in first)]}


def constraints(task: str) -> dict[str, Any]:
    """Return what each parameter may be, as scikit-learn declares it; settings check their numbers.

    Examples
    --------
    >>> constraints("regression")["warm_start"], constraints("regression")["lr_max"]
    (['boolean'], 'no_validation')
    """
    settings = {name: SETTINGS[name].choices for name in of_settings(task)}
    return {
        **{
            name: [StrOptions(set(choices))] if choices else "no_validation"
            for name, choices in settings.items()
        },
        **{name: row.constraints for name, row in of_its_own(task).items()},
    }


def initialiser(task: str, module: str, owner: str) -> Callable[..., None]:
    """Return an ``__init__`` with a keyword for each parameter, as scikit-learn wants to read it.

    ``module`` and ``owner`` name its class: documentation looks a method up where it says it is.
    """
    defaults = defaults_of(task)

    def __init__(self: Any, **given: Any) -> None:
        for name in given:
            if name not in defaults:
                raise TypeError(f"{type(self).__name__}: {unknown_parameter(name, defaults)}")
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


def unknown_parameter(name: str, known: Mapping[str, Any]) -> KlayerError:
    """Build the error for a name that is no parameter, with the one that was meant."""
    for one, words in _OTHER_NAMES.items():
        if name in words and one in known:
            return unknown_name("parameter", name, known, f"did you mean {one!r}?")
    settings = {one: SETTINGS.get(one, SETTINGS["l2"]) for one in known}  # their names alone count
    return unknown_setting(name, None, settings, kind="parameter")


def allowed(name: str) -> str:
    """Return in words what a parameter may be."""
    return OWN[name].values if name in OWN else SETTINGS[name].allowed


def takes_a_range(name: str) -> bool:
    """Whether a parameter is a real number, which may be drawn from an interval.

    Examples
    --------
    >>> [name for name in ("lr_max", "epochs", "batch_size", "n_jobs") if takes_a_range(name)]
    ['lr_max', 'epochs']
    """
    if name in OWN:
        numbers = [one for one in OWN[name].constraints if isinstance(one, Interval)]
        return any(one.type is Real for one in numbers)
    return SETTINGS[name].kind is float


def documented(task: str) -> str:
    """Return the parameters as a docstring has them."""
    lines = []
    for name, default in defaults_of(task).items():
        text = OWN[name].text if name in OWN else SETTINGS[name].sentence
        lines.append(f"    {name} : {allowed(name)}\n        {text} Default: {default!r}.\n")
    return "".join(lines)
