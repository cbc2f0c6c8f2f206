"""How parameters move: the optimisers of :mod:`klayer.train.optimisers` that the kernel knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.backends.kernel.functions import compiled
from klayer.nn.backends.kernel.table import BETA2, KEEPS

__all__ = ["KEEP", "LR", "OPTIMISERS", "RATES", "SGD", "move"]

Array = NDArray[Any]

OPTIMISERS = {"sgd": 0, "momentum": 1, "nesterov": 2, "adam": 3, "adamw": 4, "rmsprop": 5}
SGD, MOMENTUM, NESTEROV, _, _, RMSPROP = range(6)

# What differs from update to update.
RATES = ("lr", "minus_step", "floor", "keep_decayed")
LR, MINUS_STEP, FLOOR, KEEP = range(4)


@compiled
def move(
    optimiser: int,
    w: Array,
    g: Array,
    slots: Array,
    at: int,
    rates: Array,
    keep: Any,
    slope: Any,
    numbers: Array,
) -> None:
    """Move parameters by their gradient and their penalty's, ``slope w``; decay leaves ``keep``."""
    lr, step, floor = rates[LR], rates[MINUS_STEP], rates[FLOOR]
    momentum, beta2 = numbers[KEEPS], numbers[BETA2]
    if optimiser == SGD:
        left = w.dtype.type(1) - lr * slope
        for i in range(w.size):
            w[i] = left * w[i] - lr * g[i]
        return
    first = slots[0, at : at + w.size]
    if optimiser == MOMENTUM:
        for i in range(w.size):
            first[i] = momentum * first[i] + g[i] + slope * w[i]
            w[i] -= lr * first[i]
    elif optimiser == NESTEROV:
        for i in range(w.size):
            d = g[i] + slope * w[i]
            first[i] = momentum * first[i] + d
            w[i] -= lr * (d + momentum * first[i])
    elif optimiser == RMSPROP:
        for i in range(w.size):
            d = g[i] + slope * w[i]
            first[i] = beta2 * first[i] + d * d
            w[i] += step * d / (np.sqrt(first[i]) + floor)
    else:
        second = slots[1, at : at + w.size]
        for i in range(w.size):
            kept = keep * w[i]
            d = g[i] + slope * kept
            first[i] = momentum * first[i] + d
            second[i] = beta2 * second[i] + d * d
            w[i] = kept + step * first[i] / (np.sqrt(second[i]) + floor)
