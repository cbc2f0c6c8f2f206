"""Results -> one offline page, figures as SVG and PNG, tables as CSV.

vl-convert, Jinja2 and SciPy are imported when a page is made, not when this package is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klayer.report.page import write_report
    from klayer.report.two_runs import compare_runs

__all__ = ["compare_runs", "write_report"]

_HOMES = {"compare_runs": "klayer.report.two_runs", "write_report": "klayer.report.page"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'klayer.report' has no attribute {name!r}")
