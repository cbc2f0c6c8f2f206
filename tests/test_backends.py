"""One suite for every backend: NumPy's numbers to rounding, and its own bits in any circumstances."""

import io
import sys
from dataclasses import replace
from importlib import util

import numpy as np
import pytest
from scipy import special

from klayer.data import Dataset, Split, load
from klayer.errors import KlayerError
from klayer.nn import ACTIVATIONS, LOSSES, Network, Workspace, draw_keys
from klayer.nn.backends import BACKENDS, compiled, compiled_pays, kernel, require
from klayer.nn.backends.compiled import Kernel, Updates, pack
from klayer.nn.backends.kernel.draws import add_noise, drop
from klayer.nn.pieces.activations import Function
from klayer.nn.pieces.dropout import Draws
from klayer.nn.pieces.noise import NoiseDraws, normal_numbers
from klayer.study import Study
from klayer.study.launch import run_study
from klayer.study.record import NetworkRecord
from klayer.train import OPTIMISERS, Engine, Failure, Feed, Member, Population, Settings, Trainer
from klayer.train.state import TrainingState
from klayer.train.trainer import CHUNKS
from pieces import PIECES

needs_numba = pytest.mark.skipif(
    util.find_spec("numba") is None, reason="numba is not installed: pip install klayer[fast]"
)
# Muon's steps are products of matrices: NumPy's plan makes them.
TRAINED = [
    pytest.param(name, optimiser, marks=needs_numba if name == "compiled" else ())
    for name in BACKENDS
    for optimiser in OPTIMISERS
    if name == "numpy" or optimiser in kernel.OPTIMISERS
]
every_backend_and_optimiser = pytest.mark.parametrize(("backend", "optimiser"), TRAINED)
EVERY = [pytest.param(name, marks=needs_numba if name == "compiled" else ()) for name in BACKENDS]
every_backend = pytest.mark.parametrize("backend", EVERY)
DEEP = (20, 15, 12, 10, 10, 10, 10, 10)


@pytest.fixture(scope="module")
def brief():
    return Settings(
        hidden=(30, 20), cycles=1, half_cycle=20, points_per_cycle=4, batch_size=30, lr_max=0.3
    )


def members(settings, P):
    inits = ["he", "gaussian:0.1", "xavier", "he"] * 2
    adaptive = settings.optimiser not in ("sgd", "momentum", "nesterov")
    rate = 0.01 if adaptive else 0.3
    if adaptive:  # a step by a gradient that is all rounding would be all rounding
        settings = replace(settings, optimiser_eps=1e-3)
    return [
        Member(replace(settings, l2=1e-3 * p, init=inits[p], lr_max=rate / (1 + p)), seed=p)
        for p in range(P)
    ]


def trained(feed, those, workers=1, chunk=16, state=None, **more):
    population = Population(feed, those, state, chunk)
    with Engine(workers) as engine:
        Trainer(population, engine).train(**more)
    return population


def groups(state):
    yield from (("params", state.params), ("running", state.running), ("history", state.history))
    yield from state.slots.items()


def assert_same_bits(one, p, other, q):
    theirs = dict(groups(other.state))
    for name, group in groups(one.state):
        for key, value in group.items():
            assert value[p].tobytes() == theirs[name][key][q].tobytes(), (name, key)


def assert_the_same_to_rounding(found, expected):
    """Hold all that a training leaves behind to 1e-12 of each array's largest entry."""
    right = dict(groups(expected.state))
    for name, group in groups(found.state):
        for key, value in group.items():
            scale = max(np.abs(right[name][key]).max(), 1e-2)  # what stays at 0 is rounding alone
            np.testing.assert_allclose(
                value, right[name][key], rtol=0, atol=1e-12 * scale, err_msg=f"{name} {key}"
            )


def test_every_backend_makes_chunks():
    assert CHUNKS.keys() == BACKENDS.keys()


