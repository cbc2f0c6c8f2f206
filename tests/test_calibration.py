"""Temperatures, and how honest probabilities are."""

import numpy as np
import pytest

import klayer as kl
from klayer.calibration import joint_temperature, reliability, temperature
from klayer.errors import KlayerError
from klayer.study import Run
from klayer.train import Feed, Member, Population, Settings, Trainer

# Sure of what it learnt by heart: 200 rows, no penalty.
BY_HEART = {"hidden": (64,), "l2": 0.0, "optimiser": "adam", "lr_max": 0.01, "batch_size": 20}
BRIEF = {**BY_HEART, "cycles": 1, "half_cycle": "15 epochs"}


@pytest.fixture(scope="module")
def noisy():
    """Classes that overlap, so that answers ought to be unsure."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(900, 6))
    return X, (X[:, 0] + rng.normal(size=900) > 0).astype(int) + (X[:, 1] > 1)


def drawn(rng, logits):
    """Labels that follow the probabilities of some logits."""
    probs = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    return (rng.random((len(probs), 1)) > probs.cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("true", [0.25, 1.0, 4.0])
def test_the_temperature_that_made_labels_is_found_again(rng, true):
    z = 2 * rng.normal(size=(20_000, 4))
    assert temperature(true * z, drawn(rng, z)) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("true", [0.5, 3.0])
def test_the_temperature_of_several_labels_is_found_again(rng, true):
    z = 2 * rng.normal(size=(10_000, 3))
    labels = (rng.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.uint8)
    assert temperature(true * z, labels) == pytest.approx(true, rel=0.05)


def test_a_temperature_has_the_least_loss(rng):
    z = rng.normal(size=(50, 3))
    labels = drawn(rng, z)

    def loss(heat):
        each = z / heat
        said = each - np.log(np.exp(each).sum(axis=1, keepdims=True))
        return -said[np.arange(50), labels].sum() + np.log(heat) ** 2 / (2 * 0.5**2)

    best = temperature(z, labels)
    assert loss(best) < min(loss(best * 1.01), loss(best / 1.01))


def test_few_rows_that_are_all_right_make_no_certainty():
    z = np.array([[3.0, 0.0], [0.0, 3.0]] * 5)
    heat = temperature(z, np.array([0, 1] * 5))
    sure = 1 / (1 + np.exp(-3.0 / heat))
    assert 1 / (1 + np.exp(-3.0)) < sure < 0.999


def test_the_mean_of_networks_wants_a_lower_temperature_than_each(rng):
    clean = 2 * rng.normal(size=(4000, 3))
    z = 2 * (clean + rng.normal(size=(8, 4000, 3)))
    labels = drawn(rng, clean)
    assert joint_temperature(z, labels) < min(temperature(one, labels) for one in z)
    assert joint_temperature(z[:1], labels) == temperature(z[0], labels)


def test_a_network_that_diverged_keeps_its_temperature():
    assert temperature(np.array([[np.nan, 0.0]]), np.array([0])) == 1.0


# Reliability.


def test_the_calibration_error_by_hand():
    probs = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.45, 0.55]])
    found = reliability(probs, np.array([0, 1, 0, 0]), bins=10)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert found.error == pytest.approx((2 * abs(0.5 - 0.55) + 2 * abs(0.5 - 0.95)) / 4)
    assert found.log_loss == pytest.approx(-np.log([0.95, 0.05, 0.55, 0.45]).mean())
    assert found.n == 4


def test_honest_answers_are_at_the_error_of_chance(rng):
    z = 2 * rng.normal(size=(3000, 5))
    probs = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
    honest = reliability(probs, drawn(rng, z))
    assert 0.5 < honest.error / honest.by_chance < 2
    boastful = reliability(probs**3 / (probs**3).sum(axis=1, keepdims=True), drawn(rng, z))
    assert boastful.error > 5 * boastful.by_chance


def test_several_labels_are_judged_each_on_its_own():
    found = reliability([[0.9, 0.2]], [[1, 1]], bins=10)
    assert found.n == 2
    assert found.error == pytest.approx((abs(1 - 0.9) + abs(0 - 0.8)) / 2)


@pytest.mark.parametrize(
    ("probs", "labels", "bins", "rule"),
    [
        (np.ones((3, 2)), [0, 1], 5, "must have shape"),
        (np.empty((0, 2)), [], 5, "at least one row"),
        ([0.5, 0.5], [0, 1], 5, "must have shape"),
        ([[1.5, -0.5]], [0], 5, "from 0 to 1"),
        ([[0.5, np.nan]], [0], 5, "from 0 to 1"),
        ([[0.5, 0.5]], [2], 5, "from 0 to 1, but got 2: give the place"),
        ([[0.5, 0.5]], [0], 0, "`bins` must be a whole number >= 1, but got 0"),
    ],
)
def test_what_can_not_be_judged_is_refused(probs, labels, bins, rule):
    with pytest.raises(KlayerError, match=rule):
        reliability(probs, np.array(labels, int), bins)


# Networks.


@pytest.mark.parametrize("batch_norm", ["none", "hidden", "all"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_at_a_temperature_divides_its_outputs(noisy, batch_norm, dtype):
    X, y = noisy
    population = kl.fit(X, y, hidden=(8,), batch_norm=batch_norm, dtype=dtype, cycles=1, seeds=2)
    model = population.model()
    plain, cooled = model.predict_probs(X), model.at_temperatures([2.0, 0.5]).predict_probs(X)
    wanted = plain ** np.array([1 / 2.0, 1 / 0.5])[:, None, None]
    wanted /= wanted.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(cooled, wanted, atol=1e-5)
    again = model.at_temperatures([2.0, 0.5]).at_temperatures(1.0)
    np.testing.assert_allclose(again.predict_probs(X), plain, atol=1e-6)
    assert model.at_temperatures([2.0, 0.5]).take([1]).temperatures.tolist() == [0.5]


def test_calibration_helps_on_rows_that_it_never_saw(noisy):
    X, y = noisy
    population = kl.fit(X, y, **BRIEF, seeds=4)
    data = population.feed.dataset
    held, test = data.splits["validation"], data.splits["test"]
    model = population.model()
    better = model.calibrated(held.features, held.labels)
    assert (better.temperatures > 1).all()
    for p in range(4):
        before, after = (
            reliability(one.predict_probs(test.features)[p], test.labels) for one in (model, better)
        )
        assert after.log_loss < before.log_loss
        assert after.error < before.error
    assert (better.predict_labels(test.features) == model.predict_labels(test.features)).all()
    together = model.calibrated(held.features, held.labels, together=True)
    assert len(set(together.temperatures)) == 1
    assert together.temperatures[0] < better.temperatures.min()


@pytest.mark.parametrize("mirror", [False, True])
def test_an_ensemble_of_several_architectures_has_one_temperature_for_its_mean(digits, mirror):
    several = [Settings(**{**BRIEF, "hidden": hidden}) for hidden in ((40,), (30, 20))]
    ensemble = kl.fit_together(digits, settings=several, seeds=2).ensemble(mirror=mirror)
    ensemble = kl.Ensemble(ensemble.models, [1, 0, 2, 1], ensemble.mirror)
    held = digits.splits["validation"]
    calibrated = ensemble.calibrated(held.features, held.labels)
    assert calibrated.weights.tolist() == ensemble.weights.tolist()
    best = calibrated.models[0].temperatures[0]

    def loss(heat):
        models = [model.at_temperatures(heat) for model in ensemble.models]
        probs = kl.Ensemble(models, ensemble.weights, ensemble.mirror).predict(held.features)
        log_loss = reliability(probs, held.labels).log_loss
        return len(held) * log_loss + np.log(heat) ** 2 / (2 * 0.5**2)

    assert loss(best) < min(loss(best * 1.05), loss(best / 1.05))
    with pytest.raises(KlayerError, match="at least one row"):
        ensemble.calibrated(held.features[:0], held.labels[:0])


def test_the_setting_gives_every_network_the_temperature_that_it_has_alone(noisy):
    X, y = noisy
    plain = kl.fit(X, y, **BRIEF, seeds=3)
    population = kl.fit(X, y, **BRIEF, seeds=3, calibration="temperature")
    heat = population.state.temperatures
    held = plain.feed.dataset.splits["validation"]
    by_hand = plain.model().calibrated(held.features, held.labels).temperatures
    np.testing.assert_allclose(heat, by_hand, rtol=1e-5)
    assert (population.model().temperatures == heat).all()
    assert population.ensemble().models[0].temperatures.tolist() == heat.tolist()
    alone = kl.fit(X, y, **BRIEF, seeds=[2], calibration="temperature", workers=1)
    assert alone.state.temperatures[0] == heat[2]
    assert (alone.model().predict(X) == population.model().predict(X)[2:]).all()
    # Scores and curves are those of the outputs as training left them.
    assert (population.evaluate("test")["loss"] == plain.evaluate("test")["loss"]).all()


@pytest.mark.parametrize(
    "more", [{}, {"early_stopping": "loss", "patience": 1}, {"average": "ema"}], ids=str
)
def test_stopping_and_going_on_changes_no_temperature(digits, more):
    settings = Settings(
        hidden=(8,), cycles=1, half_cycle="2 epochs", calibration="temperature", **more
    )
    whole, parts = (
        Population(Feed(digits), [Member(settings, seed) for seed in (0, 1)]) for _ in range(2)
    )
    Trainer(whole).train()
    Trainer(parts).train(7)
    assert parts.state.temperatures is None
    Trainer(parts).train()
    assert (parts.state.temperatures == whole.state.temperatures).all()
    found = whole.state.temperatures.copy()
    Trainer(whole).train()
    assert (whole.state.temperatures == found).all()


def test_a_run_keeps_the_temperatures(noisy, tmp_path):
    X, y = noisy
    population = kl.fit(X, y, **BRIEF, seeds=2, calibration="temperature")
    run = Run(kl.run_of(population, tmp_path / "run").path)
    found = {one.seed: one.temperature for one in run.networks}
    assert [found[0], found[1]] == population.state.temperatures.tolist()
    for record in run.networks:
        assert run.model(record).temperatures.tolist() == [record.temperature]
    path = population.save(tmp_path / "saved")
    again = kl.load_population(path, X, y)
    assert (again.model().predict(X) == population.model().predict(X)).all()


def test_calibration_refuses_what_has_no_probabilities_or_no_validation_split(noisy):
    X, y = noisy
    with pytest.raises(KlayerError, match="`calibration` is for probabilities"):
        kl.fit(X, X[:, 0] + 0.5, calibration="temperature", cycles=1)
    with pytest.raises(KlayerError, match="unknown calibration 'platt': Known: none, temperature"):
        kl.fit(X, y, calibration="platt", cycles=1)
    model = kl.fit(X, y, hidden=(4,), cycles=1, half_cycle="1 epoch").model()
    with pytest.raises(KlayerError, match="at least one row to calibrate by"):
        model.calibrated(X[:0], y[:0])
    with pytest.raises(KlayerError, match="`temperatures` must be finite and > 0, but got 0"):
        model.at_temperatures(0)
    numbers = kl.fit(X, X[:, 0], hidden=(4,), cycles=1, half_cycle="1 epoch").model()
    with pytest.raises(KlayerError, match="`calibrated` is for classification and multilabel"):
        numbers.calibrated(X, X[:, 0])


@pytest.mark.parametrize(
    ("labels", "shown"), [(["cat", "dog"], "'dog'|'cat'"), ([None, 1], "None"), ([0, 2], "2")]
)
def test_labels_that_are_no_places_are_shown_with_the_way_out(labels, shown):
    with pytest.raises(KlayerError, match=f"from 0 to 1, but got ({shown}): give the place"):
        reliability([[0.2, 0.8], [0.5, 0.5]], labels)


def test_probabilities_of_classes_sum_to_one():
    probs = np.array([[0.2, 0.3], [0.25, 0.25]])
    with pytest.raises(KlayerError, match="must sum to 1 in each row"):
        reliability(probs, [0, 1])
    assert reliability(probs, [[0, 1], [1, 0]]).n == 4  # labels, each yes or no
    assert reliability(np.full((2, 3), 1 / 3, np.float16), [0, 2]).n == 2
