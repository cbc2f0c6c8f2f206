"""Results -> one offline page, figures as SVG and PNG, tables as CSV.

vl-convert, Jinja2 and SciPy are imported when a page is made, not when this package is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klayer.report.page import write_report
    from klayer.report.plots import Chart, plot_accuracy, plot_curves
    from klayer.report.two_runs import compare_runs

__all__ = ["Chart", "compare_runs", "plot_accuracy", "plot_curves", "write_report"]

_HOMES = {
    "Chart": "klayer.report.plots",
    "compare_runs": "klayer.report.two_runs",
    "plot_accuracy": "klayer.report.plots",
    "plot_curves": "klayer.report.plots",
    "write_report": "klayer.report.page",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'klayer.report' has no attribute {name!r}")
