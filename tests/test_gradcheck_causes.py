"""Causes: each repair, each replayed mistake and each place named from the numbers alone."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from klayer.gradcheck import MISTAKES, Reference, check_gradients
from klayer.gradcheck.array_mistakes import PENALTIES
from klayer.gradcheck.array_names import order_of_layers, parse_name
from klayer.gradcheck.known_mistakes import find_known, plantings
from klayer.gradcheck.locate import locate
from klayer.nn import LOSSES, Network
from pieces import PIECES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def benchmark(name):
    """Import a script of benchmarks/ as a module."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


mutants = benchmark("gradcheck_mutants")


def test_there_are_at_least_30_mutants_and_their_base_is_right():
    assert len(mutants.MUTANTS) >= 30
    assert len({mutant.name for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS)
    for seed in range(3):
        model = mutants.build(None, seed)
        for method in ("complex", "central"):
            assert mutants.check(model, method).verdict == "right"


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_complex_step_finds_places_and_names_every_mutant(mutant):
    tally = mutants.run(1, methods=["complex"], mutants=[mutant])[mutant.name]["complex"]
    assert (tally.runs, tally.found, tally.place) == (1, 1, 1)
    assert tally.cause == bool(mutant.causes)


def test_central_differences_find_the_mutants_too():
    tallies = mutants.run(1, methods=["central"], mutants=mutants.MUTANTS[::3])
    found, place, _ = mutants.rates(tallies, "central")
    assert (found, place) == (1, 1)


def test_the_table_of_mutants_lists_each_of_them():
    some = mutants.MUTANTS[:2]
    table = mutants.markdown(mutants.run(1, methods=["complex"], mutants=some))
    assert "| gamma and beta swapped | 1 | 1 | 1 |" in table
    assert "| **all** | 100.0% | 100.0% | 100.0% |" in table


RNG = np.random.default_rng(8)
POINT = {"W1": RNG.standard_normal((4, 4)), "W2": RNG.standard_normal((4, 4)),
         "b2": RNG.standard_normal(6)}  # fmt: skip
COEFFICIENTS = {name: RNG.standard_normal(value.shape) for name, value in POINT.items()}


def polynomial(params):
    """A cost with a gradient of no particular structure: c exp(p) + p^3, and lambda p^2."""
    loss = sum(
        (COEFFICIENTS[name] * np.exp(value) + value**3 + 0.1 * value**2).sum()
        for name, value in params.items()
    )
    return loss, {
        name: (COEFFICIENTS[name] * np.exp(value) + 3 * value**2 + 0.2 * value).real
        for name, value in params.items()
    }


def cause_of(change, **options):
    """Return kind and text of the likeliest cause of a planted ``change(grads, params)``."""

    def function(params):
        loss, grads = polynomial(params)
        change(grads, {name: value.real for name, value in params.items()})
        return loss, grads

    check = check_gradients(function, POINT, **options)
    assert check.verdict == "wrong"
    return check.causes[0].kind, check.causes[0].text


def scale(name, factor):
    def change(grads, _params):
        grads[name] = factor * grads[name]

    return change


def add(name, term):
    def change(grads, params):
        grads[name] = grads[name] + term(params)

    return change


def apply(name, function):
    def change(grads, _params):
        grads[name] = function(grads[name])

    return change


def every(change_of):
    def change(grads, params):
        for name in POINT:
            change_of(name)(grads, params)

    return change


def swap(grads, _params):
    grads["W1"], grads["W2"] = grads["W2"], grads["W1"]


def copy(grads, _params):
    grads["W1"] = grads["W2"]


def entry(grad):
    grad[2, 1] += 0.1
    return grad


def some_zero(grad):
    grad.flat[[0, 6, 11]] = 0
    return grad


def half_off(grad):
    grad.flat[[0, 6, 11]] *= [1.1, 2.3, 0.4]
    return grad


def column(grad):
    grad[:, 2] *= [0.3, 1.4, 2.5, -3]
    return grad


@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (swap, "swapped", "the gradients of W1 and W2 are swapped"),
        (copy, "copied", "the gradient of W1 is that of W2"),
        (scale("b2", -1), "factor", "b2 is the negative of what it should be"),
        (scale("b2", 2), "factor", "b2 is twice what it should be"),
        (scale("W1", 0.5), "factor", "W1 is half of what it should be"),
        (scale("W1", 12), "factor", "12 times too large: the division by n = 12 is missing"),
        (scale("W1", 1 / 12), "factor", "12 times too small: it is divided by n = 12 twice"),
        (scale("W1", 12 / 11), "factor", "n - 1 stands for n"),
        (scale("W1", 7), "factor", "7 times too large: if that is the number of samples"),
        (scale("W1", -1 / 7), "factor", "7 times too small: .* and has the wrong sign"),
        (scale("W1", 1.0001), "factor", "W1 is 1.0001 times what it should be"),
        (every(lambda name: scale(name, 3)), "factor", "of W1, W2 and b2 is 3 times"),
        (scale("b2", 0), "zero", "the gradient of b2 is missing: every entry is 0"),
        (add("W1", lambda p: -0.2 * p["W1"]), "l2-missing", "L2 gradient of W1 is missing"),
        (add("W1", lambda p: -0.1 * p["W1"]), "l2-half", "missing factor 2 in the L2 gradient"),
        (add("W1", lambda p: 0.2 * p["W1"]), "l2-double", "factor 2 too many"),
        (add("W1", lambda p: -0.4 * p["W1"]), "l2-sign", "wrong sign in the L2 gradient of W1"),
        (add("W1", lambda p: -0.2 * 11 / 12 * p["W1"]), "l2-over-n", "division by n = 12"),
        (add("W1", lambda p: -0.2 * 23 / 24 * p["W1"]), "l2-over-n", "lambda / n . W"),
        (add("W1", lambda p: 0.2 * 11 * p["W1"]), "l2-times-n", "multiplication by n = 12"),
        (add("W1", lambda p: 0.033 * p["W1"]), "l2-factor", "1.165 times 2 lambda W"),
        (add("b2", lambda p: 0.2 * p["b2"]), "l2-extra", "biases, gamma and beta are not penal"),
        (add("W1", lambda p: 0.1 * np.sign(p["W1"]) - 0.2 * p["W1"]), "l2-sign", "an L1 penalty"),
        (add("W1", lambda p: 0.2 * (p["W2"] - p["W1"])), "l2-other", "gradient of W1 uses W2"),
        (add("W1", lambda _: 0.01), "offset", "off by the same 0.01"),
        (apply("W1", np.transpose), "transposed", "the gradient of W1 is transposed"),
        (apply("W1", lambda g: np.roll(g, 1, axis=0)), "shifted", "shifted by 1 along axis 0"),
        (apply("b2", lambda g: g[::-1]), "reversed", "in reverse order along axis 0"),
        (apply("W1", np.abs), "absolute", "the gradient of W1 has lost its signs"),
        (apply("W1", lambda g: np.clip(g, -0.9, 0.9)), "clipped", "is clipped at 0.9"),
        (apply("W1", entry), "entry", r"one single entry of the gradient of W1 .* W1\[2, 1\]"),
        (apply("W1", column), "lines", "only column 2 of the gradient of W1"),
        (apply("W1", some_zero), "partly-zero", "is 0 in 3 of 16 entries"),
        (apply("W1", half_off), "few", "only 3 of 16 entries"),
    ],
)
def test_a_mistake_in_one_array_is_named(change, kind, text, method):
    found, said = cause_of(change, samples=12, l2=0.1, method=method)
    assert found == kind
    assert re.search(text, said), said


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (-0.2, "the L2 term is missing if lambda = 0.1, or lacks its factor 2 if lambda = 0.2"),
        (0.3, "an L2 term too large, or one that the cost does not have"),
    ],
)
def test_without_lambda_the_penalty_is_named_as_far_as_the_numbers_go(term, text):
    kind, said = cause_of(add("W1", lambda p: term * p["W1"]))
    assert kind == "l2"
    assert text in said


