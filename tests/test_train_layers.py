"""Normalisation and dropout layer by layer, as users say it: by the numbers of the layers."""

import numpy as np
import pytest
from typer.testing import CliRunner

import klayer as kl
from klayer.errors import KlayerError
from klayer.nn import Network
from klayer.nn.pieces import Dropout
from klayer.study import Study, describe
from klayer.train import Settings
from klayer.train.laid_over import laid_over

BRIEF = {"hidden": (8, 8, 8), "cycles": 1, "half_cycle": "6 updates", "batch_size": 20}


@pytest.mark.parametrize(
    ("given", "found"),
    [([1, 3], (1, 3)), ("3,1", (1, 3)), ("1", (1,)), (2, (2,)), ((4,), (4,)), ("all", "all")],
)
def test_layers_are_numbers_or_a_word(given, found):
    settings = Settings(hidden=(8, 8, 8), batch_norm=given)
    assert settings.batch_norm == found
    assert Settings.from_values(settings.as_dict()) == settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_norm": [5]}, "numbers of layers, from 1 to 4, but got"),
        ({"batch_norm": "0,1"}, "numbers of layers, from 1 on, as in 1,3, but got 0,1."),
        ({"batch_norm": "-1"}, "numbers of layers, from 1 on, as in 1,3, but got -1."),
        ({"batch_norm": (9,)}, "numbers of layers, from 1 to 4, but got 9."),
        ({"dropout_layers": (0,)}, "numbers of layers, from 1 on, as in 1,3, but got 0."),
        ({"layer_norm": "hidden", "batch_norm": "hidden"}, "leave one away"),
        ({"batch_norm": [1.5]}, "numbers of layers, from 1 on"),
        ({"batch_norm": []}, "numbers of layers, from 1 on"),
        ({"batch_norm": [2, 2]}, "must name each layer once"),
        ({"batch_norm": "hiden"}, "did you mean 'hidden'"),
        ({"layer_norm": [4]}, "from 1 to 3"),
        ({"layer_norm": [2], "batch_norm": "1,2"}, "or layer normalisation, but got"),
        ({"dropout_layers": [4], "dropout": 0.1}, "from 1 to 3"),
        ({"dropout_layers": "all"}, "unknown dropout_layers 'all'"),
        ({"dropout_layers": "1:0.5,4"}, "from 1 to 3"),
        ({"dropout_layers": "0:0.5"}, "from 1 on"),
        (
            {"dropout_layers": "1:0"},
            "its share of the rate > 0 and <= 1, as in 1:0.5,3, but got '1:0'",
        ),
        ({"dropout_layers": "1:1.5,2"}, "> 0 and <= 1"),
        ({"dropout_layers": "1:nan"}, "> 0 and <= 1"),
        ({"dropout_layers": "1:half"}, "> 0 and <= 1"),
        ({"dropout_layers": "0.5,0.3"}, "numbers of layers with commas, as in 1,3"),
        ({"dropout_layers": "0,1"}, "from 1 on"),
        ({"dropout_layers": "hiden"}, "did you mean 'hidden'"),
        ({"dropout_layers": "1:,2"}, "> 0 and <= 1"),
        ({"dropout_layers": "1:0.5,1"}, "must name each layer once"),
        ({"dropout_layers": ["hidden:0.5"]}, "as in 1:0.5,3"),
        ({"dropout_layers": [1.5, "2:0.5"]}, "as in 1:0.5,3"),
        ({"batch_norm": [2], "batch_size": 1}, "at least two samples"),
    ],
)
def test_a_slip_is_said_with_its_rule(given, said):
    with pytest.raises(KlayerError) as found:
        Settings(**{**BRIEF, **given})
    assert said in str(found.value)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("3,1:0.5", "1:0.5,3"),
        (" 1 : 5e-1 , 3:1", "1:0.5,3"),
        ([3, "1:0.5"], "1:0.5,3"),
        (("1:0.5",), "1:0.5"),
        ("1:1,3", (1, 3)),
        ("hidden", "hidden"),
    ],
)
def test_a_layer_may_have_a_share_of_the_rate(given, found):
    settings = Settings(hidden=(8, 8, 8), dropout=0.4, dropout_layers=given)
    assert settings.dropout_layers == found
    assert Settings.from_values(settings.as_dict()) == settings


