"""The pieces that networks are made of; a stored network names them by the keys of `KINDS`."""

from klayer.nn.pieces.activations import ACTIVATIONS, Activation
from klayer.nn.pieces.affine import Affine
from klayer.nn.pieces.batch_norm import BatchNorm
from klayer.nn.pieces.dropout import Dropout
from klayer.nn.pieces.layer_norm import LayerNorm
from klayer.nn.pieces.noise import Noise
from klayer.nn.pieces.piece import NUMBERS, Batch, Param, Pass, Piece, Site
from klayer.nn.pieces.random_words import draw_keys
from klayer.nn.pieces.skip import Fork, Join

__all__ = [
    "ACTIVATIONS",
    "IN_TRAINING_ALONE",
    "KINDS",
    "NUMBERS",
    "Activation",
    "Affine",
    "Batch",
    "BatchNorm",
    "Dropout",
    "Fork",
    "Join",
    "LayerNorm",
    "Noise",
    "Param",
    "Pass",
    "Piece",
    "Site",
    "draw_keys",
]

# The pieces that do nothing at inference.
IN_TRAINING_ALONE = (Dropout, Noise)

# What a description may say under `piece`.
KINDS = ("affine", "batch_norm", "layer_norm", "dropout", "noise", "fork", "join", *ACTIVATIONS)
