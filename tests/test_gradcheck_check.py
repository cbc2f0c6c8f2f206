"""Anyone's function: contracts, the choice of the method, kinks, precision, sampling."""

import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.gradcheck import GradientError, Reference, check_gradients
from klayer.nn import Network

X = np.random.default_rng(0).standard_normal((9, 4))
Y = np.random.default_rng(1).standard_normal((9, 3))
PARAMS = {
    "W": np.random.default_rng(2).standard_normal((4, 3)),
    "b": np.random.default_rng(3).standard_normal(3),
}


def squares(params):
    """Mean squares of a linear map: complex-safe, and its gradient by hand."""
    residual = X @ params["W"] + params["b"] - Y
    loss = (residual * residual).sum() / len(X)
    return loss, {
        "W": (2 / len(X) * X.T @ residual).real,
        "b": (2 / len(X) * residual.sum(axis=0)).real,
    }


def changed(**mended):
    """The same with some gradients replaced by a function of the right ones."""

    def function(params):
        loss, grads = squares(params)
        for name, change in mended.items():
            grads[name] = change(grads[name])
        return loss, grads

    return function


def two_layers(relu, x=X, penalty=lambda W: (W * W).sum(), slope=lambda z: z.real > 0):
    """A ReLU network whose loss is built from given parts, with a gradient by hand."""

    def function(params):
        z = x @ params["W"] + params["b"]
        residual = relu(z) - Y[: len(x)]
        loss = (residual * residual).mean() + 0.1 * penalty(params["W"])
        g = 2 * residual / residual.size * slope(z)
        return loss, {
            "W": (x.T @ g + 0.2 * params["W"]).real,
            "b": g.sum(axis=0).real,
        }

    return function


def test_a_right_gradient_of_a_complex_safe_function_is_proved_by_complex_step():
    check = check_gradients(squares, PARAMS)
    assert check.ok
    assert bool(check)
    assert check.method == "complex"
    assert "showed the loss to be complex-safe" in check.reason
    assert check.scaled_error < 1e-13
    assert check.coverage == "all 15 entries"
    assert check.raise_if_wrong() is check


def test_a_wrong_gradient_is_reported_with_place_values_and_cause():
    check = check_gradients(changed(b=lambda g: g * 1.001), PARAMS)
    assert check.verdict == "wrong"
    assert not check
    row = check.row("b")
    assert (row.failing, row.kind, row.worst is not None) == (3, "b", True)
    assert row.analytic == pytest.approx(1.001 * row.numeric, rel=1e-9)
    assert check.row("W").verdict == "right"
    assert check.origin == ("b",)
    assert check.causes[0].kind == "factor"
    assert "1.001 times what it should be" in check.causes[0].text
    # The curve stays at the error for every sensible step.
    assert all(9e-4 < point.error < 1.1e-3 for point in check.curve if 1e-8 < point.step < 1e-2)
    with pytest.raises(GradientError, match="The gradient is WRONG"):
        check.raise_if_wrong()


@pytest.mark.parametrize(
    ("relu", "penalty", "reason"),
    [
        (lambda z: np.maximum(z, 0), lambda W: (np.abs(W) ** 2).sum(), "disagrees|real"),
        (lambda z: z * (z.real > 0), lambda W: np.linalg.norm(W) ** 2, "disagrees.*along W"),
        (lambda z: z * (z.real > 0), lambda W: W.size * (np.var(W) + W.mean() ** 2), "along W"),
        (lambda z: z * (z.real > 0), lambda W: float((W * W).sum()), "does not take complex|real"),
        (lambda z: np.logaddexp(z, -np.inf), lambda W: (W * W).sum(), "does not take complex"),
    ],
    ids=["abs", "norm", "var", "float", "logaddexp"],
)
def test_functions_that_are_not_complex_safe_fall_back_and_say_why(relu, penalty, reason):

    def slope(z):  # logaddexp with -inf is the identity: its slope is 1
        return np.ones_like(z) if relu(np.array(-1.0)) != 0 else z.real > 0

    with np.errstate(all="ignore"):
        check = check_gradients(two_layers(relu, penalty=penalty, slope=slope), PARAMS)
    assert check.verdict == "right", check.text()
    assert check.method == "central"
    assert check.reason.startswith("central differences: ")
    assert re.search(reason, check.reason), check.reason


