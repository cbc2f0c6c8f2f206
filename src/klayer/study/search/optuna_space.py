"""A space in Optuna's words, and Optuna kept quiet."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from klayer.study.search.space import Range, Space

__all__ = [
    "distributions",
    "from_choice",
    "import_optuna",
    "quiet_optuna",
    "to_choice",
    "whole_space",
]


def import_optuna() -> ModuleType:
    """Return Optuna, imported without a word of its progress bars, which klayer never asks for.

    They want ipywidgets in a notebook, and say so where these aren't installed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        import optuna

    return optuna


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from logging each trial, and from warning that a feature is young."""
    optuna = import_optuna()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def to_choice(value: Any) -> str | int | float:
    """Write a choice as Optuna can store it: lists as JSON.

    Examples
    --------
    >>> to_choice([50, 50]), to_choice("hidden"), to_choice(100)
    ('[50, 50]', 'hidden', 100)
    """
    choice: str | int | float = json.dumps(value) if isinstance(value, list | tuple) else value
    return choice


def from_choice(name: str, value: Any) -> Any:
    """Undo :func:`to_choice` for the parameter ``name``."""
    return json.loads(value) if name == "hidden" and isinstance(value, str) else value


def distributions(space: Space, log: Mapping[str, bool] | None = None) -> dict[str, Any]:
    """Return Optuna's distributions for a space; ``log`` overrules the ranges' own scales."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    found: dict[str, Any] = {}
    for name in space.names:
        if name in space.ranges:
            one = space.ranges[name]
            on_log = one.scale == "log" if log is None else log[name]
            found[name] = FloatDistribution(one.low, one.high, log=on_log)
        else:
            found[name] = CategoricalDistribution([to_choice(v) for v in space.categories[name]])
    return found


def whole_space(spaces: Iterable[Space]) -> dict[str, Any]:
    """Return Optuna's distributions over everything that some spaces draw from together.

    A number is on the log scale if that of some space is: Optuna wants one scale for a name.
    """
    ranges: dict[str, Range] = {}
    categories: dict[str, list[Any]] = {}
    log: dict[str, bool] = {}
    for space in spaces:
        for name, one in space.ranges.items():
            seen = ranges.get(name, one)
            low, high = min(seen.low, one.low), max(seen.high, one.high)
            log[name] = log.get(name, False) or one.scale == "log"
            ranges[name] = Range(low, high, "linear")
        for name, choices in space.categories.items():
            known = categories.setdefault(name, [])
            known.extend(choice for choice in choices if choice not in known)
    log = {name: log[name] and one.low > 0 for name, one in ranges.items()}
    return distributions(Space(ranges, categories), log)
