"""Normalisation and dropout layer by layer, as users say it: by the numbers of the layers."""

import numpy as np
import pytest

import klayer as kl
from klayer.errors import KlayerError
from klayer.nn import Network
from klayer.nn.pieces import Dropout
from klayer.study import Study, describe
from klayer.train import Settings

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
        ({"batch_norm": "0,1"}, "numbers of layers, from 1 on, but got"),
        ({"batch_norm": "-1"}, "numbers of layers, from 1 on, but got"),
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
            "shares of the rate that are > 0 and <= 1, as in 1:0.5,3, but got",
        ),
        ({"dropout_layers": "1:1.5,2"}, "> 0 and <= 1"),
        ({"dropout_layers": "1:nan"}, "> 0 and <= 1"),
        ({"dropout_layers": "1:half"}, "> 0 and <= 1"),
        ({"dropout_layers": "0.5,0.3"}, "as in 1:0.5,3, but got '0.5,0.3'"),
        ({"dropout_layers": "0,1"}, "from 1 on"),
        ({"dropout_layers": "hiden"}, "did you mean 'hidden'"),
        ({"dropout_layers": "1:,2"}, "> 0 and <= 1"),
        ({"dropout_layers": "1:0.5,1"}, "each once"),
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