def test_a_gradient_reshaped_in_the_other_order_is_named():
    weights = np.random.default_rng(0).standard_normal((3, 5))

    def function(params):
        W = params["W"]
        grad = (weights * np.exp(W)).real
        return (weights * np.exp(W)).sum(), {"W": grad.ravel().reshape((3, 5), order="F")}

    check = check_gradients(function, {"W": 0.1 * weights})
    assert check.causes[0].kind == "reshaped"


def test_rounding_to_float32_is_named():
    kind, text = cause_of(apply("W1", lambda g: g.astype(np.float32)))
    assert (kind, "rounded to float32" in text) == ("rounded", True)


def test_a_data_gradient_that_is_off_beside_a_right_penalty_is_named():
    def change(grads, params):
        grads["W1"] = 5 * (grads["W1"] - 0.2 * params["W1"]) + 0.2 * params["W1"]

    kind, text = cause_of(change, samples=5, l2=0.1)
    assert kind == "factor-data"
    assert "the division by n = 5 is missing (1/n); its L2 part is right" in text


def names(*keys):
    return {key: parse_name(key) for key in keys}


@pytest.mark.parametrize(
    ("wrong", "origin", "text"),
    [
        ("W2", "W2", "only W2 is wrong, gamma2 and beta2 right: its own formula"),
        ("W2 gamma1 beta1 W1", "W2", "the gradient through the normalisation of layer 2"),
        ("gamma1 beta1 W1", "gamma1 beta1 W1", "on the way back from layer 2 to layer 1"),
        ("W3 W2 W1", "W1 W2 W3", "only W1, W2 and W3 wrong, nothing below"),
        (
            "W3 b3 W2 gamma2 beta2 W1 gamma1 beta1", "W3 b3",
            "everything is wrong from the last layer on",
        ),
        (
            "W3 W2 gamma2 beta2 W1 gamma1 beta1", "W3",
            "its sum over the samples doesn't show: labels in another order",
        ),
        (
            "gamma2 W2 gamma1 beta1 W1", "gamma2 W2",
            "beta2 right, W2 and gamma2 and everything from layer 1 down wrong",
        ),
        ("b3 gamma1 beta1 W1", "b3 gamma1 beta1 W1", "two places, it seems"),
    ],
)  # fmt: skip
def test_the_place_follows_from_what_is_right(wrong, origin, text):
    keys = ("W1", "gamma1", "beta1", "W2", "gamma2", "beta2", "W3", "b3")
    wrong = set(wrong.split())
    found, said = locate(["1", "2", "3"], names(*keys), wrong, set(keys) - wrong)
    assert set(found) == set(origin.split())
    assert text in said


