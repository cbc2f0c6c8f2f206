import contextlib
import gc
import itertools
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.train import (
    OPTIMISERS,
    Engine,
    Failure,
    Feed,
    Member,
    Population,
    Settings,
    Trainer,
    fit,
)
from klayer.train.blocks import Blocks
from klayer.train.state import TrainingState

DEEP = (50, 30, 20, 20, 10, 10, 10, 10)


def trained(data, members, workers=1, chunk=16, state=None, **more):
    population = Population(data, members, state, chunk)
    with Engine(workers) as engine:
        Trainer(population, engine).train(**more)
        population.final = population.evaluate("test", engine)
    return population


def assert_same_bits(one, p, other, q):
    for group in ("params", "running", "history"):
        ours, theirs = getattr(one.state, group), getattr(other.state, group)
        for key, value in ours.items():
            assert value[p].tobytes() == theirs[key][q].tobytes(), (group, key)
    for key, value in one.final.items():
        assert value[p] == other.final[key][q]


@pytest.mark.parametrize("hidden", [(50, 50), DEEP], ids=["3-layer", "9-layer"])
@pytest.mark.parametrize("batch_norm", ["none", "hidden", "all"])
def test_a_network_has_the_same_bits_alone_and_in_any_population(digits32, hidden, batch_norm):
    settings = Settings(
        hidden=hidden, batch_norm=batch_norm, cycles=1, half_cycle="1 epoch", batch_size=50
    )
    members = [
        Member(replace(settings, l2=1e-3 * p, init=init, lr_max=0.1 / (1 + p)), seed=p)
        for p, init in enumerate(["he", "gaussian:0.1", "xavier", "he"] * 2)
    ]
    alone = [trained(digits32, [member]) for member in members]
    for P, workers, chunk in itertools.product((1, 3, 8), (1, 2), (1, 3, 16)):
        together = trained(digits32, members[:P], workers, chunk)
        for p in range(P):
            assert_same_bits(together, p, alone[p], 0)


@pytest.fixture(scope="module")
def cifar_shape():
    from klayer.data import load

    return Feed(load("synthetic:samples=400"))


# Fourteen updates of large first layers, two at a time; curves are recorded after 0, 8 and 14.
LARGE = Settings(batch_norm="hidden", cycles=1, half_cycle=7, points_per_cycle=2, updates_at_once=2)


@pytest.mark.parametrize("batch_norm", ["none", "hidden"])
def test_a_network_of_cifar_shape_has_the_same_bits_alone_and_in_any_population(
    cifar_shape, batch_norm
):
    settings = replace(LARGE, batch_norm=batch_norm)
    members = [
        Member(replace(settings, l2=1e-2 * p, lr_max=0.1 / (1 + p)), seed)
        for p, seed in enumerate(range(8))
    ]
    alone = [trained(cifar_shape, [member]) for member in members]
    assert alone[0].state.at_once == 2
    for P, workers, chunk in ((1, 2, 16), (1, 3, 16), (3, 1, 16), (3, 2, 1), (8, 1, 16), (8, 2, 3)):
        together = trained(cifar_shape, members[:P], workers, chunk)
        for p in range(P):
            assert_same_bits(together, p, alone[p], 0)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_large_first_layer_has_the_same_bits_whoever_works_on_it(cifar_shape, optimiser):
    settings = replace(LARGE, updates_at_once=1, optimiser=optimiser)
    members = [Member(replace(settings, l2=1e-2 * p), p) for p in range(3)]
    alone = [trained(cifar_shape, [member]) for member in members]
    assert alone[0].state.at_once == 1
    for P, workers, chunk in ((1, 2, 16), (1, 4, 16), (3, 1, 16), (3, 2, 1), (3, 8, 2)):
        together = trained(cifar_shape, members[:P], workers, chunk)
        for p in range(P):
            assert_same_bits(together, p, alone[p], 0)


