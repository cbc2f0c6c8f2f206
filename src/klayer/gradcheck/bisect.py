"""Find the wrong entries of an array of which only a direction is known to be wrong.

The slope along a direction is linear in its parts: halve the entries, and the half that is wrong shows
it. A wrong entry among ten million takes 24 halvings; by complex step, an evaluation each.
"""

from __future__ import annotations

import numpy as np

from klayer.gradcheck.comparison import ArrayComparison
from klayer.gradcheck.differences import Lines, Point

__all__ = ["wrong_entries"]

_AT_MOST = 3  # entries are looked for; an error in many is told as such
_LEFT = 0.02  # of the error may be left when all are found


def wrong_entries(
    found: ArrayComparison, point: Point, gradient: np.ndarray, t: int, p: int, method: str
) -> list[int]:
    """Return the flat indices of the entries that make a direction wrong; none, if it is many.

    ``gradient`` is the analytic one of network ``p`` and term ``t``, flat.
    """
    name, along = found.lines.name, found.lines.along.copy()
    total = left = float(found.analytic[t, p, 0] - found.numeric[t, p, 0])
    entries: list[int] = []

    def error(some: np.ndarray) -> float:
        part = np.zeros_like(along)
        part[some] = along[some]
        slope = point.slopes(Lines(name, part), "central" if method == "forward" else method)[0]
        return float(gradient[some] @ along[some] - slope[t, p, 0])

    while len(entries) < _AT_MOST and abs(left) > _LEFT * abs(total):
        some, off = np.flatnonzero(along), left
        while len(some) > 1:
            half = some[: len(some) // 2]
            of_half = error(half)
            if abs(of_half) >= abs(off - of_half):
                some, off = half, of_half
            else:
                some, off = some[len(some) // 2 :], off - of_half
        entries.append(int(some[0]))
        along[some] = 0
        left -= off
    return entries if abs(left) <= _LEFT * abs(total) else []
