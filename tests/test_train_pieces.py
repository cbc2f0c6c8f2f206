"""Every piece in training: the same bits alone, among others, by any number of workers, and resumed."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.nn import Batch, Network
from klayer.nn.pieces.dropout import Draws
from klayer.nn.pieces.noise import NoiseDraws, normal_numbers
from klayer.nn.pieces.random_words import draw_keys
from klayer.train import Engine, Feed, Member, Population, Settings, Trainer
from klayer.train.population import SWITCHES
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
    "dropout by shares": {"dropout": 0.25, "dropout_layers": "1:0.5,2"},
    "dropout of inputs": {"input_dropout": 0.1},
    "noise": {"input_noise": 0.3},
    "smoothing": {"smoothing": 0.1},
    "balanced": {"class_weights": "balanced"},
    "all": {
        "batch_norm": "all",
        "bn_place": "after",
        "skip": "equal",
        "activation": ("gelu", "silu"),
        "dropout": 0.2,
        "input_dropout": 0.1,
        "input_noise": 0.2,
        "smoothing": 0.1,
        "class_weights": (1.0,) * 5 + (2.0,) * 5,
        "optimiser": "momentum",
    },
}
# What differs from network to network, where it is used at all.
OWN = ("dropout", "input_dropout", "input_noise", "smoothing", "bn_momentum")


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


@pytest.mark.parametrize("name", SWITCHES)
def test_a_number_of_zero_is_as_if_nobody_had_the_piece(digits32, name):
    those = members({name: 0.25})
    with_piece = trained(digits32, those)
    without = trained(
        digits32, [Member(replace(one.settings, **{name: 0.0}), one.seed) for one in those]
    )
    assert_same_bits(with_piece, 0, without, 0)
    assert with_piece.state.params["W1"][1].tobytes() != without.state.params["W1"][1].tobytes()


@pytest.mark.parametrize("name", ["input_dropout", "input_noise"])
def test_large_first_layers_have_inputs_of_their_own_too(rng, name):
    from klayer.data import Dataset, Split

    X = rng.integers(0, 255, (60, 3072), dtype=np.uint8)
    data = Dataset("noise", {"train": Split(X, np.arange(60) % 3)}, ("a", "b", "c"))
    feed = Feed(data)
    settings = replace(BRIEF, batch_size=20, half_cycle=3, **{name: 0.2})
    those = [Member(settings, seed) for seed in range(9)]
    together = trained(feed, those, 2)
    assert together.state.at_once == 1
    for p in (0, 8):
        assert_same_bits(together, p, trained(feed, [those[p]]), 0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate_and_the_expectation_stays(rate):
    out = np.empty((40, 100), bool)
    draws = Draws(draw_keys([3])[0], rate, 1, out)
    shares, means = [], []
    for update in range(500):
        factor = draws.draw(update)
        shares.append(1 - out.mean())
        means.append(factor * out.mean())
    error = 5 / np.sqrt(500 * out.size)
    assert abs(np.mean(shares) - rate) <= error
    assert abs(np.mean(means) - 1) <= error / (1 - rate)


def test_what_is_dropped_follows_from_network_update_and_layer_alone():
    key = draw_keys([5])[0]

    def mask(update=3, layer=1, shape=(7, 9), key=key, before=()):
        out = np.empty(shape, bool)
        draws = Draws(key, 0.5, layer, out)
        for one in (*before, update):
            draws.draw(one)
        return out.ravel().tolist()

    assert mask() == mask(before=(9, 3, 0))
    assert mask() == mask(shape=(21, 3))
    others = [mask(update=4), mask(layer=2), mask(key=draw_keys([6])[0])]
    assert all(other != mask() for other in others)


def test_dropout_is_philox_and_so_the_same_on_every_machine():
    """The bits of Random123's own example: key and counter 0."""
    out = np.empty(64, bool)
    Draws(np.zeros(2, np.uint64), 0.5, 0, out).draw(0)
    again = np.random.Philox(key=[0, 0], counter=[0, 0, 0, 0]).random_raw(9)
    expected = [(int(word) >> shift) & 255 for word in again[1:] for shift in range(0, 64, 8)]
    assert out.tolist() == [byte >= 128 for byte in expected]


