"""Which networks go together: lanes of a population, cut into slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

__all__ = ["Lanes", "chosen_lanes", "slices"]

Lanes = Sequence[int] | Sequence[bool] | NDArray[np.integer[Any]] | NDArray[np.bool_]


def chosen_lanes(lanes: Lanes, networks: int) -> list[int]:
    """Return the lane numbers that somebody chose out of so many, by numbers or by a mask.

    Raises
    ------
    KlayerError
        For numbers out of range, and masks of another length.

    Examples
    --------
    >>> chosen_lanes([2, 0], 3), chosen_lanes(np.array([True, False, True]), 3)
    ([2, 0], [0, 2])
    """
    chosen = np.atleast_1d(np.asarray(lanes))
    if chosen.size == 0:
        return []
    fits = (
        chosen.ndim == 1
        and chosen.dtype.kind in "biu"
        and (
            len(chosen) == networks
            if chosen.dtype.kind == "b"
            else bool(((chosen >= 0) & (chosen < networks)).all())
        )
    )
    if not fits:
        raise KlayerError(
            f"`lanes` must be numbers from 0 to {networks - 1}, or a mask of {networks} truth values, "
            f"but got {lanes!r}."
        )
    return [int(p) for p in np.arange(networks)[chosen]]


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