def test_the_rate_of_a_layer_is_its_share_of_the_rate_of_each_network():
    chosen = {"dropout": [0.4, 0.8], "dropout_layers": ["3:0.25,1"]}
    study = Study.from_values({"settings": BRIEF, "grid": chosen})
    members = [kl.Member(arm.settings, 0) for arm in study.arms]
    assert len({one.settings.shared for one in members}) == 1
    population = kl.Population(kl.Feed(kl.load("digits")), members)
    numbers = population.numbers_of(slice(None))
    pieces = [one for one in population.network.pieces if isinstance(one, Dropout)]
    rates = {one.layer: one.rate(numbers).tolist() for one in pieces}
    assert rates == {1: [0.4, 0.8], 3: [0.1, 0.2]}


def test_half_of_a_rate_is_half_the_rate():
    half, whole = (
        kl.fit("digits", Settings(**BRIEF, dropout=rate, dropout_layers=layers), seeds=[1])
        for rate, layers in ((0.5, "1:0.5,2:0.5,3:0.5"), (0.25, "hidden"))
    )
    for key, value in half.state.params.items():
        assert np.array_equal(value, whole.state.params[key])


def test_numbers_of_layers_mean_what_the_words_mean():
    for said, words in (((1, 2, 3), "hidden"), ((1, 2, 3, 4), "all")):
        by_number = Network(5, (4, 4, 4), 3, batch_norm=said)
        assert by_number.pieces == Network(5, (4, 4, 4), 3, batch_norm=words).pieces
    layers = Network(5, (4, 4, 4), 3, layer_norm=[1, 2, 3], drops_hidden=[1, 2, 3]).pieces
    assert layers == Network(5, (4, 4, 4), 3, layer_norm="hidden", drops_hidden=True).pieces


def test_a_network_has_its_pieces_where_they_were_asked_for():
    chosen = {"batch_norm": [2], "layer_norm": [1], "dropout": 0.2, "dropout_layers": [3]}
    population = kl.fit("digits", Settings(**BRIEF, **chosen), seeds=2)
    kinds = [one.describe() for one in population.network.pieces]
    where = {kind: [one["layer"] for one in kinds if one["piece"] == kind] for kind in
             ("batch_norm", "layer_norm", "dropout")}  # fmt: skip
    assert where == {"batch_norm": [2], "layer_norm": [1], "dropout": [3]}
    alone = kl.fit("digits", Settings(**BRIEF, **chosen), seeds=[1])
    for key, value in alone.state.params.items():
        assert np.array_equal(value[0], population.state.params[key][1])


def test_arms_are_told_apart_by_their_layers():
    study = Study.from_values({"grid": {"batch_norm": ["none", "hidden", [1], [2]]}})
    assert list(study.labels.values()) == ["no BN", "BN hidden", "BN [1]", "BN [2]"]
    assert describe(Settings(batch_norm=[1])) == "3-layer [50, 50], BN [1], he"


def test_what_goes_with_normalisation_goes_with_that_of_some_layers():
    assert Settings(batch_norm=[2], bn_eps=1e-3, bn_momentum=0.5).network(4, 3).bn_eps == 1e-3


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "dropout_layers"])
@pytest.mark.parametrize(
    "text", ["1-3", "1;2", "1 2", "1:3", "[1,2]", "(1,)", "", "1,", "1.5", "some"]
)
def test_what_is_no_list_of_layers_is_told_how_one_is_written(name, text):
    with pytest.raises(KlayerError, match="or numbers of layers with commas, as in 1,3.$"):
        Settings(**{name: text})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss": "quantile", "quantiles": "0.1;0.5"}, "ascending, as in 0.1,0.5,0.9, but got"),
        ({"loss": "quantile", "quantiles": "0.1-0.5"}, "ascending, as in 0.1,0.5,0.9, but got"),
        ({"class_weights": "1;2"}, "one a class, as in 1,2.5, but got"),
        ({"class_weights": "1-2"}, "one a class, as in 1,2.5, but got"),
        ({"activation": "relu;tanh"}, "one for each hidden layer, as in relu,tanh"),
        ({"augment": "mirror;crop:2"}, "or several with commas, as in mirror,crop:4"),
        ({"hidden": "5-3"}, "as in [10, 20], but got"),
        ({"hidden": (5, 0)}, "but got hidden=[5, 0]."),
    ],
)
def test_a_list_of_another_form_is_told_its_own(given, said):
    with pytest.raises(KlayerError) as found:
        Settings(**given)
    assert said in str(found.value)


