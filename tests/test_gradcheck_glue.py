"""Other people's models under the checker: nested parameters, objects, steps, layouts; little glue."""

import ast
import inspect

import numpy as np
import pytest

import strangers
from klayer.errors import KlayerError
from klayer.gradcheck import Reference, check_gradients, from_model, from_step
from klayer.gradcheck.known_mistakes import plantings
from klayer.gradcheck.structure import Structure
from klayer.nn import Network


@pytest.mark.parametrize("name", strangers.GLUE)
def test_ten_strangers_models_are_told_right_from_wrong(name):
    if name in ("torch", "jax"):
        pytest.importorskip(name, reason=f"needs {name}, which isn't installed")
    for method in ("auto", "central"):
        assert check_gradients(*strangers.GLUE[name](1.0), method=method).verdict == "right"
        check = check_gradients(*strangers.GLUE[name](1.1), method=method)
        assert check.verdict == "wrong"
        assert "1.1 times what it should be" in check.causes[0].text


def glue_lines(function):
    """Count the statements of a function, each by its lines, without what the model's own are."""
    tree = ast.parse(inspect.getsource(function)).body[0]
    return sum(1 for node in ast.walk(tree) if isinstance(node, ast.stmt)) - 1


@pytest.mark.parametrize("name", strangers.GLUE)
def test_the_glue_is_short(name):
    lines = inspect.getsource(strangers.GLUE[name]).strip().splitlines()[1:]
    count = sum(1 for line in lines if line.strip() and "softmax(" not in line)
    assert count <= (6 if name in strangers.OF_CLASSES else 4), (name, count)
    assert glue_lines(strangers.GLUE[name]) <= 4


def test_a_step_that_swaps_two_updates_is_found_though_its_backward_pass_is_right():
    rng = np.random.default_rng(1)
    point = {"gamma1": 1 + 0.1 * rng.standard_normal(3), "beta1": 0.1 * rng.standard_normal(3)}
    hat = rng.standard_normal((9, 3))

    def loss_and_grads(p):
        r = p["gamma1"] * hat + p["beta1"] - strangers.TARGETS
        return (r * r).sum(), {"gamma1": 2 * (r * hat).sum(axis=0), "beta1": 2 * r.sum(axis=0)}

    def step(p, names=("gamma1", "beta1")):
        _, grads = loss_and_grads(p)
        p["gamma1"] -= 1e-3 * grads[names[0]]
        p["beta1"] -= 1e-3 * grads[names[1]]

    def loss(p):
        return loss_and_grads(p)[0]

    assert check_gradients(from_step(step, loss, 1e-3), point).ok
    check = check_gradients(from_step(lambda p: step(p, ("beta1", "gamma1")), loss, 1e-3), point)
    assert check.verdict == "wrong"
    assert check.causes[0].kind == "swapped"


@pytest.mark.parametrize("learning_rate", [1e-8, 1e-3, 1.0])
def test_digits_that_a_step_loses_are_no_mistake(learning_rate):
    def loss_and_grads(p):
        return (p["a"] ** 2).sum() / 2 + (p["b"] ** 4).sum(), {"a": p["a"], "b": 4 * p["b"] ** 3}

    def step(p):
        return {k: p[k] - learning_rate * g for k, g in loss_and_grads(p)[1].items()}

    point = {"a": np.linspace(0.5, 2, 6), "b": np.linspace(1, 2, 3)}
    stepped = from_step(step, lambda p: loss_and_grads(p)[0], learning_rate)
    assert check_gradients(stepped, point).verdict == "right"


def test_momentum_in_a_step_is_told_as_state_and_not_as_chance():
    velocity = {"a": 0.0}

    def step(p):
        velocity["a"] = 0.9 * velocity["a"] + 2 * p["a"]
        p["a"] -= 0.1 * velocity["a"]

    check = check_gradients(
        from_step(step, lambda p: (p["a"] ** 2).sum(), 0.1), {"a": np.arange(1.0, 5.0)}
    )
    assert check.causes[0].kind == "state"
    assert "seed" not in check.causes[0].text


def test_gradients_are_matched_by_name_structure_or_order():
    shapes = {"W1": (2,), "b1": (3,)}
    like = Structure({"W1": np.ones(2), "b1": np.ones(3)})
    W, b = np.zeros(2), np.ones(3)
    for grads in (
        {"W1": W, "b1": b}, {"dW1": W, "db1": b, "dZ1": 3}, {"W1_grad": W, "b1_grad": b},
        {"grad_W1": W, "grad_b1": b}, {"d_W1": W, "d_b1": b}, [W, b], (W, b),
    ):  # fmt: skip
        found = like.gradients(grads, shapes)
        assert found["W1"] is W, grads
        assert found["b1"] is b
    with pytest.raises(KlayerError, match="unknown gradient 'W2'"):
        like.gradients({"W1": W, "b1": b, "W2": W}, shapes)
    with pytest.raises(KlayerError, match="unknown gradient"):
        like.gradients([b, W], shapes)  # the order of another


def test_one_array_stands_alone():
    check = check_gradients(lambda w: ((w**2).sum(), 2 * w.real), np.arange(1.0, 4.0))
    assert (check.verdict, [row.name for row in check.rows]) == ("right", ["params"])


def test_a_shape_with_an_axis_of_one_is_taken_with_a_note():
    def f(p):
        return (p["b"] ** 2).sum(), {"b": 2 * p["b"].real.reshape(1, -1)}

    check = check_gradients(f, {"b": np.arange(1.0, 4.0)})
    assert check.ok
    assert any("beware of broadcasting" in note for note in check.notes)


