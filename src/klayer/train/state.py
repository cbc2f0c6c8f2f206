"""The state of a training run: one plain value, which can be written down and gone on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from klayer.files import read_arrays, write_arrays

__all__ = ["CURVES", "Failure", "TrainingState"]

# The recorded curves, each of shape (P, T).
CURVES = (
    "train_cost",
    "train_loss",
    "train_accuracy",
    "validation_cost",
    "validation_loss",
    "validation_accuracy",
)


@dataclass(frozen=True)
class Failure:
    """Where a network's numbers stopped being finite.

    Attributes
    ----------
    update : int
        The update (from 0) whose cost was not finite; the weights are those before it.
    layer : int
        The first layer whose pre-activations were not finite; 0 if only the penalty was not.
    """

    update: int
    layer: int

    def __str__(self) -> str:
        where = f"layer {self.layer}" if self.layer else "the penalty"
        return f"cost not finite at update {self.update}, first in {where}"


@dataclass
class TrainingState:
    """Everything that the next update depends on, and what was recorded so far.

    Attributes
    ----------
    params : dict of array, shape (P, ...)
    running : dict of array, shape (P, H)
        Running statistics of batch normalisation.
    update : int
        Number of updates done. The order of the mini-batches and the learning rate follow from it.
    failures : list of Failure or None, length P
        A network with a failure is frozen.
    recorded : list of int, length T
        Updates at which the curves were recorded.
    history : dict of array, shape (P, T)
        The curves, keys :data:`CURVES`.
    """

    params: dict[str, NDArray]
    running: dict[str, NDArray]
    update: int = 0
    failures: list[Failure | None] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)
    history: dict[str, NDArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        P = len(self.params["W1"])
        self.failures = self.failures or [None] * P
        self.history = self.history or {curve: np.empty((P, 0)) for curve in CURVES}

    def __len__(self) -> int:
        return len(self.failures)

    def take(self, lanes: Sequence[int]) -> TrainingState:
        """Return a copy that holds only the networks ``lanes``, in that order."""
        lanes = list(lanes)
        return TrainingState(
            params={key: value[lanes] for key, value in self.params.items()},
            running={key: value[lanes] for key, value in self.running.items()},
            update=self.update,
            failures=[self.failures[p] for p in lanes],
            recorded=list(self.recorded),
            history={key: value[lanes] for key, value in self.history.items()},
        )

    def record(self, values: dict[str, NDArray]) -> None:
        """Append a point, arrays of shape (P,), to each curve."""
        self.recorded.append(self.update)
        for curve in CURVES:
            self.history[curve] = np.column_stack([self.history[curve], values[curve]])

    def save(self, path: Path) -> None:
        """Write the state to one safetensors file; the file is replaced whole or not at all."""
        groups = {"params": self.params, "running": self.running, "history": self.history}
        arrays = {
            f"{group}/{key}": value
            for group, items in groups.items()
            for key, value in items.items()
        }
        plain = {
            "update": self.update,
            "recorded": self.recorded,
            "failures": [failure and asdict(failure) for failure in self.failures],
        }
        write_arrays(path, arrays, plain)

    @classmethod
    def load(cls, path: Path) -> TrainingState:
        """Read what :meth:`save` wrote."""
        arrays, plain = read_arrays(path)
        groups: dict[str, dict[str, NDArray]] = {"params": {}, "running": {}, "history": {}}
        for name, value in arrays.items():
            group, key = name.split("/")
            groups[group][key] = value
        failures = [failure and Failure(**failure) for failure in plain["failures"]]
        return cls(**groups, update=plain["update"], recorded=plain["recorded"], failures=failures)