@every_backend_and_optimiser
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("batch_norm", ["none", "hidden", "all"])
def test_twenty_updates_are_those_of_numpy(
    digits, brief, backend, optimiser, activation, batch_norm
):
    feed = Feed(digits, np.float64)
    settings = replace(
        brief, dtype="float64", optimiser=optimiser, activation=activation, batch_norm=batch_norm
    )
    found, expected = (
        trained(feed, members(replace(settings, backend=name), 3), until=20)
        for name in (backend, "numpy")
    )
    assert found.state.backend == backend
    assert_the_same_to_rounding(found, expected)


@every_backend
def test_a_smaller_last_batch_is_that_of_numpy(digits, brief, backend):
    settings = replace(
        brief, dtype="float64", last_batch="keep", batch_size=700, batch_norm="hidden"
    )
    found, expected = (
        trained(Feed(digits, np.float64), members(replace(settings, backend=name), 2))
        for name in (backend, "numpy")
    )
    for key, value in expected.state.params.items():
        np.testing.assert_allclose(found.state.params[key], value, rtol=0, atol=1e-11)


@every_backend_and_optimiser
@pytest.mark.parametrize("hidden", [(30, 20), DEEP], ids=["3-layer", "9-layer"])
def test_a_network_has_the_same_bits_alone_and_in_any_population(
    digits32, brief, backend, optimiser, hidden
):
    settings = replace(
        brief, backend=backend, optimiser=optimiser, hidden=hidden, batch_norm="hidden"
    )
    everyone = members(settings, 8)
    alone = [trained(digits32, [one]) for one in everyone]
    for P, workers, chunk in ((1, 4, 16), (3, 1, 16), (3, 2, 1), (8, 1, 3), (8, 2, 16), (8, 4, 16)):
        together = trained(digits32, everyone[:P], workers, chunk)
        for p in range(P):
            assert_same_bits(together, p, alone[p], 0)


@every_backend
def test_products_that_a_blas_would_share_between_threads_have_the_same_bits(brief, backend):
    feed = Feed(load("synthetic:samples=400"))
    settings = replace(brief, backend=backend, batch_size=100, updates_at_once=1, cycles=0.3)
    everyone = members(settings, 3)
    alone = [trained(feed, [one]) for one in everyone]
    for P, workers in ((1, 4), (3, 1), (3, 4)):
        together = trained(feed, everyone[:P], workers)
        for p in range(P):
            assert_same_bits(together, p, alone[p], 0)


@every_backend_and_optimiser
def test_stopping_and_going_on_gives_the_same_bits(digits32, brief, backend, optimiser, tmp_path):
    settings = replace(brief, backend=backend, optimiser=optimiser, batch_norm="hidden")
    whole = trained(digits32, members(settings, 3))
    first = trained(digits32, members(settings, 3), until=17)
    first.state.save(tmp_path / "state.safetensors")
    state = TrainingState.load(tmp_path / "state.safetensors")
    assert (state.update, state.backend) == (17, backend)
    second = trained(digits32, members(settings, 3), workers=2, state=state)
    taken = first.take([2, 0])
    Trainer(taken).train()
    for p in range(3):
        assert_same_bits(whole, p, second, p)
    assert_same_bits(whole, 2, taken, 0)
    assert_same_bits(whole, 0, taken, 1)


@every_backend
def test_an_interrupt_leaves_all_networks_at_the_same_update(digits32, brief, backend):
    settings = replace(brief, backend=backend, half_cycle=20_000)
    population = Population(digits32, members(settings, 6), chunk=1)

    def stop(done):
        raise KeyboardInterrupt

    with Engine(2) as engine:
        trainer = Trainer(population, engine)
        with pytest.raises(KeyboardInterrupt):
            trainer.train(on_progress=stop)
        assert trainer.consistent
        update = population.state.update
        assert update < population.total_updates
        trainer.train(until=update + 50)
    whole = trained(digits32, members(settings, 6), until=update + 50)
    for key, value in whole.state.params.items():
        assert value.tobytes() == population.state.params[key].tobytes()


