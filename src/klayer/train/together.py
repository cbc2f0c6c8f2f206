"""Populations of different architectures that train at the same time, on the threads of one engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError
from klayer.model import Model
from klayer.train.engine import Engine
from klayer.train.ensemble import Ensemble
from klayer.train.feed import Feed
from klayer.train.fitting import as_dataset
from klayer.train.population import Member, Population
from klayer.train.seeds import seeds_of
from klayer.train.settings import Settings
from klayer.train.trainer import Trainer

__all__ = ["Populations", "fit_together", "train_together", "work_of"]

Array = NDArray[Any]


class _GiveUp(Exception):
    """Another population has failed, or the user has had enough."""


def _to_the_end(population: Population, engine: Engine, report: Callable[[float], None]) -> None:
    Trainer(population, engine).train(on_progress=report)


def train_together(
    populations: Sequence[Population],
    engine: Engine | None = None,
    on_progress: Callable[[float], None] | None = None,
    train: Callable[[Population, Engine, Callable[[float], None]], None] = _to_the_end,
) -> None:
    """Train several populations at the same time; each has the bits that it has alone.

    As many are under way as the engine has workers, the most work first, so that no worker waits while
    there is anything left to begin.

    Parameters
    ----------
    populations : sequence of Population
        Of any architectures, settings and data.
    engine : Engine, optional
        By default one with all cores.
    on_progress : callable, optional
        Called some times a second with the share of all updates that is done, 0 to 1.
    train : callable ``(population, engine, report)``, optional
        How each is trained; by default to its end. ``report`` is to be called with the update reached,
        some times a second. One population alone is trained in the calling thread.

    Raises
    ------
    KlayerError
        If a population is named twice; and what the training of any of them raises, when all have
        stopped at a whole update.

    Examples
    --------
    >>> import klayer as kl
    >>> feed = Feed(kl.load("digits"))
    >>> brief = Settings(cycles=1, half_cycle="1 epoch", hidden=(8,))
    >>> deep = Settings(cycles=1, half_cycle="1 epoch", hidden=(16, 8))
    >>> populations = [Population(feed, [Member(one, 0)]) for one in (brief, deep)]
    >>> train_together(populations)
    >>> [one.state.update == one.total_updates for one in populations]
    [True, True]
    """
    if len({id(one.state) for one in populations}) < len(populations):
        raise KlayerError("each population is trained once, but one is named twice.")
    stop, engine = threading.Event(), engine or Engine()
    done = {id(one): float(one.state.update) for one in populations}

    order = sorted(populations, key=work_of, reverse=True)
    total = sum(work_of(one) for one in order) or 1.0

    def tell() -> None:
        if on_progress:
            shares = (work_of(one) * done[id(one)] / one.total_updates for one in order)
            on_progress(sum(shares) / total)

    def drive(population: Population) -> None:
        def report(update: float) -> None:
            done[id(population)] = update
            if stop.is_set():
                raise _GiveUp
            if len(order) == 1:
                tell()

        if not stop.is_set():
            train(population, engine, report)
            done[id(population)] = population.total_updates

    if len(order) == 1:
        with engine:
            drive(order[0])
        return
    with engine, ThreadPoolExecutor(min(len(order), engine.workers) or 1) as drivers:
        futures = [drivers.submit(drive, one) for one in order]
        pending = set(futures)
        try:
            while pending and not any(f.done() and f.exception() for f in futures):
                pending = wait(pending, timeout=0.25, return_when=FIRST_EXCEPTION).not_done
                tell()
        finally:
            stop.set()
            wait(futures)
        errors = [error for future in futures if (error := future.exception())]
        for error in sorted(errors, key=lambda one: isinstance(one, _GiveUp)):
            raise error


def work_of(population: Population) -> float:
    """Return about how much there is to do."""
    each = population.network.size * population.batches.batch_size
    return float(len(population) * each * population.total_updates)


class Populations:
    """Networks of different architectures, in the order in which they were asked for.

    Parameters
    ----------
    feed : Feed
    members : sequence of Member
        Those that share all that is not a network's own go into one population.

    Attributes
    ----------
    populations : list of Population
    members : list of Member

    Examples
    --------
    >>> import klayer as kl
    >>> feed = Feed(kl.load("digits"))
    >>> settings = [Settings(hidden=(width,), cycles=1, half_cycle="1 epoch") for width in (4, 8, 4)]
    >>> networks = Populations(feed, [Member(one, seed) for seed, one in enumerate(settings)])
    >>> len(networks), [len(one) for one in networks.populations]
    (3, [2, 1])
    >>> networks.train()
    >>> networks.evaluate("test")["accuracy"].shape, len(networks.ensemble())
    ((3,), 3)
    """

    def __init__(self, feed: Feed, members: Sequence[Member]) -> None:
        if not members:
            raise KlayerError("at least one network is needed, but got none.")
        self.feed, self.members = feed, list(members)
        groups: dict[Settings, list[int]] = {}
        for index, member in enumerate(members):
            groups.setdefault(member.settings.shared, []).append(index)
        self._places = list(groups.values())
        self.populations = [
            Population(feed, [members[index] for index in group]) for group in self._places
        ]

    def __len__(self) -> int:
        """Number of networks."""
        return len(self.members)

    def __iter__(self) -> Iterator[Population]:
        """Iterate over the populations."""
        return iter(self.populations)

    def __repr__(self) -> str:
        """Say how many networks there are, in how many populations."""
        return f"{len(self)} networks in {len(self.populations)} populations"

    def train(
        self, engine: Engine | None = None, on_progress: Callable[[float], None] | None = None
    ) -> None:
        """Train all of them at the same time: see :func:`train_together`."""
        train_together(self.populations, engine, on_progress)

    def evaluate(self, split: str, engine: Engine | None = None) -> dict[str, Array]:
        """Cost, loss and scores of each network on a whole split, in the members' order."""
        found: dict[str, Array] = {}
        with engine or Engine() as engine:
            for population, places in zip(self.populations, self._places, strict=True):
                for name, value in population.evaluate(split, engine).items():
                    found.setdefault(name, np.full(len(self), np.nan))[places] = value
        return found

    def models(self) -> list[Model]:
        """Return a model of each network, in the members' order."""
        found: dict[int, Model] = {}
        for population, places in zip(self.populations, self._places, strict=True):
            found |= {place: population.model([lane]) for lane, place in enumerate(places)}
        return [found[index] for index in range(len(self))]

    def ensemble(self, mirror: bool = False) -> Ensemble:
        """Return the ensemble of all networks that have not failed, in the members' order."""
        alive = [
            (place, population.model([lane]))
            for population, places in zip(self.populations, self._places, strict=True)
            for lane, place in enumerate(places)
            if lane in population.alive
        ]
        if not alive:
            raise KlayerError("an ensemble needs a network, but all have diverged.")
        models = [model for _, model in sorted(alive, key=lambda one: one[0])]
        return Ensemble(models, mirror=self.populations[0].image_shape if mirror else None)


