"""The mathematics: pieces, losses, initialisers, the network; every forward beside its backward.

Imports NumPy and nothing else. Derivations with numbered equations: ``docs/derivations.md``.
"""

from klayer.nn.first_layer import DelayedWeights
from klayer.nn.initialisers import Initialiser
from klayer.nn.layers import BATCH_NORM, BN_PLACES, LAYER_NORM, SKIP, layers_or_word
from klayer.nn.losses import LOSSES, loss_of
from klayer.nn.network import Network
from klayer.nn.pieces import ACTIVATIONS, NUMBERS, Batch, draw_keys
from klayer.nn.plan import Plan
from klayer.nn.workspace import Workspace

__all__ = [
    "ACTIVATIONS",
    "BATCH_NORM",
    "BN_PLACES",
    "LAYER_NORM",
    "LOSSES",
    "NUMBERS",
    "SKIP",
    "Batch",
    "DelayedWeights",
    "Initialiser",
    "Network",
    "Plan",
    "Workspace",
    "draw_keys",
    "layers_or_word",
    "loss_of",
]