@every_backend
@pytest.mark.parametrize("batch_norm", ["none", "hidden"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_network_that_diverges_is_frozen_before_the_update_and_harms_no_other(
    digits32, brief, backend, batch_norm, activation
):
    rate = 1e10 if batch_norm == "none" else 1e38
    calm = replace(brief, backend=backend, batch_norm=batch_norm, activation=activation)
    wild = replace(calm, lr_min=rate, lr_max=rate, l2=1e-3)
    those = [Member(calm, 0), Member(wild, 1), Member(calm, 2)]
    together = trained(digits32, those, workers=2)
    failure = together.state.failures[1]
    assert together.state.failures == [None, failure, None]
    by_numpy = trained(digits32, [Member(replace(wild, backend="numpy"), 1)])
    assert failure == by_numpy.state.failures[0]
    for p in (0, 2):
        assert_same_bits(together, p, trained(digits32, those[p : p + 1]), 0)
    before = trained(digits32, those[1:2], until=failure.update)
    for name in ("params", "running"):
        for key, value in getattr(before.state, name).items():
            assert value[0].tobytes() == getattr(together.state, name)[key][1].tobytes()


@every_backend
def test_a_network_that_starts_out_not_finite_never_moves(digits32, brief, backend):
    settings = replace(brief, backend=backend, init="gaussian:1e20")
    # The advance alone: no curve is recorded, which would find the cost out before.
    population = Population(digits32, [Member(settings, 0)])
    before = population.state.params["W3"].copy()
    Trainer(population).advance(10)
    assert population.state.failures == [Failure(0, 2)]
    assert (population.state.params["W3"] == before).all()


@every_backend
def test_the_backend_goes_with_the_state(digits32, brief, backend):
    population = Population(digits32, members(replace(brief, backend=backend), 2))
    assert population.take([1]).state.backend == backend
    assert TrainingState.join([population.state] * 2).backend == backend
    other = Population(digits32, members(replace(brief, backend="numpy"), 2)).state
    other.backend = "another"
    with pytest.raises(KlayerError, match="joined at one update, .* and backend, but got update 0"):
        TrainingState.join([population.state, other])
    # Settings are asked when a population is new, and not when it goes on.
    settings = replace(brief, backend="auto")
    again = Population(digits32, members(settings, 2), population.state.take([0, 1]))
    assert again.state.backend == backend


# The compiled kernel. Without numba it is plain Python, and its mathematics is held to the same.


CASES = {
    **{activation: {"activation": activation} for activation in ACTIVATIONS},
    **{
        f"{activation} bn": {"activation": activation, "batch_norm": "all"}
        for activation in ACTIVATIONS
    },
    **PIECES,
}


def steps_agree(network, x, labels, weights=None, numbers=None):
    """Hold the kernel's gradient to a complex step through it."""
    params, running = network.init("he", [0], float), network.init_running(1, float)
    rng = np.random.default_rng(1)
    for value in params.values():
        value += 0.1 * rng.standard_normal(value.shape)
    row = pack(1, [params], network.shapes(), float)[0, 0]
    means = pack(1, [running], network.running_shapes(), float)[0, 0]

    def loss(row):
        """The mean loss at these parameters; an update by the rate 1 moves them."""
        dtype, losses = row.dtype, np.empty(1, row.dtype)
        like = [None if one is None else one.astype(dtype) for one in (x, weights)]
        those = labels.astype(dtype) if labels.ndim == 2 else labels
        updates = Updates(3, like[0], those, np.array([0, len(x)]), like[1])
        ours = Kernel(network, "sgd", dtype)
        ours.train(
            *(row, means.astype(dtype), np.empty((0, row.size), dtype), updates),
            *(ours.rates({"lr": np.ones(1, dtype)}), numbers or {}, Workspace(), losses),
        )
        return losses[0]

    moved = row.copy()
    loss(moved)
    for i in range(row.size):
        step = row.astype(complex)
        step[i] += 1e-30j
        assert abs(loss(step).imag / 1e-30 - (row[i] - moved[i])) < 1e-13


@pytest.mark.parametrize("pieces", CASES.values(), ids=CASES)
def test_a_complex_step_through_the_kernel_agrees_with_its_gradient(pieces):
    hidden = (5, 5, 5, 3) if pieces in PIECES.values() else (5, 3)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    numbers = {"dropout": 0.3, "input_dropout": 0.2, "input_noise": 0.3}
    steps_agree(Network(4, hidden, 3, **pieces), x, labels, None, numbers)


def labels_for(loss, rng, samples=6, outputs=2):
    if LOSSES[loss].task == "classification":
        return rng.integers(0, outputs, samples)
    if LOSSES[loss].task == "multilabel":
        return rng.integers(0, 2, (samples, outputs)).astype(float)
    return rng.standard_normal((samples, outputs))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_complex_step_through_a_loss_of_the_kernel_agrees_with_its_gradient(loss, weighted, rng):
    quantiles = (0.2, 0.7) if loss == "quantile" else ()
    network = Network(4, (3,), 2, activation="tanh", loss=loss, quantiles=quantiles)
    weights = rng.uniform(0.5, 1.5, 6) if weighted else None
    numbers = {"smoothing": 0.2, "huber_delta": 0.5}
    steps_agree(network, rng.standard_normal((6, 4)), labels_for(loss, rng), weights, numbers)


WITH_PIECES = {
    **{activation: {"activation": activation} for activation in ACTIVATIONS},
    "bn after": {"batch_norm": "all", "bn_place": "after", "bn_momentum": 0.7},
    "bn after tanh": {"batch_norm": "hidden", "bn_place": "after", "activation": "tanh"},
    "layer norm": {"layer_norm": "hidden", "activation": "gelu"},
    "skip": {"skip": "equal"},
    "dropout": {"dropout": 0.3},
    "dropout of inputs": {"input_dropout": 0.2},
    "dropout by shares": {"dropout": 0.4, "dropout_layers": "1:0.5,3", "input_dropout": 0.2},
    "noise": {"input_noise": 0.3},
    "noise and dropout of inputs": {"input_noise": 0.3, "input_dropout": 0.2},
    "smoothing": {"smoothing": 0.1},
    "balanced": {"class_weights": "balanced"},
    "all": {
        "skip": "equal",
        "batch_norm": "all",
        "bn_place": "after",
        "activation": ("gelu_tanh", "silu", "selu"),
        "dropout": 0.3,
        "input_dropout": 0.2,
        "input_noise": 0.1,
        "smoothing": 0.1,
        "class_weights": (1.0,) * 5 + (3.0,) * 5,
        "optimiser": "adam",
    },
}


@needs_numba
@pytest.mark.parametrize("pieces", WITH_PIECES.values(), ids=WITH_PIECES)
def test_twenty_updates_of_any_piece_are_those_of_numpy(digits, brief, pieces):
    feed = Feed(digits, np.float64)
    settings = replace(brief, hidden=(20, 20, 20), dtype="float64", **pieces)
    found, expected = (
        trained(feed, members(replace(settings, backend=name), 3), until=20)
        for name in ("compiled", "numpy")
    )
    assert_the_same_to_rounding(found, expected)


@needs_numba
@pytest.mark.parametrize("loss", LOSSES)
def test_twenty_updates_of_any_loss_are_those_of_numpy(rng, brief, loss):
    task, outputs = LOSSES[loss].task, 2
    X, y = rng.standard_normal((300, 6)), labels_for(loss, rng, 300, outputs)
    split = Split(X, y, rng.uniform(0.5, 1.5, 300))
    data = Dataset("some", {"train": split}, [f"y{k}" for k in range(outputs)], task=task)
    settings = replace(brief, loss=loss, dtype="float64", last_batch="keep", batch_size=70)
    found, expected = (
        trained(Feed(data, np.float64), members(replace(settings, backend=name), 3), until=20)
        for name in ("compiled", "numpy")
    )
    assert_the_same_to_rounding(found, expected)


@needs_numba
def test_with_all_pieces_the_kernel_gives_the_same_bits_alone_among_others_and_resumed(
    digits32, brief, tmp_path
):
    settings = replace(brief, hidden=(20, 20, 20), backend="compiled", **WITH_PIECES["all"])
    those = [
        replace(
            one,
            settings=replace(
                one.settings, dropout=0.1 * (p % 4), input_noise=0.1 * (p % 3), smoothing=0.02 * p
            ),
        )
        for p, one in enumerate(members(settings, 8))
    ]
    together = trained(digits32, those, workers=2, chunk=3)
    for p in range(8):
        assert_same_bits(trained(digits32, those[p : p + 1]), 0, together, p)
    first = trained(digits32, those, until=17)
    first.state.save(tmp_path / "state.safetensors")
    again = trained(digits32, those, state=TrainingState.load(tmp_path / "state.safetensors"))
    for p in range(8):
        assert_same_bits(together, p, again, p)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.37, 0.999])
