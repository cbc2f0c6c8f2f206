"""Precision and special points: what rounding hides is undecided, what a point hides is found."""

import numpy as np
import pytest

from klayer.gradcheck import check_gradients
from klayer.gradcheck.differences import precision_of
from klayer.gradcheck.factors import in_words
from klayer.gradcheck.objective import FunctionObjective

N, D, H, K = 12, 6, 5, 3
RNG = np.random.default_rng(0)
X, LABELS = RNG.standard_normal((N, D)), RNG.integers(K, size=N)
PARAMS = {
    "W1": RNG.standard_normal((D, H)) / D**0.5,
    "b1": 0.1 * RNG.standard_normal(H),
    "W2": RNG.standard_normal((H, K)) / H**0.5,
    "b2": 0.1 * RNG.standard_normal(K),
}


def network(dtype=np.float64, offset=0.0, scale=1.0, l2=0.0, told=lambda loss: loss, change=None):
    """Two layers in a precision, the loss scaled, offset and told as given; a penalty in float64."""

    def function(params):
        p = {key: value.astype(dtype) for key, value in params.items()}
        z = X.astype(dtype) @ p["W1"] + p["b1"]
        h = np.maximum(z, 0)
        s = h @ p["W2"] + p["b2"]
        s = s - s.max(axis=1, keepdims=True)
        probs = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
        loss = -np.log(probs[np.arange(N), LABELS]).mean() * dtype(scale) + dtype(offset)
        g = (probs - np.eye(K)[LABELS].astype(dtype)) / dtype(N) * dtype(scale)
        grads = {"W2": h.T @ g, "b2": g.sum(axis=0)}
        g = (g @ p["W2"].T) * (z > 0)
        grads |= {"W1": X.T.astype(dtype) @ g, "b1": g.sum(axis=0)}
        grads = {key: value.astype(float) for key, value in grads.items()}
        if l2:
            loss = loss + l2 * sum((params[key] ** 2).sum() for key in ("W1", "W2"))
            for key in ("W1", "W2"):
                grads[key] += 2 * l2 * params[key]
        if change:
            change(grads, params)
        return told(float(loss)), grads

    return function


def double(grads, _):
    grads["W1"] *= 2


ROUGH = {
    "offset of 1e12": {"offset": 1e12},
    "offset of 1e8": {"offset": 1e8},
    "float32": {"dtype": np.float32},
    "float32, offset of 100": {"dtype": np.float32, "offset": 100},
    "float32, offset of 1e4": {"dtype": np.float32, "offset": 1e4},
    "float32 beside a penalty in float64": {"dtype": np.float32, "l2": 0.1},
    "rounded to 6 digits": {"told": lambda loss: round(loss, 6)},
    "rounded to 3 digits": {"told": lambda loss: round(loss, 3)},
    "rounded to 1 digit": {"told": lambda loss: round(loss, 1)},
    "a whole number": {"told": round},
    "scaled by 1e12 in float32": {"dtype": np.float32, "scale": 1e12},
    "scaled by 1e-12": {"scale": 1e-12},
    "float16": {"dtype": np.float16},
}
UNDECIDED = {
    "offset of 1e12", "float32, offset of 1e4", "rounded to 3 digits", "rounded to 1 digit",
    "a whole number", "float16",
}  # fmt: skip


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("case", ROUGH)
def test_a_right_gradient_of_a_rough_loss_is_never_called_wrong(case, method):
    check = check_gradients(network(**ROUGH[case]), PARAMS, method=method)
    assert check.verdict == ("undecided" if case in UNDECIDED else "right"), check.text()
    assert not check.causes


@pytest.mark.parametrize("case", ROUGH)
def test_a_wrong_gradient_of_a_rough_loss_is_never_called_right(case):
    check = check_gradients(network(**ROUGH[case], change=double), PARAMS)
    assert check.verdict in ("wrong", "undecided")
    if case not in UNDECIDED:
        assert check.verdict == "wrong"
        assert check.origin == ("W1",)
        assert {cause.kind for cause in check.causes} <= {"factor", "place"}
        for cause in check.causes:
            assert cause.kind == "place" or "twice" in cause.text or "about 2" in cause.text


