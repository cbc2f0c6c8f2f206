import re

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.study import Study, read_study
from klayer.study.search.options import Search
from klayer.study.search.samplers import SAMPLERS
from klayer.study.search.space import Range, Space, apply
from klayer.train import Settings


def study(search, **others):
    return Study.from_values({"search": search, **others})


def test_a_range_reads_powers_of_ten_and_scales():
    assert Range.parse("10^-3:10^-1.7") == Range(1e-3, 10**-1.7, "log")
    assert Range.parse(" 0.005 : 0.015 : linear ") == Range(0.005, 0.015, "linear")
    assert Range.parse(str(Range(1e-5, 0.3))) == Range(1e-5, 0.3)


def test_positions_are_uniform_on_the_scale():
    log, linear = Range(1e-4, 1.0), Range(-1.0, 3.0, "linear")
    assert log.position(1e-2) == pytest.approx(0.5)
    assert log.at(0.25) == pytest.approx(1e-3)
    assert linear.position(0.0) == 0.25
    assert linear.at(1.5) == 5.0
    assert log.contains(1e-4)
    assert not log.contains(1.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1e-5",
            "must read like 1e-5:1e-1, 10^-3:10^-1.7:log or 0.005:0.015:linear, but got '1e-5'",
        ),
        ("a:b", "must read like"),
        ("1:2:log:3", "must read like"),
        ("0.1:0.01", "a range must have `low < high`, but got low=0.1, high=0.01."),
        (
            "0:0.1",
            "on the log scale must have low > 0, but got low=0.0: raise it, or write 0.0:0.1:",
        ),
        ("1e-5:1e-1:logg", "unknown scale 'logg': did you mean 'log'?"),
        ("1e-5:nan", "`low < high`"),
    ],
)
def test_a_wrong_range_is_named(text, message):
    with pytest.raises(KlayerError, match=re.escape(message)):
        Range.parse(text)


def test_every_number_that_a_population_can_hold_is_searchable():
    values = {name: "0.1:0.2" for name in Settings.per_network() if name != "init"} | {
        "sigma": "0.1:1"
    }
    assert set(Space.parse(values).names) == set(values)


def test_a_space_knows_its_corners():
    space = Space.parse(
        {"lr_min": "1e-5:1e-3", "lr_max": "0.01:0.1", "batch_norm": ["none", "all"]}
    )
    corners = space.corners()
    assert {"lr_min": 1e-3, "lr_max": 0.01, "batch_norm": "none"} in corners
    assert len(corners) == 6
    assert Space.parse(space.as_dict()) == space


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"l22": "1:2"}, "stage 1: unknown parameter 'l22': did you mean 'l2'?"),
        ({"l2": "1"}, "stage 1, `l2`: a range must read like"),
        ({}, "stage 1 has nothing to search: give a range, as in l2 = '1e-5:1e-1'."),
        ({"l2": "1:2", "trials": 0}, "stage 1: `trials` must be a whole number >= 1, but got 0."),
        (
            {"batch_norm": "all"},
            "stage 1, `batch_norm`: a category must be a list of different choices, but got 'all'.",
        ),
        ({"batch_size": [10, 10]}, "must be a list of different choices, but got [10, 10]."),
        ({"sigma": "0.1:1", "init": ["he"]}, "stage 1: sigma stands for init = 'gaussian:SIGMA'"),
        ({"lr_min": "1e-3:0.2"}, "stage 1: `0 <= lr_min <= lr_max` must hold, but got lr_min=0.2"),
        ({"batch_norm": ["none", "al"]}, "stage 1: unknown batch_norm 'al': did you mean 'all'?"),
        ({"l2": "-0.1:0.1:linear"}, "stage 1: `l2` must be a number >= 0, but got l2=-0.1."),
    ],
)
def test_a_wrong_stage_is_named_with_its_place(stage, message):
    with pytest.raises(KlayerError, match=re.escape(message)):
        study({"stages": [stage]})


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {"stages": [{"l2": "1:2"}], "trial": 3},
            "search: unknown key 'trial': did you mean 'trials'?",
        ),
        ({"stages": []}, "search, `stages`: must have at least 1"),
        (
            {"stages": [{"l2": "1:2"}], "sampler": "tp"},
            "search, `sampler`: must be 'random'",
        ),
        (
            {"stages": [{"l2": "1:2"}, {"sigma": "1:2"}]},
            "all stages must search the same parameters, but stage 1 searches l2 and stage 2 "
            "searches sigma.",
        ),
        (
            {"stages": [{"l2": "1:2"}], "batch": 5},
            "`batch` is for the samplers that learn, tpe, gp and cmaes, but the sampler is random",
        ),
        (
            {"stages": [{"l2": "1:2"}], "prune": True, "settings": {"cycles": 1}},
            "`prune` drops trials after each cycle, so it needs more than one, but got cycles=1",
        ),
        (
            {"stages": [{"l2": "1:2"}], "settings": {"cycle": 1}},
            "search.settings: unknown setting 'cycle': did you mean 'cycles'?",
        ),
        ({"stages": [{"l2": "1:2"}], "keep": 1.0}, "search, `keep`: must be < 1"),
    ],
)
def test_a_wrong_search_is_named(search, message):
    with pytest.raises(KlayerError, match=re.escape(message)):
        study(search)


def test_a_study_without_a_search_says_so():
    with pytest.raises(KlayerError, match="study 'x' has no search: give it a table \\[search\\]"):
        Study.from_values({"name": "x"}).require_search()


def test_the_search_settings_win_over_the_study_settings():
    config = study(
        {"stages": [{"l2": "1:2"}], "settings": {"batch_norm": "all"}},
        settings={"batch_norm": "none", "cycles": 3},
    )
    base = config.search.base
    assert (base.batch_norm, base.cycles) == ("all", 3)


def test_parameters_become_settings():
    params = {"l2": 0.25, "sigma": 0.1, "hidden": [7], "batch_size": 3}
    assert apply(Settings(), params) == Settings(
        hidden=(7,), batch_size=3, l2=0.25, init="gaussian:0.1"
    )


def test_only_learning_samplers_draw_in_batches():
    stages = [{"l2": "1:2", "lr_max": "0.01:0.5"}]
    sizes = {
        name: Search.from_values({"stages": stages, "sampler": name}).batch_size
        for name in SAMPLERS
    }
    assert sizes == {"random": None, "qmc": None, "tpe": 10, "gp": 10, "cmaes": 10}


@pytest.mark.parametrize("preset", ["report", "quick"])
def test_the_presets_hold_the_published_stages(preset):
    search = read_study(preset).search
    base = search.base
    exponents = [(-5, -1), (-3, -1.7), (-3, -1.5)]
    for stage, (low, high) in enumerate(exponents, start=1):
        one = search.space(stage).ranges["l2"]
        assert one.scale == "log"
        assert np.log10([one.low, one.high]) == pytest.approx([low, high])
    assert search.space(4).ranges["l2"] == Range(0.005, 0.015, "linear")
    assert [search.trials_of(stage) for stage in (1, 2, 3, 4)] == [30] * 4
    assert (base.hidden, base.batch_norm, base.init, base.cycles) == ((50, 50), "hidden", "he", 2)
    assert search.finalists.model_dump() == {"top": 2, "cycles": 7, "seeds": 3}
    assert (search.sampler, search.seeds, search.prune) == ("random", 1, False)
