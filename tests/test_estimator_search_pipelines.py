"""Searches in lockstep over pipelines in pipelines; what `fit` is given is judged before it begins."""

import pickle

import numpy as np
import pytest
import sklearn
from scipy.stats import loguniform
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from klayer.errors import KlayerError
from klayer.estimator import KLayerClassifier, KLayerRegressor, PopulationSearchCV

BRIEF = {"hidden": (8,), "epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return X[order], y[order]


def nested(kind):
    """A pipeline of some shape that ends in a classifier, and what is searched of it."""
    own = KLayerClassifier(**BRIEF)
    inner = make_pipeline(PCA(3), own)
    rate = loguniform(1e-3, 1e-1)
    columns = ColumnTransformer(
        [("two", Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())]), [0, 1]),
         ("rest", Pipeline([("poly", PolynomialFeatures())]), [2, 3])]
    )  # fmt: skip
    both = FeatureUnion(
        [("pca", make_pipeline(StandardScaler(), PCA(2))), ("as is", StandardScaler())]
    )
    return {
        "a pipeline in a pipeline": (
            make_pipeline(StandardScaler(), inner),
            {"pipeline__klayerclassifier__lr_max": rate, "pipeline__pca__n_components": [2, 3],
             "standardscaler__with_mean": [True, False]},
        ),
        "three deep, with steps left out": (
            Pipeline([("a", "passthrough"), ("b", Pipeline([("c", Pipeline([("d", own)]))]))]),
            {"b__c__d__lr_max": rate, "a": ["passthrough", StandardScaler()]},
        ),
        "columns with pipelines inside": (
            make_pipeline(columns, own),
            {"klayerclassifier__lr_max": rate, "columntransformer__rest__poly__degree": [1, 2],
             "columntransformer__two__fill__strategy": ["mean", "median"]},
        ),
        "a union of pipelines": (
            make_pipeline(both, inner),
            {"pipeline__klayerclassifier__l2": [0.0, 1e-3],
             "featureunion__pca__pca__n_components": [1, 2]},
        ),
        "an inner pipeline that is searched": (
            Pipeline([("scale", StandardScaler()), ("model", inner)]),
            {"model": [inner, make_pipeline(StandardScaler(), own), own]},
        ),
    }[kind]  # fmt: skip


@pytest.mark.parametrize("keep", ["best", "ensemble"])
@pytest.mark.parametrize(
    "kind",
    ["a pipeline in a pipeline", "three deep, with steps left out", "columns with pipelines inside",
     "a union of pipelines", "an inner pipeline that is searched"],
)  # fmt: skip
def test_pipelines_in_pipelines_are_searched_as_elsewhere(iris, kind, keep):
    X, y = iris
    model, space = nested(kind)
    how = {"n_iter": 3, "cv": 2, "random_state": 0}
    ours = PopulationSearchCV(model, space, keep=keep, **how).fit(X, y)
    theirs = RandomizedSearchCV(model, space, **how).fit(X, y)
    for name in ("mean_test_score", "split0_test_score", "rank_test_score"):
        np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])
    if keep == "best":
        np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    assert pickle.loads(pickle.dumps(ours)).score(X, y) == ours.score(X, y)


