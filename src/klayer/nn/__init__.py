"""The mathematics: layers, losses, initialisers, the network; every forward beside its backward.

Imports NumPy and nothing else. Derivations with numbered equations: ``docs/derivations.md``.
"""

from klayer.nn.initialisers import Initialiser
from klayer.nn.layers import Workspace
from klayer.nn.network import BATCH_NORM, Forward, Network

__all__ = ["BATCH_NORM", "Forward", "Initialiser", "Network", "Workspace"]
