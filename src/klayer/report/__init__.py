"""Results -> one offline page, figures as SVG and PNG, tables as CSV.

vl-convert, Jinja2 and SciPy are imported when a page is made, not when this package is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from klayer.study.run_dir import Run

__all__ = ["compare_runs", "write_report"]


def write_report(run: Run | str | Path, *, pdf: bool = False) -> list[Path]:
    """Write everything that a run shows, from its results alone, also if it is unfinished.

    Parameters
    ----------
    run : Run or path
    pdf : bool
        Whether to print the page to ``report.pdf`` too, by Chromium.

    Returns
    -------
    written : list of Path
        The page ``report.html`` first; figures and tables lie beside it in ``figures/`` and
        ``tables/``.

    Raises
    ------
    KlayerError
        If there is no run at the path, or it can't be read.
    """
    from klayer.report.page import write
    from klayer.study.run_dir import Run

    return write(run if isinstance(run, Run) else Run(run), pdf=pdf)


def compare_runs(run_a: Run | str | Path, run_b: Run | str | Path, out: str | Path) -> Path:
    """Write one page that sets two runs side by side.

    Parameters
    ----------
    run_a, run_b : Run or path
    out : path
        The HTML file to be written.

    Returns
    -------
    page : Path
    """
    from klayer.report.two_runs import write
    from klayer.study.run_dir import Run

    a, b = (run if isinstance(run, Run) else Run(run) for run in (run_a, run_b))
    return write(a, b, Path(out))
