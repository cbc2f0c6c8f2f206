"""What scikit-learn tests of its own networks, asked of ours: the same behaviours, in our words.

`docs/estimator.md` lists what differs on purpose.
"""

import joblib
import numpy as np
import pytest
from sklearn.datasets import (
    load_digits,
    load_iris,
    make_classification,
    make_multilabel_classification,
    make_regression,
)
from sklearn.metrics import roc_auc_score

import klayer as kl
from klayer.errors import KlayerError
from klayer.nn.pieces import ACTIVATIONS
from plain_estimators import KLayerClassifier, KLayerRegressor

KINDS = [KLayerClassifier, KLayerRegressor]
both = pytest.mark.parametrize("kind", KINDS)


def digits(classes):
    X, y = load_digits(n_class=classes, return_X_y=True)
    return X[:200] / 16, y[:200]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


# What is learnt.


def test_a_greater_penalty_makes_smaller_weights():
    X, y = digits(2)
    sizes = []
    for l2 in (0.0, 1e-3, 1e-2):
        params = KLayerClassifier(hidden=(10,), l2=l2, random_state=1).fit(X, y).model_.params
        sizes.append([np.abs(params[key]).sum() for key in ("W1", "W2")])
    assert (np.diff(sizes, axis=0) < 0).all()


def test_an_update_is_that_of_the_formulas():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])
    plain = {"optimiser": "sgd", "schedule": "constant", "batch_size": 5, "epochs": 1}
    plain |= {"hidden": (2,), "activation": "tanh", "dtype": "float64", "random_state": 1}
    plain |= {"backend": "numpy", "l2": 0.1}
    start, moved = (
        KLayerClassifier(**plain, lr_max=rate).fit(X, y).model_.params for rate in (1e-300, 0.1)
    )
    # By hand: h = tanh(x W1 + b1), p = softmax(h W2 + b2), cost = -mean log p_y + l2 |W|^2.
    x = (X - X.mean(axis=0)) / X.std(axis=0)
    W1, b1, W2, b2 = (start[key][0] for key in ("W1", "b1", "W2", "b2"))
    h = np.tanh(x @ W1 + b1)
    p = np.exp(h @ W2 + b2)
    p /= p.sum(axis=1, keepdims=True)
    d2 = (p - np.eye(2)[y]) / 5
    d1 = d2 @ W2.T * (1 - h * h)
    slopes = {"W2": h.T @ d2 + 0.2 * W2, "b2": d2.sum(axis=0)}
    slopes |= {"W1": x.T @ d1 + 0.2 * W1, "b1": d1.sum(axis=0)}
    for key, slope in slopes.items():
        np.testing.assert_allclose(moved[key][0], start[key][0] - 0.1 * slope, atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("classes", [2, 3])
def test_gradients_of_the_networks_that_it_trains_are_right(activation, classes):
    rng = np.random.default_rng(42)
    y = 1 + np.arange(30) % classes
    model = KLayerClassifier(hidden=(10,), epochs=1, activation=activation, random_state=1)
    network = model.fit(rng.random((30, 10)), y).model_.network
    assert kl.check_network(network, samples=10).ok


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("classes", [2, 3])
def test_digits_are_learnt_and_rows_never_seen_keep_the_kind_of_their_labels(activation, classes):
    X, y = digits(classes)
    model = KLayerClassifier(hidden=(50,), activation=activation, random_state=1)
    model.fit(X[:150], y[:150])
    assert model.score(X[:150], y[:150]) > 0.95
    assert model.score(X[150:], y[150:]) > 0.75
    assert model.predict(X[150:]).dtype.kind == y.dtype.kind


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_regression_is_learnt(activation):
    X, y = make_regression(200, 10, bias=20.0, noise=100.0, random_state=7)
    model = KLayerRegressor(hidden=(50,), activation=activation, epochs=600, random_state=1)
    assert model.fit(X, y).score(X, y) > 0.95
    X, Y = make_regression(200, n_targets=5, random_state=11)
    assert KLayerRegressor(hidden=(50,), epochs=100, random_state=1).fit(X, Y).score(X, Y) > 0.9


def test_several_labels_are_learnt_at_once_and_piece_by_piece():
    X, Y = make_multilabel_classification(n_samples=50, random_state=0)
    values = {"hidden": (50,), "random_state": 0, "lr_max": 0.01}
    assert KLayerClassifier(**values, epochs=100).fit(X, Y).score(X, Y) > 0.97
    model = KLayerClassifier(**values, epochs=2)
    for _ in range(50):
        model.partial_fit(X, Y, classes=range(5))
    assert model.score(X, Y) > 0.9
    KLayerClassifier(early_stopping="loss", epochs=5).fit(X, Y).predict(X)


# Probabilities.


def test_probabilities_of_two_classes():
    X, y = digits(2)
    model = KLayerClassifier(hidden=(5,), random_state=1).fit(X[:50], y[:50])
    probs, logs = model.predict_proba(X[:50]), model.predict_log_proba(X[:50])
    assert probs.shape == (50, 2)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(logs), probs)
    assert roc_auc_score(y[:50], probs[:, 1]) == 1.0