@pytest.mark.parametrize(("update", "layer"), [(0, 1), (123_456, 0), (7, 3)])
def test_the_kernel_drops_what_numpy_drops(rate, update, layer):
    key, units = draw_keys([5])[0], 7 * 9
    y, words = np.empty(units), np.empty(kernel.words_for(units), np.uint64)
    drop(np.ones(units), y, words, update, layer, kernel.schedule(key, (0.5, rate)), 1)
    out = np.empty(units, bool)
    factor = Draws(key, rate, layer, out).draw(update)
    assert y.tolist() == (factor * out).tolist()


@pytest.mark.parametrize(("update", "units"), [(0, 1), (123_456, 63), (7, 64), (1, 65)])
def test_the_kernel_adds_the_noise_that_numpy_adds(update, units):
    key, x = draw_keys([5])[0], np.zeros(units)
    y, words = np.empty(units), np.empty(kernel.words_for(2 * units), np.uint64)
    keys, table = kernel.schedule(key, (0, 0)), normal_numbers(np.dtype(float))
    add_noise(x, y, 1.0, table, words, update, 0, keys)
    out = np.empty(units)
    NoiseDraws(key, 0, out).draw(update)
    assert y.tolist() == out.tolist()


@needs_numba
@pytest.mark.parametrize(
    ("function", "ours"),
    [
        ("exp", lambda x: kernel.exp(x)),
        ("tanh", lambda x: kernel.tanh(x)),
    ],
    ids=["exp", "tanh"],
)
def test_float32_functions_are_exact_to_rounding(function, ours):
    import numba

    ours = numba.vectorize(ours)
    x = np.concatenate([np.linspace(-87, 20, 20001), np.geomspace(1e-30, 5, 2001)])
    x = np.concatenate([x, -x[x < 87]]).astype(np.float32)
    expected = getattr(np, function)(x.astype(float))
    found = ours(x).astype(float)
    assert np.abs(found / expected - 1)[expected != 0].max() < 3e-7
    with np.errstate(invalid="ignore"):
        assert np.isnan(ours(np.float32("nan")))


