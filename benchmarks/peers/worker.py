"""A contestant's processes: each has thread settings of its own and sleeps between its turns."""

from __future__ import annotations

import os
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from peers.task import Task

__all__ = ["Contestant", "Workers"]


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes
    ----------
    name : str
    peer : str
        ``module:class`` in :mod:`peers`.
    networks : int
        Networks trained at once by one process.
    threads : int
        What the contestant is told; libraries without such a setting choose for themselves.
    processes : int
        Started side by side, each with networks of its own, pinned to a core of its own where the
        system can do that.
    requires : str
        A module that must be installed.
    batch_norm : bool
        Whether it can normalise.
    images, tables : bool
        On which shapes it takes part.
    role : str
        What kind of contestant it is: comparisons take the fastest of a kind.
    """

    name: str
    peer: str
    networks: int = 1
    threads: int = 1
    processes: int = 1
    requires: str = "klayer"
    batch_norm: bool = True
    images: bool = True
    tables: bool = True
    role: str = "peer"


class Workers:
    """The running processes of one contestant."""

    def __init__(self, contestant: Contestant, folder: str, cores: list[int]) -> None:
        self.contestant = contestant
        context = get_context("spawn")
        self._pipes, self._processes = [], []
        self.updates: dict[str, int] = {}
        alone = contestant.processes == 1
        for core in cores[: contestant.processes]:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, contestant, folder, None if alone else core)
            )
            with _environment({} if alone else dict.fromkeys(_ONE_THREAD, "1")):
                process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def wait(self) -> None:
        """Return when the processes have started; call it before any other method."""
        self._collect()

    def open(self, architecture: str, task: Task) -> None:
        """Make the peer for an architecture; it stays until the end."""
        self._ask("open", architecture, task.take(list(range(self.contestant.networks))))
        self.updates[architecture] = 0

    def train(self, architecture: str, updates: int) -> tuple[float, float]:
        """Do the next updates, in all processes at once; return wall and CPU seconds it took."""
        start = self.updates[architecture]
        self.updates[architecture] = start + updates
        before = perf_counter()
        cpu = sum(self._ask("train", architecture, start, start + updates))
        return perf_counter() - before, cpu

    def weights(self, architecture: str) -> list[dict]:
        """Return the parameters that each process holds."""
        return self._ask("weights", architecture)

    def stride(self, architecture: str) -> int:
        """Return what a number of updates must be a multiple of."""
        return self._ask("stride", architecture)[0]

    def close(self) -> None:
        """End the processes."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()
                process.join()

    def _ask(self, *message) -> list:
        for pipe in self._pipes:
            pipe.send(message)
        return self._collect()

    def _collect(self) -> list:
        answers = []
        for pipe in self._pipes:
            try:
                fine, answer = pipe.recv()
            except EOFError:
                fine, answer = False, "its process ended without a word (out of memory?)"
            if not fine:
                raise RuntimeError(f"{self.contestant.name}: {answer}")
            answers.append(answer)
        return answers


# A pinned process: one thread for NumPy's BLAS, OpenMP, MKL and XLA's pool.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def _environment(values: dict[str, str]):
    """Set environment variables for the processes started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe, contestant: Contestant, folder: str, core: int | None) -> None:
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    module, _, name = contestant.peer.partition(":")
    make = getattr(import_module(f"peers.{module}"), name or "Peer")
    labels, X, peers = np.load(Path(folder) / "labels.npy"), {}, {}
    pipe.send((True, None))
    while True:
        try:
            do, architecture, *given = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = None
            if do == "open":
                task = given[0]
                D = task.widths[0]
                if D not in X:
                    X[D] = np.load(Path(folder) / f"X-{D}.npy")
                peers[architecture] = make(task, X[D], labels, contestant.threads)
            elif do == "train":
                before = process_time()
                peers[architecture].train(*given)
                answer = process_time() - before
            elif do == "weights":
                answer = peers[architecture].weights()
            elif do == "stride":
                answer = peers[architecture].stride
            pipe.send((True, answer))
        except Exception:
            pipe.send((False, traceback.format_exc()))
