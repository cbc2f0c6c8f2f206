"""Regression and several labels at once: from data to scores and predictions."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from klayer.data import Dataset, Split
from klayer.errors import KlayerError
from klayer.model import Model
from klayer.report import write_report
from klayer.study import Run, Study
from klayer.study.launch import run_search, run_study
from klayer.study.search.tables import finalist_table, measure_in, sorted_rows, trial_table
from klayer.train import Engine, Feed, Member, Population, Settings, Trainer, fit
from klayer.train.metrics import METRICS, main_metric, measures

BRIEF = Settings(hidden=(12,), l2=0.0, cycles=2, half_cycle="10 epochs", batch_size=20)


def parts(labels, X, weights=None):
    def part(rows):
        return Split(X[rows], labels[rows], None if weights is None else weights[rows])

    return {
        "train": part(slice(0, 200)),
        "validation": part(slice(200, 250)),
        "test": part(slice(250, 300)),
    }


@pytest.fixture
def X(rng):
    return rng.standard_normal((300, 5))


@pytest.fixture
def prices(X, rng):
    y = X @ rng.standard_normal((5, 2)) * [3, 100] + [5, 1e4]
    return Dataset("prices", parts(y, X), ("low", "high"), task="regression")


@pytest.fixture
def tags(X, rng):
    y = (X @ rng.standard_normal((5, 3)) > 0).astype(int)
    return Dataset("tags", parts(y, X), ("a", "b", "c"), task="multilabel")


@pytest.mark.parametrize("loss", ["auto", "squared", "absolute", "huber", "quantile"])
def test_a_regression_is_learnt_and_scored_in_the_users_units(prices, loss):
    population = fit(prices, replace(BRIEF, loss=loss), seeds=(0, 1))
    scores = population.evaluate("test")
    assert tuple(scores) == measures("regression")
    assert (scores["r2"] > 0.8).all()
    test, model = prices.splits["test"], population.model()
    found = model.predict_values(test.features)
    assert found.shape == (2, 50, 2)
    rmse = np.sqrt(((found - test.labels) ** 2).mean(axis=1)).mean(axis=-1)
    np.testing.assert_allclose(scores["rmse"], rmse, rtol=1e-4)
    metrics = pytest.importorskip("sklearn.metrics")
    r2 = [metrics.r2_score(test.labels, one) for one in found]
    np.testing.assert_allclose(scores["r2"], r2, rtol=1e-4)


def test_several_labels_are_learnt_and_scored(tags):
    population = fit(tags, BRIEF, seeds=(0, 1))
    scores, test = population.evaluate("test"), tags.splits["test"]
    assert tuple(scores) == measures("multilabel")
    found = population.model().predict_labels(test.features)
    right = found == test.labels
    np.testing.assert_allclose(scores["label_accuracy"], right.mean(axis=(1, 2)))
    np.testing.assert_allclose(scores["exact_match"], right.all(axis=-1).mean(axis=-1))
    assert (scores["label_accuracy"] > 0.8).all()


def test_quantiles_are_predicted_in_order_and_cover_their_share(prices):
    settings = replace(BRIEF, loss="quantile", quantiles=(0.1, 0.5, 0.9), cycles=3)
    model = fit(prices, settings).model()
    assert model.output_names == (
        "low q0.1", "low q0.5", "low q0.9", "high q0.1", "high q0.5", "high q0.9",
    )  # fmt: skip
    train = prices.splits["train"]
    found = model.predict(train.features)[0].reshape(200, 2, 3)
    assert (np.diff(found, axis=-1) >= 0).all()
    below = (train.labels[:, :, None] <= found).mean(axis=0)
    assert np.abs(below - [0.1, 0.5, 0.9]).max() < 0.12


@pytest.mark.parametrize("data", ["prices", "tags"])
def test_a_network_has_the_same_bits_alone_and_in_any_population(data, request):
    dataset = request.getfixturevalue(data)
    feed = Feed(dataset)
    members = [Member(replace(BRIEF, batch_norm="hidden", l2=1e-3 * p), p) for p in range(8)]

    def trained(members, workers, chunk):
        population = Population(feed, members, chunk=chunk)
        with Engine(workers) as engine:
            Trainer(population, engine).train()
        return population

    alone = [trained([member], 1, 1) for member in members]
    for P, workers, chunk in itertools.product((3, 8), (1, 2), (2, 16)):
        together = trained(members[:P], workers, chunk)
        for p in range(P):
            for group in ("params", "history"):
                for key, value in getattr(alone[p].state, group).items():
                    found = getattr(together.state, group)[key]
                    assert value[0].tobytes() == found[p].tobytes(), key


def test_a_study_of_a_regression_stores_its_scores_and_predicts_from_its_folder(
    prices, tmp_path, monkeypatch
):
    monkeypatch.setattr("klayer.study.study.load", lambda *_, **__: prices)
    study = Study.from_values(
        {
            "data": "prices",
            "seeds": 2,
            "settings": {"hidden": [12], "half_cycle": "2 epochs"},
        },
        "test",
    )
    run = run_study(study, out=tmp_path / "run")
    again = Run(run.path)
    assert again.networks == run.networks
    record = again.best()
    assert record.score("test") == record.scores["test"].r2
    assert record.scores["test"].rmse > 0
    assert record.scores["test"].accuracy is None
    model = again.model(record)
    assert model.task == "regression"
    test = prices.splits["test"]
    found = model.predict_values(test.features)[0]
    assert np.abs(found - test.labels).mean(axis=0)[1] < 200  # in the unit of the target
    assert "test_r2" in (run.path / "summary.json").read_text()


@pytest.mark.parametrize("prune", [False, True])
def test_a_search_of_a_regression_is_judged_by_r2_and_tells_it(
    prices, tmp_path, monkeypatch, prune
):
    monkeypatch.setattr("klayer.study.study.load", lambda *_, **__: prices)
    study = Study.from_values(
        {
            "data": "prices",
            "settings": {"hidden": [8], "half_cycle": "2 epochs", "batch_size": 20, "cycles": 2},
            "search": {
                "trials": 4,
                "prune": prune,
                "stages": [{"l2": "1e-5:1e-1"}],
                "finalists": {"top": 1, "seeds": 2, "cycles": 1},
            },
        },
        "test",
    )
    run = run_search(study, out=tmp_path / "run")
    rows = trial_table(run)
    assert {"validation_r2", "train_r2"} <= rows[0].keys()
    done = [row for row in rows if row["state"] != "pruned"]
    best = max(done, key=lambda row: row["validation_r2"])
    assert finalist_table(run)[0]["trial"] == best["trial"]
    assert sorted_rows(done)[-1] == best
    assert measure_in(rows).word == "R²"
    (page,) = [path for path in write_report(run) if path.suffix == ".html"]
    assert "validation R²" in page.read_text(encoding="utf-8")


def test_a_regression_whose_target_is_constant_has_a_score(X):
    y = np.full(300, 7.0)
    dataset = Dataset("flat", parts(y, X), ("y",), task="regression")
    scores = fit(dataset, BRIEF).evaluate("test")
    assert np.isfinite(scores["r2"]).all()


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e100, 1e149])
def test_targets_in_any_unit_are_learnt_and_judged_alike(unit):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    mine = fit(rows, rows[:, 0] * unit, BRIEF).evaluate("test")
    usual = fit(rows, rows[:, 0], BRIEF).evaluate("test")
    np.testing.assert_allclose(mine["rmse"] / unit, usual["rmse"], rtol=1e-3)
    np.testing.assert_allclose(mine["r2"], usual["r2"], atol=1e-3)


@pytest.mark.parametrize(
    ("labels", "names", "task", "message"),
    [
        ([[0.5], [np.nan]], ["y"], "regression", "row 1, target 0: a target must be finite"),
        ([[0.5], [2e154]], ["y"], "regression", "row 1, target 0: a target must lie from -1e"),
        ([[1.0, -2e150]] * 2, ["y", "z"], "regression", "row 0, target 1: .*but got -2e.150"),
        ([["a"], ["b"]], ["y"], "regression", "labels must be real numbers of shape"),
        (
            [[1.0, 2.0], [1.0, 2.0]],
            ["y"],
            "regression",
            r"of shape \(N, 1\), but got shape \(2, 2\)",
        ),
        ([[0, 2], [1, 0]], ["a", "b"], "multilabel", "labels must be 0 or 1"),
        ([0.5, 1.5], ["a", "b"], "classification", "labels must be whole numbers"),
        ([0, 1], ["a", "b"], "regresion", "did you mean 'regression'"),
        ([0, 1], [], "regression", "at least one target"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(labels, names, task, message):
    with pytest.raises(KlayerError, match=message):
        Dataset("wrong", {"train": Split([[0.0], [1.0]], labels)}, names, task=task)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0], "row 1: a weight must be a finite number >= 0, but got -1.0"),
        ([1.0, np.inf], "row 1: a weight must be a finite number"),
        ([0.0, 0.0], "one weight at least must be > 0"),
        ([1.0], "weights must be 2 real numbers"),
        (["a", "b"], "weights must be 2 real numbers"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    with pytest.raises(KlayerError, match=message):
        Dataset("wrong", {"train": Split([[0.0], [1.0]], [0, 1], weights)}, ("a", "b"))


def test_a_loss_for_another_task_is_refused(prices, tags):
    for data, loss in ((prices, "softmax_cross_entropy"), (tags, "squared")):
        settings = replace(BRIEF, loss=loss)
        with pytest.raises(KlayerError, match="but the task of the data is"):
            Population(Feed(data), [Member(settings, 0)])
    with pytest.raises(KlayerError, match="has an effect with loss"):
        Population(Feed(prices), [Member(Settings(smoothing=0.1), 0)])


def test_a_model_refuses_what_is_not_its_task(prices, tags):
    model = fit(prices, BRIEF).model()
    with pytest.raises(KlayerError, match="call `predict_values`"):
        model.predict_probs(prices.splits["test"].features)
    with pytest.raises(KlayerError, match="`targets` must be given for a regression"):
        Model(model.network, model.params, model.running, model.standardiser, ("a", "b"))


def test_a_weight_of_two_is_a_row_that_is_there_twice(digits):
    """One update on the whole data, weighted, is one on data with rows repeated."""
    part = digits.splits["train"]
    rows = np.arange(100)
    weights = np.where(rows % 3 == 0, 2.0, 1.0)
    names = digits.class_names
    twice = np.repeat(rows, weights.astype(int))
    settings = Settings(
        hidden=(8,), batch_size=1000, cycles=1, half_cycle="1 epoch", dtype="float64",
        schedule="constant",
    )  # fmt: skip
    weighted = Dataset(
        "w", {"train": Split(part.features[rows], part.labels[rows], weights)}, names
    )
    repeated = Dataset("r", {"train": Split(part.features[twice], part.labels[twice])}, names)
    # Standardised alike: weights are no matter of the inputs.
    object.__setattr__(repeated, "standardiser", weighted.standardiser)
    one, two = (fit(data, settings) for data in (weighted, repeated))
    for key, value in one.state.params.items():
        np.testing.assert_allclose(value, two.state.params[key], rtol=1e-9, atol=1e-12)


def test_balanced_classes_count_the_same(digits):
    feed = Feed(digits)
    labels = digits.splits["train"].labels
    weights = feed.class_weights("balanced")[labels]
    assert weights.mean() == pytest.approx(1)
    sums = np.bincount(labels, weights)
    np.testing.assert_allclose(sums, sums[0])
    given = feed.class_weights([2.0] * 10)
    np.testing.assert_allclose(given, 1)
    with pytest.raises(KlayerError, match="for each of the 10 classes"):
        feed.class_weights([1.0, 2.0])


def test_every_task_has_a_main_score_and_the_greater_is_the_better():
    for metric in METRICS.values():
        assert METRICS[main_metric(metric.task)].greater_is_better