@pytest.mark.parametrize("at_once", [2, 3])
def test_updates_carried_out_at_once_are_those_carried_out_one_by_one(cifar_shape, at_once):
    data = Feed(cifar_shape.dataset, np.float64)
    settings = replace(LARGE, dtype="float64", l2=0.1, updates_at_once=at_once)
    together, apart = (
        trained(data, [Member(one, 0), Member(one, 1)])
        for one in (settings, replace(settings, updates_at_once=1))
    )
    assert (together.state.at_once, apart.state.at_once) == (at_once, 1)
    for key, value in apart.state.params.items():
        np.testing.assert_allclose(together.state.params[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("rate", "update"), [(1e20, 1), (1e10, 2)], ids=["second", "first"])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_network_that_diverges_within_a_block_is_frozen_as_it_was(
    cifar_shape, rate, update, workers
):
    calm = replace(LARGE, batch_norm="none")
    wild = replace(calm, lr_min=rate, lr_max=rate)
    members = [Member(calm, 0), Member(wild, 1), Member(calm, 2)]
    together = trained(cifar_shape, members, workers)
    assert together.state.failures[1].update == update
    alone = trained(cifar_shape, members[1:2])
    assert alone.state.failures[0] == together.state.failures[1]
    # One update at a time, the same network stops at the same place, to rounding.
    one_by_one = replace(wild, updates_at_once=1)
    before = trained(cifar_shape, [Member(one_by_one, 1)], until=update)
    for key, value in alone.state.params.items():
        assert value[0].tobytes() == together.state.params[key][1].tobytes()
        expected = before.state.params[key]
        np.testing.assert_allclose(value, expected, atol=1e-5 * np.abs(expected).max())
    for p in (0, 2):
        assert_same_bits(together, p, trained(cifar_shape, [members[p]]), 0)


@pytest.mark.parametrize("until", [4, 7, 9])
def test_stopping_anywhere_and_going_on_gives_the_same_bits(cifar_shape, until, tmp_path):
    members = [Member(LARGE, seed) for seed in range(3)]
    whole = trained(cifar_shape, members)
    first = trained(cifar_shape, members, until=until)
    assert first.state.update == until + until % 2  # the end of a pair
    first.state.save(tmp_path / "state.safetensors")
    state = TrainingState.load(tmp_path / "state.safetensors")
    second = trained(cifar_shape, members, workers=2, state=state)
    for p in range(3):
        assert_same_bits(whole, p, second, p)


def test_how_often_curves_are_drawn_changes_no_weight(cifar_shape):
    often, seldom = (
        trained(cifar_shape, [Member(replace(LARGE, points_per_cycle=points), 0)])
        for points in (1, 5)
    )
    assert often.state.recorded != seldom.state.recorded
    for key, value in often.state.params.items():
        assert value.tobytes() == seldom.state.params[key].tobytes()


def test_the_strategy_of_the_first_layer_is_chosen_once_and_goes_with_the_state(cifar_shape):
    auto = replace(LARGE, updates_at_once="auto")
    one, many = (Population(cifar_shape, [Member(auto, p) for p in range(P)]) for P in (1, 8))
    assert (one.state.at_once, many.state.at_once) == (1, 2)
    few = many.take([0])
    assert few.state.at_once == 2
    assert few.record_points() == many.record_points()
    other = Population(
        cifar_shape, [Member(replace(auto, optimiser="momentum"), p) for p in range(8)]
    )
    assert other.state.at_once == 1


@pytest.mark.parametrize("batch_norm", ["none", "hidden", "all"])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_one_update_is_the_parameter_minus_rate_times_gradient(digits, brief, batch_norm, l2):
    data = Feed(digits, np.float64)
    settings = replace(brief, batch_norm=batch_norm, l2=l2, lr_max=0.3, dtype="float64")
    members = [Member(replace(settings, lr_min=0.02 * (p + 1)), p) for p in range(3)]
    population = Population(data, members)
    before = {key: value.copy() for key, value in population.state.params.items()}
    X, labels = data["train"].X, data["train"].labels
    rows = np.random.default_rng(np.random.SeedSequence([0, 0])).permutation(len(X))[:50]
    _, _, grads = population.network.loss_and_grads(before, X[rows], labels[rows], l2)
    Trainer(population).train(until=1)
    for key, value in before.items():
        for p in range(3):
            # To rounding: W - r (g + 2 l W) is computed as (1 - 2 l r) W - r g.
            expected = value[p] - 0.02 * (p + 1) * grads[key][p]
            np.testing.assert_allclose(
                population.state.params[key][p], expected, rtol=1e-13, atol=1e-15
            )


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_network(digits32, brief):
    one, again, other = (trained(digits32, [Member(brief, seed)]) for seed in (5, 5, 6))
    assert_same_bits(one, 0, again, 0)
    assert one.state.params["W1"].tobytes() != other.state.params["W1"].tobytes()


def test_the_order_seed_changes_the_batches_and_not_the_start(digits32, brief):
    one, other = (
        Population(digits32, [Member(replace(brief, order_seed=seed), 0)]) for seed in (0, 1)
    )
    assert (one.state.params["W1"] == other.state.params["W1"]).all()
    for population in (one, other):
        Trainer(population).train(until=1)
    assert (one.state.params["W1"] != other.state.params["W1"]).any()


def test_a_network_that_diverges_is_frozen_flagged_and_harms_no_other(digits32, brief):
    wild = replace(brief, lr_min=1e6, lr_max=1e6)
    members = [Member(brief, 0), Member(wild, 1), Member(brief, 2)]
    together = trained(digits32, members)
    assert together.state.failures[0] is None
    assert together.state.failures[2] is None
    failure = together.state.failures[1]
    assert 0 < failure.update < together.total_updates
    assert 1 <= failure.layer <= 3
    assert "cost not finite at update" in str(failure)
    assert_same_bits(together, 0, trained(digits32, [members[0]]), 0)
    assert_same_bits(together, 2, trained(digits32, [members[2]]), 0)
    assert np.isnan(together.final["accuracy"][1])
    frozen = {key: value[1].copy() for key, value in together.state.params.items()}
    together.state.update -= 1
    Trainer(together).train()
    for key, value in frozen.items():
        assert value.tobytes() == together.state.params[key][1].tobytes()


def test_a_population_whose_networks_all_diverge_ends_quietly(digits32, brief):
    wild = replace(brief, lr_min=1e6, lr_max=1e6)
    population = trained(digits32, [Member(wild, 0), Member(wild, 1)])
    assert all(population.state.failures)
    assert population.state.update == population.total_updates


def test_a_penalty_that_overflows_is_a_failure_of_layer_0(digits32, brief):
    # Weights stand still, loss and gradients are finite, lambda * sum W^2 is not.
    settings = replace(brief, l2=1e37, lr_min=0.0, lr_max=0.0)
    population = trained(digits32, [Member(settings, 0)])
    assert population.state.failures == [Failure(0, 0)]
    assert "first in the penalty" in str(population.state.failures[0])


def test_training_in_two_parts_gives_the_bits_of_training_in_one(digits32, brief, tmp_path):
    members = [Member(replace(brief, batch_norm="hidden"), p) for p in range(3)]
    whole = trained(digits32, members)
    first = trained(digits32, members, until=17)
    first.state.save(tmp_path / "state.safetensors")
    again = TrainingState.load(tmp_path / "state.safetensors")
    assert again.update == 17
    second = trained(digits32, members, state=again)
    for p in range(3):
        assert_same_bits(whole, p, second, p)
    assert second.state.recorded == whole.state.recorded == whole.record_points()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_or_an_error_leaves_all_networks_at_the_same_update(digits32, brief, error):
    members = [Member(brief, p) for p in range(6)]
    whole = trained(digits32, members)

    def stop(done):
        raise error

    population = Population(digits32, members, chunk=1)
    with Engine(2) as engine:
        trainer = Trainer(population, engine)
        with pytest.raises(error):
            trainer.train(on_progress=stop)
        assert trainer.consistent
        assert population.state.update < population.total_updates
        trainer.train()  # on the same engine
        population.final = population.evaluate("test", engine)
    for p in range(6):
        assert_same_bits(whole, p, population, p)


def test_an_engine_that_is_entered_twice_or_again_trains_as_any_other(digits32, brief):
    whole = trained(digits32, [Member(brief, 0)])
    engine = Engine(1)
    for stop in (10, 20):
        population = Population(digits32, [Member(brief, 0)])
        with engine:
            with engine:
                Trainer(population, engine).train(until=stop)
            Trainer(population, engine).train()
        population.final = population.evaluate("test")
        assert_same_bits(whole, 0, population, 0)


def test_an_engine_that_is_not_open_does_not_work():
    engine = Engine(1)
    with engine:
        pass
    with pytest.raises(KlayerError, match="works only while it is open"):
        engine.map(lambda item, ws: item, [1])


@pytest.mark.parametrize("method", ["train", "advance"])
def test_a_population_in_training_is_not_trained_by_a_callback(digits32, brief, method):
    population = Population(digits32, [Member(brief, p) for p in range(3)])
    trainer = Trainer(population, Engine(1))
    errors = []

    def again(done):
        try:
            getattr(Trainer(population), method)(50)
        except KlayerError as error:
            errors.append(str(error))

    trainer.train(on_progress=again)
    assert errors
    assert all("by one trainer at a time" in one for one in errors)
    whole = trained(digits32, population.members)
    for key, value in whole.state.params.items():
        assert value.tobytes() == population.state.params[key].tobytes()


def test_engines_hold_the_blas_until_the_last_of_them_is_left(cifar_shape):
    from threadpoolctl import threadpool_info

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before, first, second = threads(), Engine(1), Engine(1)
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert set(threads()) == {1}
    population = Population(cifar_shape, [Member(LARGE, 0)])
    Trainer(population, second).train()
    second.__exit__()
    assert threads() == before
    whole = trained(cifar_shape, [Member(LARGE, 0)])
    for key, value in whole.state.params.items():
        assert value.tobytes() == population.state.params[key].tobytes()


def test_threads_may_share_an_engine_and_an_error_of_one_is_not_the_others(digits32, brief):
    whole, engine = trained(digits32, [Member(brief, 0)]), Engine(2)
    populations = [Population(digits32, [Member(brief, 0)]) for _ in range(3)]

    def train(p):
        def fail(done):
            raise ZeroDivisionError

        with contextlib.suppress(ZeroDivisionError):
            Trainer(populations[p], engine).train(on_progress=fail if p == 0 else None)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(train, range(3)))
    Trainer(populations[0], engine).train()
    for population in populations:
        for key, value in whole.state.params.items():
            assert value.tobytes() == population.state.params[key].tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (7, 12)}, r"its params have W1 of shape \(1, 64, 16\) instead of \(1, 64, 7\)"),
        ({"batch_norm": "all"}, "its params have gamma1 of shape none instead of"),
        ({"optimiser": "momentum"}, "its velocity have W1 of shape none instead of"),
        ({"dtype": "float64"}, "must have the population's dtype, float64, but its W1 is float32"),
    ],
)
def test_a_state_of_another_population_is_refused(digits, digits32, brief, change, message):
    state = Population(digits32, [Member(brief, 0)]).state
    settings = replace(brief, **change)
    with pytest.raises(KlayerError, match=message):
        Population(Feed(digits, settings.dtype), [Member(settings, 0)], state)
    with pytest.raises(KlayerError, match="have W1 of shape"):
        Population(digits32, [Member(brief, 0), Member(brief, 1)], state)


