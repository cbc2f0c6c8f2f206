"""The check of klayer's own networks: every entry right, and every way of being wrong found."""

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.gradcheck import check_network, generic_params
from klayer.nn import ACTIVATIONS, BATCH_NORM, LOSSES, DelayedWeights, Network
from pieces import PIECES


def assert_proved(check):
    """Hold a check to the promise: 1e-13 in norm, 1e-8 scaled, zeros below 1e-15."""
    assert check.verdict == "right", check.text()
    assert check.method == "complex"
    assert check.norm_error <= 1e-13
    assert check.scaled_error <= 1e-8
    for row in check.rows:
        if row.verdict == "zero":
            assert row.magnitude <= 1e-15
        else:
            assert row.checked == row.size


@pytest.mark.parametrize("P", [1, 3])
@pytest.mark.parametrize("l2", [0.0, 1.0])
@pytest.mark.parametrize("batch_norm", ["none", "hidden", "all"])
@pytest.mark.parametrize("depth", range(2, 10))
def test_every_entry_of_every_kind_of_network_is_right(depth, batch_norm, l2, P):
    network = Network(6, (5,) * (depth - 1), 4, batch_norm=batch_norm)
    check = check_network(network, l2=l2, networks=P, samples=12, seed=depth)
    assert_proved(check)
    assert check.networks == P
    assert {row.term for row in check.rows} == ({"data", "l2", "cost"} if l2 else {"cost"})


def test_a_linear_classifier_is_checked_too():
    assert_proved(check_network(Network(5, (), 3)))


@pytest.mark.parametrize("P", [1, 3])
def test_first_layers_that_are_treated_network_by_network_are_right(P):
    network = Network(900, (20, 6), 4, batch_norm="hidden")  # W1 is larger than LANEWISE_BYTES
    check = check_network(network, networks=P, samples=6, entries=8)
    assert check.verdict == "right", check.text()
    assert check.norm_error <= 1e-13
    assert "drawn at random" in check.coverage


@pytest.mark.parametrize("method", ["central", "forward", "direction"])
def test_the_other_methods_agree(method):
    check = check_network(Network(6, (5, 5), 4, batch_norm="all"), networks=2, method=method)
    assert check.verdict == "right", check.text()
    assert check.method == method


def test_each_network_may_have_its_own_l2():
    check = check_network(Network(6, (5,), 4), networks=3, l2=[0.0, 0.1, 10.0])
    assert_proved(check)


def test_parameters_of_a_trained_float32_population_are_checked_in_float64():
    network = Network(6, (5, 5), 4, batch_norm="hidden")
    params = network.init("he", seeds=[3, 4])
    x = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)
    check = check_network(network, params, x, np.arange(9) % 4)
    assert_proved(check)
    assert check.precision == "float64"
    assert any("beta1, beta2, b3" in note for note in check.notes)
    assert params["W1"].dtype == np.float32


class SwapsGammaAndBeta(Network):
    """Hands on the gradient of gamma as beta's and the other way round, as a course repository did."""

    def plan(self, *args, use=None, **more):
        def swapped(key, gradient):
            for a, b in (("gamma", "beta"), ("beta", "gamma")):
                if key.startswith(a):
                    return use(key.replace(a, b), gradient)
            return use(key, gradient)

        return super().plan(*args, use=use and swapped, **more)


class HalvesTheDataGradient(Network):
    def plan(self, *args, **more):
        plan = super().plan(*args, **more)
        g = plan._loss.g
        plan._backward.insert(1, lambda: np.divide(g, 2, out=g))
        return plan


class HalvesThePenalty(Network):
    def penalty_slope(self, l2):
        return l2


class UsesTooEarly(Network):
    """Has the top layer's weights updated before the layer below has used them."""

    def plan(self, *args, **more):
        plan = super().plan(*args, **more)
        steps = plan._backward  # the loss; then the top layer: backward, b, W
        if len(steps) > 3:
            steps[1:4] = [steps[3], *steps[1:3]]
        return plan


def mutant(kind):
    return kind(6, (5, 5), 4, batch_norm="hidden")


