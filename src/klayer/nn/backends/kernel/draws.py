"""What dropout keeps and what noise is added: the words of :mod:`klayer.nn.pieces.random_words`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.backends.kernel.functions import compiled, numba

__all__ = ["add_noise", "drop", "keep", "schedule", "words_for"]

Array = NDArray[Any]
Words = NDArray[np.uint64]

# As in `random_words`; here too, since what is compiled is kept for this folder's source.
FOR_DROPOUT, FOR_NOISE = 0, 1

ROUNDS = 10
MULTIPLIERS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
STEPS = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], np.uint64)
TO_24_BITS, TO_BYTE = np.uint64(40), np.uint64(24)


def schedule(key: Sequence[int] | Words, rates: Sequence[float]) -> Words:
    """Return what a network's draws follow from: two words a round, then a threshold for each piece.

    Parameters
    ----------
    key : uint64 array, shape (2,)
    rates : sequence of float
        What each piece that draws drops, in their order; 0 for noise. Thresholds are in fixed point.
    """
    keys = np.array(key, np.uint64) + np.arange(ROUNDS, dtype=np.uint64)[:, None] * STEPS
    thresholds = [round(float(rate) * 2**32) for rate in rates]
    return np.concatenate([keys.ravel(), np.array(thresholds, np.uint64)])


def high_half(a: Any, b: Any) -> Any:
    """Return the upper 64 bits of the product, of 128, of two words."""
    return np.uint64((int(a) * int(b)) >> 64)


def low_half(a: Any, b: Any) -> Any:
    """Return the lower 64 bits of the product, of 128, of two words."""
    return np.uint64((int(a) * int(b)) & (2**64 - 1))


if numba is not None:
    from llvmlite import ir
    from numba.extending import intrinsic, overload

    def _high_half(_: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
        """Two extensions, a product and a shift, which the processor does in one instruction."""

        def generate(_context: Any, builder: Any, _signature: Any, words: Any) -> Any:
            wide = [builder.zext(word, ir.IntType(128)) for word in words]
            product = builder.mul(*wide)
            upper = builder.lshr(product, ir.Constant(ir.IntType(128), 64))
            return builder.trunc(upper, ir.IntType(64))

        return numba.uint64(numba.uint64, numba.uint64), generate

    _upper = intrinsic(_high_half)
    overload(high_half)(lambda a, b: lambda a, b: _upper(a, b))  # noqa: ARG005
    overload(low_half)(lambda a, b: lambda a, b: a * b)  # noqa: ARG005


def words_for(units: int) -> int:
    """Return how many words hold the bits for so many units: whole blocks of four."""
    return 4 * -(-(units + 8) // 32)


@compiled
def philox(update: int, layer: int, purpose: int, keys: Words, words: Words) -> None:
    """Write blocks of four words: Philox-4x64 of ten rounds (Salmon et al. 2011)."""
    first, second = MULTIPLIERS
    for at in range(0, words.size, 4):
        c0, c1 = np.uint64(at // 4 + 1), np.uint64(update)
        c2, c3 = np.uint64(layer), np.uint64(purpose)
        for i in range(ROUNDS):
            high0, low0 = high_half(first, c0), low_half(first, c0)
            high1, low1 = high_half(second, c2), low_half(second, c2)
            c0, c1 = high1 ^ c1 ^ keys[2 * i], low1
            c2, c3 = high0 ^ c3 ^ keys[2 * i + 1], low0
        words[at], words[at + 1], words[at + 2], words[at + 3] = c0, c1, c2, c3


@compiled
def drop(x: Array, y: Array, words: Words, update: int, layer: int, keys: Words, piece: int) -> Any:
    """``y = m x / (1 - r)``; ``words`` are kept for the way back; return the threshold.

    ``piece`` says which of those that draw it is.

    There is a byte for each unit in ``words`` after the first word, which rounds the threshold.
    """
    philox(update, layer, FOR_DROPOUT, keys, words)
    rate = keys[2 * ROUNDS + piece]
    threshold = min(255, int((rate + (words[0] >> TO_24_BITS)) >> TO_BYTE))
    keep(x, y, words, threshold)
    return threshold


@compiled
def keep(x: Array, y: Array, words: Words, threshold: int) -> None:
    """Write ``m x / (1 - r)`` to ``y``, which may be ``x``: also the way back."""
    factor = x.dtype.type(256) / x.dtype.type(256 - threshold)
    zero, least = x.dtype.type(0), np.uint8(threshold)
    numbers = words.view(np.uint8)[8:]
    for j in range(x.size):
        y[j] = x[j] * (factor if numbers[j] >= least else zero)


@compiled
def add_noise(
    x: Array,
    y: Array,
    strength: Any,
    normal: Array,
    words: Words,
    update: int,
    layer: int,
    keys: Words,
) -> None:
    """``y = x + s e``: two bytes for each unit in ``words`` choose one of the normal numbers."""
    philox(update, layer, FOR_NOISE, keys, words)
    chosen = words.view(np.uint16)
    for j in range(x.size):
        y[j] = x[j] + strength * normal[chosen[j]]
