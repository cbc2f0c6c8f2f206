"""Training: schedules, optimisers, the lockstep loop over a population, its state and history."""

from klayer.train.batches import Batches
from klayer.train.engine import Engine, available_cores
from klayer.train.ensemble import Ensemble
from klayer.train.evaluate import evaluate
from klayer.train.feed import Feed
from klayer.train.fitting import fit
from klayer.train.optimisers import OPTIMISERS
from klayer.train.population import Member, Population
from klayer.train.range_test import RangeTest, find_lr
from klayer.train.schedules import SCHEDULES
from klayer.train.settings import SETTINGS, Settings
from klayer.train.state import CURVES, Failure, TrainingState
from klayer.train.stored import load_population
from klayer.train.together import Populations, fit_together, train_together
from klayer.train.trainer import Trainer

__all__ = [
    "CURVES",
    "OPTIMISERS",
    "SCHEDULES",
    "SETTINGS",
    "Batches",
    "Engine",
    "Ensemble",
    "Failure",
    "Feed",
    "Member",
    "Population",
    "Populations",
    "RangeTest",
    "Settings",
    "Trainer",
    "TrainingState",
    "available_cores",
    "evaluate",
    "find_lr",
    "fit",
    "fit_together",
    "load_population",
    "train_together",
]