def test_the_place_in_small_models():
    assert locate([""], names("W", "b"), {"W", "b"}, set())[1] == "every array is wrong: W and b."
    two = ["1", "2"]
    assert "only W1 is wrong: its own formula" in locate(
        two, names("W1", "b1", "W2", "b2"), {"W1"}, {"b1", "W2", "b2"}
    )[1]  # fmt: skip
    # A layer of which nothing is known decides nothing.
    origin, _ = locate(two, names("W1", "b1", "W2", "b2"), {"W2"}, {"b2"})
    assert origin == ("W2",)
    inside, said = locate(two, names("W1", "b1", "W2", "b2", "c2"), {"W1", "b1", "c2"}, {"b2"})
    assert (inside, "labels in another order" in said) == (("c2",), True)
    three = names("W1", "b1", "W2", "b2", "W3", "b3")
    inside, said = locate(["1", "2", "3"], three, {"W1", "b1", "b2"}, {"W2", "W3", "b3"})
    assert (inside, "the error enters in layer 2" in said) == (("b2",), True)


@pytest.mark.parametrize(
    ("name", "ndim", "layer", "kind"),
    [
        ("W2", 2, "2", "W"),
        ("gamma_10", 1, "10", "gamma"),
        ("weight3", 2, "3", "W"),
        ("layers.0.weight", 2, "layers.0", "W"),
        ("layers.1.weight", 1, "layers.1", "gamma"),
        ("layers.1.bias", 1, "layers.1", "b"),
        ("dense/kernel", 2, "dense", "W"),
        ("bias", 1, "", "b"),
        ("theta", 1, "", "theta"),
    ],
)
def test_names_tell_layer_and_kind(name, ndim, layer, kind):
    parsed = parse_name(name, ndim)
    assert (parsed.layer, parsed.kind) == (layer, kind)


def test_layers_stand_in_the_order_of_their_numbers_or_as_named():
    zeros = np.zeros(1)
    assert order_of_layers({"W10": zeros, "W2": zeros, "b2": zeros})[0] == ["2", "10"]
    assert order_of_layers({"b.w": zeros, "a.w": zeros})[0] == ["b", "a"]


# Networks that have between them all that can be mistaken, with what is no parameter.
REPLAYED = {
    "relu": {"batch_norm": "all"},
    "relu without bn": {},
    "leaky relu": {"activation": "leaky_relu"},
    **{
        name: {"activation": name, "batch_norm": "hidden"}
        for name in ("tanh", "gelu", "gelu_tanh", "silu", "selu")
    },
    **PIECES,
    "tanh, layer norm": {"layer_norm": "hidden", "activation": "tanh"},
    **{
        name: {
            "loss": name,
            "activation": "tanh",
            "quantiles": (0.2, 0.7) if name == "quantile" else (),
        }
        for name in LOSSES
    },
}


