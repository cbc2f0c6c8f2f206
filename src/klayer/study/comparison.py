"""Two arms side by side: paired differences, counts, and the correction for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from klayer.study.cell import Result
from klayer.study.statistics import LEVEL, SHARE, Estimate, estimate, smallest_shown, superiority

__all__ = ["Comparison", "compare", "counts", "holm", "paired"]


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
    difference: Estimate = Estimate(0)  # noqa: RUF009  (it is frozen)
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
