"""Several processes that run the same command share a run: one leads it, the others take part.

Who holds the run's lock leads. If it ends before the run does, or gives no sign of life for a lease, the
next one does; so whoever is killed or frozen, nothing but its own last seconds are lost. A leader that
wakes up finds that another one leads, and takes part.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from klayer.data import Dataset
from klayer.errors import KlayerError
from klayer.files import LockHeld, Pulse, json_text, lease_seconds
from klayer.study.execute import JOIN, Reporter, Silent
from klayer.study.execute.bench import Bench
from klayer.study.execute.hand import Hand
from klayer.study.run_dir import Run
from klayer.study.run_list import is_written
from klayer.train import available_cores

__all__ = ["created", "is_joint", "take_part"]

# Seconds between two looks at who leads, and until the first of several has made a run.
LOOK_SECONDS, MADE_SECONDS = 0.5, 30.0


def is_joint(scheduler: str) -> bool:
    """Whether a scheduler's name asks for taking part in a run."""
    return scheduler.partition(":")[0] == JOIN


def created(
    path: str | Path | None,
    kind: str,
    config: Mapping[str, Any],
    dataset: Dataset,
    data_dir: str | Path | None,
    *,
    given: bool = False,
) -> Run:
    """Make a run, or open the one that another process with the same command has made.

    Raises
    ------
    KlayerError
        If no directory is named, or it holds another run.
    """
    if path is None:
        raise KlayerError("processes that join share one run directory: name it by --out.")
    latest = time.monotonic() + MADE_SECONDS
    while not (Path(path) / "run.json").exists():
        try:
            return Run.create(path, kind, config, dataset, data_dir, given=given)
        except KlayerError as error:
            # Another one is making it: it holds the lock, or has just written the first files.
            made = isinstance(error, LockHeld) or (Path(path) / "run.json").exists()
            if not made or time.monotonic() > latest:
                raise
            time.sleep(0.05)
    run = Run(path, mending=True)
    if run.kind != kind or json_text(run.info["config"]) != json_text(config):
        raise KlayerError(
            f"processes that join run the same command, but {path} holds another run: choose another "
            f"directory, or take part in that one by `klayer {run.kind} --resume {path} --scheduler "
            "join`."
        )
    run.use_data(dataset)
    return run


def take_part(
    path: Path, lead: Callable[[], Run], workers: int | None, reporter: Reporter | None
) -> Run:
    """Lead a run, or work on what its leader lays out; return it when it is finished.

    Parameters
    ----------
    path : Path
    lead : callable
        Leads it to its end; raises :class:`klayer.files.LockHeld` if another process does.
    workers : int, optional
        Threads.
    reporter : Reporter, optional
    """
    reporter, was_led, leader = reporter or Silent(), False, _Leader(path)
    while True:
        if not leader.leads():
            if was_led and (path / "summary.json").exists():
                run = Run(path)
                run.led_by_another = True
                return run
            try:
                return lead()
            except LockHeld:  # another one was faster, or this one was silent
                leader.is_another()
        if not was_led:
            reporter.phase(f"taking part in {path}, which another process leads")
        was_led = True
        _work(path, workers, leader)


class _Leader:
    """Whoever leads a run, as seen by another process."""

    def __init__(self, path: Path) -> None:
        self.path, self._pulse = path, Pulse(path / "lock", lease_seconds())
        self._looked, self._leads = float("-inf"), True

    def is_another(self) -> None:
        """A new one has just been met."""
        self._leads, self._looked = True, time.monotonic()

    def leads(self) -> bool:
        """Whether it does, by a look that is some tenths of a second old; one that is silent no more."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._leads = is_written(self.path)
            if self._leads and self._pulse.is_silent():
                self._leads = not self._pulse.free()
            self._looked = time.monotonic()
        return self._leads


def _work(path: Path, workers: int | None, leader: _Leader) -> None:
    """Train what is laid out until nobody leads the run any more."""
    stop = threading.Event()
    if not Bench(path).is_there:
        stop.wait(LOOK_SECONDS / 5)
        if not Bench(path).is_there:
            return
    Hand(path, workers or available_cores(), stop).work(lambda: not leader.leads())