@needs_numba
def test_the_normal_distribution_in_float32_is_right_to_its_last_places():
    import numba

    ours = numba.vectorize(lambda x: kernel.normal(x))
    x = np.concatenate([np.linspace(-40, 40, 20001), [0.0]]).astype(np.float32)
    assert np.abs(ours(x) - special.ndtr(x.astype(float))).max() < 2e-7
    with np.errstate(invalid="ignore"):
        assert np.isnan(ours(np.float32("nan")))


@needs_numba
def test_nothing_is_compiled_anew_for_another_depth_width_or_batch(digits32, brief):
    settings = replace(brief, backend="compiled", cycles=0.1)
    trained(digits32, members(settings, 1))
    before = len(kernel.train.signatures)
    for hidden, batch, optimiser in (((), 10, "sgd"), (DEEP, 64, "momentum")):
        more = replace(settings, hidden=hidden, batch_size=batch, optimiser=optimiser)
        trained(digits32, members(more, 2))
    assert len(kernel.train.signatures) == before


@needs_numba
def test_all_blas_libraries_are_held_at_one_thread_while_the_kernel_trains(digits32, brief):
    from threadpoolctl import threadpool_info

    def threads():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    seen = []
    settings = replace(brief, backend="compiled")
    population = Population(digits32, members(settings, 1))
    compiled.warm_up(np.dtype("float32"))
    before = threads()
    Trainer(population, Engine(2)).train(on_record=lambda state: seen.append(threads()))
    assert seen[1:] == [{1}] * (len(seen) - 1)
    assert threads() == before