def test_an_undecided_array_says_how_much_rounding_hides_and_what_would_help():
    check = check_gradients(network(offset=1e12), PARAMS)
    assert all(row.verdict == "undecided" and row.resolution > 0.1 for row in check.rows)
    note = next(note for note in check.notes if "undecided" in note)
    assert "W1, b1, W2 and b2" in note
    assert "a large constant that swallows its digits" in note
    assert not check.ok
    data = check.to_dict()
    assert (data["ok"], data["verdict"]) == (False, "undecided")
    assert "undecided" in check.html()


def test_an_array_that_is_rounded_to_float16_on_the_way_is_not_called_wrong():
    def function(p, factor=1.0):
        rounded = p["a"].astype(np.float16)
        loss = float((rounded**2).sum()) + (p["b"] ** 2).sum()
        return loss, {"a": 2 * factor * p["a"], "b": 2 * p["b"]}

    params = {"a": np.arange(1.0, 4.0) / 3, "b": np.arange(1.0, 4.0)}
    check = check_gradients(function, params)
    assert (check.verdict, check.row("a").verdict) == ("undecided", "undecided")
    assert any("changes by steps" in note for note in check.notes)
    assert check_gradients(lambda p: function(p, 3.0), params).verdict == "wrong"


def test_a_loss_of_nothing_with_gradients_is_wrong():
    check = check_gradients(lambda _: (0.5, {"a": np.ones(4)}), {"a": np.arange(4.0)})
    assert (check.verdict, check.causes[0].kind) == ("wrong", "no-dependence")


def test_deep_in_a_network_of_sigmoids_differences_are_undecided_and_the_complex_step_is_not():
    rng = np.random.default_rng(2)
    params = {f"W{i}": 0.5 * rng.standard_normal((6, 6)) for i in range(1, 25)}

    def function(p):
        kept = [X]
        for W in p.values():
            kept.append(1 / (1 + np.exp(-kept[-1] @ W)))
        g, grads = 2 * kept[-1], {}
        for i in range(24, 0, -1):
            g = g * kept[i] * (1 - kept[i])
            grads[f"W{i}"] = (kept[i - 1].T @ g).real
            g = g @ p[f"W{i}"].T
        return (kept[-1] ** 2).sum(), grads

    def wrong(p):
        loss, grads = function(p)
        return loss, {**grads, "W1": 2 * grads["W1"]}

    rough = check_gradients(function, params, method="central")
    assert (rough.verdict, rough.row("W1").verdict) == ("undecided", "undecided")
    assert rough.row("W24").verdict == "right"
    assert check_gradients(wrong, params, method="central").verdict == "undecided"
    assert check_gradients(function, params).verdict == "right"
    assert check_gradients(wrong, params).origin == ("W1",)


