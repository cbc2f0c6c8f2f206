"""What the seeds say: intervals, paired tests, counts, published values."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from klayer.study.cell import cell
from klayer.study.comparison import Comparison, compare, counts, holm, paired
from klayer.study.statistics import (
    estimate,
    percent,
    pooled_sd,
    smallest_shown,
    superiority,
    wilson,
)


@dataclass(frozen=True)
class Network:
    """As much of a record as the statistics need."""

    seed: int
    state: str
    test: float | None

    def score(self, split):
        return {"test": self.test}.get(split)


def records(accuracies, state="trained"):
    return [Network(seed, state, value) for seed, value in enumerate(accuracies)]


def test_interval_is_students_t_worked_by_hand():
    # n = 4: mean 2.5, sum of squares 5, sd sqrt(5/3); t(3, 97.5 %) = 3.182446 from a table.
    found = estimate([1.0, 2.0, 3.0, 4.0])
    half = 3.182446 * math.sqrt(5 / 3) / 2
    assert found.mean == 2.5
    assert found.sd == pytest.approx(math.sqrt(5 / 3), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-6)
    assert (found.least, found.greatest) == (1.0, 4.0)


def test_missing_values_are_left_out_and_one_value_has_no_interval():
    found = estimate([0.5, None, math.nan])
    assert (found.n, found.mean, found.sd, found.low) == (1, 0.5, None, None)
    assert estimate([]).mean is None


def test_equal_values_have_no_spread_in_spite_of_rounding():
    found = estimate([0.1] * 7)
    assert found.sd == 0
    assert found.low == found.high == found.mean


def test_interval_covers_the_true_mean_in_about_95_of_100_samples():
    rng = np.random.default_rng(0)
    samples = rng.normal(0.5, 0.01, (2000, 5))
    inside = sum(e.low <= 0.5 <= e.high for e in map(estimate, samples))
    assert 0.93 < inside / 2000 < 0.97


def test_paired_test_agrees_with_scipys_on_the_two_samples():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.5, 0.02, 6), rng.normal(0.52, 0.02, 6)
    found = compare(records(a), records(b))
    wanted = stats.ttest_rel(b, a)
    interval = wanted.confidence_interval(0.95)
    assert found.test == "paired t"
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-9)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval))
    assert found.effect == pytest.approx(wanted.statistic / math.sqrt(6), rel=1e-9)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(b - a).pvalue)


def test_pairs_are_common_seeds_only():
    a = records([0.5, 0.6, 0.7])
    b = records([0.6, 0.7, 0.9])[1:]
    found = compare(a, b)
    assert found.n == 2
    assert found.difference.mean == pytest.approx((0.1 + 0.2) / 2)


def test_equal_differences_give_no_p():
    found = paired([0.0, 0.0, 0.0])
    assert (found.p, found.effect, found.verdict) == (None, None, "not told apart")


def test_one_common_seed_gives_a_difference_and_no_test():
    found = compare(records([0.5]), records([0.6]))
    assert found.difference.mean == pytest.approx(0.1)
    assert (found.test, found.p) == ("", None)


def test_networks_that_did_not_train_are_counted_not_averaged():
    found = compare(records([0.1] * 5, "at chance"), records([0.5] * 5))
    assert (found.test, found.trained, found.difference.n) == ("Fisher", (0, 5), 0)
    # All 5 of the one and none of the other: 1 of the C(10, 5) = 252 tables, and its mirror image.
    assert found.p == pytest.approx(2 / 252)


def test_two_arms_that_both_never_train_are_not_tested():
    found = compare(records([0.1] * 3, "at chance"), records([0.1] * 3, "at chance"))
    assert (found.test, found.p, found.verdict) == ("", None, "not told apart")


def test_holm_by_hand_and_never_below_the_raw_p():
    ps = (0.01, 0.04, 0.03, 0.005)
    found = [c.p_holm for c in holm([Comparison("", "", 5, (5, 5), p=p) for p in ps])]
    # Ascending: .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 -> .06.
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_comparisons_without_p_out_of_the_count():
    found = holm([Comparison("", "", 5, (5, 5), p=0.02), Comparison("", "", 5, (0, 0))])
    assert [c.p_holm for c in found] == [0.02, None]


def test_verdict_follows_the_corrected_p():
    clear, _ = holm([paired([0.02, 0.021, 0.022, 0.02]), paired([0.01, -0.01, 0.0, 0.01])])
    assert clear.verdict == "higher"
    weak = paired([0.02, 0.05, 0.01])
    assert weak.verdict == "not told apart"
    assert counts((5, 0), (5, 5)).verdict == "lower"


def test_failures_are_described_with_their_accuracy():
    found = cell(records([0.1] * 5, "at chance"))
    assert found.describe() == "10.0\u202f%: never left chance, 5 of 5 seeds"
    assert found.kind == "at chance"


def test_a_bimodal_cell_is_shown_as_two_groups_and_has_no_mean():
    mixed = [
        *records([0.38, 0.39]),
        Network(2, "at chance", 0.1),
        Network(3, "diverged", None),
    ]
    found = cell(mixed)
    assert found.kind == "mixed"
    assert found.estimate.n == 0
    text = found.describe()
    for part in (
        "38.0–39.0",
        "left chance, 2 of 4",
        "never left chance, 1 of 4",
        "diverged, 1 of 4",
    ):
        assert part in text


def test_trained_seeds_far_apart_are_called_so():
    assert "far apart" in cell(records([0.3, 0.5, 0.4])).describe()
    assert "far apart" not in cell(records([0.52, 0.53, 0.525])).describe()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_order_of_records_does_not_matter(order):
    a, b = records([0.5, 0.51, 0.53]), records([0.52, 0.55, 0.54])
    assert compare([a[i] for i in order], b).p == pytest.approx(compare(a, b).p)


def test_percent_rounds_and_shows_gaps():
    assert percent(0.1239, 2) == "12.39\u202f%"
    assert percent(None) == "–"


def test_an_interval_over_seeds_stays_within_the_bounds_and_covers_as_often():
    found = estimate([1.0, 1.0, 0.93], (0, 1))
    assert found.low < 0.93
    assert found.high == 1.0
    assert cell(records([1.0, 0.99, 0.9])).result.high == 1.0
    rng = np.random.default_rng(3)
    samples = 1 - np.abs(rng.normal(0.0, 0.02, (2000, 5)))
    true = 1 - 0.02 * math.sqrt(2 / math.pi)
    cut = [estimate(sample, (0, 1)) for sample in samples]
    free = [estimate(sample) for sample in samples]
    assert max(one.high for one in cut) <= 1 < max(one.high for one in free)
    assert sum(one.low <= true <= one.high for one in cut) == sum(
        one.low <= true <= one.high for one in free
    )


@pytest.mark.parametrize(("right", "n"), [(27, 27), (0, 27), (8, 10), (1, 1), (500, 10_000)])
def test_wilsons_interval_is_scipys(right, n):
    wanted = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx(tuple(wanted), abs=1e-12)
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_the_smallest_difference_is_shown_in_80_of_100_samples():
    rng = np.random.default_rng(5)
    for n, together in ((5, 1), (5, 4), (12, 3)):
        smallest = smallest_shown(0.01, n, together)
        differences = rng.normal(smallest, 0.01, (6000, n))
        p = stats.ttest_1samp(differences, 0, axis=1).pvalue
        assert np.mean(p < 0.05 / together) == pytest.approx(0.8, abs=0.02)


def test_the_smallest_difference_needs_pairs():
    assert smallest_shown(0.01, 1) is None
    assert smallest_shown(0.0, 5) == 0.0
    assert smallest_shown(0.01, 40) < smallest_shown(0.01, 5) < smallest_shown(0.01, 5, 10)


def test_superiority_counts_pairs_and_is_mann_whitneys_statistic():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 9, 7) / 10, rng.integers(0, 9, 5) / 10
    wanted = stats.mannwhitneyu(b, a).statistic / (len(a) * len(b))
    assert superiority(list(a), list(b)) == pytest.approx(wanted)
    assert superiority([0.5], []) is None
    assert compare(records([0.5, 0.6]), records([0.7, 0.8])).superiority == 1.0


def test_a_pooled_standard_deviation_is_within_groups_alone():
    rng = np.random.default_rng(4)
    groups = [shift + rng.normal(0, 0.02, 40) for shift in (0.1, 0.5, 0.9)]
    found = pooled_sd(groups)
    assert found.n == 117
    assert found.mean == pytest.approx(math.sqrt(np.mean([g.var(ddof=1) for g in groups])))
    inside = 0
    for _ in range(1000):
        one = pooled_sd(rng.normal(0, 0.02, (3, 4)))
        inside += one.low <= 0.02 <= one.high
    assert 0.93 < inside / 1000 < 0.97
    assert pooled_sd([[0.5]]).mean is None


def test_a_comparison_knows_how_many_were_made_with_it():
    ones = holm([paired([0.01, 0.03, 0.02]), paired([0.0, 0.0, 0.0]), paired([0.02, 0.0, 0.01])])
    assert ones[0].together == 2
    assert ones[0].smallest_shown == smallest_shown(ones[0].difference.sd, 3, 2)
    assert ones[1].identical
    assert not ones[0].identical


def test_an_interval_of_differences_of_shares_stays_within_100_points():
    found = compare(records([0.0, 1.0]), records([1.0, 0.0]))
    assert (found.difference.low, found.difference.high) == (-1.0, 1.0)
