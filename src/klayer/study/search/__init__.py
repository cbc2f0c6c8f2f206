"""The search: arms drawn by a sampler, a whole stage of trials in lockstep, coarse to fine.

::

    RUN/
      search.json       what was asked: stages with their reasons, trials, finalists
      networks.jsonl    what was trained, as in every run; parts "search" and "finalists"
      search.db         Optuna's storage, for optuna-dashboard; it follows from the two
      trials.csv, .json a row a trial
      finalists.csv     a row a finalist, with the test accuracy and its spread
"""

from klayer.study.search.config import Range, SearchConfig, Space, read_search
from klayer.study.search.draw import draw
from klayer.study.search.plan import Plan
from klayer.study.search.stages import resume_search, run_search, search
from klayer.study.search.tables import (
    finalist_table,
    importance,
    sorted_rows,
    stage_table,
    trial_table,
)

__all__ = [
    "Plan",
    "Range",
    "SearchConfig",
    "Space",
    "draw",
    "finalist_table",
    "importance",
    "read_search",
    "resume_search",
    "run_search",
    "search",
    "sorted_rows",
    "stage_table",
    "trial_table",
]