@pytest.mark.parametrize("hidden", [(50, 30), (50,), (), (8, 4, 8)])
def test_skips_that_skip_nothing_are_refused(hidden):
    with pytest.raises(KlayerError, match="`skip` has an effect with a hidden layer as wide as"):
        Settings(skip="equal", hidden=hidden)
    shared = {"skip": "equal"}  # need not have an effect on every arm
    grid = {"hidden": [[8, 8], list(hidden)]}
    arms = Study.from_values({"settings": shared, "grid": grid}).arms
    assert [arm.settings.skip for arm in arms] == ["equal", "none"]
    stored = {"skip": "equal", "hidden": list(hidden)}  # by a version that took it
    assert Settings.from_stored(stored, "run.json").skip == "none"


@pytest.mark.parametrize(
    ("before", "own", "found"),
    [
        ({"batch_norm": "hidden", "bn_eps": 1e-3}, {"layer_norm": "hidden"}, {"layer_norm": "hidden"}),
        ({"layer_norm": [1]}, {"batch_norm": "all"}, {"batch_norm": "all"}),
        ({"batch_norm": [1]}, {"layer_norm": "1,2"}, {"layer_norm": "1,2"}),
        ({"batch_norm": [1]}, {"layer_norm": [2]}, {"batch_norm": [1], "layer_norm": [2]}),
        ({"batch_norm": "all"}, {"layer_norm": "none"}, {"batch_norm": "all", "layer_norm": "none"}),
        ({"skip": "equal", "hidden": [5, 5]}, {"hidden": [5, 4]}, {"hidden": [5, 4]}),
        ({"optimiser": "adam", "beta2": 0.9}, {"optimiser": "sgd"}, {"optimiser": "sgd"}),
        # A slip of what was there before stays, to be refused.
        ({"bn_eps": 1e-3}, {"l2": 0.1}, {"bn_eps": 1e-3, "l2": 0.1}),
        ({"batch_norm": "hiden"}, {"layer_norm": "hidden"},
         {"batch_norm": "hiden", "layer_norm": "hidden"}),
    ],
)  # fmt: skip
def test_what_is_said_later_is_meant(before, own, found):
    assert laid_over(before, own) == found


def test_layer_normalisation_that_is_named_takes_the_place_of_a_default(tmp_path, monkeypatch, rng):
    from klayer.cli.app import app

    monkeypatch.chdir(tmp_path)
    brief = ["--hidden", "4", "--cycles", "1", "--half-cycle", "1 updates", "--no-report", "-q"]
    args = ["train", "--preset", "small", "--data", "digits", "--augment", "none", *brief, "--out"]
    result = CliRunner().invoke(app, [*args, "a", "--layer-norm", "hidden"])
    assert result.exit_code == 0, result.output
    [record] = kl.Run("a").networks
    assert (record.settings.batch_norm, record.settings.layer_norm) == ("none", "hidden")
    both = ["b", "--layer-norm", "hidden", "--batch-norm", "hidden"]
    refused = CliRunner().invoke(app, [*args, *both]).exception
    assert "leave one away" in str(refused)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    chosen = {"hidden": (4,), "epochs": 1, "random_state": 0}
    model = kl.KLayerClassifier(layer_norm="hidden", **chosen).fit(X, y)
    assert (model.model_.network.batch_norm, model.model_.network.layer_norm) == ("none", "hidden")
    with pytest.raises(KlayerError, match="leave one away"):
        kl.KLayerClassifier(layer_norm="hidden", batch_norm="all", **chosen).fit(X, y)
    steps = [{}, {"batch_norm": "hidden"}, {"layer_norm": "hidden"}, {"batch_norm": "all"}]
    arms = [arm.settings for arm in Study.from_values({"steps": steps}).arms]
    assert [(one.batch_norm, one.layer_norm) for one in arms] == [
        ("none", "none"), ("hidden", "none"), ("none", "hidden"), ("all", "none")
    ]  # fmt: skip
    with pytest.raises(KlayerError, match="^settings: .*leave one away"):
        Study.from_values({"settings": {"batch_norm": "hidden", "layer_norm": "hidden"}})
