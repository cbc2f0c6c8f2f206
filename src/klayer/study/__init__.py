"""Studies: arms x seeds -> populations -> results in a run directory."""

from klayer.study.arms import Arm, Job, Pack, describe, jobs, pack
from klayer.study.from_population import run_of
from klayer.study.record import NetworkRecord, Score
from klayer.study.run_dir import Run
from klayer.study.study import Published, Study, preset_names, read_study
from klayer.study.summary import arm_table, spread, summarise
from klayer.study.training import Reporter, Silent, train_jobs, updates
from klayer.study.watch import Bars

__all__ = [
    "Arm",
    "Bars",
    "Job",
    "NetworkRecord",
    "Pack",
    "Published",
    "Reporter",
    "Run",
    "Score",
    "Silent",
    "Study",
    "arm_table",
    "describe",
    "jobs",
    "pack",
    "preset_names",
    "read_study",
    "run_of",
    "spread",
    "summarise",
    "train_jobs",
    "updates",
]
