"""What the estimators say to mistakes, and to what is none: callbacks, weights, rows, parameters."""

import copy
import pickle

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_iris

from klayer.errors import KlayerError
from klayer.estimator import PopulationSearchCV
from plain_estimators import KLayerClassifier, KLayerRegressor

BRIEF = {"hidden": (8,), "epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (lambda point: point["train_loss"][0] < np.inf, True),  # NumPy's truth
        (lambda point: point["train_loss"] < np.inf, True),
        (lambda point: point["train_loss"] < [np.inf, 0], False),
        (lambda point: np.False_, False),
        (lambda point: point["train_loss"], False),
        (lambda point: "stop", False),
    ],
)
def test_what_a_comparison_of_curves_answers_ends_the_training(rows, answer, ends):
    X, y = rows
    model = KLayerClassifier(**{**BRIEF, "n_networks": 2}, callback=lambda _, point: answer(point))
    assert (model.fit(X, y).n_iter_ == 0) == ends


@pytest.mark.parametrize(
    ("kind", "first", "then"),
    [
        (KLayerClassifier, {}, {"hidden": (7,)}),
        (KLayerClassifier, {}, {"dtype": "float64"}),
        (KLayerClassifier, {"batch_norm": "none"}, {"batch_norm": "hidden"}),
        (KLayerClassifier, {"batch_norm": "none"}, {"layer_norm": "hidden"}),
        (KLayerRegressor, {}, {"loss": "quantile"}),
        (KLayerRegressor, {"loss": "quantile"}, {"quantiles": (0.1, 0.9)}),
    ],
)
def test_what_can_not_change_while_training_goes_on_is_named(rows, kind, first, then):
    X, y = rows
    model = kind(**BRIEF).set_params(**first).fit(X, y)
    before = model.predict(X)
    name = next(iter(then))
    with pytest.raises(KlayerError, match=f"`{name}` can't change while training goes on, but is"):
        model.set_params(**then).partial_fit(X, y)
    np.testing.assert_array_equal(model.set_params(**first).predict(X), before)


def test_other_targets_can_not_be_gone_on_with(rows):
    X, y = rows
    with pytest.raises(KlayerError, match="as many columns as in the first call, 1, but has 2"):
        KLayerRegressor(**BRIEF).fit(X, y).partial_fit(X, np.column_stack([y, y]))


def test_weights_of_classes_that_some_rows_lack_wait(rows):
    X, y = rows
    part = y != y.max()
    weights = {one: 1.0 + one for one in np.unique(y).tolist()}
    fewer = {one: weight for one, weight in weights.items() if one != y.max()}
    answers = [
        KLayerClassifier(**BRIEF, class_weight=one).fit(X[part], y[part]).predict_proba(X)
        for one in (weights, fewer)
    ]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({0: 1, 99: 2}, r"must name classes of `y`, \[.*\], but got \[99\]"),
        ({"0": 1}, r"but got \['0'\]"),
        ({0: "a"}, r"must be numbers >= 0, not all of them 0, but got \['a'\]"),
        ({0: -1.0}, r"but got \[-1.0\]"),
        ({0: np.nan}, r"but got \[nan\]"),
    ],
)
def test_weights_that_can_not_be_are_shown(rows, weights, message):
    X, y = rows
    with pytest.raises(KlayerError, match=f"`class_weight` .*{message}"):
        KLayerClassifier(**BRIEF, class_weight=weights).fit(X, y)


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
def test_rows_to_validate_on_are_named_as_what_they_are(rows, kind):
    X, y = rows
    for given in [
        {"X_val": X[:, :1], "y_val": y},
        {"X_val": X * np.nan, "y_val": y},
        {"X_val": X, "y_val": y[:3]},
        {"X_val": X, "y_val": csr_matrix(y[:, None])},
        {"X_val": X, "y_val": np.column_stack([y, y])},
    ]:
        with pytest.raises(KlayerError, match=r"^validation rows \(X_val, y_val\): "):
            kind(**BRIEF, early_stopping="loss").fit(X, y, **given)


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
def test_sparse_targets_are_refused_with_the_way_out(rows, kind):
    X, y = rows
    with pytest.raises(
        KlayerError, match=r"`y` must be dense, but got csr_matrix: write y\.toarray"
    ):
        kind(**BRIEF).fit(X, csr_matrix(np.eye(3)[y % 3]))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("max_iter", "epochs"), ("alpha", "l2"), ("nesterovs_momentum", "optimiser"),
     ("epsilon", "optimiser_eps"), ("hidden__0", "hidden")],
)  # fmt: skip
def test_names_of_others_are_led_to_ours_also_when_they_are_set(theirs, ours):
    for kind in (KLayerClassifier, KLayerRegressor):
        with pytest.raises(KlayerError, match=f"'{theirs}': did you mean '{ours}'"):
            kind().set_params(**{theirs: 1})


