"""Averages of weights, snapshots, early stopping: what they are, and that they keep the bits."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from klayer.data import Dataset, Split
from klayer.errors import KlayerError
from klayer.nn import Workspace
from klayer.train import SETTINGS, Engine, Feed, Member, Population, Settings, Trainer
from klayer.train.averaging import statistics
from klayer.train.state import TrainingState


@pytest.fixture
def slow():
    """Settings for some epochs of digits, with points enough to stop at."""
    return Settings(
        hidden=(16, 12),
        batch_norm="hidden",
        batch_size=50,
        cycles=2,
        half_cycle="1 epoch",
        points_per_cycle=6,
        l2=1e-3,
        lr_max=0.3,
    )


def trained(data, members, workers=1, chunk=16, state=None, **more):
    population = Population(data, members, state, chunk)
    with Engine(workers) as engine:
        Trainer(population, engine).train(**more)
    return population


def everything(state):
    yield from (("params", state.params), ("running", state.running), ("history", state.history))
    yield from itertools.chain(state.slots.items(), state.copies.items())
    yield "marks", state.marks


def assert_same_bits(one, p, other, q):
    theirs = dict(everything(other.state))
    for name, group in everything(one.state):
        for key, value in group.items():
            assert value[p].tobytes() == theirs[name][key][q].tobytes(), (name, key)


WITH_ALL = {
    "ema": {"average": "ema", "optimiser": "adam", "clip_norm": 1.0},
    "cycle_end": {"average": "cycle_end", "average_share": 0.4, "optimiser": "nesterov"},
    "snapshots": {"snapshots": "cycles", "cycle_growth": 1.5, "cycles": 2.5},
    "stopping": {"early_stopping": "loss", "patience": 2},
    "all": {
        "average": "ema",
        "snapshots": "cycles",
        "early_stopping": "accuracy",
        "patience": 2,
        "optimiser": "muon",
        "clip_norm": 2.0,
        "dropout": 0.1,
        "input_dropout": 0.05,
        "input_noise": 0.1,
        "smoothing": 0.1,
        "augment": "mirror,crop:1,jitter:0.1,cutout:2,noise:0.05,mixup",
        "warm_up": 5,
        "peak_decay": 0.9,
        "ema_decay": 0.9,
        "activation": "gelu",
    },
}


def eight(slow, change):
    """Eight networks; every number that has an effect is another one in each."""
    rate = 0.03 if change.get("optimiser") in ("adam", "muon") else 0.3
    settings = replace(slow, **change)
    numbers = {
        name: getattr(settings, name)
        for name in Settings.per_network()
        if isinstance(getattr(settings, name), float)
        and SETTINGS[name].has_effect(settings)
        and name not in ("lr_min", "lr_max", "l2")
    }
    return [
        Member(
            replace(
                settings,
                lr_max=rate / (1 + p),
                l2=1e-3 * p,
                **{name: value * (1 - 0.04 * p) for name, value in numbers.items()},
            ),
            p,
        )
        for p in range(8)
    ]


def test_every_number_of_a_network_is_its_own_in_one_population(slow):
    members = eight(slow, WITH_ALL["all"])
    differ = {
        name
        for name in Settings.per_network()
        if len({getattr(member.settings, name) for member in members}) == 8
    }
    assert differ >= {
        *("l2", "lr_max", "momentum", "beta2", "optimiser_eps", "weight_decay", "clip_norm"),
        *("dropout", "input_dropout", "input_noise", "smoothing", "bn_momentum"),
        *("ema_decay", "peak_decay"),
    }
    assert len({member.settings.shared for member in members}) == 1


@pytest.mark.parametrize("change", WITH_ALL.values(), ids=WITH_ALL)
def test_a_network_has_the_same_bits_alone_and_in_any_population(digits32, slow, change):
    members = eight(slow, change)
    alone = [trained(digits32, [member]) for member in members]
    for P, workers, chunk in ((1, 2, 16), (3, 1, 2), (3, 2, 16), (8, 1, 16), (8, 2, 3)):
        together = trained(digits32, members[:P], workers, chunk)
        for p in range(P):
            assert_same_bits(together, p, alone[p], 0)


@pytest.mark.parametrize("change", WITH_ALL.values(), ids=WITH_ALL)
@pytest.mark.parametrize("until", [13, 61, 77])
def test_going_on_in_mid_epoch_gives_the_same_bits(digits32, slow, change, until, tmp_path):
    members = eight(slow, change)[:3]
    whole = trained(digits32, members)
    first = trained(digits32, members, until=until)
    assert first.state.update == until < first.total_updates
    first.state.save(tmp_path / "state.safetensors")
    state = TrainingState.load(tmp_path / "state.safetensors")
    parts = TrainingState.join([state.take([0]), state.take([1, 2])])
    second = trained(digits32, members, workers=2, state=parts)
    for p in range(3):
        assert_same_bits(whole, p, second, p)


def every_update(data, member, until):
    """Weights after each update, beginning with the first."""
    population, found = Population(data, [member]), []
    trainer = Trainer(population, Engine(1))
    for t in range(1, until + 1):
        trainer.advance(t)
        found.append({key: value.copy() for key, value in population.state.params.items()})
    return found


def test_a_moving_average_is_that_of_the_weights(digits, slow):
    data = Feed(digits, np.float64)
    plain = replace(slow, dtype="float64", updates_at_once=1)
    weights = every_update(data, Member(plain, 0), 30)
    settings = replace(plain, average="ema", ema_decay=0.9)
    population = trained(data, [Member(settings, 0)], until=30)
    expected = dict(Population(data, [Member(plain, 0)]).state.params)
    for t, W in enumerate(weights):
        decay = min(0.9, (1 + t) / (10 + t))
        expected = {key: decay * expected[key] + (1 - decay) * W[key] for key in expected}
    for key, value in expected.items():
        np.testing.assert_allclose(
            population.state.weights()[0][key], value, rtol=1e-10, atol=1e-14
        )
        np.testing.assert_array_equal(population.state.params[key], weights[-1][key])


def test_the_average_over_the_end_of_a_cycle_is_the_mean_of_its_weights(digits, slow):
    data = Feed(digits, np.float64)
    plain = replace(slow, dtype="float64", cycles=2, half_cycle=10)
    weights = every_update(data, Member(plain, 0), 40)
    settings = replace(plain, average="cycle_end", average_share=0.5)
    population = trained(data, [Member(settings, 0)])
    assert population.average_from == 30
    for key, value in population.state.params.items():
        expected = np.mean([W[key] for W in weights[30:]], axis=0)
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-14)
    assert "average" not in population.state.copies


def test_averaged_weights_get_statistics_of_their_own(digits, slow):
    data = Feed(digits, np.float64)
    settings = replace(slow, dtype="float64", average="cycle_end", hidden=(12,))
    population = trained(data, [Member(settings, 0)])
    X, W = data["train"].X, population.state.params["W1"][0]
    batches = population.settings.batches(len(X))
    found = [X[batches[t]] @ W for t in range(batches.per_epoch)]
    mean = np.mean([s.mean(axis=0) for s in found], axis=0)
    var = np.mean([s.var(axis=0) for s in found], axis=0)
    np.testing.assert_allclose(
        population.state.running["running_mean1"][0], mean, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(population.state.running["running_var1"][0], var, rtol=1e-9)


def test_statistics_leave_a_smaller_last_batch_out(digits, slow):
    data = Feed(digits, np.float64)
    settings = replace(slow, dtype="float64", last_batch="keep", batch_size=700, hidden=(5,))
    population = Population(data, [Member(settings, 0)])
    rows, batches = data["train"], population.batches
    assert [len(batches[t]) for t in range(2)] == [700, len(rows) - 700]
    numbers = population.numbers
    network, params = population.network, population.state.params
    running = statistics(network, params, rows, batches, numbers, Workspace())
    s = rows.X[batches[0]] @ params["W1"][0]
    np.testing.assert_allclose(running["running_var1"][0], s.var(axis=0), rtol=1e-10)


def test_averages_are_what_is_judged_and_stored(digits32, slow):
    settings = replace(slow, average="ema", ema_decay=0.99)
    population = trained(digits32, [Member(settings, 0)], until=60)
    params, _ = population.state.weights()
    assert (params["W1"] != population.state.params["W1"]).any()
    assert (population.model().params["W1"] == params["W1"]).all()
    rows = digits32.dataset.splits["test"]
    labels = population.model().predict_labels(rows.features)
    accuracy = population.evaluate("test")["accuracy"][0]
    assert accuracy == (labels[0] == rows.labels).mean()


# Snapshots.


def test_snapshots_are_the_networks_at_the_ends_of_cycles(digits32, slow):
    settings = replace(slow, snapshots="cycles", cycles=2.5, cycle_growth=2.0)
    population = trained(digits32, [Member(settings, 0), Member(settings, 1)])
    ends = population.course.ends
    assert ends == (50, 150, 350)
    assert set(population.state.copies) == {"cycle 1", "cycle 2"}
    for cycle, end in ((1, 50), (2, 150)):
        there = trained(digits32, population.members, until=end)
        for key, value in {**there.state.params, **there.state.running}.items():
            assert (population.state.copies[f"cycle {cycle}"][key] == value).all()


# Early stopping.


def test_a_network_that_gets_no_better_stops_and_ends_with_its_best_weights(digits32, slow):
    settings = replace(slow, early_stopping="loss", patience=2, cycles=4)
    free = replace(settings, early_stopping="none", patience=5)
    wild = [Member(replace(settings, lr_max=rate), 0) for rate in (0.1, 3.0, 8.0)]
    population = trained(digits32, wild, workers=2)
    curves = trained(digits32, [Member(replace(free, lr_max=m.settings.lr_max), 0) for m in wild])
    stopped_early = 0
    for p in range(3):
        loss = curves.state.history["validation_loss"][p]
        best, waited, stop = 0, 0, None
        for i in range(1, len(loss)):
            if loss[i] < loss[best]:
                best, waited = i, 0
            else:
                waited += 1
            if waited == 2:
                stop = i
                break
        marks = population.state.marks
        assert marks["best_update"][p] == curves.state.recorded[best]
        assert marks["stopped"][p] == (-1 if stop is None else curves.state.recorded[stop])
        there = trained(digits32, curves.members[p : p + 1], until=curves.state.recorded[best])
        for group in ("params", "running"):
            for key, value in getattr(there.state, group).items():
                assert (getattr(population.state, group)[key][p] == value[0]).all()
        history = population.state.history["validation_loss"][p]
        assert np.isfinite(history[: (stop or len(loss)) + 1]).all()
        # From then on the curve is that of the weights that it ended with.
        assert stop is None or (history[stop + 1 :] == history[best]).all()
        stopped_early += stop is not None
    assert stopped_early
    assert np.isfinite(population.evaluate("test")["accuracy"]).all()


def test_a_stopped_network_is_trained_no_more(digits32, slow, monkeypatch):
    settings = replace(slow, early_stopping="loss", patience=1, cycles=3)
    members = [Member(replace(settings, lr_max=rate, lr_min=rate), 0) for rate in (0.05, 0.0, 0.0)]
    population, seen = Population(digits32, members), []
    groups = Trainer._groups

    def watched(self):
        found = groups(self)
        seen.append(sorted(p for group in found for lanes in group for p in range(3)[lanes]))
        return found

    monkeypatch.setattr(Trainer, "_groups", watched)
    Trainer(population, Engine(1)).train()
    # Those that never move stop at the first point after the start.
    assert (population.state.marks["stopped"][1:] == population.record_points()[1]).all()
    assert seen[:2] == [[0, 1, 2], [0, 1, 2]] or seen[0] == [0, 1, 2]
    assert seen[-1] in ([0], [])
    assert population.state.update == population.total_updates


@pytest.mark.parametrize("measure", ["accuracy", "loss", "cost"])
def test_the_measure_that_is_named_decides(digits32, slow, measure):
    settings = replace(slow, early_stopping=measure, patience=100)
    population = trained(digits32, [Member(settings, 0)])
    curve = population.state.history[f"validation_{measure}"][0]
    best = curve.argmax() if measure == "accuracy" else curve.argmin()
    assert population.state.marks["best_update"][0] == population.state.recorded[best]
    assert "best" not in population.state.copies


def test_regressions_stop_by_their_own_measures(slow, rng):
    X = rng.standard_normal((200, 3))
    y = X[:, :1] + 0.1 * rng.standard_normal((200, 1))
    data = Feed(
        Dataset(
            "line",
            {"train": Split(X[:100], y[:100]), "validation": Split(X[100:], y[100:])},
            ("y",),
            task="regression",
        )
    )
    for measure in ("r2", "rmse"):
        settings = replace(slow, early_stopping=measure, patience=50, cycles=1)
        population = trained(data, [Member(settings, 0)])
        curve = population.state.history[f"validation_{measure}"][0]
        best = curve.argmax() if measure == "r2" else curve.argmin()
        assert population.state.marks["best_update"][0] == population.state.recorded[best]
    with pytest.raises(
        KlayerError, match="`early_stopping='accuracy'` is no measure of a regression"
    ):
        Population(data, [Member(replace(settings, early_stopping="accuracy"), 0)])


def test_early_stopping_needs_a_validation_split(digits, slow):
    data = Dataset("alone", {"train": digits.splits["train"]}, digits.class_names)
    settings = replace(slow, early_stopping="loss")
    with pytest.raises(
        KlayerError, match="needs a validation split, but the data have none: add one"
    ):
        Population(Feed(data), [Member(settings, 0)])


def test_a_network_that_diverges_beside_stopping_ones_is_still_frozen(digits32, slow):
    settings = replace(slow, early_stopping="loss", average="ema", batch_norm="none")
    wild = replace(settings, lr_min=1e6, lr_max=1e6)
    population = trained(digits32, [Member(settings, 0), Member(wild, 1)])
    assert population.state.failures[1] is not None
    assert population.state.marks["stopped"][1] == -1
    assert_same_bits(population, 0, trained(digits32, [Member(settings, 0)]), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patience": 3}, "`patience` has an effect with early_stopping="),
        ({"early_stopping": "loss", "patience": 0}, "`patience` must be >= 1, but got patience=0"),
        ({"early_stopping": "los"}, "unknown early_stopping 'los': did you mean 'loss'"),
        ({"ema_decay": 0.9}, "`ema_decay` has an effect with average='ema' only"),
        ({"average": "ema", "ema_decay": 1.0}, "`0 <= ema_decay < 1` must hold"),
        ({"average": "swa"}, "unknown average 'swa'"),
        ({"average": "cycle_end", "average_share": 0}, "`0 < average_share <= 1` must hold"),
        ({"snapshots": "cycle"}, "unknown snapshots 'cycle': did you mean 'cycles'"),
    ],
)
def test_a_wrong_setting_is_refused(change, message):
    with pytest.raises(KlayerError, match=message):
        Settings(**change)


def test_a_state_without_its_copies_is_refused(digits32, slow):
    settings = replace(slow, early_stopping="loss", average="ema")
    state = trained(digits32, [Member(settings, 0)], until=30).state
    for name in ("best", "average"):
        broken = state.take([0])
        del broken.copies[name]
        with pytest.raises(KlayerError, match=f"its {name} copies have W1 of shape none"):
            Population(digits32, [Member(settings, 0)], broken)


# In a run.


def test_a_run_keeps_snapshots_and_says_where_networks_stopped(tmp_path):
    from klayer.study import Study
    from klayer.study.launch import run_study

    settings = {
        "hidden": [12],
        "batch_size": 50,
        "cycles": 2,
        "half_cycle": "1 epoch",
        "points_per_cycle": 6,
        "snapshots": "cycles",
        "early_stopping": "loss",
        "patience": 2,
        "lr_max": 3.0,
    }
    run = run_study(Study.from_values({"seeds": 2, "settings": settings}), out=tmp_path / "run")
    for record in run.networks:
        assert record.best_at <= record.updates
        assert record.stopped_at in (None, record.updates)
        assert record.history["validation_loss"][-1] is not None
        rows = np.zeros((1, 64), np.uint8)
        then, now = run.model(record, cycle=1).predict(rows), run.model(record).predict(rows)
        assert then.shape == now.shape
    again = type(run)(run.path)
    assert [one.best_at for one in again.networks] == [one.best_at for one in run.networks]


def test_an_interrupt_at_the_end_of_a_cycle_loses_no_snapshot(digits32, slow):
    settings = replace(slow, snapshots="cycles", average="ema", optimiser="adam", lr_max=0.01)
    whole = trained(digits32, [Member(settings, 0)])
    population = Population(digits32, [Member(settings, 0)])
    trainer = Trainer(population, Engine(1))
    trainer.advance(whole.course.ends[0])
    population.state.copies.pop("cycle 1")  # as if the interrupt had come before it was kept
    trainer.train()
    for key, value in whole.state.copies["cycle 1"].items():
        assert (population.state.copies["cycle 1"][key] == value).all()