def test_probabilities_of_several_classes_and_of_several_labels():
    X, y = digits(3)
    model = KLayerClassifier(hidden=(5,), random_state=1).fit(X[:10], y[:10])
    assert model.predict_proba(X[:10]).shape == (10, 3)
    X, Y = make_multilabel_classification(n_samples=50, random_state=0)
    model = KLayerClassifier(hidden=(30,), epochs=150, lr_max=0.01, random_state=0).fit(X, Y)
    probs = model.predict_proba(X)
    assert probs.shape == Y.shape
    assert ((probs > 0.5) == Y).all()
    assert (abs(probs.sum(axis=1) - 1) > 0.1).any()  # each label for itself
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), probs)


# Piece by piece, and on from where it was.


@pytest.mark.parametrize("classes", [2, 3])
def test_pieces_of_a_training_are_the_training(classes):
    X, y = digits(classes)
    values = {"hidden": (20,), "optimiser": "sgd", "lr_max": 0.2, "schedule": "constant"}
    whole = KLayerClassifier(**values, cycles=30, epochs=1, random_state=1).fit(X, y)
    parts = KLayerClassifier(**values, epochs=1, random_state=1)
    for _ in range(30):
        parts.partial_fit(X, y, classes=np.unique(y))
    assert (whole.predict_proba(X) == parts.predict_proba(X)).all()
    assert whole.score(X, y) > 0.95


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_pieces_of_a_regressions_training_are_the_training(momentum):
    X, y = make_regression(200, 10, bias=20.0, noise=100.0, random_state=7)
    values = {"optimiser": "momentum", "momentum": momentum, "lr_max": 0.01, "batch_size": 200}
    values |= {"schedule": "constant", "epochs": 1, "random_state": 1}
    whole = KLayerRegressor(**values, cycles=100).fit(X, y)
    parts = KLayerRegressor(**values)
    for _ in range(100):
        parts.partial_fit(X, y)
    assert (whole.predict(X) == parts.predict(X)).all()
    assert whole.n_iter_ == parts.n_iter_ == 100


def test_classes_are_named_once():
    model = KLayerClassifier(hidden=(4,), epochs=1, random_state=0)
    model.partial_fit([[1], [2], [3]], ["a", "b", "c"], classes=["a", "b", "c", "d"])
    model.partial_fit([[4]], ["d"])
    assert model.predict_proba([[1]]).shape == (1, 4)
    with pytest.raises(ValueError, match="must stay those of the first call"):
        model.partial_fit([[1]], ["a"], classes=["a", "b"])
    with pytest.raises(ValueError, match=r"must hold the classes \[2\], but got \[0, 1\] too"):
        KLayerClassifier().partial_fit([[3, 2], [1, 6]], [1, 0], classes=[2])


def test_a_warm_start_refuses_classes_that_it_never_saw_and_says_which(iris):
    X, y = iris
    model = KLayerClassifier(hidden=(2,), epochs=1, warm_start=True, random_state=42).fit(X, y)
    model.fit(X, np.repeat([0, 1, 2], [40, 40, 70]))
    for other, unknown in (
        (np.repeat([0, 1, 3], 50), [3]),
        (np.repeat(np.arange(5), 30), [3, 4]),
    ):
        with pytest.raises(ValueError, match=rf"but got \[{str(unknown)[1:-1]}\] too"):
            model.fit(X, other)
    model.fit(X, np.repeat([0, 1], 75))  # some of them: rows may lack a class