def test_a_float_buffer_is_noticed_although_numpy_only_warns():
    def function(params):
        buffer = np.empty((len(X), 3))
        buffer[...] = X @ params["W"] + params["b"]
        residual = buffer - Y
        return (residual**2).mean(), {
            "W": 2 / residual.size * X.T @ residual,
            "b": 2 / residual.size * residual.sum(axis=0),
        }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check = check_gradients(function, PARAMS)
    assert (check.verdict, check.method) == ("right", "central")
    assert "casts complex values to real ones (ComplexWarning)" in check.reason


def test_a_loss_that_is_unsafe_in_a_corner_is_caught_by_the_second_opinion():
    # A penalty so small that no trial along a direction sees that its derivative is lost.
    def function(params):
        loss, grads = squares(params)
        W = params["W"]
        loss = loss + 1e-7 * (np.abs(W) ** 2).sum()
        return loss, {**grads, "W": grads["W"] + 2e-7 * W.real}

    check = check_gradients(function, PARAMS)
    assert (check.verdict, check.method) == ("right", "central")
    assert "W" in check.reason
    with pytest.raises(KlayerError, match="method 'complex' needs a complex-safe loss, but"):
        check_gradients(function, PARAMS, method="complex")


def test_a_function_of_real_arrays_only_may_have_a_loss_that_is_complex_safe():
    def real_only(params):
        assert all(value.dtype == np.float64 for value in params.values())
        return squares(params)

    assert check_gradients(real_only, PARAMS).method == "central"
    check = check_gradients(real_only, PARAMS, loss=lambda params: squares(params)[0])
    assert (check.verdict, check.method) == ("right", "complex")
    with pytest.raises(KlayerError, match="`loss` and `loss_and_grads` must agree"):
        check_gradients(real_only, PARAMS, loss=lambda params: 2 * squares(params)[0])


def test_a_function_that_is_random_is_told_so():
    rng = np.random.default_rng(0)

    def function(params):
        keep = rng.random(3) < 0.5
        loss, grads = squares(params)
        return loss + (params["b"] * keep).sum(), {**grads, "b": grads["b"] + keep}

    check = check_gradients(function, PARAMS)
    assert check.verdict == "wrong"
    assert not check.deterministic
    assert check.rows == ()
    assert check.causes[0].kind == "random"
    assert "Fix the seed of whatever is random" in check.causes[0].text
    assert "evaluations at the same point disagree" in check.text()


def test_a_backward_pass_with_stale_activations_is_told_so():
    kept = {}

    def function(params):
        loss, grads = squares(params)
        stale = kept.get("W", grads["W"])
        kept["W"] = grads["W"]
        return loss, {**grads, "W": stale}

    check = check_gradients(function, PARAMS)
    assert check.verdict == "wrong"
    assert check.causes[0].kind == "remembers"
    assert "Something stale is used" in check.causes[0].text


def test_chance_that_agrees_at_first_is_not_called_stale():
    """A function of two states, that happens to give the same twice before it gives another."""
    states = iter([0, 0, 0, 1] + [0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1] * 40)

    def function(params):
        loss, grads = squares(params)
        factor = 1 + next(states)
        return loss * factor, {name: value * factor for name, value in grads.items()}

    assert check_gradients(function, PARAMS).causes[0].kind == "random"


