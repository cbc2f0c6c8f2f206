"""Published runs are judged by where one more run of ours would land."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from klayer.report.fidelity import Fidelity
from klayer.study.cell import cell


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


def test_published_run_is_judged_by_the_interval_of_one_more_run():
    values = [0.52, 0.53, 0.525, 0.535]
    mean, sd = np.mean(values), np.std(values, ddof=1)
    half = stats.t.ppf(0.975, 3) * sd * math.sqrt(1 + 1 / 4)
    inside = Fidelity(mean + 0.99 * half, cell(records(values)))
    outside = Fidelity(mean + 1.05 * half, cell(records(values)))
    assert inside.interval == pytest.approx((mean - half, mean + half))
    assert (inside.agrees, outside.agrees) == (True, False)
    assert outside.sds == pytest.approx(1.05 * half / sd)
    assert "where one more run could land" in inside.explanation
    assert "above all 4 seeds" in outside.explanation
    assert "within the range" in Fidelity(0.5252, cell(records(values))).explanation


def test_published_run_that_trained_differs_from_seeds_that_never_do():
    found = Fidelity(0.42, cell(records([0.1] * 4, "at chance")), chance=0.12)
    assert (found.agrees, found.sds) == (False, None)
    assert "none of 4 seeds leaves chance" in found.explanation


def test_published_failure_agrees_with_seeds_that_fail():
    assert Fidelity(0.1, cell(records([0.1] * 4, "at chance")), chance=0.12).agrees


def test_mixed_cell_agrees_with_a_run_like_either_group():
    stuck = Network(2, "at chance", 0.1)
    mixed = cell([*records([0.38, 0.40]), stuck])
    assert Fidelity(0.1, mixed, chance=0.12).agrees
    assert Fidelity(0.39, mixed, chance=0.12).agrees
    above = Fidelity(0.5, mixed, chance=0.12)
    assert not above.agrees
    assert "above all that left chance" in above.explanation


def test_seeds_far_apart_leave_the_question_open():
    found = Fidelity(0.45, cell(records([0.3, 0.5, 0.4])))
    assert found.agrees is None
    assert "far apart" in found.explanation


def test_one_seed_is_too_few_to_judge():
    found = Fidelity(0.5, cell(records([0.51])))
    assert (found.agrees, found.explanation) == (None, "too few seeds to judge")
