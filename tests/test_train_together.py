"""Networks of different architectures at once, and networks that answer together."""

from dataclasses import replace

import numpy as np
import pytest

import klayer as kl
from klayer.data import Dataset, Split
from klayer.errors import KlayerError
from klayer.train import Engine, Member, Population, Settings, Trainer
from klayer.train.ensemble import Ensemble
from klayer.train.together import Populations, fit_together, train_together


def several(brief):
    """Eight settings of six architectures; two pairs share all but numbers."""
    return [
        replace(brief, **change)
        for change in (
            {"hidden": (16,)},
            {"hidden": (16, 12), "optimiser": "adam", "lr_max": 0.01},
            {"hidden": (5, 5, 5), "batch_norm": "hidden"},
            {"hidden": (16,), "l2": 0.1},
            {"hidden": (), "cycles": 2},
            {"hidden": (16, 12), "optimiser": "adam", "lr_max": 0.02},
            {"hidden": (9,), "early_stopping": "loss", "average": "ema", "batch_size": 20},
            {"hidden": (30,), "augment": "mirror,mixup"},
        )
    ]


def assert_same_bits(one, p, other, q):
    for group in ("params", "running", "history"):
        theirs = getattr(other.state, group)
        for key, value in getattr(one.state, group).items():
            assert value[p].tobytes() == theirs[key][q].tobytes(), (group, key)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_networks_of_a_pack_have_the_bits_that_they_have_alone(digits32, brief, workers):
    members = [Member(one, seed) for seed, one in enumerate(several(brief))]
    networks = Populations(digits32, members)
    assert [len(one) for one in networks] == [2, 2, 1, 1, 1, 1]
    with Engine(workers) as engine:
        networks.train(engine)
    place = 0
    for population in networks:
        for lane, member in enumerate(population.members):
            alone = Population(digits32, [member])
            Trainer(alone, Engine(1)).train()
            assert_same_bits(population, lane, alone, 0)
            index = next(i for i, one in enumerate(members) if one is member)
            assert (
                networks.evaluate("test")["accuracy"][index]
                == alone.evaluate("test")["accuracy"][0]
            )
            found = networks.models()[index].params["W1"]
            assert (found == alone.state.params["W1"]).all()
            place += 1
    assert place == len(members) == len(networks)


def test_sixty_four_networks_train_in_one_call(digits):
    rng = np.random.default_rng(0)
    settings = [
        Settings(
            hidden=tuple(rng.integers(4, 20, size=rng.integers(1, 4)).tolist()),
            lr_max=float(rng.uniform(0.05, 0.3)),
            batch_size=100,
            cycles=1,
            half_cycle="1 epoch",
        )
        for _ in range(64)
    ]
    seen = []
    networks = fit_together(digits, settings=settings, workers=2, on_progress=seen.append)
    assert len(networks) == 64
    assert (networks.evaluate("test")["accuracy"] > 0.05).all()
    assert not seen or (min(seen) >= 0 and max(seen) <= 1)
    together = networks.ensemble().scores(*_rows(digits, "test"))["accuracy"]
    assert together >= np.median(networks.evaluate("test")["accuracy"])


def _rows(dataset, split):
    part = dataset.splits[split]
    return part.features, part.labels


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_or_an_error_stops_all_at_whole_updates(digits32, brief, error):
    long = replace(brief, half_cycle=100_000, points_per_cycle=1)
    networks = Populations(digits32, [Member(replace(long, hidden=(w,)), 0) for w in (8, 9, 10)])

    def stop(share):
        raise error

    with Engine(2) as engine:
        with pytest.raises(error):
            networks.train(engine, stop)
        updates = [one.state.update for one in networks]
        for population, update in zip(networks, updates, strict=True):
            assert update < population.total_updates
            Trainer(population, engine).train(until=update + 10)
            alone = Population(digits32, population.members)
            Trainer(alone, engine).train(until=update + 10)
            for key, value in alone.state.params.items():
                assert value.tobytes() == population.state.params[key].tobytes()


def test_what_one_population_raises_is_raised(digits32, brief, monkeypatch):
    networks = Populations(digits32, [Member(replace(brief, hidden=(w,)), 0) for w in (8, 9)])
    train = Trainer.train

    def failing(self, *args, **more):
        if self.population.settings.hidden == (8,):
            raise ZeroDivisionError("here")
        train(self, *args, **more)

    monkeypatch.setattr(Trainer, "train", failing)
    with pytest.raises(ZeroDivisionError, match="here"):
        networks.train(Engine(2))


def test_mistakes_are_named(digits, digits32, brief):
    population = Population(digits32, [Member(brief, 0)])
    with pytest.raises(KlayerError, match="one is named twice"):
        train_together([population, population])
    with pytest.raises(KlayerError, match="at least one network is needed"):
        Populations(digits32, [])
    for settings in ([], ["wide"], None):
        with pytest.raises((KlayerError, TypeError)):
            fit_together(digits, settings=settings)
    with pytest.raises(KlayerError, match="must have one dtype, but got float32 and float64"):
        fit_together(digits, settings=[brief, replace(brief, dtype="float64")])


