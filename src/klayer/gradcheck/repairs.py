"""Hypotheses about one array: repairs of the analytic gradient, tried against the numeric one.

A hypothesis says how the analytic values would have to be mended: halve them, transpose them, add
2 lambda W. It counts only if the mended values agree with the numeric ones, at the entries that
were wrong and at those that were right. Constants are fitted; a fit with too few numbers is no
evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from klayer.gradcheck.names import ArrayName

__all__ = ["Evidence", "Repair", "best_repair"]

_REMAINDER = 0.02  # of the error may be left by a repair that counts
_TRIM = 0.1  # of the entries may be off for another reason: a kink crossed by a difference


@dataclass
class Evidence:
    """The numbers of one network and one term of the cost.

    Attributes
    ----------
    names : dict of name -> ArrayName
    analytic : dict of name -> array
        All entries.
    numeric : dict of name -> array
        All entries, NaN where not compared.
    params : dict of name -> array
    failing : dict of name -> bool array
    samples : int or None
        Size of the batch, if known.
    l2 : float or None
        The penalty's strength, if known.
    """

    names: dict[str, ArrayName]
    analytic: dict[str, NDArray]
    numeric: dict[str, NDArray]
    params: dict[str, NDArray]
    failing: dict[str, NDArray]
    samples: int | None = None
    l2: float | None = None


@dataclass(frozen=True)
class Repair:
    """A repair that agrees with the numbers.

    Attributes
    ----------
    kind : str
    constants : tuple of float
        What was fitted.
    other : str
        Another array that takes part, or a detail.
    remainder : float
    """

    kind: str
    constants: tuple[float, ...] = ()
    other: str = ""
    remainder: float = field(default=0.0, compare=False)


def best_repair(evidence: Evidence, name: str) -> Repair | None:
    """Return the repair of array ``name`` that leaves least, if any leaves next to nothing.

    Examples
    --------
    >>> numeric = {"W1": np.arange(1.0, 7).reshape(2, 3)}
    >>> evidence = Evidence({"W1": ArrayName("W1", "1", "W")}, {"W1": 2 * numeric["W1"]}, numeric,
    ...                     {"W1": np.ones((2, 3))}, {"W1": np.ones((2, 3), bool)})
    >>> repair = best_repair(evidence, "W1")
    >>> repair.kind, round(repair.constants[0], 6)
    ('factor', 2.0)
    """
    a, n = evidence.analytic[name], evidence.numeric[name]
    failing = evidence.failing[name]
    if not np.isfinite(a).all():
        return Repair("not-finite", other=_first(~np.isfinite(a)))
    if not failing.any():
        # Wrong along a direction only: what was sampled is right.
        return Repair("unsampled") if np.isfinite(n).any() else None
    if not a.any():
        return Repair("zero")
    before = _trimmed_norm((a - n)[failing])
    best, best_rank = None, np.inf
    for kind, constants, other, mended in _repairs(evidence, name):
        if failing.sum() < len(constants) + 2:
            continue
        left = mended - n
        remainder = max(_trimmed_norm(left[np.isfinite(n)]), _trimmed_norm(left[failing])) / before
        # Each fitted constant costs a factor 10: a simpler story with the same end is the better
        # one.
        rank = max(remainder, 1e-12) * 10 ** len(constants)
        if remainder <= _REMAINDER and rank < best_rank:
            best, best_rank = Repair(kind, tuple(constants), other, remainder), rank
    return best or _copy(evidence, name, before) or _pattern(a, n, failing)


def _copy(evidence: Evidence, name: str, before: float) -> Repair | None:
    """Say whose gradient the array holds, if it is another's."""
    a = evidence.analytic[name]
    for other, numeric in evidence.numeric.items():
        known = np.isfinite(numeric)
        if other != name and numeric.shape == a.shape and known.sum() > 1:
            remainder = _trimmed_norm((a - numeric)[known]) / before
            if remainder <= _REMAINDER:
                return Repair("copied", (), other, remainder)
    return None


