"""What a search may say: stages, sampler, seeds, pruning, finalists; parsed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from klayer.errors import KlayerError, unknown_name
from klayer.study.search.samplers import SAMPLERS, require_space
from klayer.study.search.space import Space, apply
from klayer.study.toml_values import validate
from klayer.train import Settings
from klayer.train.settings import current_names

__all__ = ["Finalists", "GivenStage", "Search"]

LEARNING = [name for name, one in SAMPLERS.items() if one.learns]
DRAWN_AT_A_TIME = 10
MOST_TRIALS = 100_000  # of a stage


class Finalists(BaseModel):
    """The end of a search: its best settings, trained longer with several seeds, then tested."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    top: int = Field(default=2, ge=0, le=1_000)
    cycles: float = Field(default=7, gt=0, le=10_000, allow_inf_nan=False)
    seeds: int = Field(default=3, ge=1, le=1_000)


@dataclass(frozen=True)
class GivenStage:
    """A stage as it is asked for: what it draws from, and how often."""

    space: Space
    trials: int


def _sampler(name: str) -> str:
    if name not in SAMPLERS:
        *others, last = (repr(one) for one in SAMPLERS)
        raise PydanticCustomError("sampler", f"must be {', '.join(others)} or {last}")
    return name


class _Options(BaseModel):
    """The keys of the table ``search`` that stand for themselves."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )

    sampler: Annotated[str, AfterValidator(_sampler)] = "random"
    batch: int | None = Field(default=None, ge=1, le=100_000)
    seed: int = Field(default=0, ge=0, le=2**62)
    seeds: int = Field(default=1, ge=1, le=1_000)
    common_seeds: bool = False
    auto: int = Field(default=0, ge=0, le=100)
    quantile: float = Field(default=0.25, gt=0, lt=1)
    prune: bool = False
    keep: float = Field(default=0.5, gt=0, lt=1)
    finalists: Finalists = Field(default_factory=Finalists)
    published: list[dict[str, Any]] = Field(default_factory=list)
    storage: str | None = None


class _Table(_Options):
    """The table ``search`` as it is written: the rest of its keys have to be parsed."""

    stages: list[dict[str, Any]] = Field(min_length=1, max_length=100)
    trials: int = Field(default=30, ge=1, le=MOST_TRIALS)
    settings: dict[str, Any] = Field(default_factory=dict)


class Search(_Options):
    """A search.

    Attributes
    ----------
    stages : tuple of GivenStage, at least one
        All search the same parameters. In a file each is a table of ranges and choices, with
        ``trials`` if their number differs.
    base : Settings
        What all trials share: the study's ``settings`` and, winning over them, the search's.
    sampler : str
        A row of :data:`klayer.study.search.samplers.SAMPLERS`.
    batch : int, >= 1, optional
        With a sampler that learns: trials drawn at a time, by default 10; the others draw a stage.
    seed : int, >= 0
        Of the sampler; the networks' seeds begin with it too.
    seeds : int, >= 1
        Networks a trial; its value is their mean validation accuracy.
    common_seeds : bool
        Without, trial n has the k seeds ``seed + n k ... seed + n k + k - 1``: no two trials share one,
        as in the report. With, all have ``seed ... seed + k - 1``, a paired comparison.
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

    Examples
    --------
    >>> search = Search.from_values({"stages": [{"l2": "1e-5:1e-1"}]})
    >>> str(search.space(1)), search.trials_of(1), search.base.l2
    ('l2 from 1e-05 to 0.1 (log)', 30, 0.005)
    """

    stages: tuple[GivenStage, ...]
    base: Settings

    @classmethod
    def from_values(
        cls,
        values: Mapping[str, Any],
        shared: Mapping[str, Any] | None = None,
        make: Callable[[Mapping[str, Any], str], Settings] = Settings.from_values,
    ) -> Search:
        """Parse plain values, as the table ``search`` of a TOML file has them.

        Parameters
        ----------
        values : mapping
        shared : mapping, optional
            The study's settings.
        make : callable
            Makes settings from plain values and the name of their place.

        Raises
        ------
        KlayerError
            If its keys or ranges are not right, or some corner of the ranges leads to settings that
            are not.
        """
        table = validate(_Table, _today(values), "search")
        stages = tuple(_stage(stage, n, table) for n, stage in enumerate(table.stages, start=1))
        own = current_names(table.settings, "search.settings")
        base = _base({**current_names(shared or {}), **own}, stages, make)
        options = {name: getattr(table, name) for name in _Options.model_fields}
        search = cls(stages=stages, base=base, **options)
        search._check()
        return search

    def _check(self) -> None:
        if self.batch is not None and not SAMPLERS[self.sampler].learns:
            raise KlayerError(
                f"search: `batch` is for the samplers that learn, {', '.join(LEARNING[:-1])} and "
                f"{LEARNING[-1]}, but the "
                f"sampler is {self.sampler}, which draws a whole stage at once: leave `batch` away."
            )
        names = [stage.space.names for stage in self.stages]
        for index, found in enumerate(names, start=1):
            if found != names[0]:
                raise KlayerError(
                    f"search: all stages must search the same parameters, but stage 1 searches "
                    f"{', '.join(names[0])} and stage {index} searches {', '.join(found)}."
                )
        require_space(self.stages[0].space, self.sampler)
        for index, stage in enumerate(self.stages, start=1):
            for corner in stage.space.corners():
                apply(self.base, corner, f"stage {index}")
        for number, one in enumerate(self.published, start=1):
            _check_published(one, number, names[0])
        if self.prune and self.base.cycles <= 1:
            raise KlayerError(
                f"`prune` drops trials after each cycle, so it needs more than one, but got "
                f"cycles={self.base.cycles}: raise `cycles`, or leave `prune` away."
            )

    def space(self, stage: int) -> Space:
        """Return what a given stage (from 1) draws from."""
        return self.stages[stage - 1].space

    def trials_of(self, stage: int) -> int:
        """Return the number of trials of a stage (from 1); a derived one has as many as the last."""
        return self.stages[min(stage, len(self.stages)) - 1].trials

    @property
    def n_stages(self) -> int:
        """The number of stages, those that are derived included."""
        return len(self.stages) + self.auto

    @property
    def batch_size(self) -> int | None:
        """Trials that are drawn at a time; None for a whole stage."""
        return self.batch or DRAWN_AT_A_TIME if SAMPLERS[self.sampler].learns else None


def _base(
    values: Mapping[str, Any],
    stages: Sequence[GivenStage],
    make: Callable[[Mapping[str, Any], str], Settings],
) -> Settings:
    """Return what all trials share; a setting may have an effect with some choice of the first stage."""
    try:
        return make(values, "search.settings")
    except KlayerError as error:
        for corner in stages[0].space.corners() if stages else ():
            choices = {
                name: one for name, one in corner.items() if name in stages[0].space.categories
            }
            with suppress(KlayerError):
                return make({**values, **choices}, "search.settings")
        raise error


def _today(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table under today's names: ``seeds`` was once called ``seeds_per_trial``."""
    found = dict(values)
    if found.get("seeds") in ("own", "common"):
        found["common_seeds"] = found.pop("seeds") == "common"
    if "seeds_per_trial" in found:
        found["seeds"] = found.pop("seeds_per_trial")
    return found


