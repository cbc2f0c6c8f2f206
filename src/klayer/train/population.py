"""A population: P networks of one architecture, trained on the same mini-batches.

The population is cut into chunks of a few networks, which worker threads train independently. A
network's numbers depend on nothing but its own settings, its seed and the order of the mini-batches:
the same bits for any population, chunk size and number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError
from klayer.nn import Network, Workspace
from klayer.nn.delayed import delay_pays, lay_out
from klayer.train.engine import Engine
from klayer.train.evaluate import evaluate
from klayer.train.lockstep import Lockstep, slices
from klayer.train.schedules import SCHEDULES
from klayer.train.settings import Settings
from klayer.train.state import Failure, TrainingState

__all__ = ["Member", "Population", "Standardised", "fit"]

# Measured on two cores, CIFAR-10 shape: a chunk of 16 amortises the interpreter (30 networks take 8 %
# less than in chunks of 8) and larger ones gain nothing. A group is what one worker trains at a time.
CHUNK = 16
GROUP = 16


class Source(Protocol):
    """What training needs of a data set; :class:`klayer.data.Dataset` has it."""

    n_features: int
    n_classes: int
    splits: Mapping

    def standardised(self, split: str, dtype) -> NDArray: ...


class Standardised:
    """The splits of a data set, standardised once and shared by all populations.

    Parameters
    ----------
    dataset : klayer.data.Dataset
    dtype : float32 or float64

    Examples
    --------
    >>> import klayer as kl
    >>> data = Standardised(kl.load("digits"))
    >>> X, labels = data["train"]
    >>> X.dtype, len(X) == len(labels), data.n_features
    (dtype('float32'), True, 64)
    """

    def __init__(self, dataset: Source, dtype=np.float32) -> None:
        self.dataset, self.dtype = dataset, np.dtype(dtype)
        self.n_features, self.n_classes = dataset.n_features, dataset.n_classes
        self._splits: dict[str, tuple[NDArray, NDArray]] = {}

    def __getitem__(self, split: str) -> tuple[NDArray, NDArray]:
        """Return features (N, D), standardised by the training split, and labels (N,)."""
        if split not in self._splits:
            labels = np.ascontiguousarray(self.dataset.splits[split].labels)
            self._splits[split] = (self.dataset.standardised(split, self.dtype), labels)
        return self._splits[split]

    def sample(self, split: str, size: int) -> tuple[NDArray, NDArray]:
        """Return ``size`` samples of a split, the first of a fixed random order; or all of it."""
        key = f"{split}:{size}"
        if key not in self._splits:
            X, labels = self[split]
            rows = np.random.default_rng(0).permutation(len(X))[:size]
            self._splits[key] = (X, labels) if size >= len(X) else (X[rows], labels[rows])
        return self._splits[key]


@dataclass(frozen=True)
class Member:
    """One network of a population: its settings and its seed (>= 0)."""

    settings: Settings
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise KlayerError(f"`seed` must be a whole number >= 0, but got {self.seed!r}.")


class Population:
    """P networks that share architecture, batches and schedule, and differ in all else.

    Parameters
    ----------
    data : Standardised
    members : sequence of Member
        They may differ in seed, ``init``, ``l2``, ``lr_min`` and ``lr_max``; the other settings must
        agree.
    state : TrainingState, optional
        Where to go on from; by default the members are initialised.
    engine : Engine, optional
        An open engine; by default one is opened for each call.
    chunk : int, >= 1
        Networks a chunk: a matter of speed alone.

    Attributes
    ----------
    state : TrainingState
    updates_at_once : int
        How many updates of the first layer are carried out at once: more than 1 where it is large.
    consistent : bool
        Whether all networks stand at ``state.update``, so that the state may be written down. It is
        False only after an error or a second Ctrl-C in the middle of an update: a first Ctrl-C brings
        all networks to the same update before it is raised.

    Raises
    ------
    KlayerError
        If the members do not belong in one population.

    Examples
    --------
    >>> import klayer as kl
    >>> data = Standardised(kl.load("digits"))
    >>> settings = Settings(hidden=(20,), cycles=1, half_cycle="2 epochs")
    >>> population = Population(data, [Member(settings, seed) for seed in (0, 1)])
    >>> population.train()
    >>> population.evaluate("test")["accuracy"].shape
    (2,)
    """

    def __init__(
        self,
        data: Standardised,
        members: Sequence[Member],
        state: TrainingState | None = None,
        engine: Engine | None = None,
        chunk: int = CHUNK,
    ) -> None:
        if not members:
            raise KlayerError("a population needs at least one network, but got none.")
        self.settings = members[0].settings
        for p, member in enumerate(members):
            if member.settings.shared != self.settings.shared:
                raise KlayerError(
                    "the networks of a population must share all settings but seed, init, l2, lr_min "
                    f"and lr_max, but network {p} has {_difference(member.settings, self.settings)}."
                )
        self.data, self.members, self.engine, self.chunk = data, list(members), engine, chunk
        self.network = Network(
            data.n_features,
            self.settings.hidden,
            data.n_classes,
            self.settings.batch_norm,
            self.settings.bn_eps,
        )
        dtype = np.dtype(self.settings.dtype)
        if dtype != data.dtype:
            raise KlayerError(f"the data are {data.dtype}, but the settings say dtype={dtype}.")
        self.l2, self.lr_min, self.lr_max = (
            np.array([getattr(member.settings, name) for member in members])
            for name in ("l2", "lr_min", "lr_max")
        )
        self.state = state or TrainingState(
            self.network.init(
                [member.settings.init for member in members],
                [member.seed for member in members],
                dtype,
            ),
            self.network.init_running(len(members), dtype),
        )
        self.consistent = True
        batches = self.settings.batches(len(data.dataset.splits["train"]))
        W1 = self.state.params["W1"]
        self.updates_at_once = (
            self.settings.updates_at_once if delay_pays(W1, batches.batch_size) else 1
        )
        if self.updates_at_once > 1:
            self.state.params["W1"] = lay_out(W1)
        self.updates_per_epoch = batches.per_epoch
        self.half_cycle = self.settings.half_cycle_updates(batches.per_epoch)
        self.total_updates = self.settings.total_updates(batches.per_epoch)

    def learning_rates(self, t: int) -> NDArray:
        """Learning rate of each network at update ``t``, shape (P,)."""
        schedule = SCHEDULES[self.settings.schedule]
        return np.broadcast_to(
            schedule(t, self.lr_min, self.lr_max, self.half_cycle), self.lr_max.shape
        )

    def record_points(self) -> list[int]:
        """Updates at which the curves are recorded: the start, then evenly to the end."""
        points = max(1, round(self.settings.cycles * self.settings.points_per_cycle))
        return sorted({round(t) for t in np.linspace(0, self.total_updates, points + 1)})

    def take(self, lanes: Sequence[int]) -> Population:
        """Return a population of the networks ``lanes`` alone: the others cost no more time."""
        return Population(
            self.data,
            [self.members[p] for p in lanes],
            self.state.take(lanes),
            self.engine,
            self.chunk,
        )

    def train(
        self,
        until: int | None = None,
        on_progress: Callable[[float], None] | None = None,
        on_record: Callable[[TrainingState], None] | None = None,
    ) -> None:
        """Train to update ``until`` (by default to the end), recording the curves on the way.

        A network whose cost stops being finite is frozen and flagged in ``state.failures``; the
        others go on as if it had never been there.

        Parameters
        ----------
        until : int, optional
            Update index; by default the end of the last cycle. At a recorded point, as at the end of any
            block of ``updates_at_once`` counted from one, stopping changes no bit of what follows.
        on_progress : callable, optional
            Called some times a second with the number of updates done, as a float.
        on_record : callable, optional
            Called with the state after each recorded point. The state is then consistent: this is the
            moment to write it down.
        """
        if self.engine is None:
            with Engine() as self.engine:
                try:
                    return self.train(until, on_progress, on_record)
                finally:
                    self.engine = None
        until = self.total_updates if until is None else min(until, self.total_updates)
        points = [t for t in self.record_points() if self.state.update <= t <= until]
        for t in points if points[-1:] == [until] else [*points, until]:
            self.advance(t, on_progress)
            if t in points and t not in self.state.recorded:
                self.record()
                if on_record:
                    on_record(self.state)
        return None

    def advance(self, until: int, on_progress: Callable[[float], None] | None = None) -> None:
        """Do the updates up to ``until`` and record nothing; needs an open engine."""
        groups = self._groups()
        done = [self.state.update] * len(groups)
        lockstep = Lockstep(self, threads=max(1, self.engine.workers // max(1, len(groups))))

        def run(job: tuple[int, list[slice]], ws: Workspace) -> None:
            index, chunks = job
            for t in lockstep.run(chunks, done[index], until, ws):
                done[index] = t

        def report() -> None:
            if on_progress:
                on_progress(sum(done) / len(done))

        if until > self.state.update and groups:
            jobs = list(enumerate(groups))
            self.consistent = False
            try:
                self.engine.map(run, jobs, report)
            except KeyboardInterrupt:
                # The workers stopped at different updates: bring all to the furthest one.
                until = max(done)
                self.engine.stopped = False
                self.engine.map(run, jobs)
                self.state.update, self.consistent = until, True
                raise
        self.state.update, self.consistent = until, True

    def record(self) -> None:
        """Append a point to the curves; needs an open engine."""
        values = {}
        for split in ("train", "validation"):
            sample = self.data.sample(split, self.settings.curve_samples)
            for name, value in self._evaluate(*sample).items():
                values[f"{split}_{name}"] = value
        for p, cost in enumerate(values["train_cost"]):
            if self.state.failures[p] is None and not np.isfinite(cost):
                self.state.failures[p] = Failure(self.state.update, 0)
        self.state.record(values)

    def evaluate(self, split: str) -> dict[str, NDArray]:
        """Cost, loss and accuracy on a whole split.

        Returns
        -------
        values : dict of array, shape (P,)
            Keys ``cost``, ``loss``, ``accuracy``; NaN for networks that failed.
        """
        if self.engine is None:
            with Engine() as self.engine:
                try:
                    return self.evaluate(split)
                finally:
                    self.engine = None
        return self._evaluate(*self.data[split])

    def predict(self, X: NDArray) -> NDArray:
        """Class probabilities for standardised features (N, D), shape (P, N, K)."""
        return self.network.probs(self.state.params, X, self.state.running)

    # The rest is how.

    def _groups(self) -> list[list[slice]]:
        """Cut the networks that still train into groups of chunks; a frozen one lies in none."""
        alive = [p for p, failure in enumerate(self.state.failures) if failure is None]
        if not alive:
            return []
        workers = self.engine.workers
        groups = min(len(alive), workers * -(-len(alive) // (workers * GROUP)))
        return [
            slices(part.tolist(), self.chunk) for part in np.array_split(np.array(alive), groups)
        ]

    def _evaluate(self, X: NDArray, labels: NDArray) -> dict[str, NDArray]:
        P = len(self.members)
        values = {name: np.full(P, np.nan) for name in ("cost", "loss", "accuracy")}

        def run(lanes: slice, ws: Workspace) -> None:
            params, running = (
                {key: value[lanes] for key, value in arrays.items()}
                for arrays in (self.state.params, self.state.running)
            )
            found = evaluate(self.network, params, running, X, labels, self.l2[lanes], ws)
            for name, value in found.items():
                values[name][lanes] = value

        self.engine.map(run, [chunk for group in self._groups() for chunk in group])
        return values


def fit(
    dataset: Source,
    settings: Settings | None = None,
    seeds: Sequence[int] = (0,),
    workers: int | None = None,
) -> Population:
    """Train one network for each seed, all at once.

    Parameters
    ----------
    dataset : klayer.data.Dataset
    settings : Settings, optional
    seeds : sequence of int, each >= 0
    workers : int, optional
        Threads; by default all cores.

    Returns
    -------
    population : Population
        Trained: ask it to :meth:`~Population.evaluate` or :meth:`~Population.predict`.
    """
    settings = settings or Settings()
    data = Standardised(dataset, settings.dtype)
    population = Population(data, [Member(settings, seed) for seed in seeds])
    with Engine(workers) as population.engine:
        population.train()
    population.engine = None
    return population


def _difference(one: Settings, other: Settings) -> str:
    ours, theirs = one.shared.as_dict(), other.shared.as_dict()
    return ", ".join(
        f"{name}={ours[name]!r} instead of {theirs[name]!r}"
        for name in ours
        if ours[name] != theirs[name]
    )
