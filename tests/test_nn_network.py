import json
import subprocess
import sys

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.nn import ACTIVATIONS, BATCH_NORM, Batch, Initialiser, Network, draw_keys
from klayer.nn.first_layer import lay_out
from klayer.nn.pieces.dropout import Draws
from klayer.nn.pieces.noise import NoiseDraws
from pieces import PIECES

HIDDEN = [(), (6,), (6, 5), (7, 6, 5, 4, 4, 4, 4, 4)]


def problem(rng, features=8, classes=3, n=20):
    return rng.standard_normal((n, features)), rng.integers(0, classes, n)


def torch_cost_and_grads(network, params, p, x, labels, l2, drop=lambda layer, h: h):
    """Cost and gradient of network p by PyTorch's automatic differentiation, in float64."""
    import torch

    leaf = {key: torch.tensor(value[p], requires_grad=True) for key, value in params.items()}
    functions = torch.nn.functional

    def normalised(layer, h):
        gamma, beta = leaf[f"gamma{layer}"], leaf[f"beta{layer}"]
        return functions.batch_norm(h, None, None, gamma, beta, True, eps=network.bn_eps)

    h = drop(0, torch.tensor(x))
    for layer in range(1, network.depth + 1):
        below, hidden = h, layer < network.depth
        after = hidden and network.normalises(layer) and network.bn_place == "after"
        h = h @ leaf[f"W{layer}"]
        if f"b{layer}" in leaf:
            h = h + leaf[f"b{layer}"]
        if network.normalises(layer) and not after:
            h = normalised(layer, h)
        if hidden:
            if network.layer_norm == "hidden" or layer in list(network.layer_norm):
                gamma, beta = leaf[f"gamma{layer}"], leaf[f"beta{layer}"]
                h = functions.layer_norm(h, h.shape[1:], gamma, beta, eps=network.bn_eps)
            name = network.activations[layer - 1]
            if name == "gelu_tanh":
                h = functions.gelu(h, approximate="tanh")
            else:
                h = getattr(functions, name)(h)
            if after:
                h = normalised(layer, h)
            h = drop(layer, h)
            if network.skip == "equal" and layer > 1 and below.shape == h.shape:
                h = h + below
    loss = torch.nn.functional.cross_entropy(h, torch.tensor(labels))
    penalty = l2 * sum((leaf[key] ** 2).sum() for key in leaf if key.startswith("W"))
    (loss + penalty).backward()
    return loss.item(), penalty.item(), {key: value.grad.numpy() for key, value in leaf.items()}