def losses_of(function):
    objective = FunctionObjective(
        lambda p: (function(p["a"]), {"a": p["a"]}), {"a": np.linspace(1, 3, 7)}
    )
    return str(precision_of(objective, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("function", "precision"),
    [
        (lambda a: float(round((a**2).sum())), "float64"),  # whole numbers
        (lambda a: float(np.floor(100 * a.sum())), "float64"),
        (lambda a: float(np.round(8 * a.sum()) / 8), "float64"),  # eighths
        (lambda a: 1.0, "float64"),
        (lambda a: 1e6 * round(a.sum()), "float64"),
        (lambda a: float(np.float32((a**2).sum())), "float32"),
        (lambda a: float(np.float32(1e12) * np.float32((a**2).sum())), "float32"),
        (lambda a: float(np.float16((a**2).sum())), "float16"),
        (lambda a: np.float32(round((a**2).sum())), "float32"),  # by its type
        (lambda a: (a**2).sum(), "float64"),
    ],
)
def test_the_precision_of_a_loss_is_told_by_its_last_digits(function, precision):
    assert losses_of(function) == precision


def start_up(change):
    """Batch normalisation at its start: gamma 1, beta 0, b 0; one gradient changed."""
    params = {
        "W1": PARAMS["W1"], "gamma1": np.ones(H), "beta1": np.zeros(H),
        "W2": PARAMS["W2"], "b2": np.zeros(K),
    }  # fmt: skip

    def function(p):
        s = X @ p["W1"]
        c = s - s.mean(axis=0)
        inv = 1 / np.sqrt((c * c).mean(axis=0) + 1e-3)
        hat = c * inv
        z = p["gamma1"] * hat + p["beta1"]
        h = z * (z.real > 0)
        r = h @ p["W2"] + p["b2"] - np.eye(K)[LABELS]
        loss = (r * r).mean() + 0.1 * (p["W1"] ** 2).sum()
        g = 2 * r / r.size
        grads = {"W2": h.T @ g, "b2": g.sum(axis=0)}
        g = (g @ p["W2"].T) * (z.real > 0)
        grads |= {"gamma1": (g * hat).sum(axis=0), "beta1": g.sum(axis=0)}
        g = g if change == "no gamma" else g * p["gamma1"]
        g = inv * (g - g.mean(axis=0) - hat * (g * hat).mean(axis=0))
        grads["W1"] = X.T @ g + 0.2 * p["W1"]
        if change in grads:
            grads[change] = grads[change] + 0.2 * p[change]
        return loss, {key: value.real for key, value in grads.items()}

    return function, params


@pytest.mark.parametrize(
    ("change", "array"),
    [("b2", "b2"), ("beta1", "beta1"), ("no gamma", "W1"), ("gamma1", "gamma1")],
)
def test_what_a_start_hides_is_found_at_a_second_point(change, array):
    function, params = start_up(change)
    check = check_gradients(function, params)
    assert (check.verdict, check.origin) == ("wrong", (array,))
    hidden = change != "gamma1"
    assert check.hidden == hidden
    assert ("at the given point itself the gradient is right" in check.text()) == hidden
    assert check_gradients(function, params, second_point=False).ok == hidden
    if change != "no gamma":
        assert check.causes[0].kind == "l2-extra"
    assert check_gradients(*start_up("")).ok


def test_dead_units_are_woken_at_the_second_point():
    params = {**PARAMS, "b1": np.full(H, -50.0)}
    wrong = network(change=lambda grads, _: grads["b1"].__imul__(1.5))
    assert check_gradients(wrong, params, second_point=False).ok
    check = check_gradients(wrong, params)
    assert (check.verdict, check.origin, check.hidden) == ("wrong", ("b1",), True)
    assert check_gradients(network(), params).ok


def test_at_a_minimum_nothing_shows_and_beside_it_all():
    def function(p, factor=1.0):
        return ((p["a"] - 1) ** 2).sum(), {"a": factor * 2 * (p["a"].real - 1)}

    at = {"a": np.ones(4)}
    assert check_gradients(function, at).ok
    assert check_gradients(lambda p: function(p, 1.01), at).hidden


def test_a_loss_that_is_defined_at_few_points_is_checked_where_it_is():
    def function(p):
        with np.errstate(all="ignore"):
            return np.log(p["a"]).sum(), {"a": 1 / p["a"].real}

    check = check_gradients(function, {"a": np.full(3, 1e-3)})
    assert (check.verdict, len(check.points)) == ("right", 2)

    def at_zero_only(p):
        value = 0.0 if not p["a"].real.any() else np.nan
        return value + (p["b"] ** 2).sum(), {"a": np.zeros(2), "b": 2 * p["b"].real}

    check = check_gradients(at_zero_only, {"a": np.zeros(2), "b": np.ones(2)}, arrays="b")
    assert check.points == ("given",)
    assert any("only the given point was checked" in note for note in check.notes)


def largest(grads, _):
    flat = grads["W1"].reshape(-1)
    flat[np.abs(flat).argmax()] = 0


def by_sign(grads, params):
    grads["W1"][np.unravel_index(params["W1"].argmax(), (D, H))] += 0.3


def by_hash(grads, params):
    where = int(abs(params["W1"]).sum() * 1e6) % (D * H)
    grads["W1"].reshape(-1)[where] *= 3


@pytest.mark.parametrize("second_point", [True, False])
@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("change", [largest, by_sign, by_hash])
def test_a_mistake_that_moves_to_another_entry_is_no_kink(change, method, second_point):
    check = check_gradients(
        network(change=change), PARAMS, method=method, second_point=second_point
    )
    assert (check.verdict, check.origin) == ("wrong", ("W1",)), check.text()


@pytest.mark.parametrize("where", [3, 80_001, 199_999])
def test_one_wrong_entry_of_very_many_is_found_by_halving(where):
    w = np.linspace(0.5, 1.5, 200_000)
    count = {"calls": 0}

    def loss(p):
        count["calls"] += 1
        return (p["w"] * p["w"]).sum()

    def function(p, wrong=True):
        grad = 2 * p["w"].real
        if wrong:
            grad[where] *= 1.5
        return (p["w"].real ** 2).sum(), {"w": grad}

    options = {"loss": loss, "second_point": False, "method": "complex", "entries": 8}
    assert check_gradients(lambda p: function(p, False), {"w": w}, **options).ok
    right = count["calls"]
    check = check_gradients(function, {"w": w}, **options)
    assert check.row("w").worst == (where,)
    assert check.causes[0].kind == "entry"
    assert f"w[{where}]" in check.causes[0].text
    # 18 halvings; and what every mistake takes: second opinions of two entries, the curve.
    assert count["calls"] - 2 * right < 18 + 100


def test_gradients_that_accumulate_are_told_so():
    kept = {"a": np.zeros(4)}

    def function(p):
        kept["a"] += 2 * p["a"].real
        return (p["a"] ** 2).sum(), {"a": kept["a"].copy()}

    check = check_gradients(function, {"a": np.arange(1.0, 5.0)})
    assert check.causes[0].kind == "accumulates"
    assert "zero_grad" in check.causes[0].text
    assert "seed" not in check.causes[0].text


def running_statistics():
    mean = np.zeros(3)

    def function(p):
        nonlocal mean
        mean = 0.9 * mean + 0.1 * X[:, :3].mean(axis=0)
        r = p["a"].real * 1.0 - mean
        return float((r * r).sum()), {"a": 2 * r}

    return function


def momentum():
    velocity = np.zeros(3)

    def function(p):
        nonlocal velocity
        velocity = 0.9 * velocity + 2 * p["a"].real
        return float((p["a"].real ** 2).sum()), {"a": velocity}

    return function


def counter():
    calls = 0

    def function(p):
        nonlocal calls
        calls += 1
        return float((p["a"].real ** 2).sum()) + 0.01 * calls, {"a": 2 * p["a"].real}

    return function


def first_call():
    known = {}

    def function(p):
        scale = 2.0 if known else 1.0
        known["called"] = True
        return scale * float((p["a"].real ** 2).sum()), {"a": 2 * scale * p["a"].real}

    return function


def batches():
    k = 0

    def function(p):
        nonlocal k
        k = 1 - k
        return float((p["a"].real ** 2).sum()) + k, {"a": 2 * p["a"].real}

    return function


def chance():
    rng = np.random.default_rng(3)

    def function(p):
        keep = rng.random(3) < 0.5
        return float((p["a"].real ** 2 * keep).sum()), {"a": 2 * p["a"].real * keep}

    return function


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (running_statistics, "state", "moves on in the same direction each time"),
        (momentum, "state", "moves on in the same direction each time"),
        (counter, "state", "moves on"),
        (first_call, "state", "the first call differs from all later ones"),
        (batches, "state", "alternate"),
        (chance, "random", "Fix the seed"),
    ],
)
def test_state_is_told_from_chance(make, kind, text):
    check = check_gradients(make(), {"a": np.array([0.5, 1.0, 2.0])})
    assert (check.verdict, check.causes[0].kind) == ("wrong", kind), check.causes
    assert text in check.causes[0].text
    assert kind == "random" or "seed" not in check.causes[0].text


