"""Hands that are tasks of a Dask cluster: Dask says who is there and replaces who is lost, no more.

A task means: take an open part, if there is one, and bring it to its end. Which part, the bench says;
what comes of it lies in the run's folder. So a task holds no data and returns next to nothing, any task
may be lost, and the scheduler's memory doesn't grow: a few tasks for each thread are there at once.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from klayer.errors import KlayerError
from klayer.study.execute.hand import IDLE_SECONDS, Hand
from klayer.study.execute.part import SchedulerLost
from klayer.study.execute.sizing import memory_bytes

__all__ = ["DaskHands", "take_part"]

# Seconds to find a scheduler, and to wait for one that doesn't answer any more.
CONNECT_SECONDS, SILENT_SECONDS = 10.0, 10.0
# Tasks for each thread of the cluster: one at work, one that follows.
TASKS_PER_THREAD = 2
# Seconds that a task waits for an open part, and after which one more is sent where none is taken.
WAIT_SECONDS, STUCK_SECONDS = 1.0, 5.0
# Tasks that fail one after the other without a part coming to its end: then something is wrong.
MOST_FAILED = 20

_LOGS = ("distributed", "distributed.client", "distributed.core", "distributed.comm", "tornado")


def _distributed() -> ModuleType:
    try:
        import distributed
    except ImportError:
        raise KlayerError(
            "a Dask scheduler needs Dask: pip install klayer[dask], here and where its workers are."
        ) from None
    found: ModuleType = distributed  # which has types or not, as it is installed or not
    return found


class DaskHands:
    """Tasks of a Dask cluster whose workers see the run's folder.

    Parameters
    ----------
    address : str
        Of the scheduler: ``tcp://HOST:PORT``, or ``tls://HOST:PORT`` with certificates where Dask's own
        configuration has them.
    threads : int, optional
        Of each task; by default 1, so that a worker has as many busy as it was given.

    Raises
    ------
    KlayerError
        If Dask is not there, or no scheduler answers, or it has no worker.
    """

    def __init__(self, address: str, threads: int | None = None) -> None:
        distributed = _distributed()
        self.address, self.threads = address, threads or 1
        _require_answer(address)
        self._levels = {name: logging.getLogger(name).level for name in _LOGS}
        for name in _LOGS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            self._client: Any = distributed.Client(
                address, timeout=CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError, TypeError) as error:
            self._speak()
            raise _no_answer(address, error) from None
        self._futures: list[Any] = []
        self._failed = self._done = self._sent = self._spare = 0
        self._silent_since: float | None = None
        self._moved = time.monotonic()
        self._run: Path | None = None
        self._look(CONNECT_SECONDS)

    def _look(self, patience: float = 0.0) -> None:
        """See how many threads there are by now, and how much memory each has."""
        latest = time.monotonic() + patience
        while True:
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
            threads = sum(one["nthreads"] for one in workers)
            if threads or time.monotonic() > latest:
                break
            time.sleep(IDLE_SECONDS)
        self._looked = time.monotonic()
        if not threads and patience:
            self.shut()
            raise KlayerError(
                f"the Dask scheduler at {self.address} has no worker: `dask worker {self.address}` "
                "starts one, `klayer cluster` says how."
            )
        self.count = max(1, threads)
        limits = [one["memory_limit"] / one["nthreads"] for one in workers if one["memory_limit"]]
        self.memory = min(limits, default=memory_bytes() / self.count)

    def open(self, run: Path) -> None:
        from klayer.files import read_json

        self._run = run.resolve()
        self._id = read_json(run / "run.json")["id"]
        self._moved = time.monotonic()

    def tend(self, done: int, left: int) -> None:
        self._require_scheduler()
        if self._silent_since is not None:
            return
        now = time.monotonic()
        if done != self._done:
            self._done, self._failed, self._moved, self._spare = done, 0, now, 0
        if now - self._looked > STUCK_SECONDS:
            self._look()
        for future in [one for one in self._futures if one.done()]:
            self._futures.remove(future)
            if future.status == "error":
                self._hear(future.exception())
        if now - self._moved > STUCK_SECONDS:  # some may wait behind a worker that is frozen
            self._spare, self._moved = self._spare + 1, now
        wanted = min(left, TASKS_PER_THREAD * self.count) + self._spare
        for _ in range(wanted - len(self._futures)):
            self._sent += 1
            key = f"klayer-{self._id}-{self._sent}-{now}"
            self._futures.append(
                self._client.submit(
                    take_part, str(self._run), self._id, self.threads, key=key, pure=False
                )
            )

    def _hear(self, error: BaseException | None) -> None:
        """Count tasks that failed: not those that Dask gave up since their workers were lost."""
        if type(error).__name__ in ("KilledWorker", "CancelledError", "FutureCancelledError"):
            return
        self._failed += 1
        if self._failed > MOST_FAILED:
            why = (
                str(error) if isinstance(error, KlayerError) else f"{type(error).__name__}: {error}"
            )
            raise KlayerError(f"the workers of {self.address} can't work on this run: {why}")

    def _require_scheduler(self) -> None:
        if self._client.status == "running":
            self._silent_since = None
            return
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since > SILENT_SECONDS:
            raise SchedulerLost(
                f"the Dask scheduler at {self.address} is lost; what is finished is kept: start it "
                f"again and go on with --resume {self._run} --scheduler {self.address}, or any other."
            )

    def close(self) -> None:
        with _quiet():
            if self._futures and self._client.status == "running":
                self._client.cancel(self._futures, force=True)
        self._futures = []

    def shut(self) -> None:
        """Leave the cluster."""
        with _quiet():
            self._client.close(timeout=2)
        self._speak()

    def _speak(self) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens, or TLS without certificates: Dask takes long to say so."""
    protocol, _, where = address.partition("://")
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise _no_answer(address, error) from None
    if protocol == "tls":
        security: Any = _distributed().Security
        if security().get_connection_args("client").get("ssl_context") is None:
            raise KlayerError(
                f"{address} takes nobody in without a certificate, but Dask's configuration names none: "
                "set what `klayer cluster --tls FOLDER` prints."
            )


def _no_answer(address: str, error: Exception) -> KlayerError:
    cause = str(error).splitlines()[0] if str(error) else type(error).__name__
    return KlayerError(
        f"no Dask scheduler answers at {address} ({cause}): `klayer cluster --start` starts one on this "
        "machine."
    )


class _quiet:
    """Suppresses what goes wrong while a cluster is left that may be gone."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        return kind is not None and issubclass(kind, Exception)


# The hands of this process, of the run that it works on: one for each thread; they share the data.
_HANDS: dict[tuple[str, str], dict[int, Hand]] = {}
_LOCK = threading.Lock()


def take_part(run: str, run_id: str, threads: int) -> str | None:
    """Bring an open part of a run to its end, in a Dask worker; None if there was none for a while.

    Raises
    ------
    KlayerError
        If this machine doesn't see the run's folder.
    """
    with _LOCK:
        if (run, run_id) not in _HANDS:
            _HANDS.clear()
        hands = _HANDS.setdefault((run, run_id), {})
        hand = hands.get(threading.get_ident())
        if hand is None:
            beside = next(iter(hands.values()), None)
            hand = hands[threading.get_ident()] = Hand(Path(run), threads, beside=beside)
    latest = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < latest:
        if name := hand.work_once():
            return name
        time.sleep(IDLE_SECONDS)
    if not (Path(run) / "run.json").exists():
        raise KlayerError(
            f"every worker must see the run directory, but on {socket.gethostname()} there is no {run}: "
            "put it into a folder that all share, with --out."
        )
    return None
