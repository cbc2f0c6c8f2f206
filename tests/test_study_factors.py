"""What varies among arms, and what they are called by it."""

import itertools

import pytest

from klayer.errors import KlayerError
from klayer.study import Study
from klayer.study.arms import jobs, pack
from klayer.study.factors import factors, labels, slug
from klayer.train import Settings


def made(**grid):
    """Return the settings of a grid."""
    return [
        Settings(**dict(zip(grid, values, strict=True)))
        for values in itertools.product(*grid.values())
    ]


@pytest.mark.parametrize(
    ("grid", "names", "called"),
    [
        ({"hidden": [(8,), (16,)]}, ["width"], ["width 8", "width 16"]),
        ({"hidden": [(8,), (8, 8)]}, ["depth"], ["2-layer", "3-layer"]),
        ({"hidden": [(50, 50), (50, 30, 20)]}, ["hidden"], ["3-layer", "4-layer"]),
        ({"hidden": [(50, 30), (30, 50)]}, ["hidden"], ["[50, 30]", "[30, 50]"]),
        ({"hidden": [(), (20,)]}, ["hidden"], ["1-layer", "2-layer"]),
        ({"lr_max": [0.1, 0.01]}, ["lr_max"], ["rate 0.1", "rate 0.01"]),
        ({"batch_size": [20, 50]}, ["batch_size"], ["batch size 20", "batch size 50"]),
        ({"optimiser": ["sgd", "adam"]}, ["optimiser"], ["sgd", "adam"]),
        ({"activation": ["relu", "tanh"]}, ["activation"], ["relu", "tanh"]),
        ({"l2": [0.0, 1e-5]}, ["l2"], ["λ = 0", "λ = 1e-05"]),
        ({"init": ["he", "gaussian:0.001"]}, ["init"], ["He", "σ = 0.001"]),
        ({"batch_norm": ["none", "hidden"]}, ["batch_norm"], ["no BN", "BN"]),
        ({"batch_norm": ["hidden", "all"]}, ["batch_norm"], ["BN hidden", "BN all"]),
        ({"train_samples": [100, 200]}, ["train_samples"], ["100 rows", "200 rows"]),
        ({"dtype": ["float32", "float64"]}, ["dtype"], ["dtype float32", "dtype float64"]),
        ({"half_cycle": ["2 epochs", 30]}, ["half_cycle"], None),
        (
            {"layer_norm": ["hidden", "none"]},
            ["layer_norm"],
            ["layer normalisation hidden", "no layer normalisation"],
        ),
        ({"dropout": [0.0, 0.5]}, ["dropout"], ["dropout 0", "dropout 0.5"]),
        (
            {"class_weights": ["none", "balanced"]},
            ["class_weights"],
            ["no class weights", "class weights balanced"],
        ),
    ],
)
def test_arms_are_called_by_what_varies(grid, names, called):
    settings = made(**grid)
    found = factors(settings)
    assert [one.name for one in found] == names
    shown, _ = labels(settings)
    assert called is None or shown == called
    assert len(set(shown)) == len(shown)


def test_depth_and_width_are_two_factors_where_they_are_crossed():
    hidden = [(8,), (16,), (8, 8), (16, 16)]
    assert [one.name for one in factors(made(hidden=hidden))] == ["depth", "width"]
    # Not crossed: one of them alone would say nothing.
    assert [one.name for one in factors(made(hidden=[(8,), (16, 16)]))] == ["hidden"]


def test_numbers_ascend_and_are_told_apart_to_the_last_digit():
    found = factors(made(lr_max=[0.1, 0.02, 0.1000001]))[0]
    assert found.levels == (0.02, 0.1, 0.1000001)
    assert len(set(found.labels)) == 3
    assert found.reference == 0.02


def test_what_varies_together_is_one_factor():
    settings = [
        Settings(optimiser="sgd", lr_max=0.1),
        Settings(optimiser="momentum", lr_max=0.02),
        Settings(optimiser="adam", lr_max=0.003),
        Settings(optimiser="rmsprop", lr_max=0.003),
    ]
    (found,) = factors(settings)
    assert (found.name, found.beside, found.reference) == ("optimiser", ("lr_max",), "sgd")
    assert found.labels[0] == "sgd (rate 0.1)"


def test_a_setting_without_effect_is_no_level():
    settings = [
        Settings(optimiser="sgd"),
        Settings(optimiser="momentum", momentum=0.5),
        Settings(optimiser="momentum", momentum=0.9),
    ]
    assert labels(settings)[0][0] == "sgd"
    assert [one.name for one in factors(settings)] == ["optimiser", "momentum"]


