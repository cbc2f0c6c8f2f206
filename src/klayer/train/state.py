"""The state of a training run: one plain value, which can be written down and gone on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError
from klayer.files import read_arrays, write_arrays
from klayer.nn.lanes import Lanes, chosen_lanes
from klayer.train.evaluate import SPLITS_OF_CURVES
from klayer.train.metrics import METRICS
from klayer.train.optimisers import Slots

__all__ = ["CURVES", "Failure", "TrainingState", "copied"]

Array = NDArray[Any]

# The curves that may be recorded, each of shape (P, T): those of the splits and scores that there are.
CURVES = tuple(
    f"{split}_{name}"
    for split in SPLITS_OF_CURVES
    for name in ("cost", "loss", *(name for name, one in METRICS.items() if one.curve))
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


def copied(params: Mapping[str, Array], running: Mapping[str, Array]) -> dict[str, Array]:
    """Return a copy of some weights with their running statistics, in one dictionary."""
    return {key: value.copy() for key, value in {**params, **running}.items()}


@dataclass
class TrainingState:
    """Everything that the next update depends on, and what was recorded so far.

    Attributes
    ----------
    params : dict of array, shape (P, ...)
    running : dict of array, shape (P, H)
        Running statistics of batch normalisation.
    slots : dict of dict of array, shape (P, ...)
        What the optimiser remembers: slot -> key of the parameter -> array.
    copies : dict of dict of array, shape (P, ...)
        Other weights of the same networks, each with its running statistics: ``average``, ``best``,
        ``cycle 1`` and so on, as the settings ask for them.
    marks : dict of array, shape (P,), float64
        Numbers that early stopping remembers: ``best`` (the greater the better), ``best_update``,
        ``waited``, ``stopped`` (the update; -1 if it hasn't stopped); and the ``temperature`` of
        calibrated networks.
    at_once : int, >= 1
        The first layer's strategy: how many of its updates are carried out at once. It belongs to the
        bits of what follows, as the settings do.
    backend : str
        Who carries out the updates, a name in ``BACKENDS``: it belongs to the bits too.
    start : int
        The update at which the course of the learning rate began: 0, or that of :meth:`going_on`.
    update : int
        Number of updates done. The order of the mini-batches and the learning rate follow from it.
    failures : list of Failure or None, length P
        A network with a failure is frozen.
    recorded : list of int, length T
        Updates at which the curves were recorded.
    history : dict of array, shape (P, T)
        The curves, keys among :data:`CURVES`.
    """

    params: dict[str, Array]
    running: dict[str, Array]
    slots: Slots = field(default_factory=dict)
    copies: Slots = field(default_factory=dict)
    marks: dict[str, Array] = field(default_factory=dict)
    start: int = 0
    update: int = 0
    at_once: int = 1
    backend: str = "numpy"
    failures: list[Failure | None] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)
    history: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        P = len(next(iter(self.params.values())))
        self.failures = self.failures or [None] * P

    def __len__(self) -> int:
        return len(self.failures)

    def weights(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the parameters and running statistics that count: averages, if there are any."""
        average = self.copies.get("average")
        if average is None:
            return self.params, self.running
        params, running = (
            {key: average[key] for key in group} for group in (self.params, self.running)
        )
        return params, running

    @property
    def temperatures(self) -> Array | None:
        """By which each network's outputs are to be divided, shape (P,), where that was found."""
        return self.marks.get("temperature")

    @property
    def standing(self) -> tuple[Any, ...]:
        """What all networks of a population have in common: states can be joined that agree in it."""
        return self.start, self.update, tuple(self.recorded), self.at_once, self.backend

    def take(self, lanes: Lanes) -> TrainingState:
        """Return a copy that holds only the networks ``lanes``, in that order."""
        lanes = chosen_lanes(lanes, len(self))

        def chosen(group: dict[str, Array]) -> dict[str, Array]:
            return {key: value[lanes] for key, value in group.items()}

        return TrainingState(
            params=chosen(self.params),
            running=chosen(self.running),
            slots={slot: chosen(group) for slot, group in self.slots.items()},
            copies={name: chosen(group) for name, group in self.copies.items()},
            marks=chosen(self.marks),
            start=self.start,
            update=self.update,
            at_once=self.at_once,
            backend=self.backend,
            failures=[self.failures[p] for p in lanes],
            recorded=list(self.recorded),
            history=chosen(self.history),
        )

    @classmethod
    def join(cls, states: Sequence[TrainingState]) -> TrainingState:
        """Return one state of the networks of several, in their order: the inverse of :meth:`take`.

        Raises
        ------
        KlayerError
            If they don't stand at the same update, with the same points and the same strategy.
        """
        if not states:
            raise KlayerError("at least one state is needed, but got none to join.")
        first = states[0]
        for state in states:
            if state.standing != first.standing:
                raise KlayerError(
                    "states are joined at one update, with the same recorded points, updates at once "
                    f"and backend, but got update {state.update} ({state.backend}) beside "
                    f"{first.update} ({first.backend})."
                )

        def joined(groups: Sequence[dict[str, Array]]) -> dict[str, Array]:
            return {key: np.concatenate([one[key] for one in groups]) for key in groups[0]}

        return cls(
            params=joined([state.params for state in states]),
            running=joined([state.running for state in states]),
            slots={slot: joined([state.slots[slot] for state in states]) for slot in first.slots},
            copies={name: joined([one.copies[name] for one in states]) for name in first.copies},
            marks=joined([state.marks for state in states]),
            start=first.start,
            update=first.update,
            at_once=first.at_once,
            backend=first.backend,
            failures=[failure for state in states for failure in state.failures],
            recorded=list(first.recorded),
            history=joined([state.history for state in states]),
        )

    def going_on(self) -> TrainingState:
        """Return the state that a new course begins with: nothing is watched or averaged yet.

        Weights, the optimiser's memory and curves are those of this state, not copies.
        """
        return replace(self, start=self.update, copies={}, marks={})

    def record(self, values: dict[str, Array]) -> None:
        """Append a point, arrays of shape (P,), to each curve.

        Interrupted in the middle, the point is not recorded: what counts is ``recorded``, the last.
        """
        T = len(self.recorded)
        for curve, value in values.items():
            before = self.history.get(curve, np.empty((len(self), 0)))[:, :T]
            self.history[curve] = np.column_stack([before, value])
        self.recorded.append(self.update)

    def save(self, path: Path) -> None:
        """Write the state to one safetensors file; the file is replaced whole or not at all."""
        write_arrays(path, *self.packed())

    def packed(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return the state as arrays by name and plain values: what a file holds."""
        history = {curve: values[:, : len(self.recorded)] for curve, values in self.history.items()}
        groups = {"params": self.params, "running": self.running, "history": history}
        groups |= {f"slots/{slot}": group for slot, group in self.slots.items()}
        groups |= {f"copies/{name}": group for name, group in self.copies.items()}
        groups["marks"] = self.marks
        arrays = {
            f"{group}/{key}": value
            for group, items in groups.items()
            for key, value in items.items()
        }
        plain = {
            "start": self.start,
            "update": self.update,
            "at_once": self.at_once,
            "backend": self.backend,
            "recorded": self.recorded,
            "failures": [failure and asdict(failure) for failure in self.failures],
        }
        return arrays, plain

    @classmethod
    def load(cls, path: Path, *, sealed: bool = False) -> TrainingState:
        """Read what :meth:`save` wrote; ``sealed`` says whether it must have a digest."""
        return cls.unpacked(*read_arrays(path, sealed=sealed))

    @classmethod
    def unpacked(cls, arrays: Mapping[str, Array], plain: Mapping[str, Any]) -> TrainingState:
        """Undo :meth:`packed`."""
        names = ("params", "running", "history", "marks")
        groups: dict[str, dict[str, Array]] = {name: {} for name in names}
        nested: dict[str, Slots] = {"slots": {}, "copies": {}}
        for name, value in arrays.items():
            group, key = name.rsplit("/", 1)
            outer, _, inner = group.partition("/")
            if inner:
                nested[outer].setdefault(inner, {})[key] = value
            else:
                groups[group][key] = value
        return cls(
            params=groups["params"],
            running=groups["running"],
            history=groups["history"],
            marks=groups["marks"],
            slots=nested["slots"],
            copies=nested["copies"],
            start=plain.get("start", 0),  # older states have none
            update=plain["update"],
            at_once=plain.get("at_once", 1),  # older states have none; the same to rounding
            backend=plain.get("backend", "numpy"),
            recorded=plain["recorded"],
            failures=[failure and Failure(**failure) for failure in plain["failures"]],
        )
