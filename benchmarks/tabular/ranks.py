"""What scores on many tables show: mean ranks, which of them differ, and by how much.

After Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), but groups
are those of Wilcoxon's signed-rank test with Holm's correction instead of Nemenyi's: whether two methods
differ should not hang on the others (Benavoli, Corani and Mangili, JMLR 17, 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from klayer.study.comparison import Comparison, holm
from klayer.study.statistics import Estimate, estimate

__all__ = ["Paired", "Ranking", "critical_difference", "paired", "rank"]

Array = NDArray[Any]
LEVEL = 0.05


@dataclass(frozen=True)
class Ranking:
    """Methods by mean rank, 1 the best.

    Attributes
    ----------
    methods : tuple of str, K of them
        The best first.
    ranks : array, shape (K,)
        Means over tables; tied methods share the mean of their ranks.
    tables : int
    p : float
        Friedman's test: that all methods are alike.
    critical : float
        Nemenyi's critical difference of mean ranks.
    pairs : list of Comparison
        Wilcoxon's signed-rank test of each pair, with Holm's correction.
    groups : list of tuple of int
        First and last of neighbours none of which was shown to differ from another.
    """

    methods: tuple[str, ...]
    ranks: Array
    tables: int
    p: float
    critical: float
    pairs: list[Comparison]
    groups: list[tuple[int, int]]

    @property
    def told_apart(self) -> list[Comparison]:
        """The pairs whose difference was shown, the better one first."""
        return [one for one in self.pairs if one.p_holm is not None and one.p_holm < LEVEL]


@dataclass(frozen=True)
class Paired:
    """One method beside another, table by table: differences are ``a - b``.

    Attributes
    ----------
    score, rank : Estimate
        Of the difference of scores, and of ranks among all methods, with 95 % intervals over tables.
    wins, ties, losses : int
        Tables on which ``a`` is better, the same, worse.
    """

    a: str
    b: str
    score: Estimate
    rank: Estimate
    wins: int
    ties: int
    losses: int


def critical_difference(methods: int, tables: int, level: float = LEVEL) -> float:
    r"""Return Nemenyi's critical difference of mean ranks.

    .. math:: CD = q_\alpha \sqrt{K (K + 1) / (6 N)}

    with the quantile of the studentised range, of infinitely many degrees of freedom, over
    :math:`\sqrt 2`.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)  # Demsar's example has 2.569 * sqrt(4 * 5 / (6 * 14))
    1.25
    """
    quantile = stats.studentized_range.ppf(1 - level, methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * tables)))


def ranks_of(scores: Array, greater: bool) -> Array:
    """Return the rank of each method on each table, of scores (tables, methods)."""
    found: Array = stats.rankdata(-scores if greater else scores, axis=1)
    return found


def rank(methods: Sequence[str], scores: Array, greater: bool) -> Ranking:
    """Rank methods by their scores, shape (tables, methods)."""
    tables, count = scores.shape
    ranks = ranks_of(scores, greater).mean(axis=0)
    order = np.argsort(ranks, kind="stable")
    names = tuple(methods[i] for i in order)
    columns = scores[:, order]
    pairs = holm(
        [
            Comparison(names[i], names[j], tables, (tables, tables), "Wilcoxon", p=p)
            for i, j in combinations(range(count), 2)
            for p in (_signed_rank(columns[:, i] - columns[:, j]),)
        ]
    )
    differ = {(one.a, one.b) for one in pairs if one.p_holm is not None and one.p_holm < LEVEL}
    alike = bool((scores == scores[:, :1]).all())
    p = 1.0 if alike else stats.friedmanchisquare(*scores.T).pvalue if count > 2 else pairs[0].p
    return Ranking(
        names,
        ranks[order],
        tables,
        float(p),
        critical_difference(count, tables),
        pairs,
        _groups(names, differ),
    )


def _signed_rank(differences: Array) -> float:
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="zsplit").pvalue)


def _groups(names: Sequence[str], differ: set[tuple[str, str]]) -> list[tuple[int, int]]:
    """Return the longest runs of neighbours without a pair that differs."""
    found: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and not any(
            (names[i], names[last + 1]) in differ for i in range(first, last + 1)
        ):
            last += 1
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found


def paired(methods: Sequence[str], scores: Array, a: str, b: str, greater: bool) -> Paired:
    """Compare two of the methods over all tables."""
    i, j = methods.index(a), methods.index(b)
    difference = scores[:, i] - scores[:, j]
    ranks = ranks_of(scores, greater)
    better = difference if greater else -difference
    return Paired(
        a,
        b,
        estimate(difference.tolist()),
        estimate((ranks[:, i] - ranks[:, j]).tolist()),
        int((better > 0).sum()),
        int((better == 0).sum()),
        int((better < 0).sum()),
    )