# Which backend trains.


def test_numpy_trains_where_numba_is_not_installed(digits32, brief, monkeypatch):
    monkeypatch.setattr(compiled, "why_no_numba", lambda: "numba can't be imported: install it")
    long = replace(brief, half_cycle=5000)
    assert Population(digits32, members(long, 1)).state.backend == "numpy"
    with pytest.raises(
        KlayerError, match=r"backend='compiled' can't train .*numba can't be imported"
    ):
        Population(digits32, members(replace(brief, backend="compiled"), 1))


def test_a_missing_numba_names_the_next_step(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    message = compiled.why_no_numba.__wrapped__()
    assert "numba can't be imported" in message
    assert "pip install klayer[fast]" in message


def test_a_stored_population_of_another_backend_is_evaluated_but_not_trained_without_it(
    digits32, brief, monkeypatch
):
    monkeypatch.setattr(compiled, "why_no_numba", lambda: "numba can't be imported: install it")
    population = Population(digits32, members(brief, 1))
    population.state.backend = "compiled"
    assert population.evaluate("test")["accuracy"].shape == (1,)
    with pytest.raises(KlayerError, match="numba can't be imported"):
        Trainer(population).train()
    population.state.backend = "gpu"
    with pytest.raises(KlayerError, match="unknown backend 'gpu'"):
        Trainer(population).train()


@needs_numba
def test_a_piece_that_the_kernel_does_not_know_is_trained_by_numpy(digits32, brief, monkeypatch):
    def softplus(z, y, saved):
        np.logaddexp(z, 0, out=y)

    monkeypatch.setitem(ACTIVATIONS, "softplus", Function(softplus, lambda g, z, y, saved: None))
    settings = replace(brief, activation="softplus", half_cycle=5000)
    assert Population(digits32, members(settings, 1)).state.backend == "numpy"
    with pytest.raises(KlayerError, match="it knows no piece 'softplus', only affine, batch_norm"):
        Population(digits32, members(replace(settings, backend="compiled"), 1))


@needs_numba
def test_what_the_kernel_does_not_know_is_trained_by_numpy(digits32, brief):
    for change, what in (
        ({"clip_norm": 1.0}, "clip_norm: choose"),
        ({"optimiser": "muon"}, "optimiser 'muon'"),
    ):
        settings = replace(brief, half_cycle=5000, **change)
        assert Population(digits32, members(settings, 1)).state.backend == "numpy"
        with pytest.raises(KlayerError, match=f"it knows no {what}"):
            Population(digits32, members(replace(settings, backend="compiled"), 1))


@needs_numba
def test_the_kernel_is_chosen_for_small_layers_and_long_trainings(digits32, brief):
    for half_cycle, backend in ((100, "numpy"), (5000, "compiled")):
        settings = replace(brief, half_cycle=half_cycle)
        assert Population(digits32, members(settings, 2)).state.backend == backend
    large, long = np.empty((4, 3072, 50), np.float32), 100_000
    assert compiled_pays(large, long)
    assert compiled_pays(large[:1], long)
    # Weights beyond the cache; float64 takes twice as much.
    assert not compiled_pays(np.empty((4, 3072, 200), np.float32), long)
    assert not compiled_pays(np.empty((1, 3072, 100)), long)


@needs_numba
def test_updates_at_once_are_not_for_the_compiled_backend():
    feed = Feed(load("synthetic:samples=200"))
    settings = Settings(updates_at_once=2, backend="compiled")
    with pytest.raises(
        KlayerError, match="one by one, but got updates_at_once=2: set backend='numpy'"
    ):
        Population(feed, [Member(settings, 0)])
    auto = replace(settings, backend="auto", half_cycle=5000)
    state = Population(feed, [Member(auto, 0)]).state
    assert (state.backend, state.at_once) == ("numpy", 2)
    alone = replace(settings, updates_at_once="auto")
    state = Population(feed, [Member(alone, p) for p in range(8)]).state
    assert (state.backend, state.at_once) == ("compiled", 1)


def test_an_unknown_backend_is_refused_with_a_hint():
    with pytest.raises(KlayerError, match="unknown backend 'compile': did you mean 'compiled'"):
        Settings(backend="compile")
    with pytest.raises(KlayerError, match="unknown backend"):
        require("gpu", Network(4, (3,), 2), "sgd")


@needs_numba
def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch):
    import numba

    asked = []

    def njit(cache, **options):
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    function = object()
    assert kernel.compiled_and_kept(function) is function
    assert asked == [True, False]