def fit_together(
    data: Any,
    y: Any = None,
    settings: Sequence[Settings] = (),
    *,
    seeds: Any = 1,
    seed: int | None = None,
    workers: int | None = None,
    on_progress: Callable[[float], None] | None = None,
    **said: Any,
) -> Populations:
    """Train networks of different architectures at the same time, each with every seed.

    Parameters
    ----------
    data, y
        As :func:`klayer.fit` takes them.
    settings : sequence of Settings
        Widths, depths, optimisers, rates: all may differ, but the dtype.
    seeds, seed, workers
        As in :func:`klayer.fit`.
    on_progress : callable, optional
        Called some times a second with the share that is done, 0 to 1.
    **said
        What may be said of rows or a file: ``validation``, ``test``, ``target``, ...

    Returns
    -------
    networks : Populations
        Trained, those of the first settings first; ask them to :meth:`~Populations.evaluate`, or for
        their :meth:`~Populations.ensemble`.

    Examples
    --------
    >>> brief = {"cycles": 1, "half_cycle": "1 epoch"}
    >>> several = [Settings(hidden=hidden, **brief) for hidden in ((8,), (8, 8))]
    >>> networks = fit_together("digits", settings=several, seeds=2)
    >>> networks
    4 networks in 2 populations
    """
    settings = [settings] if isinstance(settings, Settings) else list(settings)
    if not settings or not all(isinstance(one, Settings) for one in settings):
        raise KlayerError(
            f"`settings` must be a list of kl.Settings(...), at least one, but got {settings!r:.60}."
        )
    if len({one.dtype for one in settings}) > 1:
        raise KlayerError(
            "networks that train together must have one dtype, but got "
            f"{' and '.join(sorted({one.dtype for one in settings}))}."
        )
    numbers, engine = seeds_of(seeds, seed), Engine(workers)
    feed = Feed(as_dataset(data, y, **said), settings[0].dtype)
    networks = Populations(feed, [Member(one, n) for one in settings for n in numbers])
    networks.train(engine, on_progress)
    return networks
