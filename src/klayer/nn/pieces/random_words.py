"""Random words without a generator that would have to be stored.

What a piece draws follows from the network, the layer and the update alone: the words are those of
NumPy's Philox, a function of a key and a counter (Salmon et al. 2011), with the network's key and the
counter ``(block, update, layer, purpose)``. So a network draws the same alone or among others, in one go
or resumed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOR_DROPOUT", "FOR_NOISE", "RandomWords", "draw_keys"]

# What words are drawn for, so that no two pieces of a layer have the same.
FOR_DROPOUT, FOR_NOISE = 0, 1


def draw_keys(seeds: Sequence[int]) -> NDArray[np.uint64]:
    """Return the key of each network's draws, shape (P, 2), from its seed.

    Examples
    --------
    >>> draw_keys([0, 1]).shape
    (2, 2)
    """
    children = [np.random.SeedSequence(seed).spawn(2)[1] for seed in seeds]
    keys = [one.generate_state(2, np.uint64) for one in children]
    return np.array(keys, np.uint64).reshape(-1, 2)


class RandomWords:
    """The words of one network in one layer, update by update.

    Parameters
    ----------
    key : uint64 array, shape (2,)
        Of the network.
    layer : int, >= 0
        0 for the inputs.
    purpose : int
        ``FOR_DROPOUT`` or ``FOR_NOISE``.
    count : int
        How many words of 64 bits an update takes.

    Examples
    --------
    >>> words = RandomWords(draw_keys([7])[0], layer=1, purpose=FOR_DROPOUT, count=5)
    >>> bool((words.draw(3) == words.draw(3)).all()), bool((words.draw(3) == words.draw(4)).any())
    (True, False)
    """

    def __init__(self, key: NDArray[np.uint64], layer: int, purpose: int, count: int) -> None:
        self._bits, self._count = np.random.Philox(key=key), count
        self._state: Any = self._bits.state
        self._counter = self._state["state"]["counter"]
        self._counter[:] = 0, 0, layer, purpose
        self._state["buffer_pos"] = 4  # nothing left of a block before

    def draw(self, update: int) -> NDArray[np.uint64]:
        """Return the words of an update, their lowest byte first in memory."""
        self._counter[1] = update
        self._bits.state = self._state
        words = self._bits.random_raw(self._count)
        return words.astype("<u8") if sys.byteorder == "big" else words
