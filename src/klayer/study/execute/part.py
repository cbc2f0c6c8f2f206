"""A part of the work, what an executor does with it, and who hears of it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.errors import KlayerError
from klayer.train import Member, Settings, TrainingState

__all__ = ["Executor", "Listener", "PartSpec", "Unheard", "join"]


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

    def interrupted(self, state: TrainingState) -> None:
        """Ctrl-C, and this is the whole state to go on from; the KeyboardInterrupt follows."""


class Unheard:
    """A listener that does nothing."""

    def progress(self, update: float) -> None: ...

    def record(self, state: TrainingState) -> None: ...

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

    def train_part(
        self, spec: PartSpec, state: TrainingState | None, listener: Listener
    ) -> TrainingState:
        """Train from a state (None: from the start) to ``spec.until``; return where that ends.

        The state that was passed belongs to the executor from then on.
        """

    def evaluate_part(
        self, spec: PartSpec, state: TrainingState, split: str
    ) -> dict[str, NDArray[np.float64]]:
        """Return ``accuracy``, ``loss`` and ``cost`` on a whole split, each of shape (P,)."""


def join(states: Sequence[TrainingState]) -> TrainingState:
    """Put states of one architecture side by side: the networks of the first, then of the second ...

    Undone by ``take``. All must stand at the same update, with the same recorded points.

    Raises
    ------
    KlayerError
        If there is nothing to join, or the states stand at different updates.
    """
    if not states:
        raise KlayerError("at least one state must be joined, but got none.")
    stands = {(state.update, tuple(state.recorded)) for state in states}
    if len(stands) > 1:
        found = ", ".join(str(state.update) for state in states)
        raise KlayerError(
            "states that are joined must stand at the same update with the same recorded points, "
            f"but got updates {found}."
        )

    def beside(name: str) -> dict[str, NDArray[Any]]:
        groups = [getattr(state, name) for state in states]
        return {key: np.concatenate([group[key] for group in groups]) for key in groups[0]}

    return TrainingState(
        params=beside("params"),
        running=beside("running"),
        update=states[0].update,
        failures=[failure for state in states for failure in state.failures],
        recorded=list(states[0].recorded),
        history=beside("history"),
    )
