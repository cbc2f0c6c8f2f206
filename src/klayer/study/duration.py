"""What a study will cost, before it runs: a few updates of each population are timed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from klayer.data import Dataset
from klayer.study.arms import Job, Pack
from klayer.study.execute import Local, Order, open_executor
from klayer.study.execute.carried_data import carried_bytes
from klayer.study.execute.shared import Shared
from klayer.study.execute.sizing import spread_seconds
from klayer.study.execute.timing import seconds_of_each
from klayer.study.search.options import Search
from klayer.study.study import Study
from klayer.study.training import part_of, planned, updates
from klayer.train import Member

__all__ = ["Duration", "SharedPlan", "durations", "plan_shared"]

# Until the first part of a run that is shared out begins: processes start, updates are timed.
START_SECONDS = 3.0


@dataclass(frozen=True)
class Duration:
    """How long one population, or one stage of a search, will take.

    Attributes
    ----------
    name : str
    networks : int
    updates : int
        Of each network.
    seconds : float
        Wall time, extrapolated.
    """

    name: str
    networks: int
    updates: int
    seconds: float


def durations(study: Study, dataset: Dataset, workers: int | None = None) -> list[Duration]:
    """Time a few updates of each population of a study and extrapolate.

    Parameters
    ----------
    study : Study
    dataset : Dataset
    workers : int, optional
        Threads; by default all cores.

    Returns
    -------
    durations : list of Duration
        Populations in the order of training, then the stages of the search.
    """
    with Local(dataset, workers) as local:
        parts = [(one.name, one, length) for one, length in planned(study.jobs, dataset)]
        if study.search:
            parts += _search(study.search, local)
        timed = [(part_of(one, dataset), length) for _, one, length in parts if one.jobs]
        seconds = iter(seconds_of_each(timed, local))
    return [
        Duration(name, len(one.jobs), length, next(seconds) if one.jobs else 0.0)
        for name, one, length in parts
    ]


@dataclass(frozen=True)
class SharedPlan:
    """How the arms of a study would be shared out.

    Attributes
    ----------
    parts : int
    networks : int
        In the largest part.
    data_bytes : int
        What each worker reads of the data, once.
    seconds : dict of int to float
        By how many parts are trained at once, each on as many threads as the scheduler's: how long it
        takes, extrapolated from this machine.
    """

    parts: int
    networks: int
    data_bytes: int
    seconds: dict[int, float]


def plan_shared(
    study: Study, dataset: Dataset, scheduler: str, workers: int | None = None
) -> SharedPlan | None:
    """Return how a study would be shared out by a scheduler; None for one that doesn't.

    Raises
    ------
    KlayerError
        If there can be no such scheduler, or none answers.
    """
    with open_executor(scheduler, dataset, workers) as executor:
        if not isinstance(executor, Shared):
            return None
        orders = [
            Order(one, part_of(one, dataset), length, tuple(job.member for job in one.jobs))
            for one, length in planned(study.jobs, dataset)
        ]
        sizes = executor.sizes(orders)
        networks = sum(len(order.pack.jobs) for order in orders)
        counts = {executor.hands.count, *(2**n for n in range(11) if 2**n <= networks)}
        seconds = {}
        for n in sorted(counts):
            then = executor.sizes(orders, n, sizes.seconds)
            seconds[n] = START_SECONDS + spread_seconds(then, orders, n)
        return SharedPlan(sizes.parts(orders), max(sizes.networks), carried_bytes(dataset), seconds)


def _search(search: Search, local: Local) -> list[tuple[str, Pack, int]]:
    """Return the stages of a search and its finalists as populations, with their updates."""
    final = replace(search.base, cycles=search.finalists.cycles)
    stages = [
        (f"search, stage {number}", search.base, search.trials_of(number) * search.seeds)
        for number in range(1, search.n_stages + 1)
    ]
    stages.append(("finalists", final, search.finalists.top * search.finalists.seeds))
    return [
        (
            name,
            Pack(name, tuple(Job("", Member(settings, seed)) for seed in range(networks))),
            updates(local.dataset, settings),
        )
        for name, settings, networks in stages
    ]
