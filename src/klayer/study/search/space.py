"""What a stage of a search draws from: ranges of numbers, choices of categories."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from klayer.errors import KlayerError, unknown_name
from klayer.train import Settings
from klayer.train.other_names import unknown_setting
from klayer.train.settings import SEARCHABLE, current_names, has_effect, without_aliases

__all__ = ["CATEGORIES", "NUMBERS", "Range", "Space", "apply"]

NUMBERS = tuple(name for name, row in SEARCHABLE.items() if row.search != "choices")
CATEGORIES = tuple(name for name, row in SEARCHABLE.items() if row.search == "choices")


@dataclass(frozen=True)
class Range:
    """An interval to draw a number from, uniformly on its scale.

    Parameters
    ----------
    low, high : float, ``low < high``; on the log scale ``low > 0``
    scale : {"log", "linear"}
        On ``log`` the exponent is uniform.

    Raises
    ------
    KlayerError
        If the interval is empty or doesn't fit its scale.

    Examples
    --------
    >>> Range.parse("10^-5:10^-1")
    Range(low=1e-05, high=0.1, scale='log')
    >>> str(Range.parse("0.005:0.015:linear"))
    '0.005:0.015:linear'
    """

    low: float
    high: float
    scale: str = "log"

    def __post_init__(self) -> None:
        if self.scale not in ("log", "linear"):
            raise unknown_name("scale", self.scale, ["log", "linear"])
        if not (-math.inf < self.low < self.high < math.inf):
            raise KlayerError(
                f"a range must have `low < high`, but got low={self.low}, high={self.high}."
            )
        if self.scale == "log" and self.low <= 0:
            raise KlayerError(
                f"a range on the log scale must have low > 0, but got low={self.low}: "
                f"raise it, or write {self.low}:{self.high}:linear."
            )

    @classmethod
    def parse(cls, text: str | Range, scale: str = "log") -> Range:
        """Read ``LOW:HIGH``, ``LOW:HIGH:log``, ``LOW:HIGH:linear``; a number may be ``10^-1.7``.

        ``scale`` is that of a text without one.
        """
        if isinstance(text, Range):
            return text
        parts = [part.strip() for part in str(text).split(":")]
        try:
            if len(parts) not in (2, 3):
                raise ValueError
            low, high = _number(parts[0]), _number(parts[1])
        except (ValueError, ArithmeticError):
            raise KlayerError(
                f"a range must read like 1e-5:1e-1, 10^-3:10^-1.7:log or 0.005:0.015:linear, "
                f"but got {text!r}."
            ) from None
        return cls(low, high, *(parts[2:] or [scale]))

    def __str__(self) -> str:
        return f"{self.low!r}:{self.high!r}:{self.scale}"

    def contains(self, value: float) -> bool:
        """Whether a value lies in the interval, ends included."""
        return self.low <= value <= self.high

    def position(self, value: float) -> float:
        """Return where a value lies on the scale: 0 for ``low``, 1 for ``high``."""
        low, high, here = (self._on_scale(one) for one in (self.low, self.high, value))
        return (here - low) / (high - low)

    def at(self, position: float) -> float:
        """Undo :meth:`position`; positions beyond 0 and 1 lie outside the interval."""
        low, high = self._on_scale(self.low), self._on_scale(self.high)
        value = low + position * (high - low)
        return math.exp(value) if self.scale == "log" else value

    def _on_scale(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else value


def _number(text: str) -> float:
    base, power, exponent = text.partition("^")
    if power and float(base) <= 0:
        raise ValueError("a power of a number that is not positive")
    return float(base) ** float(exponent) if power else float(text)


@dataclass(frozen=True)
class Space:
    """What a stage draws from: a range for each number, the choices of each category.

    Parameters
    ----------
    ranges : dict of str to Range
        Of settings the keys are among :data:`NUMBERS`.
    categories : dict of str to list
        Of settings the keys are among :data:`CATEGORIES`.
    """

    ranges: Mapping[str, Range]
    categories: Mapping[str, list[Any]]

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "a stage") -> Space:
        """Read ``{"l2": "1e-5:1e-1", "batch_norm": ["none", "hidden"]}``.

        Raises
        ------
        KlayerError
            For an unknown name, a category without choices, or nothing to search.
        """
        ranges: dict[str, Range] = {}
        categories: dict[str, list[Any]] = {}
        for name, value in current_names(values, where).items():
            if name in NUMBERS:
                try:
                    ranges[name] = Range.parse(value, SEARCHABLE[name].search)
                except KlayerError as error:
                    raise KlayerError(f"{where}, `{name}`: {error}") from None
            elif name in CATEGORIES:
                if not isinstance(value, list) or not value or _repeats(value):
                    raise KlayerError(
                        f"{where}, `{name}`: a category must be a list of different choices, "
                        f"but got {value!r}."
                    )
                categories[name] = value
            else:
                problem = unknown_setting(name, value, SEARCHABLE, kind="parameter")
                raise KlayerError(f"{where}: {problem}")
        if not values:
            raise KlayerError(
                f"{where} has nothing to search: give a range, as in l2 = '1e-5:1e-1'."
            )
        if "sigma" in ranges and "init" in categories:
            raise KlayerError(
                f"{where}: sigma stands for init = 'gaussian:SIGMA', so search one of the two."
            )
        return cls(ranges, categories)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters: settings in the order of :data:`SEARCHABLE`, then any others."""
        given = {**self.ranges, **self.categories}
        settings = [name for name in (*NUMBERS, *CATEGORIES) if name in given]
        return tuple(dict.fromkeys([*settings, *given]))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, which :meth:`parse` reads back."""
        return {name: str(one) for name, one in self.ranges.items()} | dict(self.categories)

    def corners(self) -> list[dict[str, Any]]:
        """Return extreme points that together reach every end and every choice."""
        ends: list[dict[str, Any]] = [
            {name: getattr(one, end) for name, one in self.ranges.items()}
            for end in ("low", "high")
        ]
        if {"lr_min", "lr_max"} <= self.ranges.keys():
            # The only rule between two numbers, at its tightest.
            ends.append(ends[0] | {"lr_min": self.ranges["lr_min"].high})
        choices: list[dict[str, Any]] = [
            dict(zip(self.categories, values, strict=True))
            for values in itertools.product(*self.categories.values())
        ]
        return [point | choice for point in ends for choice in choices]

    def __str__(self) -> str:
        parts = [
            f"{name} from {one.low:.4g} to {one.high:.4g} ({one.scale})"
            for name, one in self.ranges.items()
        ]
        return ", ".join(parts + [f"{name} in {one}" for name, one in self.categories.items()])


def _repeats(values: list[Any]) -> bool:
    return any(values.count(value) > 1 for value in values)


def apply(
    base: Settings, params: Mapping[str, Any], where: str = "search", **others: Any
) -> Settings:
    """Return settings with a trial's parameters in them.

    Examples
    --------
    >>> apply(Settings(), {"l2": 0.01, "sigma": 0.1, "hidden": [20]}, cycles=7).init
    'gaussian:0.1'
    """
    own = without_aliases({**params, **others})
    values = {**base.as_dict(), **own}
    # What all trials share need not have an effect on each of them.
    kept = {k: value for k, value in values.items() if k in own or has_effect(k, values)}
    return Settings.from_values(kept, where)