def test_noise_is_normal_to_the_steps_of_its_table():
    from scipy.stats import norm

    table = normal_numbers(np.float64)
    assert (table == -table[::-1]).all()
    assert (np.diff(table) > 0).all()
    # A step of the table's distribution is 2^-16; scaling it to a deviation of 1 adds a little.
    shares = (np.arange(len(table)) + 0.5) / len(table)
    assert np.abs(norm.cdf(table) - shares).max() < 2**-16
    moments = [np.mean(table**k) for k in (2, 4, 6)]
    np.testing.assert_allclose(moments, [1, 3, 15], rtol=1e-2)


def test_noise_is_uncorrelated_from_unit_to_unit_update_to_update_and_network_to_network():
    out, drawn = np.empty((50, 40)), []
    for key in draw_keys([3, 4]):
        draws = NoiseDraws(key, 0, out)
        for update in (0, 1, 2):
            draws.draw(update)
            drawn.append(out.ravel().copy())
    drawn += [np.roll(drawn[0], 1), np.roll(drawn[0], 40)]
    found = np.corrcoef(drawn)
    assert np.abs(found[np.triu_indices(len(drawn), 1)]).max() < 5 / np.sqrt(out.size)
    assert abs(np.mean(drawn)) < 5 / np.sqrt(6 * out.size)
    assert np.std(drawn[:6]) == pytest.approx(1, abs=5 / np.sqrt(12 * out.size))


def test_noise_follows_from_network_update_and_layer_alone():
    def noise(update=3, seed=5, layer=0, before=()):
        out = np.empty((7, 9), np.float32)
        draws = NoiseDraws(draw_keys([seed])[0], layer, out)
        for one in (*before, update):
            draws.draw(one)
        return out.tolist()

    assert noise() == noise(before=(9, 3, 0))
    assert all(other != noise() for other in (noise(update=4), noise(seed=6), noise(layer=1)))


def test_noise_is_philox_and_so_the_same_on_every_machine():
    """The bits of NumPy's own Philox, beside those that dropout has: the counter's last word is 1."""
    out = np.empty(64)
    NoiseDraws(np.zeros(2, np.uint64), 0, out).draw(2)
    again = np.random.Philox(key=[0, 0], counter=[0, 2, 0, 1]).random_raw(16)
    chosen = [(int(word) >> shift) & 0xFFFF for word in again for shift in range(0, 64, 16)]
    assert out.tolist() == normal_numbers(np.float64)[chosen].tolist()


def test_noise_is_on_the_inputs_in_training_alone(rng):
    network = Network(5, (4,), 3, activation="tanh", noisy_inputs=True)
    params = network.init("he", [0, 1], np.float64)
    x, running = rng.standard_normal((6, 5)), network.init_running(2, np.float64)
    plain = replace(network, noisy_inputs=False)
    answers = network.predict(params, x, running)
    assert (answers == plain.predict(params, x, running)).all()
    numbers = {"input_noise": np.array([0.0, 0.5])}
    noisy, clean = (
        one.plan(params, Batch(x, np.zeros(6, int)), numbers=numbers).forward().copy()
        for one in (network, plain)
    )
    assert (noisy[0] == clean[0]).all()
    assert (noisy[1] != clean[1]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_noise": -0.1}, "`input_noise` must be >= 0, but got input_noise=-0.1"),
        ({"input_noise": "a lot"}, "`input_noise` must be a number >= 0"),
        ({"input_noise": float("nan")}, "`input_noise` must be >= 0"),
        ({"input_noise": float("inf")}, "`input_noise` must be a finite number >= 0"),
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
