"""What the command says on stderr while it works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from klayer.progress import Meter
from klayer.study.watch import Bars

__all__ = ["download", "progress"]


@contextlib.contextmanager
def progress(data: str | None, data_dir: Path | None, quiet: bool) -> Iterator[Bars]:
    """Download a data set that has to be, give a reporter to a run and take it away in the end.

    ``data`` is None for a run that goes on; a folder named by hand is left alone.
    """
    from klayer.data import can_download

    with Meter("off" if quiet else None) as meter:
        if data is not None and data_dir is None and can_download(data):
            download(data, meter=meter)
        meter.phase(f"reading {data or 'the run and its data'}")
        yield Bars(meter)


def download(name: str, data_dir: Path | None = None, meter: Meter | None = None) -> str:
    """Make sure that a data set is on this machine, and say how far a download is; return where."""
    from klayer.data import fetch

    begun = False
    with contextlib.ExitStack() as stack:
        shown = meter or stack.enter_context(Meter())

        def advance(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                shown.phase(f"downloading {name}, {total / 1e6:,.0f} MB")
                shown.begin(f"downloading {name}", total)
                begun = True
            shown.move(done, f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        return fetch(name, data_dir=data_dir, progress=advance)