# Ensembles.


@pytest.fixture(scope="module")
def trained(digits32):
    settings = Settings(
        hidden=(16,), batch_size=50, cycles=2, half_cycle="1 epoch", snapshots="cycles"
    )
    population = Population(digits32, [Member(settings, seed) for seed in range(5)])
    Trainer(population, Engine(1)).train()
    return population


def test_an_ensemble_answers_by_the_mean_of_its_networks_probabilities(trained, digits):
    X, labels = _rows(digits, "test")
    probs = trained.model().predict_probs(X)
    ensemble = trained.ensemble()
    np.testing.assert_allclose(ensemble.predict(X), probs.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(ensemble.predict_labels(X), probs.mean(axis=0).argmax(axis=-1))
    assert ensemble.scores(X, labels)["accuracy"] == (ensemble.predict_labels(X) == labels).mean()
    assert ensemble.predict_names(X)[0] == digits.class_names[ensemble.predict_labels(X)[0]]
    two = Ensemble([trained.model()], weights=[3, 0, 0, 1, 0])
    np.testing.assert_allclose(two.predict(X), 0.75 * probs[0] + 0.25 * probs[3], rtol=1e-6)
    assert repr(two) == "Ensemble of 2 of 5 networks for classification"
    few = trained.ensemble([1, 2])
    np.testing.assert_allclose(few.predict(X), probs[1:3].mean(axis=0), rtol=1e-6)


def test_snapshots_answer_with_the_last_cycle(trained, digits):
    X, _ = _rows(digits, "test")
    (first,) = trained.snapshots()
    both = trained.ensemble([2], snapshots=True)
    expected = (first.predict(X)[2] + trained.model().predict(X)[2]) / 2
    np.testing.assert_allclose(both.predict(X), expected, rtol=1e-6)
    other = Population(trained.feed, [Member(replace(trained.settings, snapshots="none"), 0)])
    with pytest.raises(KlayerError, match="snapshots='cycles', but got 'none': set it"):
        other.snapshots()


def test_mirror_images_answer_too(trained, digits):
    X, _ = _rows(digits, "test")
    turned = X.reshape(-1, 8, 8)[:, :, ::-1].reshape(len(X), 64)
    model = trained.model([0])
    expected = (model.predict(X)[0] + model.predict(turned)[0]) / 2
    np.testing.assert_allclose(trained.ensemble([0], mirror=True).predict(X), expected, rtol=1e-6)
    with pytest.raises(KlayerError, match="must be the shape of the images"):
        Ensemble([model], mirror=(1, 8, 7))


def reference_selection(probs, labels, size):
    """Caruana's greedy selection, step by step."""
    bag, best, best_bag = [], -1.0, []
    for _ in range(size):
        scores = [
            (np.mean(probs[[*bag, m]], axis=0).argmax(axis=-1) == labels).mean()
            for m in range(len(probs))
        ]
        bag = [*bag, int(np.argmax(scores))]
        if max(scores) > best:
            best, best_bag = max(scores), bag
    return np.bincount(best_bag, minlength=len(probs)) / len(best_bag)


def test_greedy_selection_takes_what_makes_the_mean_best(trained, digits):
    X, labels = _rows(digits, "validation")
    probs = trained.model().predict_probs(X).astype(float)
    chosen = Ensemble.select([trained.model([0, 1]), trained.model([2, 3, 4])], X, labels, size=12)
    np.testing.assert_allclose(chosen.weights, reference_selection(probs, labels, 12))
    best = trained.evaluate("validation")["accuracy"].max()
    assert chosen.scores(X, labels)["accuracy"] >= best
    alone = Ensemble.select([trained.model()], X, labels, size=1)
    assert alone.weights.argmax() == trained.evaluate("validation")["accuracy"].argmax()


@pytest.mark.parametrize("metric", [None, "rmse"])
def test_regressions_are_averaged_and_selected_too(metric, rng, brief):
    X = rng.standard_normal((300, 3))
    y = 100 + 5 * X[:, :2] + rng.standard_normal((300, 2))
    data = Dataset(
        "lines",
        {"train": Split(X[:200], y[:200]), "validation": Split(X[200:], y[200:])},
        ("a", "b"),
        task="regression",
    )
    population = kl.fit(data, replace(brief, lr_max=0.05), seeds=4)
    ensemble = Ensemble.select([population.model()], X[200:], y[200:], size=8, metric=metric)
    found = ensemble.scores(X[200:], y[200:])
    errors = ensemble.predict(X[200:]) - y[200:]
    rmse = np.sqrt((errors**2).mean(axis=0))
    assert found["rmse"] == pytest.approx(rmse.mean(), rel=1e-6)
    r2 = 1 - (errors**2).sum(axis=0) / ((y[200:] - y[200:].mean(axis=0)) ** 2).sum(axis=0)
    assert found["r2"] == pytest.approx(r2.mean(), rel=1e-6)
    assert found["rmse"] <= population.evaluate("validation")["rmse"].min() * (1 + 1e-6)
    with pytest.raises(KlayerError, match="a regression has no labels: call `predict`"):
        ensemble.predict_labels(X)


def test_several_labels_are_averaged_too(rng, brief):
    X = rng.standard_normal((300, 4))
    labels = (X[:, :3] > 0).astype(np.uint8)
    data = Dataset("many", {"train": Split(X, labels)}, ("a", "b", "c"), task="multilabel")
    population = kl.fit(data, replace(brief, lr_max=0.5), seeds=3)
    ensemble = population.ensemble()
    right = ensemble.predict_labels(X) == labels
    scores = ensemble.scores(X, labels)
    assert scores["label_accuracy"] == pytest.approx(right.mean())
    assert scores["exact_match"] == pytest.approx(right.all(axis=1).mean())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "one for each of the 5 networks, but got"),
        ([0] * 5, "not all 0"),
        ([1, 1, 1, 1, -1], "must be numbers >= 0"),
        ([1, 1, 1, 1, float("nan")], "must be numbers >= 0"),
    ],
)
def test_wrong_weights_are_refused(trained, weights, message):
    with pytest.raises(KlayerError, match=message):
        Ensemble([trained.model()], weights=weights)


