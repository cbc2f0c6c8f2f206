"""Where populations are trained: one executor, chosen by name, behind one protocol.

An order is a population and how far it is to be trained; an executor says what came of it. The loop
over a study's populations neither knows nor cares where that happens. `local` trains in this process.
All others cut populations into parts that lie as files in the run's folder (:mod:`.bench`), where hands
claim them: processes of this machine, tasks of a Dask cluster, or whoever runs the same command.
"""

from __future__ import annotations

from collections.abc import Callable

from klayer.data import Dataset
from klayer.errors import KlayerError, unknown_name
from klayer.study.execute.local import Local
from klayer.study.execute.part import (
    AtWork,
    Executor,
    Listener,
    Lost,
    Order,
    Outcome,
    PartResult,
    PartSpec,
    Reporter,
    SchedulerLost,
    Silent,
    Unheard,
    part_of,
)

__all__ = [
    "EXECUTORS",
    "JOIN",
    "AtWork",
    "Executor",
    "Listener",
    "Local",
    "Lost",
    "Order",
    "Outcome",
    "PartResult",
    "PartSpec",
    "Reporter",
    "SchedulerLost",
    "Silent",
    "Unheard",
    "open_executor",
    "part_of",
    "require_scheduler",
]

JOIN = "join"
# How many take part by `join`, where nothing says so.
USUAL_COUNT = 8

Made = Callable[[Dataset, int | None, str], Executor]


def _local(dataset: Dataset, workers: int | None, scheduler: str) -> Executor:  # noqa: ARG001
    return Local(dataset, workers)


def _processes(dataset: Dataset, workers: int | None, scheduler: str) -> Executor:
    from klayer.study.execute.hands import Processes
    from klayer.study.execute.shared import Shared

    return Shared(dataset, Processes(_count(scheduler), workers))


def _joined(dataset: Dataset, workers: int | None, scheduler: str) -> Executor:
    from klayer.study.execute.hands import Joined
    from klayer.study.execute.shared import Shared

    return Shared(dataset, Joined(_count(scheduler), workers), joins=True)


def _dask(dataset: Dataset, workers: int | None, scheduler: str) -> Executor:
    from klayer.study.execute.dask import DaskHands
    from klayer.study.execute.shared import Shared

    hands = DaskHands(scheduler, workers)
    return Shared(dataset, hands, hands.memory)


# By what stands before the colon. A new executor is a class with :class:`Executor`'s methods and a row.
EXECUTORS: dict[str, Made] = {
    "local": _local,
    "processes": _processes,
    JOIN: _joined,
    "tcp": _dask,
    "tls": _dask,
}
_SHOWN = ("local", "processes:N", "join", "join:N", "tcp://HOST:PORT", "tls://HOST:PORT")


def require_scheduler(scheduler: str) -> str:
    """Return the row of :data:`EXECUTORS` that a scheduler's name means.

    Raises
    ------
    KlayerError
        For a name that isn't there, or a number or an address that can't be.

    Examples
    --------
    >>> require_scheduler("processes:4"), require_scheduler("tcp://10.0.0.1:8786")
    ('processes', 'tcp')
    >>> require_scheduler("proceses:4")
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: unknown scheduler 'proceses:4': did you mean 'processes:N'? Known: ...
    """
    name, colon, rest = str(scheduler).partition(":")
    if name not in EXECUTORS:
        known = [*_SHOWN, *(one for one in EXECUTORS if one not in " ".join(_SHOWN))]
        raise unknown_name("scheduler", str(scheduler), known)
    if name in ("processes", JOIN) and (colon or name == "processes"):
        _count(scheduler)
    if name in ("tcp", "tls"):
        host, _, port = rest.removeprefix("//").rpartition(":")
        if not rest.startswith("//") or not host or not port.isdecimal():
            raise KlayerError(
                f"a Dask scheduler is named by its address, {name}://HOST:PORT, but got {scheduler!r}: "
                "it prints its own when it starts."
            )
    elif name == "local" and colon:
        raise KlayerError(
            f"`local` takes no number, but got {scheduler!r}: `--workers` says how many threads."
        )
    return name


def _count(scheduler: str) -> int:
    """Return the number after the colon, >= 1."""
    import os

    name, colon, said = scheduler.partition(":")
    if name == JOIN and not colon:
        said = os.environ.get("SLURM_ARRAY_TASK_COUNT") or str(USUAL_COUNT)
    if not said.isdecimal() or not 1 <= int(said) <= 10_000:
        raise KlayerError(
            f"`{name}:N` must have a whole number N from 1 to 10,000, but got {scheduler!r}: say how "
            f"many processes, as in {name}:4."
        )
    return int(said)


def open_executor(scheduler: str, dataset: Dataset, workers: int | None = None) -> Executor:
    """Return an executor, to be entered (``with``) before it is used.

    Parameters
    ----------
    scheduler : str
        ``local``: threads of this process. ``processes:N``: N processes of this machine.
        ``tcp://HOST:PORT``, ``tls://HOST:PORT``: a Dask scheduler and its workers, which see the run's
        folder. ``join``: this process, and whoever else runs the same command; ``join:N`` says how many
        these will be, for the size of parts.
    dataset : Dataset
    workers : int, >= 1, optional
        Threads in all, on this machine; by default its cores.

    Raises
    ------
    KlayerError
        As :func:`require_scheduler`; if no Dask scheduler answers.
    """
    return EXECUTORS[require_scheduler(scheduler)](dataset, workers, scheduler)
