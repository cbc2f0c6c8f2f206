"""Worker threads for the chunks of a population; BLAS is held at one thread inside them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from klayer.errors import KlayerError
from klayer.nn import Workspace

__all__ = ["BLAS_THREADS", "Engine", "available_cores"]

T = TypeVar("T")
Item = TypeVar("Item")

# Threads of a product. One: threads over networks are faster than threads inside the BLAS, and a
# network's bits then depend on no number of threads.
BLAS_THREADS = 1
# Seconds between two calls of those who want to hear how it goes.
WAIT_SECONDS = 0.25


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Blas:
    """The threads of the process's BLAS: held while any engine is open, then given back."""

    def __init__(self) -> None:
        self._lock, self._holders, self._limits = threading.Lock(), 0, ExitStack()

    def hold(self) -> None:
        with self._lock:
            if not self._holders:
                limits = threadpool_limits(limits=BLAS_THREADS, user_api="blas")
                self._limits.enter_context(limits)
            self._holders += 1

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._limits.close()

    def forget(self) -> None:
        """In a process forked from this one, where no engine works: nobody holds it."""
        self._lock, self._holders = threading.Lock(), 0
        self._limits.close()


_BLAS = _Blas()


class _Seats:
    """A seat for each core of the process: whoever works has one, whatever engines are open."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a process forked from this one, where nobody works: all are free."""
        self._free = threading.Semaphore(available_cores())

    def take(self, *, wait: bool = True) -> bool:
        """Take a seat; tell whether there was one."""
        return self._free.acquire(blocking=wait)

    def leave(self) -> None:
        self._free.release()


_SEATS = _Seats()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_BLAS.forget)
    os.register_at_fork(after_in_child=_SEATS.forget)


class Engine:
    """A pool of threads, each with a workspace of its own.

    NumPy releases the interpreter inside products and large loops, so that threads over chunks of a
    population use all cores. Each product itself runs on one thread: that is faster than threads
    inside BLAS, and it makes a network's bits independent of how many networks and workers there are.
    Several engines may be open at once, in any threads: together they keep as many threads busy as the
    process may use cores, and the BLAS gets its threads back when the last one is left.

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
        whole = type(workers) is int or isinstance(workers, np.integer)
        if workers is not None and (not whole or workers < 1):
            raise KlayerError(f"`workers` must be a whole number >= 1, but got {workers!r}.")
        self.workers = workers or available_cores()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._entered = 0

    def __enter__(self) -> Engine:
        """Open the engine; entered once more, by any thread, it stays open until it is left as often."""
        with self._lock:
            if not self._entered:
                _BLAS.hold()
                self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="klayer")
            self._entered += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._entered -= 1
            if self._entered:
                return
            self._pool.shutdown(wait=True, cancel_futures=True)
            _BLAS.release()

    @property
    def stopped(self) -> bool:
        """Whether the call of :meth:`map` that a worker works for has been told to end early."""
        stop: threading.Event | None = getattr(self._local, "stop", None)
        return stop is not None and stop.is_set()

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
        stop = threading.Event()
        futures = [self._pool.submit(self._seated, function, item, stop) for item in items]
        pending = set(futures)
        try:
            while pending:
                pending = wait(pending, timeout=WAIT_SECONDS).not_done
                if on_wait:
                    on_wait()
        except BaseException:
            stop.set()
            wait(futures)
            raise
        return [future.result() for future in futures]

    def ahead(self, function: Callable[..., object], *args: object) -> None:
        """Let an idle worker call ``function(*args)``, for what it leaves behind."""
        self._idle(function, *args)

    def share(self, function: Callable[[Item, Workspace], None], items: Sequence[Item]) -> None:
        """Call ``function(item, workspace)`` for each item, in a worker with the help of idle ones."""
        stop: threading.Event = self._local.stop
        helped = [(item, self._idle(self._call, function, item, stop)) for item in items[1:]]
        self._call(function, items[0], stop)
        for item, future in helped:
            if future is None or future.cancel():  # nobody was idle
                self._call(function, item, stop)
            else:
                future.result()

    def _idle(self, function: Callable[..., object], *args: object) -> Future[object] | None:
        """Let a worker call a function if a core is free."""
        if not _SEATS.take(wait=False):
            return None
        future = self._pool.submit(function, *args)
        future.add_done_callback(lambda _: _SEATS.leave())
        return future

    def _seated(
        self, function: Callable[[Item, Workspace], T], item: Item, stop: threading.Event
    ) -> T:
        _SEATS.take()
        try:
            return self._call(function, item, stop)
        finally:
            _SEATS.leave()

    def _call(
        self, function: Callable[[Item, Workspace], T], item: Item, stop: threading.Event
    ) -> T:
        self._local.stop = stop
        if not hasattr(self._local, "ws"):
            self._local.ws = Workspace()
        ws: Workspace = self._local.ws
        return function(item, ws)
