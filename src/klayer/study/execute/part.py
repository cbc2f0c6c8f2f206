"""A part of the work, what is ordered and what comes of it, and who hears of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.errors import KlayerError
from klayer.study.arms import Job, Pack
from klayer.study.record import NetworkRecord
from klayer.study.run_dir import Run
from klayer.train import Member, Settings, TrainingState

__all__ = [
    "AtWork",
    "Executor",
    "Listener",
    "Lost",
    "Order",
    "Outcome",
    "PartResult",
    "PartSpec",
    "Reporter",
    "SchedulerLost",
    "Scores",
    "Silent",
    "Unheard",
    "part_of",
]

# By split and score, each of shape (P,).
Scores = dict[str, dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class PartSpec:
    """Networks that train in lockstep, on which data and how far: nothing else decides the result.

    Parameters
    ----------
    members : tuple of Member, at least one
        They share all settings but those that are a network's own.
    data : str
        Name of the data set that the executor was opened with.
    until : int, optional
        The update to stop at; by default the end of training.
    splits : tuple of str
        On which the networks are evaluated in the end.
    strategy : (int, str), optional
        How many updates of the first layer are carried out at once, and the backend: what was chosen
        for the population that this is a part of. By default what suits these networks.
    """

    members: tuple[Member, ...]
    data: str
    until: int | None = None
    splits: tuple[str, ...] = ()
    strategy: tuple[int, str] | None = None

    @property
    def settings(self) -> Settings:
        """The first network's settings; the others share all that is not a network's own."""
        return self.members[0].settings

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, from which :meth:`from_plain` makes the same part."""
        return {
            "members": [[one.settings.as_dict(), int(one.seed)] for one in self.members],
            "data": self.data,
            "until": self.until,
            "splits": list(self.splits),
            "strategy": self.strategy and list(self.strategy),
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any], where: str) -> PartSpec:
        """Undo :meth:`to_plain`; ``where`` names the place in a message."""
        members = tuple(
            Member(Settings.from_stored(settings, where), seed)
            for settings, seed in values["members"]
        )
        strategy = values["strategy"]
        return cls(
            members,
            values["data"],
            values["until"],
            tuple(values["splits"]),
            None if strategy is None else (int(strategy[0]), str(strategy[1])),
        )


@dataclass(frozen=True)
class Order:
    """A population that is to be brought to an update, and evaluated there.

    Parameters
    ----------
    pack : Pack
    spec : PartSpec
        Of all its networks.
    updates : int
        The update where that ends.
    whole : tuple of Member
        The population as it would be if nothing were finished yet: it decides about the strategy.
    begin : callable
        Returns the state to go on from where no checkpoint is; None for the start.
    """

    pack: Pack
    spec: PartSpec
    updates: int
    whole: tuple[Member, ...]
    begin: Callable[[], TrainingState | None] = lambda: None