@pytest.mark.parametrize(
    ("rename", "arrange"),
    [
        (lambda key: key, lambda a: a.T if a.ndim == 2 else a[:, None]),
        (lambda key: f"net.{int(key[1]) - 1}.{'weight' if key[0] == 'W' else 'bias'}",
         lambda a: a.T if a.ndim == 2 else a[None]),
    ],
)  # fmt: skip
def test_a_reference_knows_other_layouts_of_its_parameters(rename, arrange):
    network = Network(5, (4, 4), 3)
    rng = np.random.default_rng(0)
    reference = Reference(network, rng.standard_normal((8, 5)), rng.integers(3, size=8), 0.1)
    own = {k: v[0] for k, v in network.init("he", [0], np.float64).items()}
    planted = next(
        one for one in plantings(network)
        if one.mistake.kind == "mask-missing" and one.layers == (2,)
    )  # fmt: skip

    def back(p):
        kept = {key: p[rename(key)] for key in own}
        return {k: v.T if v.ndim == 2 and k[0] == "W" else v.ravel() for k, v in kept.items()}

    def f(p):
        layers = reference.forward(back(p))
        grads = reference.gradient(layers, planted.among(layers))
        return reference.cost(back(p)), {rename(k): arrange(v.real) for k, v in grads.items()}

    check = check_gradients(f, {rename(k): arrange(v) for k, v in own.items()}, reference=reference)
    assert check.causes[0].kind == "mask-missing", check.text()
    assert set(check.causes[0].arrays) == {rename(k) for k in ("W1", "b1", "W2", "b2")}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_model(object()), "object must have an attribute 'params'"),
        (lambda: from_model(Bare()), "Bare must have a method 'loss'"),
        (lambda: from_step(3, abs), "`step` must be a function"),
        (lambda: from_step(abs, abs, 0), "`learning_rate` must be a number > 0, but got 0"),
        (lambda: check_gradients(*from_model(Bare(), loss=lambda m: 1.0)), "must give gradients"),
    ],
)
def test_an_object_that_lacks_something_is_told_what(make, message):
    with pytest.raises(KlayerError, match=message):
        make()


class Bare:
    params = {"a": np.ones(2)}  # noqa: RUF012


class Line:
    """A model that knows its arrays by two names, and can be made of others."""

    def __init__(self, **arrays):
        self.W, self.b = arrays.get("W", np.ones((2, 3))), arrays.get("b", np.zeros(3))
        self.params = {"W": self.W, "b": self.b}

    def loss(self, x, factor=1.0):
        r = x @ self.W + self.b
        return (r**2).sum(), {"W": factor * 2 * x.T @ r, "b": 2 * r.sum(axis=0)}


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (1.5, "wrong")])
def test_a_model_that_knows_its_arrays_by_two_names_keeps_them(factor, verdict):
    """Complex numbers are tried in arrays of their own: afterwards the model's own must be back."""
    x = np.random.default_rng(0).standard_normal((5, 2))
    model = Line()
    check = check_gradients(*from_model(model, x, factor))
    assert check.verdict == verdict
    assert all(row.checked == row.size for row in check.rows)
    assert model.params["W"] is model.W


class Copies(Line):
    """A model that shows copies of its arrays."""

    params = property(lambda self: {"W": self.W.copy(), "b": self.b.copy()}, lambda *_: None)


class Numbers:
    """A model with a bias that is a mere number."""

    def __init__(self):
        self.params = {("w", 1): np.ones(2), ("b", 1): 0.0}

    def loss(self, x):
        r = x @ self.params["w", 1] + self.params["b", 1]
        return (r**2).sum(), {("w", 1): 2 * x.T @ r, ("b", 1): 2 * r.sum()}


def test_parameters_may_be_numbers_under_keys_of_several_parts():
    x = np.random.default_rng(0).standard_normal((5, 2))
    check = check_gradients(*from_model(Numbers(), x))
    assert [row.name for row in check.rows] == ["w1", "b1"]
    assert check.verdict == "right"


def test_arrays_that_the_model_does_not_calculate_with_are_refused():
    x = np.ones((5, 2))
    fixed = np.ones((2, 3))
    fixed.flags.writeable = False
    nothing = Line()
    nothing.params = None
    twice = np.ones((3, 3))
    for model, message in (
        (Copies(), "'W' must be the model's own array"),
        (Line(W=fixed), "'W' must be an array that can be written to, but is read-only"),
        (nothing, "Line must keep its arrays in `params`, but that is None"),
    ):
        with pytest.raises(KlayerError, match=message):
            check_gradients(*from_model(model, x))
    tied = Line()
    tied.params = {"W": twice, "b": twice}

    def loss(model):
        return (model.params["W"] * model.params["b"]).sum(), {"W": twice, "b": twice}

    with pytest.raises(KlayerError, match="no array under two names"):
        check_gradients(*from_model(tied, loss=loss))


def test_a_loss_that_nothing_could_be_compared_of_is_not_right():
    """It follows its parameters at the first calls only."""
    calls = [0]

    def deaf(params):
        calls[0] += 1
        return (params["a"] ** 2).sum() if calls[0] < 7 else 1.0, {"a": 2 * params["a"]}

    assert check_gradients(deaf, {"a": np.ones(3)}).verdict != "right"
