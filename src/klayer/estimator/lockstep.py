"""Networks of one estimator or of many, trained: those that share mini-batches in one population."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.errors import KlayerError
from klayer.train import Engine, Feed, Population, Trainer, train_together
from klayer.train.stopping import restore_best
from klayer.train.together import work_of

__all__ = ["Feeds", "Training", "require_idle", "train_in_lockstep"]

Array = NDArray[Any]

# What `_end` sets.
_OF_A_FIT = ("model_", "history_", "n_iter_", "_state", "_own_seeds", "_samples")

# The estimators whose callbacks are being called.
_called: set[int] = set()


def require_idle(estimator: Any) -> None:
    """Refuse to fit an estimator from its own callback: its networks are under way."""
    if id(estimator) in _called:
        raise KlayerError(
            f"a callback is part of a fit, so it can't fit its own {type(estimator).__name__}: fit a "
            "copy without the callback, sklearn.base.clone(estimator).set_params(callback=None)."
        )


class Feeds:
    """What several estimators are given, read once: those that are given the same share a feed."""

    def __init__(self) -> None:
        self._read: dict[tuple[int, int, type], tuple[Any, ...]] = {}
        self._known: list[Feed] = []

    def read(self, estimator: Any, X: Any, y: Any, **more: Any) -> tuple[Array, Array]:
        """Return rows and targets as training takes them; the estimator knows then what it has seen."""
        key = id(X), id(y), type(estimator)
        if key not in self._read:
            before = set(vars(estimator))
            read = estimator._read(X, y, **more)
            seen = {name: one for name, one in vars(estimator).items() if name not in before}
            self._read[key] = read, seen, X, y  # which keep their identity as long as they live
        found: tuple[Array, Array] = self._read[key][0]
        vars(estimator).update(self._read[key][1])
        return found

    def of(self, dataset: Dataset, dtype: str) -> Feed:
        """Return the feed of a data set, of equal ones the same."""
        for feed in self._known:
            if feed.dtype == np.dtype(dtype) and _equal(feed.dataset, dataset):
                return feed
        self._known.append(Feed(dataset, dtype))
        return self._known[-1]


def _equal(one: Any, other: Dataset) -> bool:
    heads = [(of.task, of.class_names, of.splits.keys()) for of in (one, other)]
    return heads[0] == heads[1] and all(
        _same(getattr(part, name), getattr(other.splits[split], name))
        for split, part in one.splits.items()
        for name in ("weights", "labels", "features")
    )


def _same(a: Array | None, b: Array | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


@dataclass
class Training:
    """The networks of one estimator, before, while and after they are trained.

    Attributes
    ----------
    estimator : Estimator
    population : Population
        Its networks and no others.
    seconds : float
        What their training took: of a population that several share, a share of it.
    rates : array, shape (P, T), optional
        The learning rates at the points of former courses: a population knows those of its own alone.
    ended : bool
        Whether its time or its callback has ended it, before its last course.
    deadline : float, in seconds of the monotonic clock
        After it training ends, whatever the estimator's own `time_limit`.
    """

    estimator: Any
    population: Population
    seconds: float = 0.0
    rates: Array | None = None
    ended: bool = False
    deadline: float = math.inf
    _began: float = 0.0
    _error: Exception | None = None

    def begin(self) -> None:
        """Let its time run, unless it runs already."""
        self._began = self._began or time.monotonic()

    def late(self) -> bool:
        """Tell whether its time is over."""
        limit, now = self.estimator.time_limit, time.monotonic()
        own = self._began + limit if limit and self._began else math.inf
        return bool(now >= min(own, self.deadline))

    def end(self) -> None:
        """Give the estimator what has been trained; raise what its callback raised."""
        if self._error is not None:
            raise self._error
        self.estimator._end(self.population)
        self.estimator.history_["lr"] = np.asarray(self.rates).ravel()

    def _call(self, population: Population, lanes: Sequence[int]) -> Any:
        """Call its callback; meanwhile the estimator has its networks as they stand, copies of them."""
        estimator, state = self.estimator, population.state
        last = len(state.recorded) - 1
        point = {name: values[lanes, last] for name, values in state.history.items()}
        before = dict(vars(estimator))
        now = population.take(lanes)
        _called.add(id(estimator))
        try:
            if now.alive:
                estimator._end(now)
                estimator.history_["lr"] = self._rates(now).ravel()
            else:
                vars(estimator).pop("model_", None)
            return estimator.callback(estimator, {"update": state.update, **point})
        finally:
            _called.discard(id(estimator))
            for name in _OF_A_FIT:
                vars(estimator).pop(name, None)
                if name in before:
                    setattr(estimator, name, before[name])

    def _rates(self, population: Population) -> Array:
        """Return the learning rates at all points, those of former courses included."""
        rates = population.curves()["lr"].reshape(len(population), -1)
        if self.rates is not None:
            former = rates[:, : self.rates.shape[1]]
            former[:] = np.where(np.isnan(former), self.rates, former)
        return rates

    def goes_on(self, population: Population, lanes: Sequence[int]) -> bool:
        """Tell whether, after a recorded point, its networks train on: those in ``lanes``."""
        estimator, stop = self.estimator, False
        if estimator.callback is not None:
            try:
                stop = _stops(self._call(population, lanes))
            except Exception as error:
                self._error = error
                stop = True
        self.ended = self.late() or stop
        return not self.ended and any(p in population.training for p in lanes)

    def leave(self, population: Population) -> None:
        """Take its networks, which end with their best weights also where they end early."""
        self.population = population
        if "best" in population.state.copies:
            restore_best(population, population.training)
            del population.state.copies["best"]
        self.rates = self._rates(population)


def _stops(answer: Any) -> bool:
    """Tell whether a callback's answer ends the training: a comparison of curves is NumPy's truth."""
    if isinstance(answer, np.ndarray):
        return bool(answer.dtype == bool and answer.size and answer.all())
    return isinstance(answer, bool | np.bool_) and bool(answer)


def train_in_lockstep(
    trainings: Sequence[Training],
    engine: Engine,
    on_progress: Callable[[float], None] | None = None,
    deadline: float = math.inf,
) -> None:
    """Train the networks of many estimators at once; each gets the bits that it has alone.

    Networks with the same rows, architecture and mini-batches train as one population, the populations
    at the same time.

    Parameters
    ----------
    trainings : sequence of Training
        Their populations are as they were begun; afterwards they are trained.
    engine : Engine
    on_progress : callable, optional
        Called some times a second with the share that is done, 0 to 1.
    deadline : float, in seconds of the monotonic clock
        After it all end with the weights that they have. Where the time is too short for all, each
        population has a share of it: what is compared has then been trained about as far.
    """
    courses = max((one.estimator.cycles for one in trainings), default=0)
    for course in range(courses):
        left = [one for one in trainings if course < one.estimator.cycles and not one.ended]
        for one in left if course else ():
            one.population = one.population.going_on()

        def tell(share: float, course: int = course) -> None:
            if on_progress:
                on_progress((course + share) / courses)

        if left:
            _train_a_course(left, engine, tell, deadline)


def _train_a_course(
    trainings: Sequence[Training],
    engine: Engine,
    on_progress: Callable[[float], None],
    deadline: float,
) -> None:
    groups: dict[Any, list[Training]] = {}
    for one in trainings:
        population = one.population
        alike = id(population.feed), population.settings.shared, population.state.standing
        groups.setdefault(alike, []).append(one)
    joined = {}
    for group in groups.values():
        whole = [one.population for one in group]
        population = whole[0] if len(whole) == 1 else Population.join(whole)
        joined[id(population)] = population, group

    shares = _Shares([one for one, _ in joined.values()], engine.workers, deadline)

    def train(population: Population, engine: Engine, report: Callable[[float], None]) -> None:
        own, group = shares.begin(population), joined[id(population)][1]
        for one in group:
            one.deadline = own
        _train(population, group, engine, report)

    train_together([one for one, _ in joined.values()], engine, on_progress, train)


def _train(
    population: Population,
    trainings: list[Training],
    engine: Engine,
    report: Callable[[float], None],
) -> None:
    """Train a population of several estimators' networks; each leaves it when it has ended."""
    started, networks = time.monotonic(), len(population)
    for one in trainings:
        one.begin()
    for point in population.record_points():
        state = population.state
        if point < state.update or point in state.recorded:
            continue
        _reach(point, population, trainings, engine, report)
        now = time.monotonic()
        places = _places(trainings)
        on = [
            one.goes_on(population, lanes) and point < population.total_updates
            for one, lanes in zip(trainings, places, strict=True)
        ]
        for one, lanes, goes_on in zip(trainings, places, on, strict=True):
            if not goes_on:
                one.leave(population.take(lanes) if len(trainings) > 1 else population)
                one.seconds += (now - started) * len(lanes) / networks
        if all(on):
            continue
        left = [p for lanes, goes_on in zip(places, on, strict=True) if goes_on for p in lanes]
        trainings = [one for one, goes_on in zip(trainings, on, strict=True) if goes_on]
        if not trainings:
            return
        population = population.take(left)