def _check_published(one: Mapping[str, Any], number: int, searched: Sequence[str]) -> None:
    """Check a finalist that somebody published: what it may say, and accuracies from 0 to 1."""
    for name, value in one.items():
        where = f"search: published, number {number}, `{name}`"
        if name in ("train", "validation", "test"):
            if not _real(value) or not 0 <= value <= 1:
                raise KlayerError(f"{where}: must be a number from 0 to 1, but got {value!r:.80}.")
        elif name == "cycles":
            if not _real(value) or not 0 < value < math.inf:
                raise KlayerError(f"{where}: must be a number > 0, but got {value!r:.80}.")
        elif name not in (*searched, "source", "note"):
            known = [*searched, "cycles", "train", "validation", "test", "source", "note"]
            raise KlayerError(f"{where}: {unknown_name('key', name, known)}")


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _stage(given: Mapping[str, Any], number: int, table: _Table) -> GivenStage:
    where = f"search: stage {number}"
    trials = given.get("trials", table.trials)
    if type(trials) is not int or trials < 1:
        raise KlayerError(f"{where}: `trials` must be a whole number >= 1, but got {trials!r:.80}.")
    if trials > MOST_TRIALS:
        raise KlayerError(
            f"{where}: `trials` must be at most {MOST_TRIALS:,}, but got {trials!s:.40}."
        )
    ranges = {name: value for name, value in given.items() if name != "trials"}
    return GivenStage(Space.parse(ranges, where), trials)
