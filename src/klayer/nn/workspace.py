"""Scratch memory, so that a training loop allocates nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Workspace"]


class Workspace:
    """Named scratch arrays, allocated on first use and handed out again ever after.

    An array is identified by name, shape and dtype; its contents are whatever was last written.
    A workspace belongs to one thread.

    Examples
    --------
    >>> ws = Workspace()
    >>> a = ws.array("s1", (2, 3), np.float32)
    >>> a is ws.array("s1", (2, 3), np.float32)
    True
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[Any, ...], NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return the scratch array ``name`` with this shape and dtype."""
        key = (name, shape, dtype)
        found = self._arrays.get(key)
        if found is None:
            found = self._arrays[key] = np.empty(shape, dtype)
        return found

    def ones(self, n: int, dtype: DTypeLike) -> NDArray[Any]:
        """Return a row of ones, shape (1, n): a product with it sums over samples."""
        key = ("ones", n, dtype)
        found = self._arrays.get(key)
        if found is None:
            found = self._arrays[key] = np.ones((1, n), dtype)
        return found