@pytest.mark.parametrize("P", [1, 3])
def test_swapped_gamma_and_beta_in_what_training_calls_are_found(P):
    check = check_network(mutant(SwapsGammaAndBeta), networks=P)
    assert check.verdict == "wrong"
    assert not check.ok
    assert set(check.origin) == {"gamma1", "beta1", "gamma2", "beta2"}
    texts = " ".join(cause.text for cause in check.causes)
    assert "the gradients of gamma2 and beta2 are swapped" in texts
    assert "the gradients of gamma1 and beta1 are swapped" in texts


def test_a_large_l2_hides_no_error_in_the_data_gradient():
    check = check_network(mutant(HalvesTheDataGradient), l2=10.0)
    assert check.verdict == "wrong"
    assert {row.verdict for row in check.rows if row.term == "data"} == {"wrong"}
    assert "wrong" not in {row.verdict for row in check.rows if row.term == "l2"}
    assert "half of what it should be" in check.causes[0].text


def test_an_error_in_the_penalty_is_laid_to_the_l2_term():
    check = check_network(mutant(HalvesThePenalty), l2=1e-4)
    wrong = {(row.term, row.kind) for row in check.rows if row.verdict == "wrong"}
    assert wrong == {("l2", "W"), ("cost", "W")}
    assert check.causes[0].text.startswith("in the l2 term: the gradient of W1, W2 and W3 is half")
    assert set(check.origin) == {"W1", "W2", "W3"}


def test_a_gradient_that_is_computed_from_an_updated_parameter_is_found():
    check = check_network(mutant(UsesTooEarly))
    assert check.verdict == "wrong"
    assert check.causes[0].kind == "stale-order"
    assert "updated in place, as training does it" in check.causes[0].text
    assert "W3" not in check.causes[0].arrays
    assert {"W1", "W2"} <= set(check.causes[0].arrays)


def test_planted_kinks_are_counted_and_raise_no_alarm():
    network = Network(4, (6, 5), 3)
    params = generic_params(network, networks=2)
    params["b1"][:] = 0
    x = np.random.default_rng(1).standard_normal((8, 4))
    x[0] = 0  # 6 units of each network see exactly 0
    for method in ("complex", "central"):
        check = check_network(network, params, x, np.arange(8) % 3, method=method)
        assert check.verdict == "right", check.text()
        assert check.kinks["units"] >= 12
    assert check.kinks["one_sided"] > 0


def test_a_tiny_batch_with_batch_normalisation_is_noted():
    check = check_network(Network(4, (6,), 3, batch_norm="hidden"), samples=2)
    assert check.ok
    assert any("a batch of 2 with batch normalisation" in note for note in check.notes)


def test_dead_layers_are_structurally_zero():
    network = Network(4, (6, 5), 3)
    params = generic_params(network)
    params["b2"][:] = -100
    check = check_network(network, params, l2=0, **batch(network))
    assert_proved(check)
    assert {row.name for row in check.rows if row.verdict == "zero"} == {
        "W1", "b1", "W2", "b2", "W3",
    }  # fmt: skip


def batch(network, samples=8):
    rng = np.random.default_rng(5)
    return {
        "x": rng.standard_normal((samples, network.n_features)),
        "labels": rng.integers(network.n_classes, size=samples),
    }


def test_the_check_is_the_same_for_the_same_seed():
    network = Network(6, (5,), 4)
    first, second = (check_network(network, entries=3, seed=4) for _ in range(2))
    assert first.rows == second.rows
    assert first.rows != check_network(network, entries=3, seed=5).rows


@pytest.mark.parametrize("method", ["auto", "central"])
def test_every_entry_of_865_parameters_is_checked(method):
    network = Network(21, (25, 10), 5)
    assert network.size == 865
    check = check_network(network, method=method)
    assert check.verdict == "right", check.text()
    assert "865" in check.coverage


