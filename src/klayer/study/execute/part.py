"""A part of the work, what an executor does with it, and who hears of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.train import Member, Settings, TrainingState

__all__ = ["Executor", "Listener", "PartSpec", "Unheard"]


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
    """

    members: tuple[Member, ...]
    data: str
    until: int | None = None

    @property
    def settings(self) -> Settings:
        """The first network's settings; the others share all that is not a network's own."""
        return self.members[0].settings


class Listener(Protocol):
    """Hears how a part goes on."""

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

    def progress(self, update: float) -> None: ...

    def record(self, state: TrainingState) -> None: ...

    def paused(self, state: TrainingState) -> None: ...

    def interrupted(self, state: TrainingState) -> None: ...


class Executor(Protocol):
    """Trains and evaluates parts; open inside its ``with`` block.

    Whatever the executor, and however it cuts a part among its workers, the state has the same bits.
    """

    dataset: Dataset

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def start_part(self, spec: PartSpec) -> TrainingState:
        """Return the state before the first update.

        It says how the first layer is updated, which is chosen for the part as a whole: whoever cuts
        a part must cut this state (``take``), and join (``TrainingState.join``) what comes of it.
        """

    def train_part(self, spec: PartSpec, state: TrainingState, listener: Listener) -> TrainingState:
        """Train from a state to ``spec.until``; return where that ends.

        The state that was passed belongs to the executor from then on.
        """

    def evaluate_part(
        self, spec: PartSpec, state: TrainingState, split: str
    ) -> dict[str, NDArray[Any]]:
        """Return ``accuracy``, ``loss`` and ``cost`` on a whole split, each of shape (P,)."""
