"""Which networks go together: lanes of a population, cut into slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["slices"]


def slices(lanes: Sequence[int], size: int) -> list[slice]:
    """Cut ascending lane numbers into runs of neighbours, evenly, of at most ``size``.

    Examples
    --------
    >>> slices([0, 1, 2, 5], size=2)
    [slice(0, 2, None), slice(2, 3, None), slice(5, 6, None)]
    """
    breaks = [i for i in range(1, len(lanes)) if lanes[i] != lanes[i - 1] + 1]
    slices = []
    for first, last in zip([0, *breaks], [*breaks, len(lanes)], strict=True):
        run = lanes[first:last]
        for part in np.array_split(run, -(-len(run) // size)) if run else []:
            slices.append(slice(int(part[0]), int(part[-1]) + 1))
    return slices
