"""Studies: arms x seeds -> populations -> results in a run directory."""

from klayer.study.arms import Arm, Job, Pack, describe, jobs, pack
from klayer.study.run import Model, Run
from klayer.study.runner import Reporter, Silent, train_jobs, updates
from klayer.study.summary import arm_table, spread, summarise

__all__ = [
    "Arm",
    "Job",
    "Model",
    "Pack",
    "Reporter",
    "Run",
    "Silent",
    "arm_table",
    "describe",
    "jobs",
    "pack",
    "spread",
    "summarise",
    "train_jobs",
    "updates",
]
