"""What a search has asked for: ``search.json`` in the run directory, written before any training.

Together with ``networks.jsonl`` (what was trained) it is all that a search consists of: tables, the
next stage, the finalists and Optuna's storage follow from the two.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from klayer.files import Damaged, read_json, write_json
from klayer.study.arms import Job
from klayer.study.record import Key
from klayer.study.schema import Stored, damage
from klayer.study.search.options import Search
from klayer.study.search.space import Space, apply
from klayer.train import Member, Settings
from klayer.train.settings import current_names

__all__ = ["FINALISTS", "PART", "Finalist", "SearchFile", "Stage", "Trial"]

# The parts of a run that a search fills.
PART, FINALISTS = "search", "finalists"


@dataclass(frozen=True)
class Trial:
    """A point of the search, to be trained with one seed or several.

    Parameters
    ----------
    number : int
        From 0, over all stages.
    stage : int
        From 1.
    params : dict
        Plain values by parameter.
    seeds : tuple of int
    """

    number: int
    stage: int
    params: dict[str, Any]
    seeds: tuple[int, ...]

    @property
    def arm(self) -> str:
        """Name of its arm in the run."""
        return f"trial {self.number}"

    @property
    def keys(self) -> list[Key]:
        """What identifies its networks in the run."""
        return [(PART, self.arm, seed) for seed in self.seeds]

    def jobs(self, base: Settings) -> list[Job]:
        """Return its networks to be."""
        settings = apply(base, self.params)
        return [Job(self.arm, Member(settings, seed), PART) for seed in self.seeds]


@dataclass
class Stage:
    """A stage: what it draws from and why, and the trials that were drawn so far."""

    stage: int
    space: Space
    wanted: int
    reason: str
    trials: list[Trial] = field(default_factory=list)


@dataclass(frozen=True)
class Finalist:
    """A trial that is trained for longer and tested."""

    rank: int
    trial: int
    params: dict[str, Any]
    cycles: float
    seeds: tuple[int, ...]

    @property
    def arm(self) -> str:
        """Name of its arm in the run."""
        return f"finalist {self.rank} (trial {self.trial})"

    def jobs(self, base: Settings) -> list[Job]:
        """Return its networks to be."""
        settings = apply(base, self.params, cycles=self.cycles)
        return [Job(self.arm, Member(settings, seed), FINALISTS) for seed in self.seeds]


@dataclass
class SearchFile:
    """What a search has asked for, kept in ``search.json``.

    Attributes
    ----------
    path : Path
        Of the file.
    study_name : str
        Of the study in Optuna's storage: the run directory's name, made unique.
    stages : list of Stage
    finalists : list of Finalist or None
        None until they are chosen.
    stopped : str or None
        Why no further stage could be derived.
    """

    path: Path
    study_name: str
    stages: list[Stage] = field(default_factory=list)
    finalists: list[Finalist] | None = None
    stopped: str | None = None

    @classmethod
    def read(cls, run: Path, id: str | None = None, *, sealed: bool = False) -> SearchFile:
        """Read the file of a run directory; empty if there is none yet.

        Parameters
        ----------
        run : Path
        id : str, optional
            Of the run, which becomes the name of its study.
        sealed : bool
            Whether the file must have a digest.

        Raises
        ------
        Damaged
            If it is.
        """
        path = run / "search.json"
        try:
            stored = read_json(path, sealed=sealed)
        except FileNotFoundError:
            return cls(path, id or f"{run.resolve().name}-{uuid.uuid4().hex[:8]}")
        what = damage(_File, stored)
        if not what:
            finalists = stored["finalists"]
            found = cls(
                path,
                stored["study"],
                [_stage(one) for one in stored["stages"]],
                None if finalists is None else [_finalist(one) for one in finalists],
                stored["stopped"],
            )
            points = [one.params for one in found.trials]
            points += [one.params for one in found.finalists or ()]
            strange = [one for one in points if set(one) != set(found.names)]
            if not strange:
                return found
            what = f"a point must have {', '.join(found.names)}, but got {strange[0]}"
        raise Damaged(
            f"{path} must hold what a search has asked for, but {what}. It is damaged, or a later "
            "version of klayer wrote it: search anew."
        )

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order of their numbers."""
        return [trial for stage in self.stages for trial in stage.trials]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that are searched."""
        return self.stages[0].space.names if self.stages else ()

    def add_trials(self, stage: Stage, points: Sequence[Mapping[str, Any]], search: Search) -> None:
        """Number new points, give them their seeds, and write the file."""
        each = search.seeds
        for params in points:
            number = len(self.trials)
            first = search.seed + (0 if search.common_seeds else number * each)
            stage.trials.append(
                Trial(number, stage.stage, dict(params), tuple(range(first, first + each)))
            )
        self.save()

    def save(self) -> None:
        """Write the file, whole or not at all."""
        finalists = self.finalists
        values = {
            "study": self.study_name,
            "stages": [
                {
                    "stage": stage.stage,
                    "space": stage.space.as_dict(),
                    "wanted": stage.wanted,
                    "reason": stage.reason,
                    "trials": [
                        {"number": one.number, "params": one.params, "seeds": one.seeds}
                        for one in stage.trials
                    ],
                }
                for stage in self.stages
            ],
            "stopped": self.stopped,
            "finalists": None if finalists is None else [vars(one) for one in finalists],
        }
        write_json(self.path, values)


class _Trial(Stored):
    """A trial as it is stored."""

    number: int = Field(ge=0)
    params: dict[str, Any]
    seeds: list[int] = Field(min_length=1)


class _Stage(Stored):
    """A stage as it is stored."""

    stage: int = Field(ge=1)
    space: dict[str, Any]
    wanted: int = Field(ge=1)
    reason: str
    trials: list[_Trial]


class _Finalist(Stored, extra="forbid"):
    """A finalist as it is stored."""

    rank: int = Field(ge=1)
    trial: int = Field(ge=0)
    params: dict[str, Any]
    cycles: float = Field(gt=0)
    seeds: list[int] = Field(min_length=1)


class _File(Stored):
    """The file."""

    study: str
    stages: list[_Stage]
    finalists: list[_Finalist] | None
    stopped: str | None


def _stage(stored: Mapping[str, Any]) -> Stage:
    stage = Stage(stored["stage"], Space.parse(stored["space"]), stored["wanted"], stored["reason"])
    for one in stored["trials"]:
        stage.trials.append(
            Trial(one["number"], stage.stage, current_names(one["params"]), tuple(one["seeds"]))
        )
    return stage


def _finalist(stored: Mapping[str, Any]) -> Finalist:
    params, seeds = current_names(stored["params"]), tuple(stored["seeds"])
    return Finalist(**{**stored, "params": params, "seeds": seeds})
