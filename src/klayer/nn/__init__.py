"""The mathematics: layers, losses, initialisers, the network; every forward beside its backward.

Imports NumPy and nothing else. Derivations with numbered equations: ``docs/derivations.md``.
"""

from klayer.nn.delayed import DelayedWeights
from klayer.nn.initialisers import Initialiser
from klayer.nn.network import BATCH_NORM, Forward, Network
from klayer.nn.workspace import Workspace

__all__ = ["BATCH_NORM", "DelayedWeights", "Forward", "Initialiser", "Network", "Workspace"]