# In a callback.

ASKED = {
    "probabilities": lambda one, X, y: one.predict(X),
    "score": lambda one, X, y: one.score(X, y),
    "members": lambda one, X, y: one.members(X),
    "pickle": lambda one, X, y: pickle.loads(pickle.dumps(one)).predict(X),
    "clone": lambda one, X, y: clone(one).get_params()["epochs"],
    "deep copy": lambda one, X, y: copy.deepcopy(one).predict(X),
    "another fit": lambda one, X, y: clone(one).set_params(callback=None).fit(X, y).n_iter_,
    "damage": lambda one, X, y: [one.model_.params[key].fill(0) for key in one.model_.params],
    "damage of the state": lambda one, X, y: [a.fill(0) for a in one._state.params.values()],
    "damage of the curves": lambda one, X, y: [a.fill(0) for a in one.history_.values()],
}


class Asks:
    """A callback, which asks something of the estimator and keeps the answers."""

    def __init__(self, what, X, y):
        self.what, self.X, self.y, self.points, self.answers = what, X, y, [], []

    def __call__(self, estimator, point):
        self.points.append(point)
        self.answers.append(ASKED[self.what](estimator, self.X, self.y))


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
def test_what_a_callback_asks_changes_no_bit_of_the_training(rows, kind, what):
    X, y = rows
    more = {
        "n_networks": 2,
        "cycles": 2,
        "points_per_cycle": 3,
        "batch_norm": "hidden",
        "dropout": 0.2,
        "dtype": "float64",
    }
    alone = kind(**BRIEF).set_params(**more).fit(X, y)
    asked = clone(alone).set_params(callback=Asks(what, X, y)).fit(X, y)
    assert len(asked.callback.points) > 4
    for model in (alone, asked.set_params(callback=None)):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(asked.members(X), alone.members(X))
    for name, column in alone.history_.items():
        np.testing.assert_array_equal(asked.history_[name], column)


@pytest.mark.parametrize("average", ["none", "ema"])
@pytest.mark.parametrize("going_on", [False, True])
def test_a_callback_sees_the_networks_as_they_stand(rows, going_on, average):
    X, y = rows
    asks = Asks("score", X[::2], y[::2])
    model = KLayerClassifier(**{**BRIEF, "batch_norm": "hidden"}, average=average, callback=asks)
    for _ in range(1 + going_on):
        model.fit(X[1::2], y[1::2], X_val=X[::2], y_val=y[::2])
        model.set_params(warm_start=going_on)
    wanted = [point["validation_accuracy"][0] for point in asks.points]
    np.testing.assert_allclose(asks.answers, wanted, atol=1e-6)
    assert len(set(wanted)) > 2
    assert len(asks.points) == len(model.history_["update"])


def test_an_estimator_in_its_callback_is_told_how_far_it_is(rows):
    X, y = rows
    heard = []
    model = KLayerClassifier(
        **BRIEF,
        callback=lambda one, p: heard.append((one.n_iter_, p["update"], len(one.history_["lr"]))),
    ).fit(X, y)
    assert [n for n, _, _ in heard] == [update for _, update, _ in heard]
    assert [many for *_, many in heard] == list(range(1, len(heard) + 1))
    assert heard[-1][0] == model.n_iter_


def test_what_ends_a_fit_leaves_no_networks_of_its_callback(rows):
    X, y = rows

    def broken(one, point):
        one.predict(X)
        raise RuntimeError("enough")

    model = KLayerClassifier(**BRIEF, callback=broken)
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(X, y)
    assert not hasattr(model, "model_")
    model.set_params(callback=None).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(RuntimeError, match="enough"):
        model.set_params(callback=broken).partial_fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_callback_can_not_fit_its_own_estimator(rows, call):
    X, y = rows
    model = KLayerClassifier(**BRIEF, callback=lambda one, _: getattr(one, call)(X, y))
    with pytest.raises(KlayerError, match=r"can't fit its own KLayerClassifier"):
        model.fit(X, y)
    assert len(model.set_params(callback=None).fit(X, y).predict(X)) == len(X)


def test_a_search_s_callbacks_see_their_own_networks(rows):
    X, y = rows
    seen = []

    def note(one, point):
        seen.append((one.score(X, y), point["validation_accuracy"][0]))

    base = KLayerClassifier(**BRIEF, callback=note)
    space = {"lr_max": [1e-5, 0.01], "hidden": [(8,), (6,)]}
    given = {"cv": 2, "n_iter": 4, "random_state": 0, "refit": False}
    found, alone = (
        PopulationSearchCV(clone(one), space, **given).fit(X, y, X_val=X, y_val=y)
        for one in (base, clone(base).set_params(callback=None))
    )
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    np.testing.assert_allclose(*np.transpose(seen), atol=1e-6)
    assert len(set(seen)) > 20
