"""Results -> one offline page, figures as SVG and PNG, tables as CSV.

vl-convert, Jinja2 and SciPy are imported when a page is made, not when this package is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from klayer.study.run_dir import Run

__all__ = ["compare", "finish", "render"]


def finish(run: Run, *, pdf: bool = False) -> list[Path]:
    """Write everything that a finished run shows.

    Parameters
    ----------
    run : Run
    pdf : bool
        Whether to print the page to ``report.pdf`` too, by Chromium.

    Returns
    -------
    written : list of Path
        The page first; figures and tables lie beside it in ``figures/`` and ``tables/``.
    """
    from klayer.report.page import write

    return write(run, pdf=pdf)


def render(run: Run | str | Path) -> Path:
    """Write ``report.html`` of a run from its results alone, also if it is unfinished.

    Parameters
    ----------
    run : Run or path

    Returns
    -------
    page : Path
    """
    from klayer.report.page import write
    from klayer.study.run_dir import Run

    return write(run if isinstance(run, Run) else Run(run))[0]


def compare(run_a: Run | str | Path, run_b: Run | str | Path, out: str | Path) -> Path:
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
