import math
import sys
import warnings

import numpy as np
import pytest
from scipy import stats

from klayer.errors import KlayerError
from klayer.study.search.options import Search
from klayer.study.search.optuna_space import quiet_optuna
from klayer.study.search.samplers import SAMPLERS, draw
from klayer.study.search.space import Range, Space

L2 = Space({"l2": Range(1e-5, 1e-1)}, {})
RANGES = Space({"l2": Range(1e-5, 1e-1), "lr_max": Range(0.01, 0.5, "linear")}, {})
MIXED = Space(
    {"l2": Range(1e-5, 1e-1), "lr_max": Range(0.01, 0.5, "linear")},
    {"batch_norm": ["none", "hidden"], "hidden": [[50, 50], [20]]},
)


@pytest.fixture(params=list(SAMPLERS))
def sampler(request):
    if request.param == "gp":
        pytest.importorskip("torch", reason="the sampler gp needs PyTorch")
    return request.param


def of(space, sampler):
    """Return a space, or where the sampler can't draw from it, one like it."""
    return RANGES if SAMPLERS[sampler].ranges else space


def peak(space, seed=3, trials=12):
    """Trials on a smooth hill with its top at l2 = 10^-2.2: where samplers crowd most."""
    points = draw(space, trials, seed=[seed])
    return [(point, -((math.log10(point["l2"]) + 2.2) ** 2)) for point in points]


@pytest.mark.parametrize("space", [L2, MIXED], ids=["one number", "mixed"])
def test_a_batch_does_not_collapse_onto_one_point(sampler, space):
    trials, space = 8, of(space, sampler)
    points = draw(space, trials, sampler=sampler, seed=[0], history=peak(space))
    positions = [
        tuple(one.position(point[name]) for name, one in space.ranges.items()) for point in points
    ]
    assert len(set(positions)) == trials
    if SAMPLERS[sampler].learns:
        margin = 0.5 / trials
        for i, point in enumerate(points):
            for j in range(i):
                same = all(point[name] == points[j][name] for name in space.categories)
                apart = np.abs(np.subtract(positions[i], positions[j])).max()
                assert not same or apart >= margin


def test_draws_lie_in_the_space(sampler):
    space = of(MIXED, sampler)
    for point in draw(space, 6, sampler=sampler, seed=[1]):
        assert tuple(point) == space.names
        assert all(one.contains(point[name]) for name, one in space.ranges.items())
        assert all(point[name] in choices for name, choices in space.categories.items())


def test_the_seed_alone_decides(sampler):
    space = of(L2, sampler)
    history = peak(space)
    first = draw(space, 5, sampler=sampler, seed=[1, 2], history=history)
    assert draw(space, 5, sampler=sampler, seed=[1, 2], history=history) == first
    assert draw(space, 5, sampler=sampler, seed=[1, 3], history=history) != first


def test_learning_samplers_go_where_it_was_good(sampler):
    space = of(L2, sampler)
    points = draw(space, 8, sampler=sampler, seed=[5], history=peak(space, trials=30))
    near = sum(abs(math.log10(point["l2"]) + 2.2) < 0.8 for point in points)
    assert near >= 3 or not SAMPLERS[sampler].learns


def test_history_outside_the_space_is_left_out(sampler):
    space = of(L2, sampler)
    history = [({"l2": 0.5, "lr_max": 0.1}, 1.0), *peak(space)]
    points = draw(space, 3, sampler=sampler, seed=[2], history=history)
    assert points == draw(space, 3, sampler=sampler, seed=[2], history=history[1:])


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_random_draws_are_uniform_on_the_scale(scale):
    one = Range(1e-3, 1.0, scale)
    points = draw(Space({"l2": one}, {"init": ["he", "xavier"]}), 400, seed=[4])
    position = [one.position(point["l2"]) for point in points]
    assert stats.kstest(position, "uniform").pvalue > 0.01
    xavier = sum(point["init"] == "xavier" for point in points)
    assert stats.binomtest(xavier, 400).pvalue > 0.01


def test_quasi_random_draws_fill_the_range_more_evenly_than_random_ones():
    def discrepancy(sampler):
        points = [
            [[L2.ranges["l2"].position(p["l2"])] for p in draw(L2, 32, sampler=sampler, seed=[s])]
            for s in range(5)
        ]
        return np.mean([stats.qmc.discrepancy(sample) for sample in points])

    assert discrepancy("qmc") < 0.3 * discrepancy("random")


def test_optuna_is_quiet_and_its_verbosity_is_restored(capfd):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(MIXED, 3, sampler="tpe", seed=[0])
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("sampler", "package"), [("gp", "PyTorch.*pip install torch"), ("cmaes", "pip install cmaes")]
)
def test_a_sampler_without_its_package_says_what_to_do(monkeypatch, sampler, package):
    monkeypatch.setitem(sys.modules, {"gp": "torch"}.get(sampler, sampler), None)
    with pytest.raises(KlayerError, match=rf"the sampler {sampler} needs .*{package}.*or choose"):
        draw(RANGES, 2, sampler=sampler)


@pytest.mark.parametrize("space", [L2, MIXED, Space({}, {"hidden": [[8], [16]]})])
def test_a_sampler_of_ranges_refuses_other_spaces(space):
    with pytest.raises(
        KlayerError, match=r"cmaes draws numbers from 2 ranges or more, but got .*tpe"
    ):
        draw(space, 2, sampler="cmaes")
    # A study says it before anything is trained.
    with pytest.raises(KlayerError, match="the sampler cmaes draws numbers from 2 ranges"):
        Search.from_values({"stages": [{"l2": "1e-5:1e-1"}], "sampler": "cmaes"})


def test_cmaes_gathers_about_the_best_in_every_direction():
    points, values = [], []
    for batch in range(6):
        new = draw(RANGES, 10, sampler="cmaes", seed=[7, batch],
                   history=list(zip(points, values, strict=True)))  # fmt: skip
        points += new
        values += [
            -((math.log10(p["l2"]) + 2.2) ** 2) - (8 * (p["lr_max"] - 0.3)) ** 2 for p in new
        ]
    assert np.mean(values[-10:]) > 0.5 * np.mean(values[:10])  # both below 0
    best = points[int(np.argmax(values))]
    assert abs(math.log10(best["l2"]) + 2.2) < 0.5
    assert abs(best["lr_max"] - 0.3) < 0.1
