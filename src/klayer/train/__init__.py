"""Training: schedules, optimisers, the lockstep loop over a population, its state and history."""

from klayer.train.batches import Batches
from klayer.train.engine import Engine, available_cores
from klayer.train.evaluate import evaluate
from klayer.train.population import Member, Population, Standardised, fit
from klayer.train.settings import SETTINGS, Settings
from klayer.train.state import CURVES, Failure, TrainingState

__all__ = [
    "CURVES",
    "SETTINGS",
    "Batches",
    "Engine",
    "Failure",
    "Member",
    "Population",
    "Settings",
    "Standardised",
    "TrainingState",
    "available_cores",
    "evaluate",
    "fit",
]
