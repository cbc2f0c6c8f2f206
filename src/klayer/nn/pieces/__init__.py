"""The pieces that networks are made of; a stored network names them by the keys of `KINDS`."""

from klayer.nn.pieces.activations import ACTIVATIONS, Activation
from klayer.nn.pieces.affine import Affine
from klayer.nn.pieces.batch_norm import BatchNorm
from klayer.nn.pieces.piece import NUMBERS, Batch, Param, Pass, Piece, Site

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "NUMBERS",
    "Activation",
    "Affine",
    "Batch",
    "BatchNorm",
    "Param",
    "Pass",
    "Piece",
    "Site",
]

# What a description may say under `piece`.
KINDS = ("affine", "batch_norm", *ACTIVATIONS)