def replayed(pieces, rng):
    """Return a reference and a point; no mistake hides behind a number that changes nothing."""
    network = Network(
        5, (5, 5, 5, 5) if pieces in PIECES.values() else (5, 5), 4, bn_eps=1e-5, **pieces
    )
    params = {name: value[0] for name, value in network.init("he", [1], np.float64).items()}
    for value in params.values():
        value += 0.1 * rng.standard_normal(value.shape)
    task, shape = network.task, (9, network.n_classes)
    labels = rng.integers(4, size=9) if task == "classification" else rng.standard_normal(shape)
    labels = (labels > 0).astype(float) if task == "multilabel" else labels
    masks = {
        layer: (rng.random((9, width)) < 0.7) / 0.7
        for layer, width in enumerate(network.widths[:-1])
        if network.drops(layer)
    }
    numbers = {"smoothing": 0.2, "huber_delta": 0.3}
    x = rng.standard_normal((9, 5))
    noise = 0.3 * rng.standard_normal(x.shape) if network.noisy_inputs else 0.0
    return Reference(network, x, labels, 0.1, numbers, masks, noise), params


@pytest.mark.parametrize("pieces", REPLAYED.values(), ids=REPLAYED)
def test_a_reference_has_the_gradient_of_a_complex_step(pieces):
    reference, params = replayed(pieces, np.random.default_rng(4))
    grads = reference.gradient(reference.forward(params))
    assert grads.keys() == params.keys()
    for name, value in params.items():
        for entry in np.ndindex(value.shape):
            moved = {key: one.astype(complex) for key, one in params.items()}
            moved[name][entry] += 1e-30j
            slope = reference.cost(moved).imag / 1e-30
            assert abs(grads[name][entry] - slope) < 1e-12, (name, entry)


# In some networks two mistakes are one, and the first two that explain a gradient are named.
THE_SAME = {"mask-missing", "mask-other", "bn-gamma", "bn-sd", "bn-mean", "bn-variance", "ln-mean"}


def effects(reference, params):
    """Yield each planted mistake that changes the gradient, with what it makes of it."""
    layers = reference.forward(params)
    right = reference.gradient(layers)
    for planted in plantings(reference.network):
        wrong = reference.gradient(layers, planted.among(layers))
        if max(np.abs(wrong[name] - right[name]).max() for name in right) > 1e-10:
            yield planted, wrong


@pytest.mark.parametrize("pieces", REPLAYED.values(), ids=REPLAYED)
def test_every_mistake_that_can_be_replayed_is_named_by_its_gradient(pieces):
    reference, params = replayed(pieces, np.random.default_rng(4))
    planted_ones = list(effects(reference, params))
    if pieces is not REPLAYED["relu"]:  # each kind in one place: all places take long
        planted_ones = list(
            {one.mistake.kind: (one, wrong) for one, wrong in planted_ones}.values()
        )
    for planted, wrong in planted_ones:
        found = find_known(reference, params, wrong)
        assert found, planted
        assert found[0].remainder < 1e-10
        kinds = [cause.kind for cause in found]
        assert planted.mistake.kind in kinds or planted.mistake.kind in THE_SAME, (planted, kinds)
    assert find_known(reference, params, reference.gradient(reference.forward(params))) == []


def test_every_known_mistake_changes_the_gradient_of_some_network():
    seen = set()
    for pieces in REPLAYED.values():  # of each the same draws, whatever other rows there are
        drawn = replayed(pieces, np.random.default_rng(4))
        seen |= {planted.mistake.kind for planted, _ in effects(*drawn)}
    assert seen == set(MISTAKES)


def test_every_known_mistake_is_planted():
    planted = {cause for mutant in mutants.MUTANTS for cause in mutant.causes}
    assert set(MISTAKES) <= planted
    assert {kind for _, _, kind, _ in PENALTIES} <= planted


@pytest.mark.parametrize(
    ("factor", "words"),
    [(0.5, "half of"), (-1, "the negative of"), (8, "division by n = 8 is missing"), (1.3, None)],
)
def test_a_scalar_has_a_cause_if_a_constant_fits_to_the_last_digits(factor, words):
    x, y = np.random.default_rng(0).standard_normal((2, 8))

    def function(p):
        error = p["w"] * x + p["b"] - y
        return (error**2).mean(), {"w": factor * (2 * error * x).mean(), "b": 2 * error.mean()}

    check = check_gradients(function, {"w": np.array(0.5), "b": np.array(0.1)}, samples=8)
    (cause,) = check.causes
    assert cause.kind == ("place" if words is None else "factor")
    assert (words or "only w is wrong") in cause.text


def test_a_scalars_penalty_is_told_if_lambda_is_known():
    x, y = np.random.default_rng(0).standard_normal((2, 8))

    def function(p):
        error = p["w"] * x - y
        loss = (error**2).mean() + 0.1 * p["w"] ** 2
        return loss, {"w": (2 * error * x).mean() + 0.1 * p["w"]}

    check = check_gradients(function, {"w": np.array(0.5)}, samples=8, l2=0.1)
    assert check.causes[0].kind == "l2-half"