class _Shares:
    """A time that is shared out among populations by their work, as each of them begins."""

    def __init__(self, populations: Sequence[Population], workers: int, deadline: float) -> None:
        self._left = {id(one): work_of(one) for one in populations}
        self._workers, self._deadline, self._lock = workers, deadline, threading.Lock()

    def begin(self, population: Population) -> float:
        """Return the deadline of a population that begins now."""
        with self._lock:
            abreast = min(self._workers, len(self._left))
            work, now = sum(self._left.values()), time.monotonic()
            share = abreast * self._left.pop(id(population)) / work if work else 1.0
        return now + min(1.0, share) * max(0.0, self._deadline - now)


class _Late(Exception):
    """The time of all whose networks are trained is over."""


def _reach(
    point: int,
    population: Population,
    trainings: Sequence[Training],
    engine: Engine,
    report: Callable[[float], None],
) -> None:
    """Train to a point that is recorded; or, where all are late before it, record it where they are."""

    def listen(update: float) -> None:
        report(update)
        if all(one.late() for one in trainings):
            raise _Late

    trainer = Trainer(population, engine)
    try:
        trainer.train(point, on_progress=listen)
    except _Late:
        trainer.advance(population.state.update)  # no further: it ends what may be ended there
        if population.state.update not in population.state.recorded:
            trainer.record()


def _places(trainings: Sequence[Training]) -> list[list[int]]:
    """Return which networks of a joined population are whose."""
    ends = np.cumsum([0, *(len(one.population) for one in trainings)]).tolist()
    return [list(range(a, b)) for a, b in pairwise(ends)]
