"""Worker threads for the chunks of a population; BLAS is held at one thread inside them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from threadpoolctl import threadpool_limits

from klayer.errors import KlayerError
from klayer.nn import Workspace

__all__ = ["Engine", "available_cores"]

T = TypeVar("T")


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Engine:
    """A pool of threads, each with a workspace of its own.

    NumPy releases the interpreter inside products and large loops, so that threads over chunks of a
    population use all cores. Each product itself runs on one thread: that is faster than threads
    inside BLAS, and it makes a network's bits independent of how many networks and workers there are.

    Parameters
    ----------
    workers : int, >= 1, optional
        Number of threads; by default the cores that this process may use.

    Raises
    ------
    KlayerError
        For fewer than one worker.

    Examples
    --------
    >>> with Engine(workers=2) as engine:
    ...     engine.map(lambda n, ws: n * n, [1, 2, 3])
    [1, 4, 9]
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise KlayerError(f"`workers` must be >= 1, but got {workers}.")
        self.workers = workers or available_cores()
        self.stopped = False
        self._local = threading.local()

    def __enter__(self) -> Engine:
        self._limits = threadpool_limits(limits=1, user_api="blas")
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="klayer")
        return self

    def __exit__(self, *exc_info) -> None:
        self.stopped = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._limits.restore_original_limits()

    def map(
        self,
        function: Callable[..., T],
        items: Iterable,
        on_wait: Callable[[], None] | None = None,
    ) -> list[T]:
        """Call ``function(item, workspace)`` for each item; return the results in order.

        ``on_wait`` is called in the calling thread some times a second until all are done. If it, or
        the user's Ctrl-C, raises, running functions are told by :attr:`stopped` to end early.
        """
        futures = [self._pool.submit(self._call, function, item) for item in items]
        pending = set(futures)
        try:
            while pending:
                pending = wait(pending, timeout=0.25).not_done
                if on_wait:
                    on_wait()
        except BaseException:
            self.stopped = True
            wait(futures)
            raise
        return [future.result() for future in futures]

    def ahead(self, function: Callable, *args) -> None:
        """Let an idle worker call ``function(*args)``, for what it leaves behind."""
        self._pool.submit(function, *args)

    def share(self, function: Callable[..., None], items: Sequence) -> None:
        """Call ``function(item, workspace)`` for each item, in a worker with the help of idle ones."""
        futures = [self._pool.submit(self._call, function, item) for item in items[1:]]
        self._call(function, items[0])
        for item, future in zip(items[1:], futures, strict=True):
            if future.cancel():  # nobody was idle
                self._call(function, item)
            else:
                future.result()

    def _call(self, function: Callable[..., T], item) -> T:
        if not hasattr(self._local, "ws"):
            self._local.ws = Workspace()
        return function(item, self._local.ws)
