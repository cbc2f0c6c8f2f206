"""The work that every contestant does: same mini-batches, rates, penalties, first weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Network
from klayer.train import Settings
from klayer.train.schedules import Course, triangular

__all__ = ["ARCHITECTURES", "EPS", "Architecture", "Task", "make_task", "settings_of"]


@dataclass(frozen=True)
class Architecture:
    """The shape of a network and of its mini-batches.

    Attributes
    ----------
    hidden : tuple of int
    batch_norm : {"none", "hidden"}
    features, batch : int
    """

    hidden: tuple[int, ...]
    batch_norm: str
    features: int = 3072
    batch: int = 100

    @property
    def is_table(self) -> bool:
        """Whether the data look like a table, not like CIFAR-10."""
        return self.features < 1000


DEEP = (50, 30, 20, 20, 10, 10, 10, 10)
TABLES = {
    "64 to 50, 50, N 20": ((50, 50), 64, 20),
    "20 to 100, N 200": ((100,), 20, 200),
    "54 to 128, 64, N 32": ((128, 64), 54, 32),
    "10 to 16, N 32": ((16,), 10, 32),
}
ARCHITECTURES = {
    f"{name}{', BN' if batch_norm == 'hidden' else ''}": Architecture(
        hidden, batch_norm, features, batch
    )
    for name, (hidden, features, batch) in {
        "3 layers": ((50, 50), 3072, 100),
        "9 layers": (DEEP, 3072, 100),
        **TABLES,
    }.items()
    for batch_norm in ("none", "hidden")
}
EPS = Settings.bn_eps

# Row numbers and rates repeat after this many updates: whole cycles, and whole epochs wherever
# the number of updates per epoch divides it (as it does for 5,000 and 20,000 samples).
PERIOD = 1000
HALF_CYCLE = 100  # updates: short, so that the verified updates reach rates that move the weights


@dataclass(frozen=True)
class Task:
    """P networks and everything that their training depends on, bar the features and labels.

    Attributes
    ----------
    hidden : tuple of int
        Widths of the hidden layers.
    batch_norm : {"none", "hidden"}
    params : dict of array, float32, shape (P, ...)
        First weights, klayer's names: ``W1`` (P, D, H), ``b1`` or ``gamma1``, ``beta1`` (P, H) ...
    rows : int64 array, shape (PERIOD, N)
        The samples of mini-batch ``t % PERIOD``.
    lr : float32 array, shape (PERIOD, P)
        Triangular learning rates; the networks differ in their upper bound.
    l2 : float32 array, shape (P,)
        Penalty strengths lambda in ``loss + lambda * sum ||W||^2``, gradient ``2 lambda W``; the
        networks differ in them.
    members : list of dict
        What differs between the networks, as ``klayer.Settings`` calls it.
    """

    hidden: tuple[int, ...]
    batch_norm: str
    params: dict[str, NDArray]
    rows: NDArray
    lr: NDArray
    l2: NDArray
    members: list[dict]

    @property
    def networks(self) -> int:
        """Number of networks, P."""
        return len(self.l2)

    @property
    def depth(self) -> int:
        """Number of layers, k."""
        return len(self.hidden) + 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, hidden widths, classes."""
        return (self.params["W1"].shape[1], *self.hidden, self.params[f"W{self.depth}"].shape[2])

    def normalises(self, layer: int) -> bool:
        """Whether layer ``layer`` (1 ... k) has batch normalisation."""
        return f"gamma{layer}" in self.params

    def take(self, lanes: list[int]) -> Task:
        """Return the task of the networks ``lanes`` alone."""
        return replace(
            self,
            params={key: value[lanes] for key, value in self.params.items()},
            lr=self.lr[:, lanes],
            l2=self.l2[lanes],
            members=[self.members[p] for p in lanes],
        )


def settings_of(task: Task, p: int = 0) -> Settings:
    """Return klayer's settings of network ``p``."""
    return Settings(
        hidden=task.hidden,
        batch_norm=task.batch_norm,
        half_cycle=HALF_CYCLE,
        cycles=10_000,  # more than anybody trains
        points_per_cycle=1,
        batch_size=task.rows.shape[1],
        **task.members[p],
    )


def make_task(
    architecture: str,
    networks: int,
    samples: int,
    features: int | None = None,
    classes: int = 10,
) -> Task:
    """Make the task of an architecture: network 0 has lambda .005 and rates up to .1.

    The other networks differ from it in seed, lambda (up to twice as large) and upper rate (down to
    half), as in a search: whoever trains them together must keep a value for each.
    """
    shape = ARCHITECTURES[architecture]
    hidden, batch_norm, features = shape.hidden, shape.batch_norm, features or shape.features
    members = [
        {"l2": 0.005 * (1 + p / networks), "lr_max": 0.1 * (1 - p / (2 * networks))}
        for p in range(networks)
    ]
    settings = [Settings(batch_size=shape.batch, **member) for member in members]
    batches = settings[0].batches(samples)
    lr_min, lr_max = (
        np.array([getattr(one, name) for one in settings]) for name in ("lr_min", "lr_max")
    )
    return Task(
        hidden,
        batch_norm,
        Network(features, hidden, classes, batch_norm).init("he", range(networks)),
        np.stack([batches[t] for t in range(PERIOD)]),
        np.stack([triangular(t, lr_min, lr_max, Course(HALF_CYCLE)) for t in range(PERIOD)]).astype(
            np.float32
        ),
        np.array([member["l2"] for member in members], np.float32),
        members,
    )
