"""Live progress of a training: a bar a population, time left, accuracy so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from klayer.study.arms import Pack
from klayer.study.record import NetworkRecord
from klayer.train import TrainingState

__all__ = ["Bars", "download", "progress"]


class Bars:
    """A reporter that draws on stderr: live in a terminal, a line a population elsewhere.

    Parameters
    ----------
    quiet : bool
        Say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )
        self.tasks: dict[str, TaskID] = {}
        self._finished = 0.0

    def mended(self, damage: str) -> None:
        """Say what of a run was damaged."""
        self.console.print(damage, highlight=False, markup=False, soft_wrap=True)

    def start(self, packs: Sequence[Pack], updates: Sequence[int]) -> None:
        """Begin with a bar for everything and one for each population."""
        self.stop()
        if not packs:
            return
        work = {one.name: n * len(one.jobs) for one, n in zip(packs, updates, strict=True)}
        if len(packs) > 1:
            total = sum(work.values())
            self.tasks["all"] = self.bars.add_task("[bold]all populations", total=total, note="")
        for one in packs:
            title = f"{one.name.rsplit('-', 1)[0]} x {len(one.jobs)}"
            self.tasks[one.name] = self.bars.add_task(
                title, total=work[one.name], note="", start=False
            )
        self._finished = 0.0
        self.bars.start()

    def _task(self, pack: Pack) -> Task:
        return next(task for task in self.bars.tasks if task.id == self.tasks[pack.name])

    def _move(self, pack: Pack, done: float) -> None:
        task = self.tasks[pack.name]
        if not self._task(pack).started:
            self.bars.start_task(task)
        self.bars.update(task, completed=done)
        if "all" in self.tasks:
            self.bars.update(self.tasks["all"], completed=self._finished + done)

    def progress(self, pack: Pack, update: float) -> None:
        """Move a population's bar."""
        self._move(pack, update * len(pack.jobs))

    def record(self, pack: Pack, state: TrainingState) -> None:
        """Show the validation accuracy so far; without that split, the training accuracy."""
        split = "validation" if "validation_accuracy" in state.history else "train"
        accuracy = state.history[f"{split}_accuracy"][:, -1]
        alive = accuracy[np.isfinite(accuracy)]
        note = "all networks diverged"
        if len(alive):
            note = f"{split} {alive.mean():.1%}"
            if len(alive) > 1:
                note += f" ({alive.min():.1%} to {alive.max():.1%})"
        self.bars.update(self.tasks[pack.name], note=note)

    def finish(self, pack: Pack, records: list[NetworkRecord]) -> None:
        """Leave one line behind for a population."""
        total = self._task(pack).total or 0.0
        self._move(pack, total)
        self._finished += total
        self.bars.update(self.tasks[pack.name], visible=False)
        seconds = sum(record.seconds for record in records)
        states = [record.state for record in records]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        name = pack.name.rsplit("-", 1)[0]
        self.console.print(f"{name}: {counts} in {seconds:.1f} s", highlight=False)

    def stop(self) -> None:
        """Take the bars away."""
        if self.bars.live.is_started:
            self.bars.stop()
        for task in self.tasks.values():
            self.bars.remove_task(task)
        self.tasks = {}


@contextlib.contextmanager
def progress(data: str | None, data_dir: Path | None, silent: bool) -> Iterator[Bars]:
    """Download a data set that has to be, give bars to a run and take them away in the end.

    ``data`` is None for a run that goes on; a folder named by hand is left alone.
    """
    from klayer.data import can_download

    if data is not None and data_dir is None and can_download(data):
        download(data, quiet=silent)
    bars = Bars(quiet=silent)
    try:
        yield bars
    finally:
        bars.stop()


def download(name: str, data_dir: Path | None = None, quiet: bool = False) -> str:
    """Make sure that a data set is on this machine, with a bar if it is downloaded; return where."""
    from klayer.data import fetch

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, quiet=quiet),
    )
    task = None

    def advance(done: int, total: int) -> None:
        nonlocal task
        if task is None:
            bar.start()
            task = bar.add_task(name, total=total)
        bar.update(task, completed=done)

    try:
        return fetch(name, data_dir=data_dir, progress=advance)
    finally:
        if task is not None:
            bar.stop()
