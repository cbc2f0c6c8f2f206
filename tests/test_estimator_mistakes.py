"""What the estimators say to mistakes, and to what is none: callbacks, weights, rows, parameters."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import load_iris

from klayer.errors import KlayerError
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
