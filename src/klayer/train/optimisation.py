"""The settings of optimisation: how weights move, and the course of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from klayer.errors import KlayerError
from klayer.train.durations import duration_updates, read_duration
from klayer.train.optimisers import OPTIMISERS
from klayer.train.schedules import SCHEDULES, Course
from klayer.train.setting import setting

__all__ = ["Optimisation"]

_ADAPTIVE = ("adam", "adamw", "muon")
_PEAKED = ("triangular", "cosine")  # what has a peak in each cycle


@dataclass(frozen=True)
class Optimisation:
    """The part of :class:`klayer.train.Settings` that says how weights move.

    Examples
    --------
    >>> from klayer.train import Settings
    >>> Settings(cycles=2, half_cycle=100, cycle_growth=2.0).course(per_epoch=450).ends
    (200, 600)
    """

    lr_min: float = setting(
        1e-5,
        "Lower bound of the learning rate.",
        values="0 <= lr_min <= lr_max",
        scope="network",
        search="log",
        label="minimum learning rate",
        symbol="min. rate",
        only_with=("schedule", tuple(name for name in SCHEDULES if name != "constant")),
    )
    lr_max: float = setting(
        1e-1,
        "Upper bound of the learning rate; for adam, adamw, rmsprop and muon 0.001 to 0.01 is usual.",
        values="0 <= lr_min <= lr_max",
        scope="network",
        search="log",
        label="maximum learning rate",
        symbol="max. rate",
    )
    optimiser: str = setting(
        "sgd", "How the weights move: {choices}.", choices=OPTIMISERS, search="choices"
    )
    momentum: float = setting(
        0.9,
        "How much of its velocity, or of its mean gradient (Adam's beta1), the optimiser keeps from "
        "update to update.",
        at_least=0,
        below=1,
        scope="network",
        search="linear",
        only_with=("optimiser", ("momentum", "nesterov", *_ADAPTIVE)),
    )
    beta2: float = setting(
        0.999,
        "How much of its mean square of gradients the optimiser keeps from update to update.",
        at_least=0,
        below=1,
        scope="network",
        search="linear",
        only_with=("optimiser", (*_ADAPTIVE, "rmsprop")),
    )
    optimiser_eps: float = setting(
        1e-8,
        "Added to the root of that mean square.",
        at_least=1e-30,  # what float32 still tells from 0, and from infinity one over it
        below=1,
        scope="network",
        search="log",
        only_with=("optimiser", (*_ADAPTIVE, "rmsprop")),
    )
    weight_decay: float = setting(
        0.01,
        "Decoupled decay, W *= 1 - lr * weight_decay: no penalty of the cost, which is l2.",
        at_least=0,
        scope="network",
        search="log",
        only_with=("optimiser", ("adamw", "muon")),
    )
    clip_norm: float = setting(
        0.0,
        "Longest gradient of a network, all its parameters together and the penalty apart; longer ones "
        "are scaled down. 0: as long as they are.",
        at_least=0,
        scope="network",
        search="log",
        off=0.0,
    )
    schedule: str = setting(
        "triangular", "Course of the learning rate: {choices}.", choices=SCHEDULES
    )
    cycles: float = setting(
        2, "Length of the training, in cycles of two half-cycles.", above=0, bound=10_000
    )
    half_cycle: str | int = setting(
        "5 epochs",
        "Half a cycle, like '5 epochs', '2250 updates' or 2250; with cycle_growth the first one.",
        read=read_duration("half_cycle"),
        values="epochs or updates",
    )
    cycle_growth: float = setting(
        1.0, "How many times as long as the one before a cycle is.", at_least=1, bound=100
    )
    peak_decay: float = setting(
        1.0,
        "What a cycle leaves of lr_max - lr_min for the next one.",
        above=0,
        at_most=1,
        scope="network",
        search="linear",
        only_with=("schedule", _PEAKED),
    )
    warm_up: str | int = setting(
        "0 epochs",
        "How long the learning rate climbs to its course at the start, like '1 epoch' or 500.",
        read=read_duration("warm_up", at_least=0),
        values="epochs or updates",
    )

    def check_optimisation(self, uses_lr_min: bool) -> None:
        """Check what concerns several settings."""
        if not 0 <= (self.lr_min if uses_lr_min else 0) <= self.lr_max < math.inf:
            raise KlayerError(
                "`0 <= lr_min <= lr_max` must hold, "
                f"but got lr_min={self.lr_min}, lr_max={self.lr_max}."
            )

    def course(self, per_epoch: int) -> Course:
        """Return the training's cycles in updates, for a number of updates per epoch."""
        return Course(
            self.half_cycle_updates(per_epoch),
            self.cycles,
            self.cycle_growth,
            duration_updates("warm_up", self.warm_up, per_epoch, at_least=0),
        )

    def half_cycle_updates(self, per_epoch: int) -> int:
        """Return half a cycle, the first one, in updates."""
        return duration_updates("half_cycle", self.half_cycle, per_epoch)

    def total_updates(self, per_epoch: int) -> int:
        """Return the length of the training in updates."""
        return self.course(per_epoch).total