@dataclass(frozen=True)
class PartResult:
    """What came of a part.

    Attributes
    ----------
    state : TrainingState
    scores : dict of dict of array, shape (P,)
    seconds : float
        Of its training.
    made_by : mapping
        Processor and libraries.
    """

    state: TrainingState
    scores: Scores
    seconds: float
    made_by: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lost:
    """Networks that could not be trained."""

    jobs: tuple[Job, ...]
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What came of an order.

    Attributes
    ----------
    pack : Pack
        The networks that came to the end: all that were ordered, but for those that were lost.
    state : TrainingState or None
        None if none came to the end.
    scores : dict of dict of array, shape (P,)
    seconds : list of float, length P
        What each network cost.
    lost : tuple of Lost
    """

    pack: Pack
    state: TrainingState | None
    scores: Scores
    seconds: list[float]
    lost: tuple[Lost, ...] = ()

    @classmethod
    def of(cls, pack: Pack, result: PartResult) -> Outcome:
        """Return what came of an order that was not cut."""
        each = result.seconds / len(pack.jobs)
        return cls(pack, result.state, result.scores, [each] * len(pack.jobs))

    @classmethod
    def joined(
        cls, pack: Pack, parts: Sequence[tuple[slice, PartResult]], lost: Sequence[Lost] = ()
    ) -> Outcome:
        """Join what came of some lanes of a pack, in their order."""
        if not parts:
            return cls(pack, None, {}, [], tuple(lost))
        results = [result for _, result in parts]
        if len(results) == 1 and len(results[0].state) == len(pack.jobs):
            return cls.of(pack, results[0])
        rest = tuple(job for lanes, _ in parts for job in pack.jobs[lanes])
        scores = {
            split: {
                name: np.concatenate([one.scores[split][name] for one in results])
                for name in results[0].scores[split]
            }
            for split in results[0].scores
        }
        seconds = [one.seconds / len(one.state) for one in results for _ in range(len(one.state))]
        state = TrainingState.join([one.state for one in results])
        return cls(pack.of(rest), state, scores, seconds, tuple(lost))


def part_of(
    one: Pack, dataset: Dataset, until: int | None = None, splits: Sequence[str] = ()
) -> PartSpec:
    """Return what an executor has to know of a population."""
    return PartSpec(tuple(job.member for job in one.jobs), dataset.name, until, tuple(splits))


class Listener(Protocol):
    """Hears how a part goes on.

    Attributes
    ----------
    pause_seconds : float or None
        How far apart the moments should be at which the state may be written down; None as usual.
    """

    @property
    def pause_seconds(self) -> float | None: ...

    def progress(self, update: float) -> None:
        """So many updates are done, on average over the networks."""

    def record(self, state: TrainingState) -> None:
        """A point of the curves is recorded; the state is whole and may be written down."""

    def paused(self, state: TrainingState) -> None:
        """All networks stand at one update for a moment; the state is whole and may be written down."""

    def interrupted(self, state: TrainingState) -> None:
        """Ctrl-C, and this is the whole state to go on from; the KeyboardInterrupt follows."""


class Unheard:
    """A listener that does nothing."""

    pause_seconds: float | None = None

    def progress(self, update: float) -> None: ...

    def record(self, state: TrainingState) -> None: ...

    def paused(self, state: TrainingState) -> None: ...

    def interrupted(self, state: TrainingState) -> None: ...


class SchedulerLost(KlayerError):
    """Whoever shares out the work is gone; what is finished is kept."""


@dataclass(frozen=True)
class AtWork:
    """Somebody who trains a part at this moment.

    Attributes
    ----------
    who : str
        Machine and process.
    what : str
        The part.
    share : float, 0 to 1
        How much of it is done.
    left : float or None, in seconds
    """

    who: str
    what: str
    share: float
    left: float | None


class Reporter(Protocol):
    """Hears how training goes; the command draws a progress bar from it."""

    def note(self, text: str) -> None:
        """Something that the user should know: of the data, of a damaged run, of a setting."""

    def phase(self, what: str) -> None:
        """Something begins whose end can't be foreseen."""

    def start(self, packs: Sequence[Pack], updates: Sequence[int]) -> None:
        """Populations to be trained, with the number of updates of each."""

    def progress(self, pack: Pack, update: float) -> None:
        """A population has done so many updates."""

    def record(self, pack: Pack, state: TrainingState) -> None:
        """A population has recorded a point of its curves."""

    def at_work(self, done: float, who: Sequence[AtWork]) -> None:
        """Several train at once: so many updates of networks are done in all, and who is at work."""

    def finish(self, pack: Pack, records: list[NetworkRecord]) -> None:
        """A population is finished and stored."""


class Silent:
    """A reporter that says nothing."""

    def note(self, text: str) -> None: ...

    def phase(self, what: str) -> None: ...

    def start(self, packs: Sequence[Pack], updates: Sequence[int]) -> None: ...

    def progress(self, pack: Pack, update: float) -> None: ...

    def record(self, pack: Pack, state: TrainingState) -> None: ...

    def at_work(self, done: float, who: Sequence[AtWork]) -> None: ...

    def finish(self, pack: Pack, records: list[NetworkRecord]) -> None: ...


class Executor(Protocol):
    """Carries out orders; open inside its ``with`` block.

    Whatever the executor, and however it cuts a population among its workers, what comes of it has the
    same bits.
    """

    dataset: Dataset

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def carry_out(self, run: Run, orders: Sequence[Order], reporter: Reporter) -> Iterator[Outcome]:
        """Yield what comes of each order, in their order; what an order left behind goes with the next.

        Checkpoints of populations under way are kept in the run, and gone on from.
        """

    def evaluate_part(
        self, spec: PartSpec, state: TrainingState, split: str
    ) -> dict[str, NDArray[Any]]:
        """Return ``accuracy``, ``loss`` and ``cost`` on a whole split, each of shape (P,), here."""
