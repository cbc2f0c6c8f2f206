"""One suite for every schedule, and what a course is."""

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.train import SCHEDULES, Settings
from klayer.train.schedules import Course, learning_rates

COURSES = [Course(7), Course(7, cycles=3, growth=1.5), Course(7, cycles=2.5, growth=2, warm_up=9)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("course", COURSES, ids=["plain", "growing", "warm"])
def test_every_schedule_gives_each_network_its_rates_however_updates_are_cut(schedule, course):
    low, high = np.array([1e-5, 0.0, 0.01]), np.array([0.1, 0.3, 0.01])
    decay = np.array([1.0, 0.5, 0.9])
    together = learning_rates(schedule, np.arange(80)[:, None], low, high, course, decay)
    assert together.shape == (80, 3)
    assert (together <= high * (1 + 1e-12)).all()
    after = together[course.warm_up :]
    assert (after >= low * (1 - 1e-12)).all()
    for t in range(80):
        for p in range(3):
            one = learning_rates(schedule, t, low[p], high[p], course, decay[p])
            assert one == together[t, p]
        cut = learning_rates(schedule, np.arange(t, 80)[:, None], low, high, course, decay)
        assert (cut[0] == together[t]).all()


def test_growing_cycles_restart_where_they_should_and_end_with_the_training():
    course = Course(half_cycle=5, cycles=3, growth=2)
    assert course.ends == (10, 30, 70)
    assert course.total == 70
    rates = learning_rates("triangular", np.arange(71), 0.0, 1.0, course, 0.5)
    assert rates[[0, 5, 10, 20, 30, 50, 70]].tolist() == [0, 1, 0, 0.5, 0, 0.25, 0]
    restarts = learning_rates("cosine", np.arange(70), 0.0, 1.0, course)
    assert restarts[[0, 10, 30]].tolist() == [1, 1, 1]
    assert restarts[9] < 0.1
    assert Course(5, cycles=2.5, growth=2).total == 50


def test_cosine_with_restarts_is_that_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    one = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    peer = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(one, T_0=10, T_mult=2, eta_min=0.01)
    course = Course(5, cycles=3, growth=2)
    for t in range(70):
        rate = learning_rates("cosine", t, 0.01, 0.3, course)
        np.testing.assert_allclose(rate, one.param_groups[0]["lr"], rtol=1e-12)
        one.step()
        peer.step()


def test_one_cycle_is_that_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    one = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3, momentum=0.9)
    # PyTorch puts the peak at .3 total - 1 and the end at total - 1: ours count to the total.
    peer = torch.optim.lr_scheduler.OneCycleLR(
        one, 0.3, total_steps=101, pct_start=31 / 101, final_div_factor=1200, cycle_momentum=False
    )
    course = Course(50)
    for t in range(101):
        rate = learning_rates("one_cycle", t, 1e-5, 0.3, course)
        np.testing.assert_allclose(rate, one.param_groups[0]["lr"], rtol=1e-9)
        one.step()
        if t < 100:
            peer.step()


def test_linear_decay_and_warm_up_together_are_a_trapezium():
    course = Course(50, warm_up=10)
    rates = learning_rates("linear", np.arange(101), 0.0, 1.0, course)
    assert rates[0] == 0.1
    assert rates[9] == pytest.approx(0.91)
    assert rates[50] == 0.5
    assert rates[100] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cycle_growth": 0.5}, "`cycle_growth` must be >= 1, but got cycle_growth=0.5"),
        ({"peak_decay": 1.5}, "`0 < peak_decay <= 1` must hold, but got peak_decay=1.5"),
        ({"peak_decay": 0.0}, "`0 < peak_decay <= 1` must hold"),
        (
            {"peak_decay": 0.5, "schedule": "linear"},
            "`peak_decay` has an effect with schedule='triangular' or 'cosine' only",
        ),
        ({"warm_up": "two"}, "`warm_up` must read like '5 epochs', .* but got 'two'"),
        ({"warm_up": -1}, "`warm_up` must read like"),
        ({"beta2": 1.0, "optimiser": "adam"}, "`0 <= beta2 < 1` must hold, but got beta2=1.0"),
        (
            {"beta2": 0.9},
            "`beta2` has an effect with optimiser='adam', 'adamw', 'muon' or 'rmsprop'",
        ),
        (
            {"weight_decay": 0.1, "optimiser": "adam"},
            "`weight_decay` has an effect with optimiser='ad",
        ),
        ({"clip_norm": -1}, "`clip_norm` must be >= 0, but got clip_norm=-1"),
        ({"optimiser": "adm"}, "unknown optimiser 'adm': did you mean 'adam'"),
        ({"schedule": "onecycle"}, "unknown schedule 'onecycle': did you mean 'one_cycle'"),
    ],
)
def test_a_wrong_setting_is_refused(change, message):
    with pytest.raises(KlayerError, match=message):
        Settings(**change)


@pytest.mark.parametrize(("cycles", "growth"), [(60, 3.0), (9e3, 1.01), (2000, 1.1)])
def test_cycles_that_never_end_are_refused(cycles, growth):
    with pytest.raises(KlayerError, match="a training must end, but .* are too many: lower one"):
        Settings(cycles=cycles, cycle_growth=growth).course(per_epoch=450)


def test_a_warm_up_of_nothing_is_none_and_lengths_follow_the_epoch():
    settings = Settings(warm_up="0 epochs", half_cycle="2 epochs", cycles=1)
    assert settings.course(per_epoch=10).warm_up == 0
    assert Settings(warm_up="1.5 epochs").course(per_epoch=10).warm_up == 15


def test_a_course_that_begins_later_is_the_same_course():
    t = np.arange(41)
    for name in SCHEDULES:
        for more in ({}, {"cycles": 2.5, "growth": 1.5, "warm_up": 3}):
            first, later = Course(8, **more), Course(8, **more, start=17)
            assert later.total == first.total + 17
            assert later.ends == tuple(end + 17 for end in first.ends)
            assert [later.end(c) for c in (1, 2)][: len(first.ends)] == list(later.ends[:2])
            rates = [
                learning_rates(name, t + one.start, 0.01, 0.5, one, 0.7) for one in (first, later)
            ]
            assert (rates[0] == rates[1]).all()