def _repairs(evidence: Evidence, name: str) -> Iterator[tuple[str, list[float], str, NDArray]]:
    """Yield (kind, fitted constants, detail, mended gradient)."""
    a, n, theta = (one[name] for one in (evidence.analytic, evidence.numeric, evidence.params))
    at = evidence.failing[name]
    for other, value in evidence.analytic.items():
        if other == name or value.shape != a.shape or not np.isfinite(value).all():
            continue
        if np.abs(value - a).max() > 0:
            yield "swapped", [], other, value
    if a.ndim == 2 and a.shape[0] == a.shape[1] and a.shape[0] > 1:
        yield "transposed", [], "", a.T
    for axis in range(a.ndim):
        if a.shape[axis] > 2:
            for shift in (1, -1):
                yield "shifted", [], f"by {-shift} along axis {axis}", np.roll(a, shift, axis)
        if a.shape[axis] > 1:
            yield "reversed", [], f"along axis {axis}", np.flip(a, axis)
    if a.ndim == 2 and min(a.shape) > 1:
        yield "reshaped", [], "", a.ravel(order="F").reshape(a.shape)
        yield "reshaped", [], "", a.ravel().reshape(a.shape, order="F")
    if (a >= 0).all() and (n[at] < 0).any():
        yield "absolute", [], "", np.where(np.isfinite(n), np.copysign(a, n), a)
    limit = np.abs(a).max()
    if (np.abs(a) == limit).sum() > 1:
        clipped = np.where((np.abs(a) == limit) & (np.abs(n) > limit) & (a * n > 0), n, a)
        yield "clipped", [float(limit)], "", clipped
    (r,) = _fit(n, [a], at)
    if r:
        yield "factor", [1 / r], "", r * a
    if np.ptp(theta):
        (d,) = _fit(n - a, [theta], at)
        yield "penalty", [d], "", a + d * theta
        r, d = _fit(n, [a, theta], at)
        if r:
            yield "factor-but-penalty", [1 / r, d], "", r * a + d * theta
        s, d = _fit(n - a, [np.sign(theta), theta], at)
        yield "penalty-l1", [s, d], "", a + s * np.sign(theta) + d * theta
        for other, value in evidence.params.items():
            if other != name and value.shape == a.shape:
                (d,) = _fit(n - a, [theta - value], at)
                yield "penalty-of", [d], other, a + d * (theta - value)
    if a.size > 1:
        (c,) = _fit(n - a, [np.ones_like(a)], at)
        yield "offset", [-c], "", a + c


def _fit(target: NDArray, columns: list[NDArray], at: NDArray) -> list[float]:
    """Least squares on the failing entries, then again without the worst tenth."""
    y = target[at]
    X = np.stack([column[at] for column in columns], axis=1)
    keep = np.ones(len(y), bool)
    solution = np.zeros(len(columns))
    for _ in range(3):
        size = np.linalg.norm(X[keep], axis=0)
        if not (size > 0).all():
            return [0.0] * len(columns)
        solution = np.linalg.lstsq(X[keep] / size, y[keep], rcond=1e-10)[0] / size
        left = np.abs(y - X @ solution)
        keep = left <= np.quantile(left, 1 - _TRIM)
    return [float(one) for one in solution]


def _trimmed_norm(error: NDArray) -> float:
    size = np.sort(np.abs(error).ravel())
    return float(np.linalg.norm(size[: max(1, int(np.ceil((1 - _TRIM) * size.size)))])) or 1e-300


def _pattern(a: NDArray, n: NDArray, failing: NDArray) -> Repair | None:
    """Say where in the array the wrong entries are, if that is telling."""
    checked = np.isfinite(n)
    count = int(failing.sum())
    if count == 1 and checked.sum() > 1:
        return Repair("entry", other=_first(failing))
    if a.dtype == np.float64 and np.array_equal(a.astype(np.float32), a):
        error = np.abs(a - n)[failing]
        if (error <= 1e-5 * np.abs(n).max(initial=0, where=checked)).all():
            return Repair("rounded")
    if a.ndim == 2:
        for axis, word in ((1, "row"), (0, "column")):
            lines = failing.any(axis=axis)
            among = checked.any(axis=axis)
            if 0 < lines.sum() <= max(1, among.sum() // 4):
                which = ", ".join(str(int(i)) for i in np.flatnonzero(lines)[:5])
                return Repair("lines", (), f"{word}{'s' if lines.sum() > 1 else ''} {which}")
    zeros = failing & (a == 0)
    if zeros.sum() >= 2 and zeros.sum() == count < checked.sum():
        return Repair("partly-zero", (), f"{count} of {int(checked.sum())}")
    if count < checked.sum() / 4:
        return Repair("few", (), f"{count} of {int(checked.sum())}")
    return None


def _first(mask: NDArray) -> str:
    index = tuple(int(i) for i in np.argwhere(mask)[0])
    return f"[{', '.join(map(str, index))}]"
