"""Keeps the state of networks under way, by time, so that a kill costs some seconds."""

from __future__ import annotations

import time

from klayer.study.checkpoints import Checkpoints
from klayer.train import TrainingState

__all__ = ["CHECKPOINT_SECONDS", "Keeper"]

# Seconds after which a population under way is kept again, at its next pause; pauses are some 2 seconds
# apart, so that a kill costs 10 seconds at the most.
CHECKPOINT_SECONDS = 6.0
SHORTEST_PAUSE = 0.25


class Keeper:
    """Hears of one part, and keeps its state.

    Parameters
    ----------
    checkpoints : Checkpoints
    name : str
        Of the part.
    seconds : float, optional
        How often its state is kept.
    """

    def __init__(self, checkpoints: Checkpoints, name: str, seconds: float | None = None) -> None:
        self.checkpoints, self.name = checkpoints, name
        self.seconds = CHECKPOINT_SECONDS if seconds is None else seconds
        self.saved = time.monotonic()

    @property
    def pause_seconds(self) -> float | None:
        """None: pauses as usual are often enough; or as often as there may be."""
        return SHORTEST_PAUSE if self.seconds < SHORTEST_PAUSE else None

    def progress(self, update: float) -> None: ...

    def record(self, state: TrainingState) -> None:
        self.paused(state)

    def paused(self, state: TrainingState) -> None:
        self._keep(state, self.seconds)

    def trained(self, state: TrainingState) -> None:
        """It is trained; its evaluation may take a while."""
        self._keep(state, self.seconds / 3)

    def _keep(self, state: TrainingState, seconds: float) -> None:
        """Keep a state, unless one was kept in so many seconds."""
        if time.monotonic() - self.saved >= seconds:
            self.interrupted(state)
            self.saved = time.monotonic()

    def interrupted(self, state: TrainingState) -> None:
        self.checkpoints.save(self.name, state)
