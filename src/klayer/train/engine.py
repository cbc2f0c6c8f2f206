"""Worker threads for the chunks of a population; BLAS is held at one thread inside them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TypeVar

from threadpoolctl import threadpool_limits

from klayer.errors import KlayerError
from klayer.nn import Workspace

__all__ = ["BLAS_THREADS", "Engine", "available_cores"]

T = TypeVar("T")
Item = TypeVar("Item")

# Threads of a product. One: threads over networks are faster than threads inside the BLAS, and a
# network's bits then depend on no number of threads.
BLAS_THREADS = 1


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
        self._entered = 0

    def __enter__(self) -> Engine:
        """Open the engine; entered once more, it stays open until it is left as often."""
        if not self._entered:
            self._limits = ExitStack()
            self.hold_blas()
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="klayer")
        self._entered += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._entered -= 1
        if self._entered:
            return
        self.stopped = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._limits.close()

    def hold_blas(self) -> None:
        """Hold every BLAS that is loaded at one thread until the engine is left."""
        self._limits.enter_context(threadpool_limits(limits=BLAS_THREADS, user_api="blas"))

    @property
    def is_open(self) -> bool:
        """Whether it has its threads."""
        return self._entered > 0

    def map(
        self,
        function: Callable[[Item, Workspace], T],
        items: Iterable[Item],
        on_wait: Callable[[], None] | None = None,
    ) -> list[T]:
        """Call ``function(item, workspace)`` for each item; return the results in order.

        ``on_wait`` is called in the calling thread some times a second until all are done. If it, or
        the user's Ctrl-C, raises, running functions are told by :attr:`stopped` to end early: what
        they have not done is theirs to know.

        Raises
        ------
        KlayerError
            If the engine is not open.
        """
        if not self.is_open:
            raise KlayerError("an engine works only while it is open: use it in a `with` block.")
        self.stopped = False
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

    def ahead(self, function: Callable[..., object], *args: object) -> None:
        """Let an idle worker call ``function(*args)``, for what it leaves behind."""
        self._pool.submit(function, *args)

    def share(self, function: Callable[[Item, Workspace], None], items: Sequence[Item]) -> None:
        """Call ``function(item, workspace)`` for each item, in a worker with the help of idle ones."""
        futures = [self._pool.submit(self._call, function, item) for item in items[1:]]
        self._call(function, items[0])
        for item, future in zip(items[1:], futures, strict=True):
            if future.cancel():  # nobody was idle
                self._call(function, item)
            else:
                future.result()

    def _call(self, function: Callable[[Item, Workspace], T], item: Item) -> T:
        if not hasattr(self._local, "ws"):
            self._local.ws = Workspace()
        ws: Workspace = self._local.ws
        return function(item, ws)