@pytest.mark.parametrize("period", [2, 3, 4, 11])
def test_batches_in_turn_are_state_and_not_chance(period):
    calls = [0]

    def function(params):
        calls[0] += 1
        rng = np.random.default_rng(calls[0] % period)
        residual = params["W"] - rng.standard_normal(PARAMS["W"].shape)
        return (residual**2).sum(), {"W": 2 * residual}

    (cause,) = check_gradients(function, {"W": PARAMS["W"]}).causes
    assert cause.kind == "state"
    assert ("alternate" if period == 2 else f"again after {period} calls") in cause.text


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_constant_of_the_parameters_own_type_is_no_mistake(kind):
    """The checker calculates a loss in float64 if it can: a float32 model's constants stay float32."""

    def function(params, factor=1.0):
        residual = X @ params["W"] - Y
        loss = (residual * residual).sum() / len(X)
        return loss, {"W": factor * (X.T @ residual) * kind(2 / len(X))}

    W = PARAMS["W"].astype(kind)
    assert check_gradients(function, {"W": W}).verdict == "right"
    assert check_gradients(lambda p: function(p, 1.02), {"W": W}).verdict == "wrong"
    (cause,) = check_gradients(lambda p: function(p, 1 + 3e-6), {"W": W.astype(float)}).causes
    assert "of its size, in every entry" in cause.text or kind == np.float16


def test_a_small_error_everywhere_is_told_to_be_small():
    """A loss with log(p + eps) and the gradient without."""
    labels = np.arange(9) % 3

    def function(params):
        z = X @ params["W"]
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(9), labels] + 1e-9).mean()
        return loss, {"W": X.T @ (p - np.eye(3)[labels]) / 9}

    (cause,) = check_gradients(function, {"W": PARAMS["W"] / 2}).causes
    assert cause.kind == "place"
    assert "does the loss have an epsilon" in cause.text


def test_repetition_up_to_rounding_is_a_note():
    flip = [1, -1]

    def function(params):
        flip.reverse()
        loss, grads = squares(params)
        return loss * (1 + flip[0] * 2e-16), grads

    check = check_gradients(function, PARAMS, method="central")
    assert check.ok
    assert any("agree to rounding only" in note for note in check.notes)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda p: squares(p)[0], r"must return \(loss, grads\), but 'cost' returned float64"),
        (lambda p: (*squares(p), 1), r"must return \(loss, grads\).* tuple of length 3"),
        (
            lambda p: (squares(p)[0], None),
            "gradients must be a mapping keyed as `params`, but got N",
        ),
        (
            lambda p: (squares(p)[0], {"W": squares(p)[1]["W"]}),
            "the gradients lack 'b': a gradient must have exactly its parameter's key. Got: W",
        ),
        (
            lambda p: (squares(p)[0], {**squares(p)[1], "b1": 0.0}),
            "unknown gradient 'b1': Known: W, b|unknown gradient 'b1': did you mean 'b'",
        ),
        (changed(b=lambda _: None), r"`grads\['b'\]` is None: the loss does not depend on it"),
        (
            changed(W=lambda g: g.T),
            r"must have shape \(4, 3\) like its parameter.*got \(3, 4\) \(the transposed shape\)",
        ),
        (changed(b=lambda g: g[:2]), r"must have shape \(3,\) like its parameter"),
        (changed(b=lambda g: g + 1j), "must hold real numbers, but its dtype is complex128"),
        (changed(b=lambda _: "text"), "must be a number or a NumPy array, but got str"),
        (
            lambda p: (np.ones(3), squares(p)[1]),
            r"the loss must be one number, but got float64 of shape \(3,\)",
        ),
        (lambda p: (np.nan, squares(p)[1]), "the loss must be finite .* but got nan"),
        (lambda p: (object(), squares(p)[1]), "`loss` must be a number"),
    ],
)
def test_a_function_that_breaks_its_contract_gets_a_clear_error(function, message):
    with pytest.raises(KlayerError, match=message):
        check_gradients(function, PARAMS)


def test_something_that_numpy_cannot_convert_is_named():
    class Tensor:
        def __array__(self, *_args, **_kwargs):
            raise RuntimeError("requires grad")

    with pytest.raises(KlayerError, match=r"Tensor could not be converted \(requires grad\)"):
        check_gradients(changed(b=lambda _: Tensor()), PARAMS)


def test_parameters_changed_in_place_are_an_error():
    def function(params):
        loss, grads = squares(params)
        params["W"] -= 0.1 * grads["W"]
        return loss, grads

    with pytest.raises(KlayerError, match=r"must leave its parameters as they are.*params\['W'\]"):
        check_gradients(function, PARAMS)


