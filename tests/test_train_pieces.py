"""Every piece in training: the same bits alone, among others, by any number of workers, and resumed."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.nn.pieces.dropout import Draws, dropout_keys
from klayer.train import Engine, Feed, Member, Population, Settings, Trainer
from klayer.train.state import TrainingState

BRIEF = Settings(
    hidden=(16, 16), batch_size=50, cycles=1, half_cycle="1 epoch", points_per_cycle=4, l2=1e-3
)
PIECES = {
    "gelu": {"activation": "gelu"},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "silu": {"activation": "silu"},
    "selu": {"activation": "selu", "init": "lecun"},
    "an activation each": {"activation": ("tanh", "gelu")},
    "bn after": {"batch_norm": "all", "bn_place": "after", "bn_momentum": 0.5},
    "layer norm": {"layer_norm": "hidden"},
    "skip": {"skip": "equal"},
    "dropout": {"dropout": 0.25},
    "dropout of inputs": {"input_dropout": 0.1},
    "smoothing": {"smoothing": 0.1},
    "balanced": {"class_weights": "balanced"},
    "all": {
        "batch_norm": "all",
        "bn_place": "after",
        "skip": "equal",
        "activation": ("gelu", "silu"),
        "dropout": 0.2,
        "input_dropout": 0.1,
        "smoothing": 0.1,
        "class_weights": (1.0,) * 5 + (2.0,) * 5,
        "optimiser": "momentum",
    },
}
# What differs from network to network, where it is used at all.
OWN = ("dropout", "input_dropout", "smoothing", "bn_momentum")


def members(pieces, P=8):
    settings = replace(BRIEF, **pieces)
    return [
        Member(
            replace(
                settings,
                lr_max=0.1 / (1 + p),
                **{name: pieces[name] * (p % 4) / 3 for name in OWN if name in pieces},
            ),
            seed=p,
        )
        for p in range(P)
    ]


def trained(feed, those, workers=1, chunk=16, state=None, **more):
    population = Population(feed, those, state, chunk)
    with Engine(workers) as engine:
        Trainer(population, engine).train(**more)
    return population


def assert_same_bits(one, p, other, q):
    for group in ("params", "running", "history"):
        ours, theirs = getattr(one.state, group), getattr(other.state, group)
        for key, value in ours.items():
            assert value[p].tobytes() == theirs[key][q].tobytes(), (group, key)


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_a_network_has_the_same_bits_alone_and_in_any_population(digits32, pieces):
    those = members(pieces)
    alone = [trained(digits32, [member]) for member in those]
    assert alone[1].evaluate("test")["accuracy"][0] > 0.3
    for P, workers, chunk in itertools.product((3, 8), (1, 2), (3, 16)):
        together = trained(digits32, those[:P], workers, chunk)
        for p in range(P):
            assert_same_bits(alone[p], 0, together, p)


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_stopping_in_mid_epoch_and_going_on_gives_the_same_bits(digits32, pieces, tmp_path):
    those = members(pieces, 3)
    whole = trained(digits32, those)
    first = trained(digits32, those, until=17)
    assert first.state.update == 17
    first.state.save(tmp_path / "state.safetensors")
    second = trained(digits32, those, state=TrainingState.load(tmp_path / "state.safetensors"))
    for p in range(3):
        assert_same_bits(whole, p, second, p)


def test_a_rate_of_zero_is_no_dropout(digits32):
    with_rates = trained(digits32, members({"dropout": 0.25}))
    without = trained(digits32, [replace_rate(one) for one in members({"dropout": 0.25})])
    assert_same_bits(with_rates, 0, without, 0)
    assert with_rates.state.params["W1"][1].tobytes() != without.state.params["W1"][1].tobytes()


def replace_rate(member):
    return Member(replace(member.settings, dropout=0.0), member.seed)


def test_large_first_layers_drop_inputs_too(rng):
    from klayer.data import Dataset, Split

    X = rng.integers(0, 255, (60, 3072), dtype=np.uint8)
    data = Dataset("noise", {"train": Split(X, np.arange(60) % 3)}, ("a", "b", "c"))
    feed = Feed(data)
    settings = replace(BRIEF, batch_size=20, half_cycle=3, input_dropout=0.2)
    those = [Member(settings, seed) for seed in range(9)]
    together = trained(feed, those, 2)
    assert together.state.at_once == 1
    for p in (0, 8):
        assert_same_bits(together, p, trained(feed, [those[p]]), 0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate_and_the_expectation_stays(rate):
    out = np.empty((40, 100), bool)
    draws = Draws(dropout_keys([3])[0], rate, 1, out)
    shares, means = [], []
    for update in range(500):
        factor = draws.draw(update)
        shares.append(1 - out.mean())
        means.append(factor * out.mean())
    error = 5 / np.sqrt(500 * out.size)
    assert abs(np.mean(shares) - rate) <= error
    assert abs(np.mean(means) - 1) <= error / (1 - rate)


def test_what_is_dropped_follows_from_network_update_and_layer_alone():
    key = dropout_keys([5])[0]

    def mask(update=3, layer=1, shape=(7, 9), key=key, before=()):
        out = np.empty(shape, bool)
        draws = Draws(key, 0.5, layer, out)
        for one in (*before, update):
            draws.draw(one)
        return out.ravel().tolist()

    assert mask() == mask(before=(9, 3, 0))
    assert mask() == mask(shape=(21, 3))
    others = [mask(update=4), mask(layer=2), mask(key=dropout_keys([6])[0])]
    assert all(other != mask() for other in others)


def test_dropout_is_philox_and_so_the_same_on_every_machine():
    """The bits of Random123's own example: key and counter 0."""
    out = np.empty(64, bool)
    Draws(np.zeros(2, np.uint64), 0.5, 0, out).draw(0)
    again = np.random.Philox(key=[0, 0], counter=[0, 0, 0, 0]).random_raw(9)
    expected = [(int(word) >> shift) & 255 for word in again[1:] for shift in range(0, 64, 8)]
    assert out.tolist() == [byte >= 128 for byte in expected]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dropout": 1.0}, "0 <= dropout < 1"),
        ({"input_dropout": -0.1}, "input_dropout"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"activation": "swish"}, "unknown activation 'swish': did you mean 'silu'"),
        ({"loss": "mse"}, "unknown loss 'mse': did you mean 'squared'"),
        ({"loss": "BCE"}, "unknown loss 'BCE': did you mean 'binary_cross_entropy'"),
        ({"loss": "pinball"}, "unknown loss 'pinball': did you mean 'quantile'"),
        ({"activation": ("relu", "tahn")}, "did you mean 'tanh'"),
        ({"bn_place": "after"}, "`bn_place` has an effect with batch_norm="),
        ({"bn_momentum": 0.5}, "`bn_momentum` has an effect with batch_norm="),
        ({"huber_delta": 2.0}, "`huber_delta` has an effect with loss="),
        ({"quantiles": (0.5,)}, "`quantiles` has an effect with loss="),
        ({"loss": "quantile", "quantiles": (0.9, 0.5)}, "ascending"),
        ({"class_weights": (1.0, -1.0)}, "numbers >= 0"),
        ({"class_weights": "balance"}, "`class_weights` must be 'none', 'balanced' or numbers"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(KlayerError, match=message):
        replace(BRIEF, **settings)


def test_lists_that_do_not_fit_the_network_or_the_data_are_refused(digits32):
    for settings, message in (
        ({"activation": ("relu", "tanh", "relu")}, "one for each of the 2 hidden layers"),
        ({"class_weights": (1.0, 2.0)}, "for each of the 10 classes"),
        ({"layer_norm": "hidden", "batch_norm": "all"}, "leave one away"),
    ):
        with pytest.raises(KlayerError, match=message):
            Population(digits32, [Member(replace(BRIEF, **settings), 0)])
