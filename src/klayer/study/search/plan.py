"""What a search has asked for: ``search.json`` in the run directory, written before any training.

Together with ``networks.jsonl`` (what was trained) it is all that a search consists of: tables, the
next stage, the finalists and Optuna's storage follow from the two.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from klayer.errors import KlayerError
from klayer.study.arms import Job
from klayer.study.run import Run, write_json
from klayer.study.search.config import SearchConfig, Space, apply
from klayer.train import Member, Settings

__all__ = ["FINALISTS", "PART", "Finalist", "Plan", "StagePlan", "Trial"]

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
    def keys(self) -> list[tuple[str, str, int]]:
        """What identifies its networks in the run."""
        return [(PART, self.arm, seed) for seed in self.seeds]

    def jobs(self, base: Settings) -> list[Job]:
        """Return its networks to be."""
        settings = apply(base, self.params)
        return [Job(self.arm, Member(settings, seed), PART) for seed in self.seeds]


@dataclass
class StagePlan:
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


class Plan:
    """The plan of a search, kept in ``search.json``.

    Parameters
    ----------
    run : Run
        Whose plan is read; it is empty if there is none yet.

    Attributes
    ----------
    study_name : str
        Of the study in Optuna's storage: the run directory's name, made unique.
    stages : list of StagePlan
    finalists : list of Finalist or None
        None until they are chosen.
    stopped : str or None
        Why no further stage could be derived.
    """

    def __init__(self, run: Run) -> None:
        self.path = run.path / "search.json"
        self.study_name = f"{run.path.resolve().name}-{uuid.uuid4().hex[:8]}"
        self.stages: list[StagePlan] = []
        self.finalists: list[Finalist] | None = None
        self.stopped: str | None = None
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except json.JSONDecodeError as error:
            raise KlayerError(f"{self.path} must be JSON, but: {error}.") from None
        self.study_name, self.stopped = stored["study"], stored["stopped"]
        for one in stored["stages"]:
            stage = StagePlan(one["stage"], Space.parse(one["space"]), one["wanted"], one["reason"])
            for trial in one["trials"]:
                seeds = tuple(trial["seeds"])
                stage.trials.append(Trial(trial["number"], stage.stage, trial["params"], seeds))
            self.stages.append(stage)
        if stored["finalists"] is not None:
            self.finalists = [
                Finalist(**{**one, "seeds": tuple(one["seeds"])}) for one in stored["finalists"]
            ]

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order of their numbers."""
        return [trial for stage in self.stages for trial in stage.trials]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that are searched."""
        return self.stages[0].space.names if self.stages else ()

    def add_trials(self, stage: StagePlan, points: list[Mapping], search: SearchConfig) -> None:
        """Number new points, give them their seeds, and write the plan."""
        each = search.seeds_per_trial
        for params in points:
            number = len(self.trials)
            first = search.seed + (number * each if search.seeds == "own" else 0)
            stage.trials.append(
                Trial(number, stage.stage, dict(params), tuple(range(first, first + each)))
            )
        self.save()

    def save(self) -> None:
        """Write the plan, whole or not at all."""
        finalists = self.finalists
        plan = {
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
        write_json(self.path, plan)
