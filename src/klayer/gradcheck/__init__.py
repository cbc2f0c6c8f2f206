"""Gradients proved: analytic against numeric, for klayer's networks and for anyone's model.

:func:`check_gradients` takes any function over a mapping of named NumPy arrays,
:func:`check_network` a klayer network, :func:`report_section` repeats the report's tables. Imports
NumPy and nothing heavier.
"""

from klayer.gradcheck.check import check_gradients
from klayer.gradcheck.known_mistakes import MISTAKES
from klayer.gradcheck.network import check_network, generic_params
from klayer.gradcheck.options import METHODS
from klayer.gradcheck.reference import Reference
from klayer.gradcheck.result import Cause, Check, CurvePoint, GradientError, Row
from klayer.gradcheck.section import ReportSection, SectionRow, report_section

__all__ = [
    "METHODS",
    "MISTAKES",
    "Cause",
    "Check",
    "CurvePoint",
    "GradientError",
    "Reference",
    "ReportSection",
    "Row",
    "SectionRow",
    "check_gradients",
    "check_network",
    "generic_params",
    "report_section",
]
