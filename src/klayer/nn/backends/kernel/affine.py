"""Views of memory, and what a layer's affine map needs beside products."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from klayer.nn.backends.kernel.functions import compiled

__all__ = ["add_bias", "matrix", "sum_samples"]

Array = NDArray[Any]


@compiled
def matrix(memory: Array, rows: int, columns: int) -> Array:
    return memory[: rows * columns].reshape((rows, columns))


@compiled
def sum_samples(g: Array, total: Array) -> None:
    total[:] = 0
    for n in range(g.shape[0]):
        for j in range(total.size):
            total[j] += g[n, j]


@compiled
def add_bias(y: Array, b: Array) -> None:
    for n in range(y.shape[0]):
        for j in range(b.size):
            y[n, j] += b[j]