@pytest.mark.parametrize("until", [float("nan"), float("inf"), "3"])
def test_an_update_to_stop_at_must_be_a_number(digits32, brief, until):
    with pytest.raises(KlayerError, match="`until` must be the number of an update"):
        Trainer(Population(digits32, [Member(brief, 0)])).train(until)


def test_networks_are_taken_by_number_or_by_mask(digits32, brief):
    population = Population(digits32, [Member(brief, p) for p in range(3)])
    assert [one.seed for one in population.take(np.array([True, False, True])).members] == [0, 2]
    for lanes in ([3], [-1], [True], ["a"], np.array([0.5])):
        for taken in (population.take, population.state.take, population.model):
            with pytest.raises(KlayerError, match="`lanes` must be numbers from 0 to 2, or a mask"):
                taken(lanes)


def test_no_update_is_reported_that_was_not_made(digits32, brief, monkeypatch):
    population = Population(digits32, [Member(brief, 0)])
    monkeypatch.setattr(Engine, "map", lambda *args: [])
    with pytest.raises(RuntimeError, match="stopped at update 0 of"):
        Trainer(population, Engine(1)).advance(10)
    assert population.state.update == 0


def test_networks_taken_out_of_a_population_go_on_to_the_same_bits(digits32, brief):
    members = [Member(brief, p) for p in range(5)]
    whole = trained(digits32, members)
    with Engine(1) as engine:
        population = Population(digits32, members)
        Trainer(population, engine).train(until=20)
        few = population.take([4, 1])
        Trainer(few, engine).train()
        few.final = few.evaluate("test", engine)
    assert_same_bits(few, 0, whole, 4)
    assert_same_bits(few, 1, whole, 1)