@needs_numba
def test_a_kernel_that_is_compiled_is_said_so_and_a_ctrl_c_is_heard(digits32, brief, monkeypatch):
    import threading
    import time

    from klayer.progress import Meter

    monkeypatch.setattr("klayer.progress.HELD_UP", 0.01)
    said, where = io.StringIO(), []

    def slowly(dtype):
        where.append(threading.current_thread())
        while "compiling" not in said.getvalue():
            time.sleep(0.01)

    monkeypatch.setattr("klayer.train.compiled_chunk.warm_up", slowly)
    population = Population(digits32, members(replace(brief, backend="compiled"), 1))
    with Meter("lines", said):
        Trainer(population, Engine(1)).train(5)
    assert said.getvalue() == "compiling the kernel, once ...\n"
    # An exception that is raised in a callback of C code is lost: signals meet the main thread alone.
    assert where != [threading.main_thread()]


def test_rows_are_what_the_state_shows(digits32, brief):
    state = Population(digits32, members(replace(brief, optimiser="momentum"), 3)).state
    network = Network(64, brief.hidden, 10)
    before = {key: value.copy() for key, value in state.params.items()}
    rows = pack(3, [state.params], network.shapes(), np.float32)
    for key, value in before.items():
        assert (state.params[key] == value).all()
        assert np.shares_memory(state.params[key], rows)
    assert pack(3, [{}], {}, np.float32).shape == (3, 1, 0)
    assert pack(3, [], network.shapes(), np.float32).shape == (3, 0, network.size)


# A run.


def test_a_record_of_a_run_without_backends_was_made_by_numpy():
    history = {"update": [0], "epoch": [0.0], "lr": [0.1]}
    record = NetworkRecord(
        *("arms", "a", 0, "trained", None, {}, Settings(), "p", 0, 1, 0.1, history)
    )
    stored = record.to_json()
    del stored["backend"]
    assert NetworkRecord.from_json(stored).backend == "numpy"


@every_backend
def test_a_study_stores_its_backend_and_is_trained_the_same_by_any_number_of_workers(
    tmp_path, backend
):
    config = {
        "data": "digits",
        "seeds": 2,
        "settings": {
            "hidden": [16],
            "batch_size": 50,
            "cycles": 1,
            "half_cycle": "1 epoch",
            "backend": backend,
        },
        "grid": {"batch_norm": ["none", "hidden"]},
    }
    one, two = (
        run_study(Study.from_values(config), out=tmp_path / str(workers), workers=workers)
        for workers in (1, 2)
    )
    assert [record.backend for record in one.networks] == [backend] * 4
    for ours, theirs in zip(one.networks, two.networks, strict=True):
        assert ours.history == theirs.history
