"""The estimators inside scikit-learn's tools: ensembles, searches, pipelines, routing, frames."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

import klayer as kl
from plain_estimators import KLayerClassifier, KLayerRegressor

C = KLayerClassifier(hidden=(16,), epochs=40, lr_max=0.01, random_state=0)
R = KLayerRegressor(hidden=(16,), epochs=40, lr_max=0.01, random_state=0)
LINEAR, RIDGE = LogisticRegression(max_iter=1000), Ridge()

CLASSIFIERS = {
    "pipeline": make_pipeline(StandardScaler(), C),
    "grid": GridSearchCV(C, {"hidden": [(4,), (8,)], "dropout": [0.0, 0.1]}, cv=2),
    "random": RandomizedSearchCV(
        C, {"lr_max": np.geomspace(0.005, 0.02, 5), "batch_size": [16, 32]}, n_iter=2, cv=2
    ),
    "calibrated": CalibratedClassifierCV(C, cv=2),
    "calibrated by temperature": CalibratedClassifierCV(C, cv=2, method="temperature"),
    "stacking": StackingClassifier([("a", C), ("b", LINEAR)], cv=2),
    "stacked on": StackingClassifier([("b", LINEAR)], final_estimator=C, cv=2),
    "voting": VotingClassifier([("a", C), ("b", LINEAR)], voting="soft"),
    "hard voting": VotingClassifier([("a", C), ("b", LINEAR)]),
    "bagging": BaggingClassifier(C, n_estimators=2, random_state=0),
    "boosting": AdaBoostClassifier(C, n_estimators=2, random_state=0),
    "one against the rest": OneVsRestClassifier(C),
    "one against one": OneVsOneClassifier(C),
    "codes": OutputCodeClassifier(C, code_size=2, random_state=0),
    "selection": make_pipeline(SequentialFeatureSelector(C, n_features_to_select=2, cv=2), C),
    "clone": clone(C),
}
REGRESSORS = {
    "pipeline": make_pipeline(StandardScaler(), R),
    "grid": GridSearchCV(R, {"hidden": [(4,), (8,)], "l2": [0.0, 0.01]}, cv=2),
    "stacking": StackingRegressor([("a", R), ("b", RIDGE)], cv=2),
    "voting": VotingRegressor([("a", R), ("b", RIDGE)]),
    "bagging": BaggingRegressor(R, n_estimators=2, random_state=0),
    "boosting": AdaBoostRegressor(R, n_estimators=2, random_state=0),
    "transformed target": TransformedTargetRegressor(R, func=np.log, inverse_func=np.exp),
    "several": MultiOutputRegressor(R),
    "chain": RegressorChain(R),
}


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.mark.parametrize("tool", CLASSIFIERS)
def test_a_classifier_works_in(tool, iris):
    assert CLASSIFIERS[tool].fit(*iris).score(*iris) > 0.85


@pytest.mark.parametrize("tool", REGRESSORS)
def test_a_regressor_works_in(tool, diabetes):
    X, y = diabetes
    y = np.c_[y, -y] if tool in ("several", "chain") else y
    assert REGRESSORS[tool].fit(X, y).score(X, y) > 0.4


def test_thresholds_of_two_classes(iris):
    X, y = iris[0][50:], iris[1][50:]
    for tool in (FixedThresholdClassifier(C), TunedThresholdClassifierCV(C, cv=2)):
        assert tool.fit(X, y).score(X, y) > 0.8
    labels = np.c_[y == 1, X[:, 0] > 6].astype(int)
    for tool in (MultiOutputClassifier(C), ClassifierChain(C)):
        assert tool.fit(X, labels).score(X, labels) > 0.7


def test_rows_without_a_label_are_learnt_from(iris):
    X, y = iris
    some = np.where(np.arange(150) % 3, -1, y)
    assert SelfTrainingClassifier(C).fit(X, some).score(X, y) > 0.85


def test_a_frozen_estimator_stays_as_it_is(iris):
    X, y = iris
    fitted = clone(C).fit(X, y)
    before = fitted.predict_proba(X)
    frozen = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(X, y)
    assert frozen.score(X, y) > 0.85
    assert (fitted.predict_proba(X) == before).all()


def test_it_is_judged(iris, diabetes):
    assert cross_val_score(C, *iris, cv=3).mean() > 0.85
    found = cross_validate(C, *iris, cv=2, scoring=["neg_log_loss", "accuracy", "roc_auc_ovr"])
    assert found["test_roc_auc_ovr"].min() > 0.9
    assert cross_val_predict(C, *iris, cv=2, method="predict_proba").shape == (150, 3)
    sizes, _, scores = learning_curve(C, *iris, cv=2, train_sizes=[0.5, 1.0], shuffle=True)
    assert len(sizes) == len(scores) == 2
    _, scores = validation_curve(R, *diabetes, param_name="epochs", param_range=[1, 40], cv=2)
    assert scores[1].mean() > scores[0].mean()
    model = clone(C).fit(*iris)
    importance = permutation_importance(model, *iris, n_repeats=2, random_state=0)
    assert importance.importances_mean.argmax() in (2, 3)  # the petals
    assert partial_dependence(model, iris[0], [2]).average.shape[0] == 3
    right, said = calibration_curve(iris[1] == 0, model.predict_proba(iris[0])[:, 0])
    assert len(right) == len(said)


def test_kinds_are_told_apart():
    assert is_classifier(C)
    assert not is_regressor(C)
    assert is_regressor(R)


def test_what_has_no_coefficients_is_refused_by_the_tool(iris):
    with pytest.raises(ValueError, match=r"coef_.*feature_importances_"):
        RFE(C).fit(*iris)


# Names of columns, frames, what transformers put out.


@pytest.fixture
def people():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"town": rng.choice(["Ur", "Kish"], 200), "age": rng.normal(size=200)})
    return frame, (frame["town"] == "Ur") ^ (frame["age"] > 0)


def test_columns_of_a_frame_go_through_a_column_transformer(people):
    frame, y = people
    columns = ColumnTransformer(
        [
            ("town", OneHotEncoder(sparse_output=False), ["town"]),
            ("age", "passthrough", ["age"]),
        ]
    )
    model = make_pipeline(columns, KLayerClassifier(hidden=(16,), lr_max=0.01, random_state=0))
    assert model.fit(frame, y).score(frame, y) > 0.9
    for container in ("pandas", "polars"):
        pytest.importorskip(container)
        model.set_output(transform=container).fit(frame, y)
        assert model.score(frame, y) > 0.9
        names = ["town__town_Kish", "town__town_Ur", "age__age"]
        assert model[-1].feature_names_in_.tolist() == names


def test_names_of_columns_are_kept_and_checked(people):
    frame, y = people
    rows = frame[["age"]].assign(height=1.5, weight=frame["age"] * 2)
    model = KLayerClassifier(hidden=(4,), epochs=2, early_stopping="loss").fit(rows, y)
    assert model.feature_names_in_.tolist() == ["age", "height", "weight"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(rows[["height", "age", "weight"]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.fit(rows, y, X_val=rows[["age", "weight", "height"]], y_val=y)


def test_its_representation_shows_its_parameters_and_whether_it_is_fitted(iris):
    model = kl.KLayerClassifier(hidden=(4,), epochs=1)
    assert repr(model) == "KLayerClassifier(epochs=1, hidden=(4,))"
    html = model._repr_html_()
    assert "KLayerClassifier" in html
    assert "Not fitted" in html
    assert "lr_max" in html
    assert "Not fitted" not in model.fit(*iris)._repr_html_()


# Metadata routing.


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.parametrize("kind", [KLayerClassifier, KLayerRegressor])
def test_what_fit_takes_can_be_asked_for(kind, routing):
    known = {"sample_weight", "X_val", "y_val"}
    for method in ("fit", "partial_fit"):
        more = {"classes"} if kind is KLayerClassifier and method == "partial_fit" else set()
        model = kind()
        getattr(model, f"set_{method}_request")(**dict.fromkeys(known | more, True))
        asked = getattr(model.get_metadata_routing(), method).requests
        assert asked == dict.fromkeys(known | more, True)
    with pytest.raises(TypeError, match="Unexpected args"):
        kind().set_fit_request(weights=True)


def test_weights_of_rows_reach_the_folds_of_a_search(iris, routing):
    X, y = iris
    weights = np.where(y == 1, 0.0, 1.0)  # with these no row of class 1 is seen
    model = clone(C).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
    search = GridSearchCV(model, {"dropout": [0.0]}, cv=2).fit(X, y, sample_weight=weights)
    assert 1 not in search.predict(X)
    deaf = clone(C).set_fit_request(sample_weight=False).set_score_request(sample_weight=False)
    with pytest.raises(TypeError, match="got unexpected argument"):
        GridSearchCV(deaf, {"dropout": [0.0]}, cv=2).fit(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match="not explicitly set as requested or not requested"):
        GridSearchCV(clone(C), {"dropout": [0.0]}, cv=2).fit(X, y, sample_weight=weights)


def test_a_pipeline_transforms_the_users_own_validation_rows(iris, routing):
    X, y = iris
    heard = []
    model = KLayerClassifier(
        hidden=(8,),
        epochs=3,
        random_state=0,
        callback=lambda _, point: heard.append(point["validation_loss"][0]),
    )
    model.set_fit_request(X_val=True, y_val=True)
    scaler = StandardScaler()
    pipeline = make_pipeline(scaler, model, transform_input=["X_val"])
    pipeline.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    through_a_pipeline, heard[:] = list(heard), []
    by_hand = StandardScaler().fit(X[::2])
    clone(model).fit(
        by_hand.transform(X[::2]), y[::2], X_val=by_hand.transform(X[1::2]), y_val=y[1::2]
    )
    assert through_a_pipeline == heard