def test_curves_are_recorded_from_the_start_evenly_to_the_end(digits32, brief):
    population = trained(digits32, [Member(brief, 0)])
    points = population.state.recorded
    assert points[0] == 0
    assert points[-1] == population.total_updates == 50
    assert len(points) == 5
    history = population.state.history
    assert history["train_accuracy"].shape == (1, 5)
    assert (history["train_cost"] > history["train_loss"]).all()
    assert history["train_accuracy"][0, -1] > history["train_accuracy"][0, 0]


def test_the_last_point_of_a_curve_is_the_accuracy_of_the_whole_split(digits32, brief):
    population = trained(digits32, [Member(brief, 0)])
    expected = population.evaluate("validation")
    for name in ("cost", "loss", "accuracy"):
        assert population.state.history[f"validation_{name}"][0, -1] == expected[name][0]


def test_accuracy_and_loss_are_those_of_the_predicted_probabilities(digits32, brief):
    population = trained(digits32, [Member(brief, 0), Member(brief, 1)])
    raw, labels = digits32.dataset.splits["test"].features, digits32["test"].labels
    probs = population.model().predict_probs(raw)
    np.testing.assert_allclose(probs.sum(axis=-1), 1, rtol=1e-5)
    accuracy = (probs.argmax(axis=-1) == labels).mean(axis=-1)
    np.testing.assert_allclose(population.final["accuracy"], accuracy)
    loss = -np.log(probs[:, np.arange(len(labels)), labels]).mean(axis=-1)
    np.testing.assert_allclose(population.final["loss"], loss, rtol=1e-4)


