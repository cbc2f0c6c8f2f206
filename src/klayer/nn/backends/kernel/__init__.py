"""The compiled kernel's source; :mod:`klayer.nn.backends.compiled` prepares what it needs."""

from klayer.nn.backends.kernel.draws import schedule, words_for
from klayer.nn.backends.kernel.functions import compiled_and_kept, exp, normal, numba, tanh
from klayer.nn.backends.kernel.losses import LOSSES
from klayer.nn.backends.kernel.moves import OPTIMISERS, RATES
from klayer.nn.backends.kernel.table import NUMBERS, PIECES
from klayer.nn.backends.kernel.updates import train

__all__ = [
    "LOSSES",
    "NUMBERS",
    "OPTIMISERS",
    "PIECES",
    "RATES",
    "compiled_and_kept",
    "exp",
    "normal",
    "numba",
    "schedule",
    "tanh",
    "train",
    "words_for",
]