def cause_of(arrays, losses, gradient, **known):
    """Return kinds and texts of the causes of a wrong gradient."""
    check = check_gradients(lambda p: (losses(p), gradient(p)), arrays, **known)
    assert check.verdict == "wrong"
    return [(cause.kind, cause.text) for cause in check.causes]


def test_a_single_column_is_not_called_only_a_column():
    w = RNG.standard_normal((9, 1))
    found = cause_of(
        {"w": w}, lambda p: (p["w"] ** 4).sum(),
        lambda p: {"w": 4 * p["w"].real ** 3 * (1 + 0.3 * np.sin(np.arange(9.0)))[:, None]},
    )  # fmt: skip
    assert not any("only column" in text for _, text in found), found


def test_two_gradients_that_are_both_zero_are_not_called_copied():
    params = {"L0.b": np.ones(3), "L1.b": np.ones(3), "W": np.arange(1.0, 4.0)}
    found = cause_of(
        params, lambda p: (p["W"] ** 2).sum() + (p["L1.b"] ** 2).sum(),
        lambda p: {"L0.b": np.zeros(3), "L1.b": np.zeros(3), "W": 2 * p["W"].real},
    )  # fmt: skip
    assert [kind for kind, _ in found] == ["zero"]
    assert "L0.b" not in found[0][1]


