"""What the seeds of a study say, and how sure: intervals and paired comparisons.

Every interval over seeds is Student's t at 95 %, cut at the bounds of what is measured: a mean can't lie
beyond them, so the cut interval covers it as often. Networks that never left chance or diverged are
counted, never averaged with those that trained. What the rows of a split leave open is another question,
and has an interval of its own, :func:`wilson`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

__all__ = [
    "LEVEL",
    "SHARE",
    "Cell",
    "Comparison",
    "Estimate",
    "Result",
    "cell",
    "compare",
    "counts",
    "estimate",
    "holm",
    "paired",
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
# Seeds of one arm with a standard deviation above 5 points are not repetitions of one result.
FAR_APART = 0.05


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share in per cent, a dash where there is none.

    Examples
    --------
    >>> percent(0.5278), percent(None)
    ('52.8\u202f%', '–')
    """
    return "–" if value is None else f"{100 * value:.{digits}f}\u202f%"


class Result(Protocol):
    """What the statistics need of a network; :class:`klayer.study.NetworkRecord` has it."""

    @property
    def seed(self) -> int: ...

    @property
    def state(self) -> str: ...

    def score(self, split: str, /) -> float | None: ...


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


@dataclass(frozen=True)
class Cell:
    """The networks of one arm: how many trained, and how well those did.

    Attributes
    ----------
    n, trained, at_chance, diverged : int
    result : Estimate
        Of the networks that trained.
    chance : Estimate
        Of the networks that never left chance.
    apart : float
        Above which standard deviation those that trained lie far apart.
    """

    n: int
    trained: int
    at_chance: int
    diverged: int
    result: Estimate
    chance: Estimate
    apart: float = FAR_APART

    @property
    def kind(self) -> str:
        """``"trained"``, ``"at chance"``, ``"diverged"``: all of them; ``"mixed"``; or ``"empty"``."""
        if not self.n:
            return "empty"
        for kind in ("trained", "at_chance", "diverged"):
            if getattr(self, kind) == self.n:
                return kind.replace("_", " ")
        return "mixed"

    @property
    def estimate(self) -> Estimate:
        """The one estimate that stands for the cell; of nothing where the cell is mixed."""
        return {"trained": self.result, "at chance": self.chance}.get(self.kind, Estimate(0))

    @property
    def far_apart(self) -> bool:
        """Whether all trained, but their standard deviation is above ``apart``: 5 points."""
        return self.kind == "trained" and (self.result.sd or 0) > self.apart

    def describe(self, show: Callable[[float | None], str] = percent) -> str:
        """Say in words what became of the seeds; ``show`` writes a value.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> stuck = SimpleNamespace(seed=0, state="at chance", score=lambda split: 0.1)
        >>> cell([stuck] * 5).describe()
        '10.0\u202f%: never left chance, 5 of 5 seeds'
        """
        if self.kind == "empty":
            return "no network yet"
        if self.kind == "trained":
            text = f"left chance, {self.n} of {self.n} seeds"
            return f"{_range(self.result, show)}: {text}, far apart" if self.far_apart else text
        parts = []
        if self.trained:
            parts.append(
                f"{_range(self.result, show)}: left chance, {self.trained} of {self.n} seeds"
            )
        if self.at_chance:
            parts.append(
                f"{_range(self.chance, show)}: never left chance, {self.at_chance} of {self.n} seeds"
            )
        if self.diverged:
            parts.append(f"diverged, {self.diverged} of {self.n} seeds")
        return "; ".join(parts)


def _range(values: Estimate, show: Callable[[float | None], str]) -> str:
    low, high = show(values.least), show(values.greatest)
    to = " to " if "\u2212" in low + high else "–"  # no dash beside a minus
    return low if low == high else f"{low.removesuffix(chr(0x202F) + '%')}{to}{high}"


def cell(
    records: Sequence[Result],
    split: str = "test",
    *,
    bounds: tuple[float, float] = SHARE,
    apart: float = FAR_APART,
) -> Cell:
    """Summarise the networks of one arm.

    Parameters
    ----------
    records : sequence of NetworkRecord
    split : {"train", "validation", "test"}
        Whose score.
    bounds : (float, float)
        Of the score.
    apart : float
        Above which standard deviation the seeds lie far apart.
    """
    groups = {
        state: [record.score(split) for record in records if record.state == state]
        for state in ("trained", "at chance", "diverged")
    }
    return Cell(
        n=sum(map(len, groups.values())),
        trained=len(groups["trained"]),
        at_chance=len(groups["at chance"]),
        diverged=len(groups["diverged"]),
        result=estimate(groups["trained"], bounds),
        chance=estimate(groups["at chance"], bounds),
        apart=apart,
    )


