"""Soak: many trainings in one process take no more memory, files or threads than a few."""

import gc
import os
import shutil
import threading
from pathlib import Path

import klayer as kl
from chaos.company import SMALL
from chaos.outcome import Outcome
from chaos.scenes import begin


def _taken():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, threading.active_count()


def grows(folder, size):
    """Fit and study; compare what is taken after a fifth with what is taken at the end."""
    outcome, data = Outcome(), kl.load("digits")
    if not Path("/proc/self/statm").exists():
        return outcome
    for nth in range(size):
        kl.fit(data, SMALL, seeds=range(3))
        if nth % 4 == 0:
            shutil.rmtree(begin("study", folder / "run").path)
        if nth == size // 5:
            before = _taken()
    after = _taken()
    names = ("MB", "files", "threads")
    outcome.measured |= {
        f"more {name}": b - a for name, a, b in zip(names, before, after, strict=True)
    }
    outcome.check(after[0] - before[0] < 30, f"{after[0] - before[0]:.0f} MB more")
    outcome.check(after[1:] == before[1:], f"files and threads: {before[1:]} and then {after[1:]}")
    outcome.tried = size
    return outcome
