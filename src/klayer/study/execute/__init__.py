"""Where populations are trained: one executor, chosen by name, behind one protocol.

A part is a frozen description (:class:`PartSpec`) and a state; an executor brings the state further.
The loop over a study's populations neither knows nor cares where that happens.
"""

from __future__ import annotations

from collections.abc import Callable

from klayer.data import Dataset
from klayer.errors import unknown_name
from klayer.study.execute.local import Local
from klayer.study.execute.part import Executor, Listener, PartSpec, Unheard

__all__ = ["EXECUTORS", "Executor", "Listener", "PartSpec", "Unheard", "open_executor"]

# A new executor is a class with :class:`Executor`'s methods and a row here.
EXECUTORS: dict[str, Callable[[Dataset, int | None], Executor]] = {"local": Local}


def open_executor(name: str, dataset: Dataset, workers: int | None = None) -> Executor:
    """Return an executor by its name, to be entered (``with``) before it is used.

    Raises
    ------
    KlayerError
        For a name that isn't in :data:`EXECUTORS`.
    """
    if name not in EXECUTORS:
        raise unknown_name("executor", name, EXECUTORS)
    return EXECUTORS[name](dataset, workers)
