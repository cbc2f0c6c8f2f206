"""The options of a check, held to their rules: a message with the rule and the value, no TypeError."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from klayer.errors import KlayerError, unknown_name
from klayer.gradcheck.reference import Reference

__all__ = ["METHODS", "validate"]

METHODS = ("auto", "complex", "central", "forward", "direction")


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    def good(value: Any) -> bool:
        return isinstance(value, Integral) and not _is_bool(value) and int(value) >= least

    return good, f"a whole number >= {least}"


def _is_bool(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not _is_bool(value)


# Name -> whether a value will do, and what it must be. None means "left out" for all of them.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "entries": _whole(1),
    "seed": _whole(0),
    "samples": _whole(1),
    "networks": _whole(1),
    "jobs": _whole(1),
    "tolerance": (lambda v: _is_real(v) and 0 < v < 1, "a number"),
    "l2": (lambda v: _is_real(v) and 0 <= v < float("inf"), "a number >= 0"),
    "time_limit": (lambda v: _is_real(v) and 0 < v < float("inf"), "a number of seconds > 0"),
    "kinks": (callable, "a function of the parameters"),
    "progress": (callable, "a function of two numbers"),
    "second_point": (_is_bool, "True or False"),
    "reference": (
        lambda v: isinstance(v, Reference),
        "a klayer.gradcheck.Reference(network, x, labels, l2)",
    ),
}
_REQUIRED = ("seed", "networks", "second_point", "jobs")


def validate(**options: object) -> None:
    """Hold options to their rules.

    Raises
    ------
    KlayerError

    Examples
    --------
    >>> validate(entries=3, tolerance=None)
    >>> validate(tolerance="small")
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: `tolerance` must be a number, but got 'small'.
    """
    for name, value in options.items():
        if name == "method":
            if value not in METHODS:
                raise unknown_name("method", value, METHODS)
            continue
        good, rule = _RULES[name]
        if value is None and name not in _REQUIRED:
            continue
        if not good(value):
            if name in ("samples", "networks") and isinstance(value, Integral):
                raise KlayerError(f"`{name}` must be >= 1, but got {value!r}.")
            if name == "tolerance" and _is_real(value):
                raise KlayerError(f"`0 < tolerance < 1` must hold, but got tolerance={value!r}.")
            raise KlayerError(f"`{name}` must be {rule}, but got {value!r}.")