def test_parameters_of_fit_go_through_pipelines_in_pipelines(iris):
    X, y = iris
    weights = np.linspace(0.1, 1, len(y))
    model = make_pipeline(
        StandardScaler(), make_pipeline(StandardScaler(), KLayerClassifier(**BRIEF))
    )
    name = "pipeline__klayerclassifier__sample_weight"
    given = {name: weights, "standardscaler__sample_weight": weights}
    how = {"n_iter": 2, "cv": 2, "random_state": 0}
    space = {"pipeline__klayerclassifier__lr_max": loguniform(1e-3, 1e-1)}
    ours = PopulationSearchCV(model, space, **how).fit(X, y, **given)
    theirs = RandomizedSearchCV(model, space, **how).fit(X, y, **given)
    assert (ours.predict_proba(X) == theirs.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), LogisticRegression())),
         "LogisticRegression, a pipeline's last step"),
        (make_pipeline(StandardScaler(), ColumnTransformer([("n", KLayerClassifier(), [0])])),
         "ColumnTransformer, a pipeline's last step"),
        (TransformedTargetRegressor(KLayerRegressor()), "TransformedTargetRegressor"),
        (make_pipeline(StandardScaler(), GridSearchCV(KLayerClassifier(), {"l2": [0]})), "GridSearchCV"),
    ],
)  # fmt: skip
def test_what_ends_in_no_network_of_ours_is_refused_with_what_takes_it(iris, model, got):
    with pytest.raises(KlayerError, match=f"but got {got}.*RandomizedSearchCV"):
        PopulationSearchCV(model, {"anything": [1]}).fit(*iris)


WRONG_WEIGHTS = {
    "too few": (lambda y: np.ones(len(y) - 1), "sample_weight.shape"),
    "of a fold": (lambda y: np.ones(len(y) // 2), "sample_weight.shape"),
    "negative": (lambda y: np.where(np.arange(len(y)) == 5, -1.0, 1.0), "Negative values"),
    "a gap": (lambda y: np.where(np.arange(len(y)) == 5, np.nan, 1.0), "NaN"),
    "infinite": (lambda y: np.where(np.arange(len(y)) == 5, np.inf, 1.0), "infinity"),
    "all zero": (lambda y: np.zeros(len(y)), "must not be all zero|one non-zero"),
    "two columns": (lambda y: np.ones((len(y), 2)), "must be 1D"),
    "texts": (lambda y: np.full(len(y), "a"), "could not convert"),
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
@pytest.mark.parametrize("way", ["alone", "in a pipeline", "routed"])
def test_wrong_weights_are_said_before_anything_is_fitted(iris, name, way, monkeypatch):
    X, y = iris
    make, message = WRONG_WEIGHTS[name]
    with pytest.raises(ValueError, match=message):  # as the estimator says it
        KLayerClassifier(**BRIEF).fit(X, y, sample_weight=make(y))
    monkeypatch.setattr("klayer.estimator.search_cv.search.fit_candidates", None)
    own = KLayerClassifier(**BRIEF)
    with sklearn.config_context(enable_metadata_routing=way == "routed"):
        key = "sample_weight"
        if way == "routed":
            own.set_fit_request(sample_weight="importance").set_score_request(sample_weight=False)
            key = "importance"
        search = PopulationSearchCV(own, {"l2": [0.0, 1e-3]}, cv=2)
        if way == "in a pipeline":
            model = make_pipeline(StandardScaler(), make_pipeline(own))
            key = "pipeline__klayerclassifier__sample_weight"
            search = PopulationSearchCV(model, {"pipeline__klayerclassifier__l2": [0.0]}, cv=2)
        with pytest.raises(ValueError, match=message):
            search.fit(X, y, **{key: make(y)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": np.ones((5, 4))}, "must be given together"),
        ({"X_val": np.ones((5, 3)), "y_val": [0, 1, 2, 0, 1]}, r"validation rows \(X_val, y_val\)"),
        ({"X_val": np.ones((5, 4)), "y_val": [0, 1, 2, 0, 7]}, r"validation rows .*\[7\]"),
        ({"X_val": np.full((5, 4), np.nan), "y_val": [0, 1, 2, 0, 1]}, "NaN"),
    ],
)
def test_wrong_rows_to_validate_on_are_said_before_anything_is_fitted(
    iris, given, message, monkeypatch
):
    monkeypatch.setattr("klayer.estimator.search_cv.search.fit_candidates", None)
    search = PopulationSearchCV(KLayerClassifier(**BRIEF), {"l2": [0.0]}, cv=2)
    with pytest.raises(ValueError, match=message):
        search.fit(*iris, **given)
