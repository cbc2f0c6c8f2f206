"""Training: schedules, optimisers, the lockstep loop over a population, its state and history."""

from klayer.train.batches import Batches
from klayer.train.engine import Engine, available_cores
from klayer.train.evaluate import evaluate
from klayer.train.feed import Feed
from klayer.train.fitting import fit
from klayer.train.optimisers import OPTIMISERS
from klayer.train.population import Member, Population
from klayer.train.schedules import SCHEDULES
from klayer.train.settings import SETTINGS, Settings
from klayer.train.state import CURVES, Failure, TrainingState
from klayer.train.stored import load_population
from klayer.train.trainer import Trainer

__all__ = [
    "CURVES",
    "OPTIMISERS",
    "SCHEDULES",
    "SETTINGS",
    "Batches",
    "Engine",
    "Failure",
    "Feed",
    "Member",
    "Population",
    "Settings",
    "Trainer",
    "TrainingState",
    "available_cores",
    "evaluate",
    "fit",
    "load_population",
]