def test_fit_is_a_population_with_one_network_a_seed(digits, digits32, brief):
    population = fit(digits, brief, seeds=[3, 4])
    population.final = population.evaluate("test")
    assert_same_bits(population, 1, trained(digits32, [Member(brief, 4)]), 0)


def test_float64_trains_too(digits, brief):
    settings = replace(brief, dtype="float64")
    population = fit(digits, settings)
    assert population.state.params["W1"].dtype == np.float64
    assert population.evaluate("test")["accuracy"][0] > 0.5


@pytest.mark.parametrize("at_once", [1, 2])
def test_mini_batches_are_freed_as_soon_as_they_are_done(cifar_shape, at_once, monkeypatch):
    # Nothing may wait for the garbage collector: a study would keep gigabytes.
    blocks, get = [], Blocks.get

    def watched(self, span):
        block = get(self, span)
        blocks.append(weakref.ref(block))
        return block

    monkeypatch.setattr(Blocks, "get", watched)
    gc.disable()
    try:
        trained(cifar_shape, [Member(replace(LARGE, updates_at_once=at_once), p) for p in range(3)])
        assert len(blocks) > 3
        assert not [one for one in blocks if one() is not None]
    finally:
        gc.enable()


def test_states_that_do_not_stand_at_one_update_are_not_joined(digits32, brief):
    states = [trained(digits32, [Member(brief, 0)], until=t).state for t in (10, 20)]
    with pytest.raises(KlayerError, match="at one update"):
        TrainingState.join(states)
    with pytest.raises(KlayerError, match="at least one state is needed"):
        TrainingState.join([])


