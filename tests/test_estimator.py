"""scikit-learn's door: its own checks, and what klayer promises beyond them."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data,
    parametrize_with_checks,
)

from klayer.errors import KlayerError
from klayer.estimator import KLayerClassifier, KLayerRegressor
from klayer.estimator.parameters import defaults_of

BRIEF = {"hidden": (8,), "epochs": 4, "random_state": 0}
LONGER = {"hidden": (16,), "epochs": 60, "lr_max": 0.01, "dropout": 0.0, "random_state": 0}
MINI_BATCHES = (
    "rows are drawn into mini-batches: a row that is there twice is in other batches than one with "
    "twice the weight, so only the expected loss is the same"
)


@parametrize_with_checks(
    [KLayerClassifier(), KLayerRegressor()],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": MINI_BATCHES,
        "check_sample_weight_equivalence_on_sparse_data": MINI_BATCHES,
    },
)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "muon"])
def test_with_one_batch_an_epoch_a_weight_of_two_is_a_row_that_is_there_twice(kind, optimiser):
    plain = {"batch_norm": "none", "dropout": 0.0}  # of these each row has its own share
    whole = kind(batch_size=10**6, dtype="float64", optimiser=optimiser, **plain)
    check_sample_weight_equivalence_on_dense_data(kind.__name__, whole)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def test_an_ensemble_is_the_mean_of_its_members_each_as_alone(iris):
    X, y = iris
    many = KLayerClassifier(n_networks=3, **BRIEF).fit(X, y)
    members = many.members(X)
    assert members.shape == (3, 150, 3)
    np.testing.assert_allclose(many.predict_proba(X), members.mean(axis=0))
    np.testing.assert_allclose(many.predict_std(X), members.std(axis=0))
    assert (members[0] != members[1]).any()


@pytest.mark.parametrize("labels", [["a", "b", "c"], [-1, 4, 9], [2.0, 3.0, 7.0]], ids=str)
def test_any_class_labels_come_back(iris, labels):
    X, y = iris
    named = np.array(labels)[y]
    model = KLayerClassifier(**LONGER).fit(X, named)
    assert model.classes_.tolist() == labels
    assert (model.predict(X) == named).mean() > 0.85
    assert model.predict(X).dtype == named.dtype


def test_several_labels_and_several_targets():
    X, Y = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    model = KLayerClassifier(**LONGER).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert (model.predict(X) == Y).mean() > 0.8
    X, y = load_diabetes(return_X_y=True)
    both = KLayerRegressor(**LONGER).fit(X, np.c_[y, -y])
    assert both.predict(X).shape == (len(X), 2)
    assert both.score(X, np.c_[y, -y]) > 0.4


def test_early_stopping_watches_the_users_own_rows(iris):
    X, y = iris
    own = {"early_stopping": "accuracy", "patience": 2, "points_per_cycle": 20}
    model = KLayerClassifier(hidden=(16,), epochs=60, random_state=0, **own)
    model.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    assert "validation_accuracy" in model.history_
    whole = KLayerClassifier(hidden=(16,), epochs=60, random_state=0).fit(X[::2], y[::2])
    assert model.n_iter_ < whole.n_iter_
    assert "validation_accuracy" not in whole.history_
    held = clone(model).fit(X, y)  # a part of the rows
    assert "validation_accuracy" in held.history_


def test_weights_of_rows_and_classes_move_the_answer(iris):
    X, y = iris
    X, y = X[50:], y[50:]  # the two that overlap
    plain = KLayerClassifier(**LONGER).fit(X, y).predict_proba(X)[:, 1].mean()
    by_row = KLayerClassifier(**LONGER).fit(X, y, sample_weight=np.where(y == 2, 9.0, 1.0))
    by_class = KLayerClassifier(class_weight={1: 1, 2: 9}, **LONGER).fit(X, y)
    for heavier in (by_row, by_class):
        assert heavier.predict_proba(X)[:, 1].mean() > plain + 0.02
    with pytest.raises(ValueError, match="must name classes of `y`, .* but got"):
        KLayerClassifier(class_weight={"virginica": 2}, **BRIEF).fit(X, y)


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
@pytest.mark.parametrize(
    "settings", [{}, {"optimiser": "sgd", "lr_max": 0.05}, {"dropout": 0.2}], ids=str
)
def test_going_on_is_what_training_longer_is(iris, kind, settings):
    X, y = iris
    brief = {**BRIEF, **settings, "schedule": "constant"}
    whole = kind(**{**brief, "epochs": 8}).fit(X, y)
    twice = kind(**brief).fit(X, y).partial_fit(X, y)
    warm = kind(**brief, warm_start=True).fit(X, y).fit(X, y)
    for other in (twice, warm):
        assert other.n_iter_ == whole.n_iter_
        assert (other.members(X) == whole.members(X)).all()


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
@pytest.mark.parametrize("schedule", ["triangular", "linear", "one_cycle", "constant"])
def test_each_call_trains_for_its_epochs_whatever_the_rows_of_the_last(iris, kind, schedule):
    X, y = iris
    model = kind(batch_size=10, epochs=2, n_networks=2, schedule=schedule, random_state=0).fit(X, y)
    done = model.n_iter_
    assert model.history_["lr"].max() <= model.get_params()["lr_max"]
    for rows in (30, 90, 10):
        before = model.members(X)
        model.partial_fit(X[-rows:], y[-rows:])
        assert model.n_iter_ - done == 2 * rows / 10
        assert (model.members(X) != before).any()
        rates = model.history_["lr"]
        assert (rates <= model.get_params()["lr_max"]).all()  # those of former courses, too
        done = model.n_iter_


def test_going_on_after_an_early_end_trains_a_whole_course(iris):
    X, y = iris
    ends = iter([False, True, False, False, False, False])
    model = KLayerClassifier(
        batch_size=10, epochs=2, points_per_cycle=5, callback=lambda *_: next(ends), random_state=0
    ).fit(X, y)
    assert 0 < model.n_iter_ < 30
    done = model.n_iter_
    assert model.set_params(callback=None).partial_fit(X, y).n_iter_ == done + 30


def test_networks_that_stopped_early_can_be_gone_on_with(iris):
    X, y = iris
    model = KLayerClassifier(
        **{**BRIEF, "epochs": 30}, early_stopping="loss", patience=1, average="ema", warm_start=True
    ).fit(X, y)
    done = model.n_iter_
    assert model.fit(X, y).n_iter_ > done
    done = model.n_iter_
    assert model.set_params(early_stopping="none", patience=5).partial_fit(X, y).n_iter_ > done


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**1000])
def test_weights_of_rows_may_have_any_scale(iris, scale):
    X, y = iris
    weights = np.linspace(0.5, 2, len(y))
    plain = KLayerClassifier(**BRIEF).fit(X, y, sample_weight=weights)
    scaled = KLayerClassifier(**BRIEF).fit(X, y, sample_weight=weights * scale)
    assert (scaled.members(X) == plain.members(X)).all()


def test_what_can_not_change_while_training_goes_on_is_named(iris):
    X, y = iris
    model = KLayerClassifier(**BRIEF).fit(X, y)
    with pytest.raises(ValueError, match="`n_networks` can't change while training goes on"):
        model.set_params(n_networks=3).partial_fit(X, y)
    with pytest.raises(ValueError, match="`hidden` can't change while training goes on"):
        model.set_params(n_networks=1, hidden=(3,)).partial_fit(X, y)
    several = KLayerClassifier(**BRIEF).fit(X, np.column_stack([y == 1, y == 2]))
    with pytest.raises(ValueError, match=r"zeros and ones of shape \(N, 2\), but got shape"):
        several.partial_fit(X, y)


def test_a_part_of_the_rows_may_lack_a_class(iris):
    X, y = iris
    model = KLayerClassifier(**BRIEF, class_weight="balanced", batch_norm="none")
    for label in np.unique(y):
        model.partial_fit(X[y == label], y[y == label], classes=np.unique(y))
    model.partial_fit(X[:1], y[:1])
    assert model.predict_proba(X).shape == (len(X), len(np.unique(y)))
    unweighted = KLayerClassifier(**BRIEF).fit(X, y, sample_weight=(y == y[0]).astype(float))
    assert (unweighted.classes_ == np.unique(y)).all()


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
def test_later_rows_do_not_change_what_the_weights_mean(iris, kind):
    X, y = iris
    model = kind(**{**BRIEF, "epochs": 20, "batch_norm": "none"}).fit(X, y)
    before = model.members(X)
    model.set_params(lr_max=1e-9, lr_min=0).partial_fit(X[-1:], y[-1:])
    assert np.allclose(model.members(X), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
def test_one_row_alone_is_refused_with_batch_normalisation_and_nothing_is_lost(iris, kind):
    X, y = iris
    model = kind(**BRIEF).fit(X, y)
    before = model.members(X)
    with pytest.raises(KlayerError, match="but there is one sample: give more, or set batch_norm"):
        model.partial_fit(X[:1], y[:1])
    np.testing.assert_array_equal(model.members(X), before)
    model.partial_fit(X[:2], y[:2])


def test_a_default_without_effect_on_a_task_is_left_out_and_a_wish_is_refused():
    X, Y = make_multilabel_classification(60, 4, n_classes=2, random_state=0)
    assert KLayerClassifier(**BRIEF).smoothing > 0
    KLayerClassifier(**BRIEF).fit(X, Y)
    with pytest.raises(KlayerError, match="smoothing"):
        KLayerClassifier(**BRIEF, smoothing=0.2).fit(X, Y)


def test_limits_are_kept(iris):
    X, y = iris
    limited = KLayerClassifier(hidden=(8,), epochs=1000, random_state=0, time_limit=1e-6).fit(X, y)
    assert limited.n_iter_ < 1000
    heard = []

    def stop_at_third(model, point):
        heard.append((point["update"], point["train_loss"].shape))
        return len(heard) == 3

    model = KLayerClassifier(**{**BRIEF, "epochs": 100}, n_networks=2, callback=stop_at_third)
    assert model.fit(X, y).n_iter_ == heard[-1][0]
    assert [shape for _, shape in heard] == [(2,)] * 3


def test_random_state_decides_and_threads_do_not(iris):
    X, y = iris
    one, same = (KLayerClassifier(n_networks=3, **BRIEF, n_jobs=n).fit(X, y) for n in (1, 2))
    assert (one.members(X) == same.members(X)).all()
    other = KLayerClassifier(n_networks=3, **{**BRIEF, "random_state": 1}).fit(X, y)
    assert (one.members(X) != other.members(X)).any()


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
def test_a_wrong_parameter_is_named_with_its_rule(iris, kind):
    for values, rule in (
        ({"epochs": 0}, "`epochs` must be a number > 0, but got 0"),
        ({"n_networks": 0}, "`n_networks` must be a whole number >= 1, but got 0"),
        ({"activation": "rellu"}, "unknown activation 'rellu': did you mean 'relu'"),
        ({"dropout": 1.5}, "dropout"),
        ({"momentum": 0.5, "optimiser": "rmsprop"}, "`momentum` has an effect with"),
    ):
        with pytest.raises(KlayerError, match=rule):
            kind(**values).fit(*iris)
    with pytest.raises(TypeError, match="unknown parameter 'max_iter': did you mean 'epochs'"):
        kind(max_iter=3)


def test_every_parameter_is_documented_and_at_its_default():
    for kind, task in ((KLayerClassifier, "classification"), (KLayerRegressor, "regression")):
        assert kind().get_params() == defaults_of(task)
        for name in defaults_of(task):
            assert f"    {name} : " in kind.__doc__
