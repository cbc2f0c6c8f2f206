"""What a search may say: stages with ranges and categories, sampler, pruning, finalists."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from klayer.errors import KlayerError, unknown_name
from klayer.study.config import StudyConfig, validate
from klayer.train import Settings
from klayer.train.settings import SEARCHABLE, current_names, without_aliases

__all__ = [
    "CATEGORIES",
    "NUMBERS",
    "Finalists",
    "Range",
    "SearchConfig",
    "Space",
    "apply",
    "read_search",
]

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
            low, high = (_number(part) for part in parts[:2])
        except (ValueError, OverflowError):
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
    return float(base) ** float(exponent) if power else float(text)


@dataclass(frozen=True)
class Space:
    """What a stage draws from: a range for each number, the choices of each category.

    Parameters
    ----------
    ranges : dict of str to Range
        Keys among :data:`NUMBERS`.
    categories : dict of str to list
        Keys among :data:`CATEGORIES`.
    """

    ranges: Mapping[str, Range]
    categories: Mapping[str, list]

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "a stage") -> Space:
        """Read ``{"l2": "1e-5:1e-1", "batch_norm": ["none", "hidden"]}``.

        Raises
        ------
        KlayerError
            For an unknown name, a category without choices, or nothing to search.
        """
        ranges, categories = {}, {}
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
                problem = unknown_name("parameter", name, [*NUMBERS, *CATEGORIES])
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
        """Names of the parameters, in the order of :data:`NUMBERS` and :data:`CATEGORIES`."""
        return tuple(
            name
            for name in (*NUMBERS, *CATEGORIES)
            if name in self.ranges or name in self.categories
        )

    def as_dict(self) -> dict:
        """Return plain values, which :meth:`parse` reads back."""
        return {name: str(one) for name, one in self.ranges.items()} | dict(self.categories)

    def corners(self) -> list[dict]:
        """Return extreme points that together reach every end and every choice."""
        ends = [{name: getattr(one, end) for name, one in self.ranges.items()} for end in _ENDS]
        if {"lr_min", "lr_max"} <= self.ranges.keys():
            # The only rule between two numbers, at its tightest.
            ends.append(ends[0] | {"lr_min": self.ranges["lr_min"].high})
        choices = [
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


_ENDS = ("low", "high")


def _repeats(values: list) -> bool:
    return any(values.count(value) > 1 for value in values)


class Finalists(BaseModel):
    """The end of a search: its best settings, trained longer with several seeds, then tested."""

    model_config = ConfigDict(extra="forbid")

    top: int = Field(default=2, ge=0)
    cycles: float = Field(default=7, gt=0)
    seeds: int = Field(default=3, ge=1)


class SearchConfig(BaseModel):
    """A search.

    Parameters
    ----------
    stages : list of table, at least one
        Each a :class:`Space`, with ``trials`` if their number differs.
    trials : int, >= 1
        Trials a stage, where the stage doesn't say.
    settings : table
        What all trials share; it wins over the study's ``settings``.
    sampler : {"random", "qmc", "tpe", "gp"}
        Independent draws; a scrambled Sobol sequence; tree-structured Parzen estimators; a Gaussian
        process (which needs PyTorch). The last two learn from finished trials.
    batch : int, >= 1, optional
        With ``tpe`` and ``gp``: trials drawn at a time, by default 10; the others draw a stage.
    seed : int, >= 0
        Of the sampler; the networks' seeds begin with it too.
    seeds_per_trial : int, >= 1
        Networks a trial; its value is their mean validation accuracy.
    seeds : {"own", "common"}
        ``own``: trial n has the k seeds ``seed + n k ... seed + n k + k - 1``: no two trials share
        one, as in the report. ``common``: all have ``seed ... seed + k - 1``, a paired comparison.
    auto : int, >= 0
        Further stages, each derived from the best ``quantile`` of the last one's trials.
    quantile : float, 0 to 1, both excluded
    prune : bool
        After each cycle, keep only the better trials of the stage.
    keep : float, 0 to 1, both excluded
        The share that is kept.
    finalists : Finalists
    published : list of table
        Finalists that somebody published, to be set beside the measured ones.
    storage : str, optional
        URL of Optuna's storage; by default the file ``search.db`` in the run directory.
    """

    model_config = ConfigDict(extra="forbid")

    stages: list[dict[str, Any]] = Field(min_length=1)
    trials: int = Field(default=30, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    sampler: Literal["random", "qmc", "tpe", "gp"] = "random"
    batch: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    seeds_per_trial: int = Field(default=1, ge=1)
    seeds: Literal["own", "common"] = "own"
    auto: int = Field(default=0, ge=0)
    quantile: float = Field(default=0.25, gt=0, lt=1)
    prune: bool = False
    keep: float = Field(default=0.5, gt=0, lt=1)
    finalists: Finalists = Field(default_factory=Finalists)
    published: list[dict[str, Any]] = Field(default_factory=list)
    storage: str | None = None

    @field_validator("stages", mode="after")
    @classmethod
    def _readable(cls, stages: list[dict]) -> list[dict]:
        for index, stage in enumerate(stages, start=1):
            where = f"stage {index}"
            trials = stage.get("trials", 1)
            if not isinstance(trials, int) or trials < 1:
                raise KlayerError(
                    f"{where}: `trials` must be a whole number >= 1, but got {trials!r}."
                )
            Space.parse(_parameters(stage), where)
        return stages

    @model_validator(mode="after")
    def _fits(self) -> SearchConfig:
        if self.batch is not None and self.sampler in ("random", "qmc"):
            raise KlayerError(
                f"`batch` is for the samplers that learn, tpe and gp, but the sampler is "
                f"{self.sampler}, which draws a whole stage at once: leave `batch` away."
            )
        names = [self.space(stage).names for stage in range(1, len(self.stages) + 1)]
        for index, found in enumerate(names, start=1):
            if found != names[0]:
                raise KlayerError(
                    f"all stages must search the same parameters, but stage 1 searches "
                    f"{', '.join(names[0])} and stage {index} searches {', '.join(found)}."
                )
        return self

    def space(self, stage: int) -> Space:
        """Return what a given stage (from 1) draws from."""
        return Space.parse(_parameters(self.stages[stage - 1]), f"stage {stage}")

    def trials_of(self, stage: int) -> int:
        """Return the number of trials of a stage (from 1)."""
        given = self.stages[min(stage, len(self.stages)) - 1]
        return given.get("trials", self.trials)

    @property
    def batch_size(self) -> int | None:
        """Trials that are drawn at a time; None for a whole stage."""
        return None if self.sampler in ("random", "qmc") else self.batch or 10


def _parameters(stage: Mapping[str, Any]) -> dict:
    return {name: value for name, value in stage.items() if name != "trials"}


def apply(base: Settings, params: Mapping[str, Any], where: str = "search", **others) -> Settings:
    """Return settings with a trial's parameters in them.

    Examples
    --------
    >>> apply(Settings(), {"l2": 0.01, "sigma": 0.1, "hidden": [20]}, cycles=7).init
    'gaussian:0.1'
    """
    values = without_aliases({**base.as_dict(), **params, **others})
    return Settings.from_values(values, where)


def read_search(config: StudyConfig) -> tuple[SearchConfig, Settings]:
    """Check the search of a study; return it with the settings that all its trials share.

    Raises
    ------
    KlayerError
        If the study has no search, or the search is not right: its keys, ranges, or settings that
        some corner of the ranges would lead to.

    Examples
    --------
    >>> search, base = read_search(StudyConfig(search={"stages": [{"l2": "1e-5:1e-1"}]}))
    >>> str(search.space(1)), base.l2
    ('l2 from 1e-05 to 0.1 (log)', 0.005)
    """
    if config.search is None:
        raise KlayerError(
            f"study {config.name!r} has no search: give it a table [search] with stages, or pass a "
            "range such as --l2 1e-5:1e-1."
        )
    search = validate(SearchConfig, config.search, "search")
    base = Settings.from_values({**config.settings, **search.settings}, "search.settings")
    for stage in range(1, len(search.stages) + 1):
        for corner in search.space(stage).corners():
            apply(base, corner, f"stage {stage}")
    if search.prune and base.cycles <= 1:
        raise KlayerError(
            f"`prune` drops trials after each cycle, so it needs more than one, but got "
            f"cycles={base.cycles}: raise `cycles`, or leave `prune` away."
        )
    return search, base
