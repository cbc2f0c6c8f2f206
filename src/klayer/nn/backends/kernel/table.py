"""How a network stands in the kernel: a table of its pieces, and a row of its numbers."""

from __future__ import annotations

__all__ = [
    "AFFINE",
    "BATCH_NORM",
    "BETA2",
    "BIAS",
    "BN_MOMENTUM",
    "COLUMNS",
    "DROPOUT",
    "EPS",
    "FROM",
    "GELU",
    "GELU_TANH",
    "HUBER_DELTA",
    "INPUT_NOISE",
    "JOIN",
    "KEEPS",
    "KIND",
    "LAYER",
    "LAYER_NORM",
    "LEAK",
    "LEAKY_RELU",
    "MEMORY",
    "NOISE",
    "NUMBERS",
    "OFFSET",
    "PAST",
    "PIECES",
    "RELU",
    "RUNNING",
    "SELU",
    "SILU",
    "SLOPE",
    "SMOOTHING",
    "SOURCE",
    "TANH",
    "TO",
]

# The kinds of pieces that are known, by their names; activations last. A fork has no row of its own.
AFFINE, BATCH_NORM, LAYER_NORM, DROPOUT, NOISE, JOIN = range(6)
RELU, LEAKY_RELU, TANH, GELU, GELU_TANH, SILU, SELU = range(6, 13)
PIECES = {
    "affine": AFFINE,
    "batch_norm": BATCH_NORM,
    "layer_norm": LAYER_NORM,
    "dropout": DROPOUT,
    "noise": NOISE,
    "fork": -1,
    "join": JOIN,
    "relu": RELU,
    "leaky_relu": LEAKY_RELU,
    "tanh": TANH,
    "gelu": GELU,
    "gelu_tanh": GELU_TANH,
    "silu": SILU,
    "selu": SELU,
}

# Columns of the table: kind, width below and above, where its parameters and its running statistics
# begin, whether it has a bias, its layer; a row of memory of its own (of bits for dropout and noise, of
# numbers for normalisation after an activation, layer normalisation, a join), the piece whose output a
# join adds, and for an affine map the row of memory with the gradient that comes past its layer.
# -1: none.
KIND, FROM, TO, OFFSET, RUNNING, BIAS, LAYER, MEMORY, SOURCE, PAST, COLUMNS = range(11)

# A network's own numbers, then what its pieces need: what normalisation adds inside the root, what a
# leaky unit lets through.
NUMBERS = (
    "slope", "momentum", "beta2", "bn_momentum", "smoothing", "huber_delta", "input_noise", "eps",
    "leak",
)  # fmt: skip
SLOPE, KEEPS, BETA2, BN_MOMENTUM, SMOOTHING, HUBER_DELTA, INPUT_NOISE, EPS, LEAK = range(9)