@both
def test_each_fit_of_a_warm_start_trains_as_long_as_it_says(kind, iris):
    model = kind(hidden=(2,), epochs=3, warm_start=True, random_state=0).fit(*iris)
    assert model.n_iter_ == 3 * 5  # updates: 150 rows in batches of 32, the last one kept
    assert model.fit(*iris).n_iter_ == 30
    assert model.set_params(epochs=6).fit(*iris).n_iter_ == 60


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "linear"])
def test_a_warm_start_begins_the_course_of_the_rate_anew(schedule, iris):
    model = KLayerClassifier(
        hidden=(4,), epochs=2, schedule=schedule, warm_start=True, random_state=0
    )
    courses = []
    for _ in range(2):
        courses.append(model.fit(*iris).history_["lr"])
    points = len(courses[0])
    np.testing.assert_allclose(courses[0][:-1], courses[1][: points - 1])
    np.testing.assert_allclose(courses[0], courses[1][points - 1 :])


@both
def test_early_stopping_and_going_on_go_together(kind, iris):
    model = kind(epochs=10, random_state=0, warm_start=True, early_stopping="loss").fit(*iris)
    points = len(model.history_["validation_loss"])
    assert len(model.set_params(epochs=20).fit(*iris).history_["validation_loss"]) > points
    model.partial_fit(*iris)


def test_a_model_from_a_file_learns_what_is_new(tmp_path):
    model = KLayerRegressor(hidden=(42,), random_state=42, lr_max=0.01, epochs=200)
    joblib.dump(model.fit([[2]], [4]), tmp_path / "model")
    again = joblib.load(tmp_path / "model").set_params(schedule="constant", epochs=50)
    assert again.predict([[2]])[0] == pytest.approx(4, rel=1e-3)
    for _ in range(20):
        again.partial_fit([[2]], [1])
    assert again.predict([[2]])[0] == pytest.approx(1, rel=1e-2)


# Length and limits.


@both
def test_training_is_as_long_as_it_should_be(kind, iris):
    X, y = iris
    for epochs, batch, updates in (
        (1, 150, 1),
        (1, 50, 3),
        (2.5, 50, 8),
        (0.1, 150, 1),
        (3, 1, 450),
    ):
        model = kind(hidden=(2,), epochs=epochs, batch_size=batch).fit(X, y)
        assert model.n_iter_ == updates
        assert model.history_["update"][-1] == updates


@both
def test_early_stopping_ends_with_the_best_point(kind):
    X, y = digits(2)
    model = kind(
        hidden=(50,),
        epochs=3000,
        points_per_cycle=1500,
        early_stopping="loss",
        patience=3,
        lr_max=0.05,
        random_state=0,
    ).fit(X, y)
    assert model.n_iter_ < 3000 * 6
    losses, updates = model.history_["validation_loss"], model.history_["update"]
    assert model._state.marks["best_update"] == updates[losses.argmin()]
    assert kind(epochs=1).fit(X, y).history_.keys().isdisjoint({"validation_loss"})


@pytest.mark.parametrize("patience", [2, 5, 20])
def test_patience_is_how_long_a_network_waits(patience):
    X, y = digits(2)
    model = KLayerClassifier(
        hidden=(8,),
        epochs=500,
        points_per_cycle=500,
        early_stopping="accuracy",
        patience=patience,
        random_state=0,
    ).fit(X, y)
    marks = {name: int(value[0]) for name, value in model._state.marks.items()}
    recorded = model._state.recorded
    waited = recorded.index(marks["stopped"]) - recorded.index(marks["best_update"])
    assert waited == patience


def test_endless_patience_never_stops():
    X, y = digits(2)
    model = KLayerClassifier(hidden=(4,), epochs=50, early_stopping="accuracy", patience=10**9)
    assert model.fit(X, y).n_iter_ == 50 * round(np.ceil(170 / 32))


def test_a_class_of_one_row_is_no_obstacle_to_holding_rows_out():
    KLayerClassifier(early_stopping="loss", epochs=1).fit(
        [[1, 2], [2, 3], [3, 4], [4, 5]], [0, 0, 0, 1]
    )


@pytest.mark.parametrize("kind_of_label", [object, str])
def test_early_stopping_takes_labels_that_are_texts(kind_of_label):
    X, y = make_classification(200, 10, n_classes=3, n_informative=5, random_state=42)
    labels = np.array(["class_a", "class_b", "class_c"], dtype=kind_of_label)[y]
    model = KLayerClassifier(early_stopping="accuracy", epochs=20, random_state=42).fit(X, labels)
    assert np.isfinite(model.history_["validation_accuracy"]).all()
    assert set(model.predict(X)) <= set(labels)