def test_bytes_are_standardised_on_the_way_and_other_numbers_once(digits32, cifar_shape):
    raw = digits32.dataset.splits["train"].features
    assert raw.dtype == np.uint8
    assert digits32["train"].stored is raw
    np.testing.assert_array_equal(digits32["train"].X, digits32.dataset.standardised("train"))
    assert cifar_shape.dataset.splits["train"].features.dtype == np.float32
    assert np.shares_memory(cifar_shape["train"].X, cifar_shape["train"].stored)


def test_rows_standardised_in_advance_or_on_the_way_give_the_same_bits(digits, brief, monkeypatch):
    found = []
    for on_the_way in (True, False):
        monkeypatch.setattr(
            "klayer.train.trainer.standardise_on_the_way", lambda *_, answer=on_the_way: answer
        )
        feed = Feed(digits)
        found.append(trained(feed, [Member(brief, 0)]))
        assert ("train, ready" in feed._rows) is not on_the_way
    assert_same_bits(found[0], 0, found[1], 0)


def test_a_data_set_without_other_splits_can_be_trained_on(digits, brief):
    class OneSplit:
        n_features, n_classes, standardiser = digits.n_features, 10, digits.standardiser
        task, targets, class_names = "classification", None, digits.class_names
        splits = {"train": digits.splits["train"]}  # noqa: RUF012

    population = trained_on_train(OneSplit(), brief)
    assert set(population.state.history) == {"train_cost", "train_loss", "train_accuracy"}


def trained_on_train(dataset, settings):
    population = Population(Feed(dataset), [Member(settings, 0)])
    Trainer(population).train()
    return population


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "a population needs at least one network"),
        (
            [Member(Settings(), 0), Member(Settings(hidden=(3,)), 0)],
            r"network 1 has hidden=\[3\] instead of \[50, 50\]",
        ),
        ([Member(Settings(dtype="float64"), 0)], "the data are float32, but the settings say"),
    ],
)
def test_members_that_do_not_fit_are_refused(digits32, members, message):
    with pytest.raises(KlayerError, match=message):
        Population(digits32, members)


@pytest.mark.parametrize("seed", [-1, 1.5, "3"])
def test_a_seed_must_be_a_whole_number(seed):
    with pytest.raises(KlayerError, match="`seed` must be a whole number >= 0"):
        Member(Settings(), seed)


def test_an_engine_needs_a_worker():
    with pytest.raises(KlayerError, match="`workers` must be a whole number >= 1, but got 0"):
        Engine(0)


def test_a_failure_says_where():
    assert str(Failure(12, 3)) == "cost not finite at update 12, first in layer 3"


def test_the_engine_holds_blas_at_one_thread_and_gives_it_back():
    from threadpoolctl import threadpool_info

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    with Engine(2) as engine:
        inside = engine.map(lambda _, ws: threads(), [0])[0]
    assert set(inside) == {1}
    assert threads() == before


def test_an_error_in_a_worker_reaches_the_caller():
    def fail(item, ws):
        raise RuntimeError(f"item {item}")

    with Engine(2) as engine, pytest.raises(RuntimeError, match="item 1"):
        engine.map(fail, [1])


def test_workers_share_items_with_those_that_are_idle():
    done = []

    def work(item, ws):
        done.append(item)

    def start(items, ws):
        engine.share(work, items)

    with Engine(3) as engine:
        engine.map(start, [[0, 1, 2], [3, 4, 5]])
    assert sorted(done) == [0, 1, 2, 3, 4, 5]


def test_an_error_in_a_shared_item_reaches_the_caller():
    def work(item, ws):
        if item:
            raise RuntimeError(f"item {item}")

    for workers in (1, 2):
        with Engine(workers) as engine, pytest.raises(RuntimeError, match="item 1"):
            engine.map(lambda items, ws: engine.share(work, items), [[0, 1]])