@pytest.mark.parametrize("batch_norm", BATCH_NORM)
@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_cost_and_gradients_match_pytorch(activation, hidden, batch_norm, rng):
    pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    network = Network(8, hidden, 3, batch_norm, activation=activation)
    params = network.init(["he", "xavier", "gaussian:0.5"], [0, 1, 2], np.float64)
    for value in params.values():
        value += 0.1 * rng.standard_normal(value.shape)
    x, labels = problem(rng)
    l2 = [0.0, 0.1, 1.0]
    loss, penalty, grads = network.loss_and_grads(params, x, labels, l2)
    for p in range(3):
        expected = torch_cost_and_grads(network, params, p, x, labels, l2[p])
        assert loss[p] == pytest.approx(expected[0], rel=1e-12)
        assert penalty[p] == pytest.approx(expected[1], rel=1e-12)
        for key, value in expected[2].items():
            np.testing.assert_allclose(grads[key][p], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_all_pieces_match_pytorch(pieces, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    network = Network(8, (6, 6, 6, 5), 3, **pieces)
    params = network.init(["he", "lecun", "gaussian:0.5"], [0, 1, 2], np.float64)
    for value in params.values():
        value += 0.1 * rng.standard_normal(value.shape)
    x, labels = problem(rng)
    rates, update = np.array([0.0, 0.3, 0.6]), 5
    numbers = {
        "dropout": rates,
        "input_dropout": rates / 2,
        "input_noise": rates[::-1],
        "draw_key": draw_keys([0, 1, 2]),
    }
    grads = {}
    batch = Batch(x, labels, update)
    plan = network.plan(
        params,
        batch,
        use=lambda key, g: lambda: grads.update({key: g.value().copy()}),
        numbers=numbers,
    )
    assert plan.update()
    assert grads.keys() == params.keys()
    for p in range(3):

        def drop(layer, h, p=p):
            if network.noisy_inputs and not layer:
                noise = np.empty(x.shape)
                NoiseDraws(numbers["draw_key"][p], 0, noise).draw(update)
                h = h + torch.tensor(rates[2 - p] * noise)
            where = network.drops_hidden
            drops = layer in where if isinstance(where, tuple) else where
            drops = drops if layer else network.drops_inputs
            if not drops or layer == network.depth:
                return h
            out = np.empty(h.shape, bool)
            rate = rates[p] if layer else rates[p] / 2
            if network.dropout_shares and layer:
                rate *= network.dropout_shares[where.index(layer)]
            factor = Draws(numbers["draw_key"][p], rate, layer, out).draw(update)
            return h * torch.tensor(out) * factor

        loss, _, expected = torch_cost_and_grads(network, params, p, x, labels, 0.0, drop)
        assert plan.losses()[p] == pytest.approx(loss, rel=1e-12)
        for key, value in expected.items():
            np.testing.assert_allclose(grads[key][p], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_a_network_of_any_pieces_is_described_and_made_again(pieces):
    network = Network(8, (6, 6, 6, 5), 3, **pieces)
    described = json.loads(json.dumps(network.describe()))
    assert Network.from_description(described) == network


def test_what_an_older_version_described_is_the_same_network():
    """Written by a version that knew no other pieces than these."""
    old = {
        "n_features": 4, "hidden": [3], "n_classes": 2, "batch_norm": "hidden", "bn_eps": 1e-8,
        "activation": "relu", "loss": "softmax_cross_entropy",
        "pieces": [
            {"piece": "affine", "layer": 1, "fan_in": 4, "fan_out": 3, "bias": False},
            {"piece": "batch_norm", "layer": 1, "width": 3, "eps": 1e-8},
            {"piece": "relu", "layer": 1, "width": 3},
            {"piece": "affine", "layer": 2, "fan_in": 3, "fan_out": 2, "bias": True},
        ],
    }  # fmt: skip
    network = Network.from_description(old)
    assert network == Network(4, (3,), 2, "hidden")
    assert network.describe() == old


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": ("relu", "tanh", "relu")}, "one for each of the 2 hidden layers"),
        ({"activation": ("relu", "tahn")}, "did you mean 'tanh'"),
        ({"activation": "swish"}, "unknown activation"),
        ({"layer_norm": "hidden", "batch_norm": "all"}, "leave one away"),
        ({"bn_place": "behind"}, "unknown bn_place"),
        ({"skip": "all"}, "unknown skip"),
        ({"loss": "quantile"}, "`quantiles` must be"),
        ({"loss": "squared", "quantiles": (0.5,)}, "`quantiles` must be"),
        ({"loss": "quantile", "quantiles": (0.9, 0.1)}, "`quantiles` must be"),
        ({"loss": "squered"}, "did you mean 'squared'"),
        ({"drops_hidden": True, "dropout_shares": (0.5, 1)}, "one number for each layer in"),
        ({"drops_hidden": (1, 2), "dropout_shares": (0.5,)}, "one number for each layer in"),
        ({"drops_hidden": (1, 2), "dropout_shares": (0.5, 1.5)}, "must be > 0 and <= 1"),
        ({"drops_hidden": (1, 2), "dropout_shares": (0.5, 0)}, "must be > 0 and <= 1"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(change, message):
    with pytest.raises(KlayerError, match=message):
        Network(4, (5, 5), 3, **change)


def test_large_layers_are_treated_one_network_at_a_time_with_the_same_result(rng, monkeypatch):
    network = Network(8, (6, 5), 3)
    params = network.init("he", [0, 1, 2], np.float64)
    x, labels = problem(rng)
    stacked = network.loss_and_grads(params, x, labels, 0.1)[2]
    monkeypatch.setattr("klayer.nn.gradients.LANEWISE_BYTES", 0)
    lanewise = network.loss_and_grads(params, x, labels, 0.1)[2]
    for key, value in stacked.items():
        np.testing.assert_allclose(value, lanewise[key], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("features", [8, 900], ids=["small", "large"])
def test_the_gradient_does_not_depend_on_how_weights_lie_in_memory(rng, features):
    network = Network(features, (40, 30), 3, batch_norm="hidden")
    params = network.init("he", [0, 1, 2], np.float64)
    x, labels = rng.standard_normal((9, features)), rng.integers(0, 3, 9)
    by_rows = network.loss_and_grads(params, x, labels, 0.1)
    turned = {key: lay_out(value) if "W" in key else value for key, value in params.items()}
    by_columns = network.loss_and_grads(turned, x, labels, 0.1)
    for one, other in zip(by_rows[:2], by_columns[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    for key, value in by_rows[2].items():
        np.testing.assert_allclose(by_columns[2][key], value, rtol=1e-9, atol=1e-12)


def test_init_depends_on_the_seed_alone_and_scales_one_draw():
    network = Network(9, (5,), 3)
    alone = network.init("he", [7])
    among = network.init(["gaussian:0.5", "he"], [7, 7])
    assert all((alone[key][0] == among[key][1]).all() for key in alone)
    np.testing.assert_allclose(among["W1"][0] / 0.5, among["W1"][1] / np.sqrt(2 / 9), rtol=1e-6)
    assert not (network.init("he", [8])["W1"] == alone["W1"]).any()


@pytest.mark.parametrize(
    ("init", "variance"), [("he", 2 / 500), ("xavier", 1 / 500), ("gaussian:0.3", 0.09)]
)
def test_initial_weights_have_the_stated_width(init, variance):
    W = Network(500, (200,), 2).init(init, [0], np.float64)["W1"]
    assert W.var() == pytest.approx(variance, rel=0.02)
    assert abs(W.mean()) < 4 * np.sqrt(variance / W.size)


def test_layers_with_batch_norm_have_no_bias():
    assert set(Network(4, (3, 3), 2, "all").shapes()) == {
        f"{kind}{layer}" for kind in ("W", "gamma", "beta") for layer in (1, 2, 3)
    }
    assert "b3" in Network(4, (3, 3), 2, "hidden").shapes()


def test_running_statistics_start_with_the_first_batch_then_decay(rng):
    network = Network(3, (2,), 2, "hidden")
    params, running = network.init("he", [0], np.float64), network.init_running(1, np.float64)
    means = []
    for update in (0, 1):
        x = rng.standard_normal((10, 3)) + 1
        s = x @ params["W1"][0]
        means.append((s.mean(0), s.var(0)))
        batch = Batch(x, np.zeros(10, int), update)
        plan = network.plan(params, batch, running=running, use=lambda *_: lambda: None)
        assert plan.update()
    expected_mean = 0.9 * means[0][0] + 0.1 * means[1][0]
    expected_var = 0.9 * means[0][1] + 0.1 * means[1][1]
    np.testing.assert_allclose(running["running_mean1"][0], expected_mean)
    np.testing.assert_allclose(running["running_var1"][0], expected_var)


def test_inference_does_not_update_running_statistics(rng):
    network = Network(3, (2,), 2, "all")
    params, running = network.init("he", [0]), network.init_running(1)
    before = {key: value.copy() for key, value in running.items()}
    network.predict(params, rng.standard_normal((5, 3)).astype(np.float32), running)
    assert all((running[key] == before[key]).all() for key in before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_every_dtype_is_kept(dtype, rng):
    network = Network(4, (3,), 2, "hidden")
    x, labels = problem(rng, 4, 2)
    loss, penalty, grads = network.loss_and_grads(network.init("he", [0, 1], dtype), x, labels, 0.1)
    assert loss.dtype == penalty.dtype == dtype
    assert {value.dtype for value in grads.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_norm": "hiden"}, "unknown batch_norm 'hiden': did you mean 'hidden'"),
        ({"hidden": (3, 0)}, r"`hidden` must be >= 1, but got \(?\[?3, 0"),
        ({"n_classes": 1}, "`n_classes` must be >= 2"),
        ({"n_features": 0}, "`n_features` must be >= 1"),
        ({"bn_eps": 0.0}, "`1e-30 <= bn_eps < 1` must hold, but got bn_eps=0.0"),
        ({"activation": "rellu"}, "unknown activation 'rellu': did you mean 'relu'"),
        ({"loss": "hinge"}, "unknown loss 'hinge': Known: softmax_cross_entropy"),
    ],
)
def test_a_wrong_architecture_is_refused(change, message):
    with pytest.raises(KlayerError, match=message):
        Network(**{"n_features": 4, "hidden": (3,), "n_classes": 2, **change})


def test_a_stored_network_names_its_pieces():
    network = Network(4, (3,), 2, "hidden", activation="tanh")
    stored = network.describe()
    assert [one["piece"] for one in stored["pieces"]] == ["affine", "batch_norm", "tanh", "affine"]
    assert Network.from_description(stored) == network


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pieces": [{"piece": "mish"}]}, "unknown piece 'mish'"),
        ({"pieces": []}, "must be those of its architecture"),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"shortcut": True}, "unknown property 'shortcut'"),
    ],
)
def test_a_stored_network_that_this_version_does_not_know_is_refused(change, message):
    stored = {**Network(4, (3,), 2).describe(), **change}
    with pytest.raises(KlayerError, match=message) as error:
        Network.from_description(stored)
    assert "later version" in str(error.value)


def test_a_stored_network_that_lacks_a_property_is_refused():
    stored = Network(4, (3,), 2).describe()
    del stored["hidden"]
    with pytest.raises(KlayerError, match="must have all of .*hidden.*damaged"):
        Network.from_description(stored)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hee", "unknown initialiser 'hee': did you mean 'he'"),
        ("gaussian", "needs a sigma > 0, but got None"),
        ("gaussian:-1", "needs a sigma > 0, but got -1.0"),
        ("gaussian:x", "needs a number after the colon, but got 'x'"),
        ("he:1", "takes no sigma, but got 1.0"),
    ],
)
def test_a_wrong_initialiser_is_refused(text, message):
    with pytest.raises(KlayerError, match=message):
        Initialiser.parse(text)


def test_one_initialiser_a_seed_is_needed():
    with pytest.raises(KlayerError, match="got 2 for 3 seeds"):
        Network(4, (3,), 2).init(["he", "he"], [0, 1, 2])


def test_nn_imports_numpy_and_nothing_else():
    code = (
        "import sys, klayer.nn\n"
        "known = set(sys.stdlib_module_names) | {'numpy', 'klayer'}\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(n for n in names - known if not n.startswith('_')))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