def test_models_that_do_not_fit_and_wrong_choices_are_refused(trained, digits, rng, brief):
    X, labels = _rows(digits, "validation")
    other = Dataset("two", {"train": Split(rng.random((30, 64)), np.arange(30) % 2)}, ("a", "b"))
    model = kl.fit(other, replace(brief, cycles=0.1), seeds=1).model()
    with pytest.raises(KlayerError, match="must have the same output names"):
        Ensemble([trained.model(), model])
    with pytest.raises(KlayerError, match="at least one network, but got none"):
        Ensemble([])
    with pytest.raises(KlayerError, match="`size` must be a whole number >= 1, but got 0"):
        Ensemble.select([trained.model()], X, labels, size=0)
    with pytest.raises(KlayerError, match="unknown metric 'r2'"):
        Ensemble.select([trained.model()], X, labels, metric="r2")
    with pytest.raises(KlayerError, match="one label per row, but got"):
        Ensemble.select([trained.model()], X, labels[:-1])
    with pytest.raises(KlayerError, match="only images have mirror images"):
        kl.fit(
            Dataset("v", {"train": Split(rng.random((30, 3)), np.arange(30) % 2)}, ("a", "b")),
            replace(brief, cycles=0.1),
            seeds=1,
        ).ensemble(mirror=True)


@pytest.mark.parametrize(
    ("rows", "labels", "said"),
    [
        (6, lambda y: y.astype(str), "labels must be whole numbers"),
        (6, lambda y: y + 100, "a label must be 0 to"),
        (6, lambda y: y[:4], "one label per row, but got 6 rows and 4 labels"),
        (0, lambda y: y, "at least one row"),
    ],
)
def test_an_ensemble_judges_by_nothing_but_labels_of_its_data(trained, rows, labels, said):
    data = trained.feed.dataset.splits["test"]
    X, y = data.features[:rows], labels(data.labels[:rows])
    model = trained.model()
    with pytest.raises(KlayerError, match=said):
        Ensemble.select(model, X, y)
    with pytest.raises(KlayerError, match=said):
        Ensemble([model]).scores(X, y)


def test_an_ensemble_of_no_network_says_so(trained):
    with pytest.raises(KlayerError, match="at least one network"):
        Ensemble([trained.model([])])


def test_joining_undoes_taking(digits32, brief):
    members = [Member(replace(brief, l2=l2), seed) for seed, l2 in enumerate((0.0, 1e-3, 0.1))]
    whole = Population(digits32, members)
    Trainer(whole, Engine(1)).train(until=7)
    parts = [whole.take([2, 0]), whole.take([1])]
    joined = Population.join(parts)
    assert [one.seed for one in joined.members] == [2, 0, 1]
    for population in (whole, joined):
        Trainer(population, Engine(2)).train()
    for lane, p in enumerate((2, 0, 1)):
        assert_same_bits(joined, lane, whole, p)


def test_populations_of_different_data_are_not_joined(digits32, brief):
    other = kl.Feed(digits32.dataset)
    with pytest.raises(KlayerError, match="can be joined that share one feed, but got 2 feeds"):
        Population.join([Population(feed, [Member(brief, 0)]) for feed in (digits32, other)])
    with pytest.raises(KlayerError, match="but got no feeds"):
        Population.join([])
    with pytest.raises(KlayerError, match="must share all settings but seed"):
        Population.join(
            [Population(digits32, [Member(one, 0)]) for one in (brief, replace(brief, hidden=(3,)))]
        )


def test_one_population_is_trained_in_the_calling_thread(digits32, brief):
    population, seen = Population(digits32, [Member(brief, 0)]), []
    train_together([population], on_progress=seen.append)
    assert population.state.update == population.total_updates

    def refuse(share):
        raise ZeroDivisionError

    longer = Population(digits32, [Member(replace(brief, cycles=500), 0)])
    with pytest.raises(ZeroDivisionError):
        train_together([longer], on_progress=refuse)
    assert 0 < longer.state.update < longer.total_updates