@both
def test_too_few_rows_to_hold_some_out_are_named(kind):
    with pytest.raises(KlayerError, match="of 1 leaves none to train on"):
        kind(early_stopping="loss").partial_fit(
            [[1.0]], [0], **({"classes": [0, 1]} if kind is KLayerClassifier else {})
        )


# Precision, rows, weights.


@both
def test_rows_in_single_precision_give_what_those_in_double_give(kind):
    X, y = digits(3)
    X = X.round(3)
    values = {"hidden": (5, 3), "random_state": 1, "epochs": 20}
    double = kind(**values).fit(X, y)
    single = kind(**values).fit(X.astype(np.float32), y)
    np.testing.assert_allclose(
        single.members(X.astype(np.float32)), double.members(X), rtol=1e-2, atol=1e-3
    )


@both
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_has_the_precision_that_is_asked_for_and_answers_are_double(kind, dtype):
    X, y = digits(3)
    model = kind(hidden=(5, 3), epochs=2, dtype=dtype, random_state=1).fit(X.astype(dtype), y)
    assert {value.dtype.name for value in model._state.params.values()} == {dtype}
    assert model.members(X.astype(dtype)).dtype == np.float64


@both
@pytest.mark.parametrize("container", ["csr_matrix", "csr_array"])
def test_sparse_rows_are_refused_with_the_way_out(kind, container):
    sparse = getattr(pytest.importorskip("scipy.sparse"), container)
    with pytest.raises(TypeError, match=r"dense data is required. Use '.toarray\(\)'"):
        kind().fit(sparse(np.eye(4)), [0, 1, 0, 1])


@both
def test_names_of_columns_survive_early_stopping(kind):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).normal(size=(10, 2)), columns=["a", "b"])
    y = pandas.Series([0, 1] * 5, name="y")
    model = kind(early_stopping="loss", validation_fraction=0.2, epochs=2).fit(X, y)
    model.score(X, y)
    assert model.feature_names_in_.tolist() == ["a", "b"]


@both
def test_equal_weights_are_no_weights(kind, iris):
    X, y = iris
    values = {"hidden": (10,), "early_stopping": "loss", "epochs": 10, "random_state": 42}
    plain = kind(**values).fit(X, y).members(X)
    for weight in (1.0, 7.0):
        weighted = kind(**values).fit(X, y, sample_weight=np.full(len(y), weight)).members(X)
        np.testing.assert_allclose(weighted, plain, rtol=1e-5, atol=1e-6)


def test_the_order_of_rows_follows_from_random_state(iris):
    X, y = iris
    one, same, other = (
        KLayerRegressor(hidden=(1,), epochs=1, batch_size=1, random_state=seed).fit(X, y).members(X)
        for seed in (0, 0, 1)
    )
    assert (one == same).all()
    assert (one != other).any()


# What can't be.


@both
def test_a_training_that_diverges_says_what_to_do(kind, iris):
    X, y = iris
    values = {"optimiser": "sgd", "lr_max": 1e6, "schedule": "constant", "hidden": (100,)}
    with pytest.raises(KlayerError, match=r"the network diverged \(cost not finite .*lower lr_max"):
        kind(**values, early_stopping="loss").fit(X, y)
    with pytest.raises(KlayerError, match="all 3 networks diverged"):
        kind(**values, n_networks=3).fit(X, y)


@both
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused(kind, wrong):
    with pytest.raises(ValueError, match="Input X contains"):
        kind().fit([[1.0], [wrong]], [0, 1])


def test_rows_of_any_size_are_standardised_and_learnt():
    rng = np.random.default_rng(0)
    X = np.finfo(float).max * rng.uniform(size=(60, 2))
    y = (X[:, 0] > X[:, 1]).astype(int)
    assert KLayerClassifier(hidden=(8,), random_state=0, epochs=100).fit(X, y).score(X, y) > 0.9


@both
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("hidden_layer_sizes", "hidden"),
        ("solver", "optimiser"),
        ("alpha", "l2"),
        ("learning_rate_init", "lr_max"),
        ("learning_rate", "schedule"),
        ("max_iter", "epochs"),
        ("n_iter_no_change", "patience"),
        ("beta_1", "momentum"),
        ("beta_2", "beta2"),
        ("n_estimators", "n_networks"),
        ("seed", "random_state"),
        ("hiden", "hidden"),
    ],
)
def test_names_of_scikit_learns_networks_lead_to_ours(kind, theirs, ours):
    with pytest.raises(TypeError, match=f"unknown parameter '{theirs}': did you mean '{ours}'"):
        kind(**{theirs: 1})