@dataclass(frozen=True)
class Comparison:
    """Two arms side by side: ``b`` minus ``a``.

    Attributes
    ----------
    a, b : str
        Names of the arms.
    n : int
        Seeds that both have.
    trained : (int, int)
        How many of them trained, in a and in b.
    test : str
        ``"paired t"`` where every network trained; ``"Fisher"``, Fisher's exact test of the numbers
        that trained, where some did not; ``""`` where there is nothing to test.
    difference : Estimate
        Of the accuracies, b - a, over common seeds; of nothing where some did not train.
    effect : float or None
        Cohen's d_z: mean difference over the standard deviation of the differences.
    p : float or None
        Two-sided.
    p_holm : float or None
        After Holm's correction for all comparisons that were made together.
    p_wilcoxon : float or None
        Wilcoxon's signed-rank test, two-sided: the same question without normal differences.
    superiority : float or None
        How often a network of b is better than one of a, over all pairs of seeds.
    together : int
        How many comparisons were made together.
    """

    a: str
    b: str
    n: int
    trained: tuple[int, int]
    test: str = ""
    difference: Estimate = Estimate(0)
    effect: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_wilcoxon: float | None = None
    superiority: float | None = None
    together: int = 1

    @property
    def identical(self) -> bool:
        """Whether both have the same value seed by seed."""
        return self.difference.n > 0 and self.difference.least == self.difference.greatest == 0

    @property
    def smallest_shown(self) -> float | None:
        """The smallest difference that these seeds would have shown in 80 % of cases."""
        sd = self.difference.sd
        return None if sd is None else smallest_shown(sd, self.difference.n, self.together)

    @property
    def verdict(self) -> str:
        """``"higher"``, ``"lower"`` or ``"not told apart"``: b against a, after Holm's correction."""
        p = self.p if self.p_holm is None else self.p_holm
        if p is None or p >= 1 - LEVEL:
            return "not told apart"
        if self.test == "Fisher":
            return "higher" if self.trained[1] > self.trained[0] else "lower"
        return "higher" if (self.difference.mean or 0) > 0 else "lower"


def paired(
    differences: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Comparison:
    """Test whether paired differences have mean zero: Student's t on the differences.

    ``t = mean / (sd / sqrt(n))`` with n - 1 degrees of freedom; effect ``d_z = mean / sd``. Where all
    differences are equal, the test has no spread to judge by and gives no p.

    Examples
    --------
    >>> c = paired([0.01, 0.03, 0.02])
    >>> c.n, round(c.difference.mean, 3), round(c.effect, 3), round(c.p, 3)
    (3, 0.02, 2.0, 0.074)
    """
    from scipy import stats

    found = estimate(differences, bounds)
    n = found.n
    empty = Comparison("", "", n, (n, n), "paired t" if n > 1 else "", found)
    if found.mean is None or not found.sd:
        return empty
    t = found.mean / (found.sd / math.sqrt(n))
    return replace(
        empty,
        effect=found.mean / found.sd,
        p=float(2 * stats.t.sf(abs(t), n - 1)),
        p_wilcoxon=float(stats.wilcoxon(differences).pvalue) if n < 50 else None,
    )


def compare(
    a: Sequence[Result],
    b: Sequence[Result],
    split: str = "test",
    names: tuple[str, str] = ("", ""),
    bounds: tuple[float, float] = SHARE,
) -> Comparison:
    """Compare two arms over the seeds that both have, b minus a.

    If every network trained: paired t on the accuracies. If some did not, a mean would mix two
    things, so the numbers that trained are compared by Fisher's exact test, which leaves the pairing
    unused.

    Parameters
    ----------
    a, b : sequence of NetworkRecord
    split : {"train", "validation", "test"}
        Whose score.
    names : (str, str)
    bounds : (float, float)
        Of the score.
    """
    first = {record.seed: record for record in a}
    second = {record.seed: record for record in b}
    pairs = [(first[seed], second[seed]) for seed in first if seed in second]
    trained = (
        sum(one.state == "trained" for one, _ in pairs),
        sum(other.state == "trained" for _, other in pairs),
    )
    if trained == (len(pairs), len(pairs)):
        values = [
            (x, y)
            for one, other in pairs
            if (x := one.score(split)) is not None and (y := other.score(split)) is not None
        ]
        ahead = superiority([x for x, _ in values], [y for _, y in values])
        width = bounds[1] - bounds[0]
        found = paired([y - x for x, y in values], (-width, width))
        return replace(found, a=names[0], b=names[1], trained=trained, superiority=ahead)
    return counts(trained, (len(pairs), len(pairs)), names)


def counts(
    trained: tuple[int, int], n: tuple[int, int], names: tuple[str, str] = ("", "")
) -> Comparison:
    """Compare how many of n networks trained, by Fisher's exact test, two-sided.

    Examples
    --------
    >>> c = counts((0, 5), (5, 5))
    >>> round(c.p, 4), c.verdict
    (0.0079, 'higher')
    """
    from scipy.stats import fisher_exact

    base = Comparison(*names, n=min(n), trained=trained)
    if trained == (0, 0) or 0 in n or trained == n:
        return base
    table = [[trained[0], n[0] - trained[0]], [trained[1], n[1] - trained[1]]]
    return replace(base, test="Fisher", p=float(fisher_exact(table).pvalue))


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct p-values of comparisons that were made together (Holm 1979).

    In ascending order, ``p_holm[i] = max(p_holm[i-1], min(1, (m - i) * p[i]))``, i from 0.

    Examples
    --------
    >>> found = holm([Comparison("a", "b", 5, (5, 5), p=p) for p in (0.01, 0.04, 0.03)])
    >>> [c.p_holm for c in found]
    [0.03, 0.06, 0.06]
    """
    known = [(one.p, i) for i, one in enumerate(comparisons) if one.p is not None]
    corrected, least = list(comparisons), 0.0
    for rank, (p, i) in enumerate(sorted(known)):
        least = max(least, min(1.0, (len(known) - rank) * p))
        corrected[i] = replace(comparisons[i], p_holm=least, together=len(known))
    return corrected
