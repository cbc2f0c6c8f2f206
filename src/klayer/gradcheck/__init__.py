"""Gradients proved: analytic against numeric, for klayer's networks and for anyone's model.

:func:`check_gradients` takes any function over named NumPy arrays, :func:`from_model` and
:func:`from_step` make one of an object or of a step of training, :func:`check_network` takes a klayer
network, :func:`check_remote` a file whose code runs in a process of its own, :func:`grade` many of them.
:func:`report_section` repeats the report's tables. Imports NumPy and nothing heavier.
"""

from klayer.gradcheck.adapters import from_model, from_step
from klayer.gradcheck.check import check_gradients
from klayer.gradcheck.grading import Grades, Submission, find_submissions, grade
from klayer.gradcheck.known_mistakes import MISTAKES
from klayer.gradcheck.network import check_network, generic_params
from klayer.gradcheck.options import METHODS
from klayer.gradcheck.reference import Reference
from klayer.gradcheck.remote import ModelEnded, ModelFailed, TimeLimit, check_remote
from klayer.gradcheck.result import Cause, Check, CurvePoint, GradientError, Row
from klayer.gradcheck.section import ReportSection, SectionRow, report_section
from klayer.gradcheck.walkthrough import Step, Walkthrough, walk_through

__all__ = [
    "METHODS",
    "MISTAKES",
    "Cause",
    "Check",
    "CurvePoint",
    "Grades",
    "GradientError",
    "ModelEnded",
    "ModelFailed",
    "Reference",
    "ReportSection",
    "Row",
    "SectionRow",
    "Step",
    "Submission",
    "TimeLimit",
    "Walkthrough",
    "check_gradients",
    "check_network",
    "check_remote",
    "find_submissions",
    "from_model",
    "from_step",
    "generic_params",
    "grade",
    "report_section",
    "walk_through",
]