def test_a_million_parameters_are_checked_by_sampling():
    network = Network(3072, (300, 200), 10, batch_norm="hidden")
    check = check_network(network, samples=8)
    assert check.verdict == "right", check.text()
    assert network.size > 980_000
    assert "of 984,610 entries, drawn at random, and one random direction" in check.coverage


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((3, 6))}, "`x` and `labels` must be given together"),
        ({"samples": 0}, "`samples` must be >= 1, but got 0"),
        ({"networks": 0}, "`networks` must be >= 1, but got 0"),
        ({"l2": -1.0}, "`l2` must be one number >= 0, or one for each of 1 networks, got -1.0"),
        (
            {"x": np.zeros((6, 3)), "labels": [0, 1, 2]},
            r"`x` must have shape \(N, 6\) with N >= 1, but got \(6, 3\): pass samples as rows",
        ),
        (
            {"x": np.zeros((3, 6)), "labels": [0.0, 1.0, 2.0]},
            r"`labels` must be 3 whole numbers, one a sample, but got float64 of shape \(3,\)",
        ),
        (
            {"x": np.zeros((3, 6)), "labels": [0, 1, 4]},
            "`labels` must be 0 ... 3, but got 0 ... 4",
        ),
        (
            {"params": {"W1": np.zeros((1, 6, 5))}},
            "`params` must have exactly the keys W1, b1, W2, b2, but got W1",
        ),
        (
            {
                "params": {
                    "W1": np.zeros((6, 5)),
                    "b1": np.zeros(5),
                    "W2": np.zeros((5, 4)),
                    "b2": np.zeros(4),
                }
            },
            r"`params\['W1'\]` must have shape \(P, 6, 5\).*the first axis is the population",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, message):
    with pytest.raises(KlayerError, match=message):
        check_network(Network(6, (5,), 4), **change)


def test_a_forward_pass_alone_and_an_update_must_agree():
    class Differs(Network):
        def plan(self, *args, use=None, **more):
            plan = super().plan(*args, use=use, **more)
            losses = plan.losses
            if use:
                plan.losses = lambda: losses() + 1
            return plan

    with pytest.raises(KlayerError, match="must give the same loss"):
        check_network(Differs(6, (5,), 4))


def forgets_what_has_moved(block, i, out):
    N = len(block.overlaps[i])
    np.multiply(block._s[:, i * N : (i + 1) * N], block.keep[:, None, None], out=out)


def forgets_the_penalty(block, i, g, lr):
    N = len(block.overlaps[i])
    block._g[:, i * N : (i + 1) * N] = -lr[:, None, None] * g
    block.known += N


@pytest.mark.parametrize(
    ("method", "wrong"), [("multiply", forgets_what_has_moved), ("descend", forgets_the_penalty)]
)
def test_a_mistake_in_updates_that_are_carried_out_at_once_is_found(method, wrong, monkeypatch):
    monkeypatch.setattr(DelayedWeights, method, wrong)
    check = check_network(Network(6, (5, 5), 4, batch_norm="hidden"))
    assert check.verdict == "wrong"
    assert check.causes[0].kind == "at-once"
    assert "W1" in check.causes[0].arrays
    assert "carried out at once" in check.causes[0].text


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", BATCH_NORM)
def test_every_activation_is_proved(activation, batch_norm):
    network = Network(6, (5, 5), 4, batch_norm=batch_norm, activation=activation)
    assert_proved(check_network(network, networks=2))


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_every_piece_is_proved(pieces):
    network = Network(6, (5, 5, 4, 4), 4, **pieces)
    assert_proved(check_network(network, networks=2))


@pytest.mark.parametrize("batch_norm", ["none", "all"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_proved(loss, batch_norm):
    quantiles = (0.2, 0.7) if loss == "quantile" else ()
    network = Network(6, (5,), 3, batch_norm, activation="silu", loss=loss, quantiles=quantiles)
    numbers = {"smoothing": [0.0, 0.2], "huber_delta": [0.3, 1.0]}
    assert_proved(check_network(network, networks=2, numbers=numbers))


def test_numbers_that_are_none_are_refused():
    network = Network(4, (3,), 2, drops_hidden=True)
    with pytest.raises(KlayerError, match="did you mean 'dropout'"):
        check_network(network, numbers={"dropuot": 0.1})
    with pytest.raises(KlayerError, match="one for each of 2 networks"):
        check_network(network, networks=2, numbers={"dropout": [0.1, 0.2, 0.3]})