def test_a_given_name_stays_and_equal_names_are_told_apart():
    settings = made(hidden=[(8,), (16,)])
    assert labels(settings, {1: "mine"})[0] == ["width 8", "mine"]
    assert len(set(labels([settings[0]] * 2)[0])) == 2


@pytest.mark.parametrize("text", ["λ = 1e-05", "σ = 0.1, BN", "a/b\\c:d", "../..", "Ärm", "."])
def test_a_slug_is_a_file_name(text):
    assert slug(text)
    assert not slug(text).startswith(".")
    assert not set(slug(text)) & set('/\\: "')


def test_populations_are_named_by_what_tells_them_apart():
    study = Study.from_values(
        {
            "seeds": 1,
            "settings": {"hidden": [8]},
            "grid": {"batch_size": [20, 50], "l2": [0.0, 0.1]},
        }
    )
    names = [one.name.rsplit("-", 1)[0] for one in pack(study.jobs)]
    assert names == ["batch-size-20", "batch-size-50"]
    assert [one.name for one in pack(study.jobs)] == [one.name for one in pack(study.jobs)]


def test_shared_settings_need_not_have_an_effect_on_every_arm():
    grid = {"batch_norm": ["none", "hidden"]}
    study = Study.from_values({"settings": {"bn_eps": 1e-5}, "grid": grid})
    assert [arm.settings.bn_eps for arm in study.arms] == [Settings().bn_eps, 1e-5]
    study = Study.from_values(
        {"settings": {"momentum": 0.5}, "arms": [{"optimiser": "sgd"}, {"optimiser": "momentum"}]}
    )
    assert [arm.settings.optimiser for arm in study.arms] == ["sgd", "momentum"]
    search = {"stages": [{"batch_norm": ["none", "all"]}], "settings": {"bn_eps": 1e-5}}
    assert Study.from_values({"search": search}).search.base.bn_eps == 1e-5


def test_a_grid_leaves_out_arms_that_would_be_the_same():
    grid = {"optimiser": ["sgd", "momentum"], "momentum": [0.5, 0.9]}
    study = Study.from_values({"grid": grid})
    assert [(arm.settings.optimiser, arm.settings.momentum) for arm in study.arms] == [
        ("sgd", Settings().momentum), ("momentum", 0.5), ("momentum", 0.9)
    ]  # fmt: skip


def test_what_has_no_effect_anywhere_is_still_refused():
    with pytest.raises(KlayerError, match="bn_eps"):
        Study.from_values({"settings": {"bn_eps": 1e-5}, "grid": {"hidden": [[8], [9]]}})


@pytest.mark.parametrize(
    "values", [{"grid": {"data": ["digits", "x.npz"]}}, {"arms": [{"data": "digits"}]}]
)
def test_arms_on_other_data_are_answered_with_the_way_to_do_it(values):
    with pytest.raises(KlayerError, match=r"one data set.*klayer report RUN OTHER"):
        Study.from_values(values)


def test_arms_without_a_name_are_told_apart_by_what_they_set():
    arms = [{"optimiser": "sgd"}, {"optimiser": "adam", "lr_max": 0.01}]
    study = Study.from_values({"arms": arms})
    assert len({arm.name for arm in study.arms}) == 2
    assert list(study.labels.values()) == ["sgd (rate 0.1)", "adam (rate 0.01)"]


def test_each_source_alone_follows_the_seed_and_the_others_stay():
    study = Study.from_values(
        {"seeds": [3, 4, 6], "vary": ["split", "init", "order"], "settings": {"order_seed": 10}}
    )
    assert study.vary == ("init", "order", "split")

    def of(job):
        one = job.member.settings
        return job.member.seed, one.order_seed, one.split_seed

    together = [of(job) for job in study.jobs if job.part == "arms"]
    assert together == [(3, 13, 3), (4, 14, 4), (6, 16, 6)]
    alone = [of(job) for job in study.jobs if job.part == "variance"]
    assert alone == [(4, 13, 3), (6, 13, 3), (3, 14, 3), (3, 16, 3), (3, 13, 4), (3, 13, 6)]
    assert len({job.key for job in study.jobs}) == len(study.jobs)


def test_without_other_sources_a_seed_decides_the_initial_weights_alone():
    study = Study.from_values({"seeds": 3})
    assert {job.part for job in study.jobs} == {"arms"}
    assert {job.member.settings for job in jobs(study.arms, [0, 1])} == {study.arms[0].settings}


@pytest.mark.parametrize("vary", [["order"], ["init", "init"], [], ["init", "weather"], "init"])
def test_a_wrong_list_of_sources_is_refused(vary):
    with pytest.raises(KlayerError, match="vary"):
        Study.from_values({"vary": vary})
