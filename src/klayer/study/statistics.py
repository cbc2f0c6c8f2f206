"""What the seeds of a study say, and how sure: intervals and paired comparisons.

Every interval over seeds is Student's t at 95 %, cut at the bounds of what is measured: a mean can't lie
beyond them, so the cut interval covers it as often. Networks that never left chance or diverged are
counted, never averaged with those that trained. What the rows of a split leave open is another question,
and has an interval of its own, :func:`wilson`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "LEVEL",
    "SHARE",
    "Estimate",
    "estimate",
    "percent",
    "pooled_sd",
    "prediction_interval",
    "smallest_shown",
    "superiority",
    "t_factor",
    "wilson",
]

LEVEL = 0.95
# How often a difference of the size that `smallest_shown` gives would be shown.
POWER = 0.8
# The bounds of a share.
SHARE = (0.0, 1.0)


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share in per cent, a dash where there is none.

    Examples
    --------
    >>> percent(0.5278), percent(None)
    ('52.8\u202f%', '–')
    """
    return "–" if value is None else f"{100 * value:.{digits}f}\u202f%"


@dataclass(frozen=True)
class Estimate:
    """Mean of n values, with its 95 % interval.

    Attributes
    ----------
    n : int
    mean : float or None
        None if n = 0.
    sd : float or None
        Standard deviation with n - 1 in the denominator; None if n < 2.
    low, high : float or None
        ``mean -+ t(n-1) * sd / sqrt(n)``, Student's t; None if n < 2.
    least, greatest : float or None
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    least: float | None = None
    greatest: float | None = None


def t_factor(n: int) -> float:
    """Return the quantile of Student's t for a two-sided 95 % interval of n >= 2 values.

    Examples
    --------
    >>> round(t_factor(5), 3)
    2.776
    """
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.5 + LEVEL / 2))


def estimate(
    values: Iterable[float | None], bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Estimate the mean of the values that are there (None and NaN are left out).

    Parameters
    ----------
    values : iterable of float or None
    bounds : (float, float)
        Between which any value lies; the interval is cut there.

    Examples
    --------
    >>> e = estimate([0.50, 0.52, 0.54, None])
    >>> e.n, round(e.mean, 3), round(e.sd, 3), round(e.low, 3), round(e.high, 3)
    (3, 0.52, 0.02, 0.47, 0.57)
    """
    kept = [float(value) for value in values if value is not None and math.isfinite(value)]
    n = len(kept)
    if n == 0:
        return Estimate(0)
    mean, least, greatest = math.fsum(kept) / n, min(kept), max(kept)
    if n == 1:
        return Estimate(1, mean, least=least, greatest=greatest)
    # Equal values have no spread; the rounded mean must not make one up.
    sd = float(np.std(kept, ddof=1)) if least < greatest else 0.0
    half = t_factor(n) * sd / math.sqrt(n)
    low, high = max(bounds[0], mean - half), min(bounds[1], mean + half)
    return Estimate(n, mean, sd, low, high, least, greatest)


def prediction_interval(
    found: Estimate, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float | None, float | None]:
    """Return where one more value would land in 95 % of cases: ``mean -+ t(n-1) sd sqrt(1 + 1/n)``.

    Examples
    --------
    >>> low, high = prediction_interval(estimate([0.9, 1.0, 0.95]), (0, 1))
    >>> round(low, 3), high
    (0.702, 1)
    """
    if found.mean is None or found.sd is None:
        return None, None
    half = t_factor(found.n) * found.sd * math.sqrt(1 + 1 / found.n)
    return max(bounds[0], found.mean - half), min(bounds[1], found.mean + half)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was counted on n rows (Wilson 1927).

    It says how well n rows know the accuracy of one network, and nothing about other seeds.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(1.0, 27)], [round(end, 3) for end in wilson(0.8, 10)]
    ([0.875, 1.0], [0.49, 0.943])
    """
    from scipy.special import ndtri

    if n < 1:
        return SHARE
    z = float(ndtri(0.5 + LEVEL / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if share <= 0 else max(0.0, centre - half)
    return low, 1.0 if share >= 1 else min(1.0, centre + half)


def pooled_sd(groups: Iterable[Sequence[float]]) -> Estimate:
    """Estimate the standard deviation that several groups have in common, each around its own mean.

    ``sd = sqrt(sum (n_i - 1) sd_i^2 / sum (n_i - 1))``, with the 95 % interval of the chi-squared
    distribution: ``mean`` of what is returned is the standard deviation, ``n`` its degrees of freedom.

    Examples
    --------
    >>> found = pooled_sd([[1.0, 3.0], [5.0, 7.0]])
    >>> found.n, round(found.mean, 4), round(found.low, 3), round(found.high, 2)
    (2, 1.4142, 0.736, 8.89)
    """
    from scipy.special import chdtri

    kept = [np.asarray(group, float) for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in kept)
    if not freedom:
        return Estimate(0)
    squares = math.fsum(float(((group - group.mean()) ** 2).sum()) for group in kept)
    tail = (1 - LEVEL) / 2
    low, high = (math.sqrt(squares / float(chdtri(freedom, p))) for p in (tail, 1 - tail))
    return Estimate(freedom, math.sqrt(squares / freedom), None, low, high)


def superiority(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return how often a value of b exceeds one of a, over all pairs; a tie counts one half.

    The probability of superiority (Vargha & Delaney 2000): 0.5 if neither is ahead, 1 if the least of b
    exceeds the greatest of a. None where one of them is empty.

    Examples
    --------
    >>> superiority([1, 2], [2, 3]), superiority([], [1])
    (0.875, None)
    """
    if not len(a) or not len(b):
        return None
    wins = sum((y > x) + 0.5 * (y == x) for x in a for y in b)
    return float(wins / (len(a) * len(b)))


def smallest_shown(sd: float, n: int, comparisons: int = 1) -> float | None:
    """Return the smallest true mean difference that n pairs would have shown in 80 % of cases.

    The mean of n differences with standard deviation ``sd`` is tested at the level ``0.05 / m``, which
    the first step of Holm's correction for m comparisons asks. The power is that of the noncentral t.

    Parameters
    ----------
    sd : float, >= 0
        Of the paired differences.
    n : int
        Pairs; None is returned for fewer than two.
    comparisons : int, >= 1
        How many were made together.

    Examples
    --------
    >>> round(smallest_shown(0.01, 5), 4), round(smallest_shown(0.01, 5, 4), 4)
    (0.0168, 0.0248)
    """
    if n < 2:
        return None
    if not sd:
        return 0.0
    from scipy.optimize import brentq
    from scipy.special import nctdtr, stdtrit

    critical = float(stdtrit(n - 1, 1 - (1 - LEVEL) / (2 * max(1, comparisons))))

    def missing(shift: float) -> float:
        return float(nctdtr(n - 1, shift, critical)) - (1 - POWER)

    high = critical + 2.0
    while missing(high) > 0:
        high *= 2
    return float(brentq(missing, 0.0, high)) * sd / math.sqrt(n)