@pytest.mark.parametrize("method", ["auto", "central"])
def test_a_gradient_of_what_the_loss_does_not_depend_on_is_told_so(method):
    params = {"W": np.arange(1.0, 7.0), "unused": np.array([0.3, -1.2, 2.0, 0.7])}
    found = cause_of(
        params, lambda p: (p["W"] ** 3).sum(),
        lambda p: {"W": 3 * p["W"].real ** 2, "unused": np.array([1.0, 0.2, -0.4, 2.2])},
        method=method,
    )  # fmt: skip
    assert found[0][0] == "no-dependence"
    assert "the loss does not depend on unused" in found[0][1]
    assert not any("times" in text for _, text in found)


@pytest.mark.parametrize(
    ("cost", "gradient", "kind", "text"),
    [
        (1 / 12, 2.0, "l2-convention", "lambda / n ||W||^2, the gradient of W has that of lambda ||W"),
        (0.5, 2.0, "l2-convention", "lambda / 2 ||W||^2, the gradient of W has that of lambda ||W||^2"),
        (1 / 24, 2.0, "l2-convention", "lambda / (2 n) ||W||^2, the gradient of W has that of lambda "),
        (0.5, 0.0, "l2-half", "if the cost has lambda / 2 ||W||^2, the gradient of W has no penalty"),
        (1.0, 0.0, "l2-missing", "the L2 gradient of W is missing"),
        (1.0, 1.0, "l2-half", "missing factor 2"),
        (0.5, -1.0, "l2-missing", "it with the wrong sign"),
    ],
)  # fmt: skip
def test_the_conventions_of_a_penalty_are_told_apart(cost, gradient, kind, text):
    W, c = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 4))
    lam = 0.3
    found = cause_of(
        {"W": W}, lambda p: (c * np.exp(p["W"])).sum() + cost * lam * (p["W"] ** 2).sum(),
        lambda p: {"W": (c * np.exp(p["W"])).real + gradient * lam * p["W"].real},
        l2=lam, samples=12,
    )  # fmt: skip
    assert found[0][0] == kind, found
    assert text in found[0][1], found
    assert "1.91667" not in found[0][1]


@pytest.mark.parametrize(
    ("c", "words"),
    [
        (np.log(2), "= ln 2 times"), (1 / np.log(2), "= 1 / ln 2 times"),
        (3.0, "3 = K times"), (36.0, "36 = n K times"), (1 / 36, "= 1 / (n K) times"),
        (12 / np.log(2), "n / ln 2"), (-12.0, "n"), (24.0, "2 n"), (1.2345, "1.2345 times"),
        (1680.0, "1680 times too large: if that is the number of samples"), (144.0, "n^2"),
    ],
)  # fmt: skip
def test_a_factor_is_told_in_the_constants_that_it_is_made_of(c, words):
    assert words in in_words(c, samples=12, outputs=3)


def test_a_factor_that_is_not_known_well_is_told_in_few_digits():
    assert in_words(1.4427, doubt=0.02).startswith("1.4 = 1 / ln 2")
    assert in_words(1.3, doubt=0.02) == "about 1.3 times what it should be, in every entry"


def test_an_array_below_the_noise_gets_no_factor_of_noise():
    # In float32 behind an offset W1's gradient drowns: its factor would be one of noise.
    check = check_gradients(network(np.float32, offset=1e4, change=double), PARAMS)
    assert check.verdict == "undecided"
    assert not check.causes