def test_gradients_in_buffers_that_are_reused_do_no_harm():
    buffers = {"W": np.empty((4, 3)), "b": np.empty(3)}

    def function(params):
        loss, grads = squares(params)
        for name, grad in grads.items():
            buffers[name][...] = grad
        return loss, buffers

    assert check_gradients(function, PARAMS).ok


def test_a_gradient_that_is_nan_is_wrong_and_located():
    def spoil(grad):
        grad[1] = np.nan
        return grad

    check = check_gradients(changed(b=spoil), PARAMS)
    assert check.verdict == "wrong"
    assert check.causes[0].text == "the gradient of b is nan at [1]."
    assert check.row("b").scaled_error == np.inf


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([1.0], "`params` must map names to arrays, but got list"),
        ({}, "`params` must name at least one array, but it is empty"),
        ({1: np.ones(2), "1": np.ones(2)}, "`params` holds two arrays called '1'"),
        ({"W": np.array([1.0, 2.0], dtype=object)}, "but got ndarray of dtype object"),
        ({"W": np.ma.array([1.0, 2.0], mask=[0, 1])}, "but has masked entries"),
        ({"W": np.array([1, 2])}, r"`params\['W'\]` must hold floating-point numbers.* int64"),
        ({"W": np.ones((0, 3))}, r"must not be empty, but got shape \(0, 3\)"),
        ({"W": np.array([1.0, np.inf, np.nan])}, r"must be finite, but holds inf at \(1,\) and 1"),
        ({"W": "abc"}, "must be a number or a NumPy array, but got str"),
    ],
)
def test_parameters_that_are_no_arrays_are_refused(params, message):
    with pytest.raises(KlayerError, match=message):
        check_gradients(squares, params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "complx"}, "unknown method 'complx': did you mean 'complex'"),
        ({"arrays": "X"}, "unknown array 'X'"),
        ({"arrays": []}, "`arrays` must name at least one array, but it is empty"),
        ({"entries": 0}, "`entries` must be a whole number >= 1, but got 0"),
        ({"tolerance": 1.5}, "`0 < tolerance < 1` must hold, but got tolerance=1.5"),
        ({"seed": -1}, "`seed` must be a whole number >= 0, but got -1"),
        ({"loss": 3}, "`loss` must be a function of the parameters"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(KlayerError, match=message):
        check_gradients(squares, PARAMS, **options)


@pytest.mark.parametrize(
    ("function", "message"),
    [(3, "must be a function of the parameters, but 'cost' is int"), ({}, "at least one term")],
)
def test_something_that_is_no_function_is_refused(function, message):
    with pytest.raises(KlayerError, match=message):
        check_gradients(function, PARAMS)


def test_terms_are_checked_apart():
    def penalty(params):
        grads = {name: np.zeros_like(value.real) for name, value in params.items()}
        return 10 * (params["W"] ** 2).sum(), {**grads, "W": 10 * params["W"].real}

    check = check_gradients({"data": squares, "l2": penalty}, PARAMS)
    assert [(row.term, row.name, row.verdict) for row in check.rows] == [
        ("data", "W", "right"), ("data", "b", "right"), ("l2", "W", "wrong"), ("l2", "b", "zero"),
    ]  # fmt: skip
    assert check.causes[0].text.startswith("in the l2 term: the gradient of W is half")


def test_arrays_can_be_chosen_by_name_and_pattern():
    wrong_b = changed(b=lambda g: 2 * g)
    assert check_gradients(wrong_b, PARAMS, arrays="W").ok
    check = check_gradients(wrong_b, PARAMS, arrays=["[a-c]"])
    assert [row.name for row in check.rows] == ["b"]
    assert check.coverage == "all 3 entries; 1 of 2 arrays, as asked"
    assert not check.ok


def test_a_sampled_array_is_also_checked_along_a_direction():
    def one_off(grad):
        grad[3, 2] += 1e-6
        return grad

    for seed in range(20):
        check = check_gradients(changed(W=one_off), PARAMS, entries=1, seed=seed)
        assert check.verdict == "wrong"  # the direction sees every entry
        assert "1 of" not in check.coverage
        assert "of 15 entries, drawn at random" in check.coverage
        # And halving it finds the one.
        assert check.row("W").worst == (3, 2)


def test_an_error_in_many_entries_that_no_sample_meets_is_told_as_such():
    def many_off(grad):
        return grad * np.where(np.arange(grad.size).reshape(grad.shape) % 2, 1 + 1e-6, 1)

    params = {"W": np.random.default_rng(5).standard_normal((4, 30)), "b": np.zeros(30)}
    y = np.random.default_rng(6).standard_normal((9, 30))

    def function(p):
        residual = X @ p["W"] + p["b"] - y
        grads = {"W": (2 * X.T @ residual).real, "b": 2 * residual.sum(axis=0).real}
        return (residual * residual).sum(), {**grads, "W": many_off(grads["W"])}

    kinds = {
        check_gradients(function, params, entries=1, seed=seed).causes[0].kind for seed in range(8)
    }
    assert "unsampled" in kinds


@pytest.mark.parametrize("method", ["central", "forward", "direction"])
def test_every_method_tells_right_from_wrong(method):
    right = check_gradients(squares, PARAMS, method=method)
    assert (right.verdict, right.method) == ("right", method)
    assert "as asked" in right.reason
    wrong = check_gradients(changed(W=lambda g: 1.01 * g), PARAMS, method=method)
    assert wrong.verdict == "wrong"
    assert wrong.origin == ("W",)


def test_kinks_are_found_from_the_slopes_on_both_sides():
    x = X.copy()
    x[0] = 0
    params = {**PARAMS, "b": np.zeros(3)}  # sample 0 sits on the kink of all three units
    function = two_layers(lambda z: np.maximum(z, 0), x=x)
    check = check_gradients(
        function, params, kinks=lambda p: [x @ p["W"] + p["b"]], method="central"
    )
    assert check.verdict == "right", check.text()
    assert check.kinks["units"] == 3
    assert check.kinks["one_sided"] == 3
    assert check.row("b").checked == 0
    # Another convention for the slope at 0 is as good.
    half = two_layers(
        lambda z: np.maximum(z, 0), x=x, slope=lambda z: (z.real > 0) + 0.5 * (z.real == 0)
    )
    assert check_gradients(half, params, method="central").ok
    # A mistake is one all the same.
    wrong = two_layers(lambda z: np.maximum(z, 0), x=x, slope=lambda z: 1.3 * (z.real > 0))
    assert check_gradients(wrong, params, method="central").verdict == "wrong"


def test_kinks_within_a_step_raise_no_alarm():
    for distance in 10.0 ** np.arange(-12, -3):
        x = X.copy()
        x[0] = 0
        params = {**PARAMS, "b": np.array([distance, -distance, 2 * distance])}
        check = check_gradients(two_layers(lambda z: np.maximum(z, 0), x=x), params)
        assert check.verdict == "right", check.text()


def test_a_bias_before_batch_normalisation_is_structurally_zero():
    def function(params):
        s = X @ params["W"] + params["b"]
        c = s - s.mean(axis=0)
        inv = 1 / np.sqrt((c * c).mean(axis=0) + 1e-5)
        hat = c * inv
        loss = ((hat - Y) ** 2).sum()
        g = 2 * (hat - Y)
        g = inv * (g - g.mean(axis=0) - hat * (g * hat).mean(axis=0))
        return loss, {"W": (X.T @ g).real, "b": g.sum(axis=0).real}

    check = check_gradients(function, PARAMS)
    row = check.row("b")
    assert check.ok
    assert (row.verdict, row.norm_error) == ("zero", None)
    assert row.magnitude <= 1e-14 * check.row("W").magnitude
    assert "structurally zero" in check.text()

    def forgotten(params):  # a true gradient that is missing is not called zero
        loss, grads = function(params)
        return loss, {**grads, "W": np.zeros((4, 3))}

    assert check_gradients(forgotten, PARAMS).verdict == "wrong"


def test_vanishing_gradients_are_checked_as_well():
    scale = 1e-20

    def function(params, factor=1.0):
        loss, grads = squares({"W": params["W"], "b": 0 * params["b"]})
        tiny = scale * (params["b"] ** 4).sum()
        return loss + tiny, {"W": grads["W"], "b": factor * 4 * scale * (params["b"] ** 3).real}

    assert check_gradients(function, PARAMS).verdict == "right"
    check = check_gradients(lambda params: function(params, factor=2.0), PARAMS)
    assert check.verdict == "wrong"
    assert check.origin == ("b",)
    # Differences can't see it: that is no proof, and no mistake.
    rough = check_gradients(function, PARAMS, method="central")
    assert (rough.verdict, rough.row("b").verdict) == ("undecided", "undecided")
    assert any("below the rounding of the loss: b" in note for note in rough.notes)


@pytest.mark.parametrize("as_float", [True, False])
def test_a_loss_in_float32_is_noticed_whatever_type_it_is_returned_as(as_float):
    def function(params):
        small = {name: value.real.astype(np.float32) for name, value in params.items()}
        residual = X.astype(np.float32) @ small["W"] + small["b"] - Y.astype(np.float32)
        loss = (residual * residual).mean()
        return (float(loss) if as_float else loss), {
            "W": 2 / residual.size * X.T @ residual,
            "b": 2 / residual.size * residual.sum(axis=0),
        }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check = check_gradients(function, PARAMS)
        wrong = check_gradients(lambda p: (function(p)[0], {**function(p)[1], "b": PARAMS["b"]}),
                                PARAMS)  # fmt: skip
    assert check.verdict == "right", check.text()
    assert (check.precision, check.method, check.tolerance) == ("float32", "central", 1e-2)
    assert "the loss is computed in float32" in check.reason
    assert any("compute in float64" in note for note in check.notes)
    assert wrong.verdict == "wrong"


def test_scalar_parameters_are_fine():
    check = check_gradients(lambda p: (p["a"] ** 3, {"a": 3 * p["a"].real ** 2}), {"a": 2.0})
    assert (check.verdict, check.row("a").shape) == ("right", ())
    assert not check_gradients(lambda p: (p["a"] ** 3, {"a": p["a"].real ** 2}), {"a": 2.0}).ok


def test_a_loss_that_is_not_finite_beside_the_point_is_left_out():
    def function(params):  # defined at 0 only
        with np.errstate(all="ignore"):
            value = np.where(params["a"] == 0, 0.0, np.nan).sum() + params["b"].sum() ** 2
        return value, {"a": np.zeros(2), "b": np.full(2, 2 * params["b"].sum())}

    check = check_gradients(
        function, {"a": np.zeros(2), "b": np.ones(2)}, method="central", arrays="*"
    )
    assert check.row("a").verdict == "undecided"
    assert check.verdict in ("undecided", "wrong")


def test_a_reference_of_another_cost_is_not_used():
    network = Network(4, (), 3)
    other = Reference(network, X, np.zeros(9, int), 0.0)
    names = {"W": "W1", "b": "b1"}
    params = {names[key]: value for key, value in PARAMS.items()}

    def function(p):
        loss, grads = squares({key: p[names[key]] for key in names})
        return loss, {"W1": grads["W"], "b1": 2 * grads["b"]}

    check = check_gradients(function, params, reference=other)
    assert any("the reference was not used: its cost is" in note for note in check.notes)
    misfit = Reference(Network(5, (), 3), X, np.zeros(9, int))
    check = check_gradients(function, params, reference=misfit)
    assert any("its parameters would be W1 (5, 3), b1 (3,)" in note for note in check.notes)


def test_importing_the_checker_imports_numpy_and_nothing_heavier():
    code = (
        "import sys, klayer.gradcheck; heavy = {'typer', 'rich', 'jinja2', 'scipy', 'sklearn', "
        "'torch', 'jax', 'optuna', 'vl_convert', "
        "'pydantic'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
