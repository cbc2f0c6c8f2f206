"""The search in lockstep: what scikit-learn's own gives, and what only populations can."""

import pickle

import numpy as np
import pytest
import sklearn
from scipy.stats import loguniform, norm, randint, uniform
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RandomizedSearchCV,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from klayer.errors import KlayerError
from klayer.estimator import KLayerClassifier, KLayerRegressor, PopulationSearchCV
from klayer.estimator.search_cv.candidates import known_samplers, rounds
from klayer.study.search.samplers import draw
from klayer.train import Population

BRIEF = {"hidden": (8,), "epochs": 3, "random_state": 0}
LONGER = {"hidden": (16,), "epochs": 60, "lr_max": 0.01, "random_state": 0}
TWO = {"lr_max": [0.01, 0.02]}
SPACE = {
    "lr_max": loguniform(1e-3, 1e-1),
    "l2": loguniform(1e-6, 1e-2),
    "dropout": [0.0, 0.2],
    "hidden": [(8,), (6, 5)],
    "batch_size": randint(16, 18),
}


def warns_of_no_mean():
    return pytest.warns(UserWarning, match="scores are non-finite")


@parametrize_with_checks(
    [
        PopulationSearchCV(KLayerClassifier(**LONGER), TWO, cv=2),
        PopulationSearchCV(KLayerRegressor(**LONGER), TWO, cv=2, keep="ensemble"),
    ],
)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def iterations(estimator, X, y):
    """Score what only a network's own course tells."""
    recorded = float(np.nansum(estimator.history_["train_cost"]))
    return {"updates": estimator.n_iter_, "curves": recorded}


def assert_same_search(ours, theirs, X):
    for name, expected in theirs.cv_results_.items():
        if name == "params":
            assert ours.cv_results_[name] == expected
        elif "time" not in name:
            np.testing.assert_array_equal(ours.cv_results_[name], expected, err_msg=name)
    for name in ("best_index_", "best_params_", "best_score_"):
        assert getattr(ours, name, None) == getattr(theirs, name, None)
    assert ours.multimetric_ == theirs.multimetric_
    assert ours.n_splits_ == theirs.n_splits_
    if hasattr(theirs, "best_estimator_"):
        assert (ours.best_estimator_.members(X) == theirs.best_estimator_.members(X)).all()


@pytest.mark.parametrize(
    ("more", "how"),
    [
        ({}, {}),
        ({"n_networks": 3, "batch_norm": "hidden"}, {"return_train_score": True, "cv": 4}),
        (
            {"early_stopping": "loss", "patience": 1, "epochs": 12, "points_per_cycle": 12},
            {"scoring": iterations, "refit": "curves"},
        ),
        ({"class_weight": "balanced"}, {"scoring": ["accuracy", "neg_log_loss"], "refit": False}),
        ({}, {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"}),
        ({}, {"refit": lambda results: 2, "cv": ShuffleSplit(2, random_state=1)}),
        ({"optimiser": "sgd", "average": "ema"}, {"error_score": "raise"}),
        ({"calibrate": True}, {"scoring": "neg_log_loss"}),
        ({"cycles": 2}, {}),
    ],
    ids=lambda one: ",".join(one),
)
def test_it_finds_bit_for_bit_what_candidates_alone_find(iris, more, how):
    X, y = iris
    model = KLayerClassifier(**{**BRIEF, **more})
    how = {"n_iter": 7, "random_state": 3, "cv": 2, **how}
    ours = PopulationSearchCV(model, SPACE, n_jobs=2, **how).fit(X, y)
    theirs = RandomizedSearchCV(model, SPACE, **how).fit(X, y)
    assert_same_search(ours, theirs, X)


def test_so_it_does_where_a_large_first_layer_is_updated_twice_at_once():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3072)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    model = KLayerClassifier(
        hidden=(50,), epochs=2, batch_size=40, optimiser="sgd", n_networks=7, random_state=0
    )
    space = {"l2": [0.0, 1e-3, 1e-2], "lr_max": [0.01, 0.02]}
    how = {"n_iter": 4, "cv": 2, "random_state": 0, "scoring": "neg_log_loss"}
    ours = PopulationSearchCV(model, space, n_jobs=2, **how).fit(X, y)
    assert ours.best_estimator_._state.at_once == 2
    assert_same_search(ours, RandomizedSearchCV(model, space, **how).fit(X, y), X)


@pytest.mark.parametrize("several", [False, True])
def test_so_do_regressors(several):
    X, y = load_diabetes(return_X_y=True)
    y = np.c_[y, -y] if several else y
    model = KLayerRegressor(n_networks=2, loss="huber", **BRIEF)
    how = {"n_iter": 4, "random_state": 0, "cv": KFold(2, shuffle=True, random_state=0)}
    ours = PopulationSearchCV(model, SPACE, **how).fit(X, y)
    assert_same_search(ours, RandomizedSearchCV(model, SPACE, **how).fit(X, y), X)
    assert ours.predict(X).shape == y.shape


def test_a_grid_is_that_of_grid_search(iris):
    X, y = iris
    grid = [{"l2": [0.0, 1e-3], "activation": ["relu", "tanh"]}, {"hidden": [(3,)]}]
    model = KLayerClassifier(**BRIEF)
    ours = PopulationSearchCV(model, grid, sampler="grid", cv=2).fit(X, y)
    assert_same_search(ours, GridSearchCV(model, grid, cv=2).fit(X, y), X)


def test_weights_and_groups_of_rows_are_cut_into_folds(iris):
    X, y = iris
    rng = np.random.default_rng(0)
    given = {"sample_weight": rng.uniform(0, 2, len(y)), "groups": rng.integers(0, 6, len(y))}
    how = {"n_iter": 3, "random_state": 0, "cv": GroupKFold(3)}
    model = KLayerClassifier(**BRIEF)
    ours = PopulationSearchCV(model, SPACE, **how).fit(X, y, **given)
    theirs = RandomizedSearchCV(model, SPACE, **how).fit(X, y, **given)
    assert_same_search(ours, theirs, X)


def test_rows_to_validate_on_are_not_cut_even_if_they_are_as_many(iris):
    X, y = iris
    model = KLayerClassifier(**BRIEF, early_stopping="accuracy")
    validation = {"X_val": X[::-1], "y_val": y[::-1]}

    def score(estimator, X_test, y_test):
        return np.nanmax(estimator.history_["validation_accuracy"])

    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    search = PopulationSearchCV(model, TWO, cv=folds, scoring=score).fit(X, y, **validation)
    for split, (train, _) in enumerate(folds):
        alone = clone(model).set_params(lr_max=0.01).fit(X[train], y[train], **validation)
        assert search.cv_results_[f"split{split}_test_score"][0] == score(alone, X, y)


def test_candidates_of_one_architecture_and_fold_are_one_population(iris, monkeypatch):
    X, y = iris
    sizes = []
    join = Population.join.__func__

    def counted(cls, populations):
        joined = join(cls, populations)
        sizes.append(len(joined))
        return joined

    monkeypatch.setattr(Population, "join", classmethod(counted))
    space = {"hidden": [(8,), (4,)], "l2": [0.0, 1e-3], "lr_max": [0.01, 0.02, 0.03]}
    PopulationSearchCV(
        KLayerClassifier(n_networks=2, early_stopping="loss", **BRIEF), space, sampler="grid", cv=5
    ).fit(X, y)
    assert sizes == [12] * 10  # 6 candidates of 2 networks, for each architecture and fold


def test_without_a_random_state_the_search_s_decides(iris):
    X, y = iris
    model = KLayerClassifier(hidden=(8,), epochs=2)
    one, same, other = (
        PopulationSearchCV(model, TWO, cv=2, random_state=seed).fit(X, y) for seed in (1, 1, 2)
    )
    assert (one.predict_proba(X) == same.predict_proba(X)).all()
    assert (one.predict_proba(X) != other.predict_proba(X)).any()
    assert model.random_state is None
    shared = np.random.RandomState(0)
    drawn = PopulationSearchCV(model, SPACE, cv=2, n_iter=3, random_state=shared).fit(X, y)
    expected = RandomizedSearchCV(
        KLayerClassifier(**BRIEF), SPACE, cv=2, n_iter=3, random_state=np.random.RandomState(0)
    ).fit(X, y)
    assert drawn.cv_results_["params"] == expected.cv_results_["params"]


# Pipelines.


class Counted(TransformerMixin, BaseEstimator):
    """Counts how often it is fitted."""

    fitted = 0

    def __init__(self, power=1):
        self.power = power

    def fit(self, X, y=None):
        type(self).fitted += 1
        if self.power < 0:
            raise ValueError("no such power")
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.asarray(X) ** self.power


def test_what_stands_before_the_networks_is_fitted_once_in_each_fold(iris):
    X, y = iris
    model = make_pipeline(Counted(), StandardScaler(), KLayerClassifier(**BRIEF))
    space = {
        "counted__power": [1, 2],
        "klayerclassifier__lr_max": [0.01, 0.02, 0.03],
        "klayerclassifier__hidden": [(8,), (4,)],
    }
    Counted.fitted = 0
    ours = PopulationSearchCV(model, space, sampler="grid", cv=3).fit(X, y)
    assert Counted.fitted == 2 * 3 + 1  # powers x folds, and the best at last
    theirs = GridSearchCV(model, space, cv=3).fit(X, y)
    for name in ("mean_test_score", "split2_test_score", "rank_test_score"):
        assert (ours.cv_results_[name] == theirs.cv_results_[name]).all()
    assert (ours.predict_proba(X) == theirs.predict_proba(X)).all()


def test_steps_may_be_exchanged_and_frames_go_through(iris):
    pandas = pytest.importorskip("pandas")
    X, y = iris
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    scaler = StandardScaler().set_output(transform="pandas")
    model = make_pipeline(scaler, KLayerClassifier(**BRIEF))
    space = {
        "standardscaler": [scaler, "passthrough", PolynomialFeatures(2)],
        "klayerclassifier__l2": "1e-5:1e-2",
    }
    ours = PopulationSearchCV(model, space, n_iter=5, cv=2, random_state=0).fit(frame, y)
    assert len({str(one["standardscaler"]) for one in ours.cv_results_["params"]}) > 1
    assert ours.predict(frame).shape == y.shape
    plain = PopulationSearchCV(KLayerClassifier(**BRIEF), TWO, cv=2, keep="ensemble")
    assert plain.fit(frame, y).feature_names_in_.tolist() == ["a", "b", "c", "d"]
    alone = PopulationSearchCV(
        make_pipeline(KLayerClassifier(**BRIEF)), {"klayerclassifier__l2": [0.0]}, cv=2
    )
    assert alone.fit(X, y).score(X, y) > 0.3


def test_metadata_are_routed(iris):
    X, y = iris
    weights, groups = np.linspace(0.1, 1, len(y)), np.arange(len(y)) % 5
    with sklearn.config_context(enable_metadata_routing=True):
        own = KLayerClassifier(**BRIEF).set_fit_request(sample_weight=True)
        own.set_score_request(sample_weight=True)
        model = make_pipeline(StandardScaler().set_fit_request(sample_weight=True), own)
        how = {"n_iter": 2, "cv": GroupKFold(3), "random_state": 0}
        space = {"klayerclassifier__lr_max": loguniform(1e-3, 1e-1)}
        given = {"sample_weight": weights, "groups": groups}
        ours = PopulationSearchCV(model, space, **how).fit(X, y, **given)
        theirs = RandomizedSearchCV(model, space, **how).fit(X, y, **given)
    assert (ours.cv_results_["mean_test_score"] == theirs.cv_results_["mean_test_score"]).all()
    assert (ours.predict_proba(X) == theirs.predict_proba(X)).all()


def test_rows_to_validate_on_go_through_the_first_steps_of_a_pipeline(iris):
    X, y = iris
    with sklearn.config_context(enable_metadata_routing=True):
        own = KLayerClassifier(**BRIEF, early_stopping="loss")
        own.set_fit_request(X_val=True, y_val=True)
        model = make_pipeline(PolynomialFeatures(2), own, transform_input=["X_val"])
        how = {"n_iter": 2, "cv": KFold(2, shuffle=True, random_state=0), "random_state": 0}
        space = {"klayerclassifier__lr_max": loguniform(1e-3, 1e-1)}
        ours = PopulationSearchCV(model, space, **how).fit(X, y, X_val=X[::2], y_val=y[::2])
        theirs = RandomizedSearchCV(model, space, **how).fit(X, y, X_val=X[::2], y_val=y[::2])
    assert (ours.cv_results_["mean_test_score"] == theirs.cv_results_["mean_test_score"]).all()
    assert (ours.predict_proba(X) == theirs.predict_proba(X)).all()


def test_fit_parameters_of_a_pipeline_s_steps_go_to_their_steps(iris):
    X, y = iris
    weights = np.linspace(0.1, 1, len(y))
    model = make_pipeline(StandardScaler(), KLayerClassifier(**BRIEF))
    given = {"klayerclassifier__sample_weight": weights, "standardscaler__sample_weight": weights}
    how = {"n_iter": 2, "cv": 2, "random_state": 0}
    space = {"klayerclassifier__lr_max": loguniform(1e-3, 1e-1)}
    ours = PopulationSearchCV(model, space, **how).fit(X, y, **given)
    theirs = RandomizedSearchCV(model, space, **how).fit(X, y, **given)
    assert (ours.predict_proba(X) == theirs.predict_proba(X)).all()


# Ensembles.


def test_an_ensemble_is_at_least_as_good_on_rows_held_out_as_the_best(iris):
    X, y = iris
    search = PopulationSearchCV(
        KLayerClassifier(**{**BRIEF, "epochs": 8}),
        SPACE,
        n_iter=8,
        cv=3,
        random_state=0,
        scoring="neg_log_loss",
        keep="ensemble",
        n_jobs=2,
    ).fit(X, y)
    assert search.ensemble_weights_.shape == (8,)
    assert search.ensemble_weights_.sum() == pytest.approx(1)
    assert search.ensemble_score_ >= search.best_score_ - 1e-9  # folds of equal size
    probs = search.predict_proba(X)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (search.predict(X) == search.classes_[probs.argmax(axis=1)]).all()
    assert (pickle.loads(pickle.dumps(search)).predict_proba(X) == probs).all()
    assert "EnsembleClassifier" in search._repr_html_()


def test_an_ensemble_is_the_weighted_mean_of_its_candidates_in_all_folds():
    X, y = load_diabetes(return_X_y=True)
    search = PopulationSearchCV(
        KLayerRegressor(**BRIEF), SPACE, n_iter=6, cv=3, random_state=0, keep="ensemble"
    ).fit(X, y)
    expected = np.zeros(len(y))
    for weight, params in zip(search.ensemble_weights_, search.cv_results_["params"], strict=True):
        for train, _ in KFold(3).split(X):
            if weight:
                model = clone(search.estimator).set_params(**params).fit(X[train], y[train])
                expected += weight / 3 * model.predict(X)
    np.testing.assert_allclose(search.predict(X), expected)
    both = clone(search).fit(X, np.c_[y, -y])
    assert both.predict(X).shape == (len(y), 2)


def test_an_ensemble_of_several_labels():
    X, Y = make_multilabel_classification(120, 6, n_classes=3, random_state=0)
    search = PopulationSearchCV(
        KLayerClassifier(**{**BRIEF, "epochs": 20}),
        {"lr_max": [0.02, 0.05]},
        cv=2,
        keep="ensemble",
        random_state=0,
    ).fit(X, Y)
    assert search.predict(X).shape == search.predict_proba(X).shape == Y.shape
    assert (search.predict(X) == Y).mean() > 0.7


def test_a_fold_may_lack_a_class(iris):
    X, y = iris
    X, y = X[:103], y[:103].astype(str)  # three rows of the last class
    folds = [(np.arange(100), np.arange(100, 103)), (np.arange(3, 103), np.arange(3))]
    search = PopulationSearchCV(KLayerClassifier(**BRIEF), TWO, cv=folds, keep="ensemble")
    search.fit(X, y)
    assert search.predict_proba(X).shape == (103, 3)
    assert search.classes_.tolist() == ["0", "1", "2"]
    one_class = [(np.arange(50), np.arange(50, 103)), (np.arange(103), np.arange(103))]
    best = PopulationSearchCV(KLayerClassifier(**BRIEF), TWO, cv=one_class)
    with pytest.warns(FitFailedWarning, match="one class"), warns_of_no_mean():
        best.fit(X, y)
    assert np.isnan(best.cv_results_["split0_test_score"]).all()
    assert np.isfinite(best.cv_results_["split1_test_score"]).all()
    kept = pytest.raises(KlayerError, match="fitted in every fold")
    with pytest.warns(FitFailedWarning), warns_of_no_mean(), kept:
        best.set_params(keep="ensemble").fit(X, y)


# Within scikit-learn's tools.


def test_it_is_cross_validated_and_pickled(iris):
    X, y = iris
    for keep in ("best", "ensemble"):
        search = PopulationSearchCV(KLayerClassifier(**LONGER), TWO, cv=2, keep=keep)
        assert cross_val_score(search, X, y, cv=2).mean() > 0.85
        search.fit(X, y)
        again = pickle.loads(pickle.dumps(search))
        assert (again.predict(X) == search.predict(X)).all()
        assert again.score(X, y) == search.score(X, y)
        assert not hasattr(clone(search), "best_estimator_")
    several = cross_val_score(
        clone(search).set_params(n_jobs=2), X, y, cv=2, n_jobs=2, error_score="raise"
    )
    assert (several > 0.85).all()


# Samplers.


@pytest.mark.parametrize("sampler", [one for one in known_samplers() if one != "grid"])
def test_every_sampler_draws_all_kinds_of_values(sampler):
    if sampler == "gp":
        pytest.importorskip("torch", reason="the Gaussian process needs PyTorch")
    space = {
        "lr_max": "1e-4:1e-1",
        "dropout": "0.0:0.5:linear",
        "batch_size": randint(8, 64),
        "l2": uniform(0, 1),
        "anything": norm(),
        "hidden": [(8,), (6, 5), ()],
    }
    if sampler == "cmaes":
        del space["hidden"]
    many, drawn = rounds(space, 13, sampler, 5)
    assert many == 13
    found = list(next(drawn))
    while len(found) < 13:
        found += drawn.send([-one["l2"] for one in found[-10:]])
    with pytest.raises(StopIteration):
        drawn.send([0.0] * 3)
    for one in found:
        assert 1e-4 <= one["lr_max"] <= 1e-1
        assert 0 <= one["dropout"] <= 0.5
        assert 8 <= one["batch_size"] < 64
        assert isinstance(one["batch_size"], int | np.integer)
        assert np.isfinite(one["anything"])
        assert one.keys() == space.keys()
        assert sampler == "cmaes" or one["hidden"] in space["hidden"]
    assert len({one["lr_max"] for one in found}) == 13
    again = next(rounds(space, 13, sampler, 5)[1])
    assert again == found[: len(again)]
    assert next(rounds(space, 13, sampler, 6)[1]) != again


def test_a_sampler_that_learns_is_told_scores_and_failures(monkeypatch):
    told = []

    def noted(*args, **given):
        told.append(given["history"])
        return draw(*args, **given)

    monkeypatch.setattr("klayer.estimator.search_cv.candidates.draw", noted)
    many, drawn = rounds({"x": uniform(0, 1)}, 24, "tpe", 0)
    found = [next(drawn), drawn.send([np.nan] * 10), drawn.send([-3.0, np.nan, *range(8)])]
    assert (many, [len(one) for one in found]) == (24, [10, 10, 4])
    with pytest.raises(StopIteration):
        drawn.send([0.0] * 4)
    assert told[:2] == [[], []]  # nothing is known where all have failed
    assert [value for _, value in told[2]] == [-3.0] * 12 + list(range(8))


def test_what_has_been_learnt_is_used():
    many, drawn = rounds({name: uniform(0, 1) for name in "xyz"}, 100, "tpe", 0)
    found, candidates = [], next(drawn)
    while len(found) + len(candidates) < many:
        found += candidates
        candidates = drawn.send([-sum((v - 0.7) ** 2 for v in one.values()) for one in candidates])
    late = np.array([list(one.values()) for one in found[50:]])
    assert np.abs(late - 0.7).mean() < 0.2  # of independent draws 0.29


# What goes wrong.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimator": LogisticRegression()}, "RandomizedSearchCV"),
        ({"estimator": make_pipeline(StandardScaler(), LogisticRegression())}, "last step"),
        ({"param_distributions": {"lr_mx": [0.1]}}, "did you mean 'lr_max'"),
        ({"param_distributions": {"alpha": [0.1]}}, "did you mean 'l2'"),
        (
            {
                "estimator": make_pipeline(StandardScaler(), KLayerClassifier()),
                "param_distributions": {"klayerclassifier__lr_mx": [0.1]},
            },
            "did you mean 'lr_max'",
        ),
        (
            {"estimator": make_pipeline(StandardScaler(), KLayerClassifier())},
            "'lr_max': did you mean 'klayerclassifier__lr_max'",
        ),
        (
            {
                "estimator": make_pipeline(StandardScaler(), KLayerClassifier()),
                "param_distributions": {"klayerclasifier__l2": [0.1]},
            },
            "did you mean 'klayerclassifier__l2'",
        ),
        (
            {
                "estimator": make_pipeline(StandardScaler(), KLayerClassifier()),
                "param_distributions": {"standardscaler__with_men": [True]},
            },
            "did you mean 'standardscaler__with_mean'",
        ),
        (
            {
                "estimator": make_pipeline(StandardScaler(), KLayerClassifier()),
                "param_distributions": {"klayerclassifier__batch_size": "8:64"},
            },
            "a range draws real numbers, but `batch_size` must be a whole number >= 1",
        ),
        (
            {"param_distributions": {"hidden": "8:64:linear"}},
            "a range draws real numbers, but `hidden` must be whole numbers",
        ),
        ({"param_distributions": {"n_jobs": "1:4"}}, "or of whole numbers a distribution as scipy"),
        ({"estimator": KLayerClassifier}, r"write KLayerClassifier\(\)"),
        ({"param_distributions": {"activation": "relu"}}, r"as in \['relu'\]"),
        ({"cv": []}, "`cv` must give at least one split"),
        ({"param_distributions": {"lr_max": "1e-1:1e-4"}}, "low < high"),
        ({"param_distributions": {"lr_max": "much"}}, "a range must read like"),
        ({"param_distributions": {"lr_max": 0.1}}, "must be a list, a distribution"),
        ({"param_distributions": {"lr_max": []}}, "there must be a value to choose"),
        ({"param_distributions": {}}, "at least one parameter"),
        ({"param_distributions": []}, "must be a dict of parameter"),
        ({"param_distributions": "lr_max"}, "must be a dict of parameter"),
        (
            {"param_distributions": {"lr_max": uniform()}, "sampler": "grid"},
            "`lr_max` is a distribution",
        ),
        ({"param_distributions": [TWO, TWO], "sampler": "tpe"}, "draws from one dict"),
        ({"sampler": "rendom"}, "sampler"),
        ({"keep": "all"}, "keep"),
        ({"keep": "ensemble", "refit": False}, "leave one of them out"),
        ({"sampler": "tpe", "scoring": ["accuracy", "f1_macro"], "refit": False}, "one score"),
        ({"scoring": ["accuracy", "f1_macro"]}, "refit"),
        ({"n_iter": 0}, "n_iter"),
        ({"ensemble_size": 0}, "ensemble_size"),
        ({"time_limit": 0}, "time_limit"),
        ({"error_score": "ignore"}, "error_score"),
        ({"scoring": "acuracy"}, "scoring"),
    ],
    ids=lambda one: str(one)[:50],
)
def test_mistakes_are_named_before_anything_is_trained(iris, change, message, monkeypatch):
    monkeypatch.setattr(Population, "join", None)
    search = PopulationSearchCV(KLayerClassifier(**BRIEF), TWO, cv=2)
    for name, value in change.items():
        setattr(search, name, value)
    with pytest.raises(ValueError, match=message):
        search.fit(*iris)


def test_rows_that_can_not_be_are_named_as_the_estimator_names_them(iris):
    X, y = iris
    search = PopulationSearchCV(KLayerClassifier(**BRIEF), TWO, cv=2)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        search.fit(np.where(X > 5, np.nan, X), y)
    with pytest.raises(ValueError, match="at least two classes, but got one"):
        search.fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match="requires y to be passed"):
        search.fit(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        search.fit(X, y[:-1])
    with pytest.raises((TypeError, ValueError), match="sample_wieght"):
        search.fit(X, y, sample_wieght=y)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_candidate_that_diverges_costs_the_others_nothing(iris):
    X, y = iris
    model = KLayerClassifier(**{**BRIEF, "optimiser": "sgd"})
    space = {"lr_max": [0.01, 1e30, 0.02]}
    how = {"cv": 2, "sampler": "grid"}
    with pytest.warns(FitFailedWarning, match="2 fits failed"), warns_of_no_mean():
        search = PopulationSearchCV(model, space, **how).fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True, False]
    assert search.cv_results_["rank_test_score"][1] == 3
    well = PopulationSearchCV(model, {"lr_max": [0.01, 0.02]}, **how).fit(X, y)
    found = search.cv_results_["mean_test_score"][[0, 2]]
    assert (found == well.cv_results_["mean_test_score"]).all()
    with pytest.warns(FitFailedWarning):
        worst = PopulationSearchCV(
            model, space, error_score=-1, scoring=["accuracy"], refit="accuracy", **how
        ).fit(X, y)
    assert worst.cv_results_["mean_test_accuracy"][1] == -1
    with pytest.raises(KlayerError, match="the network diverged"):
        PopulationSearchCV(model, space, error_score="raise", **how).fit(X, y)
    with pytest.raises(ValueError, match="All the 4 fits failed"):
        PopulationSearchCV(model, {"lr_max": [1e30, 1e31]}, **how).fit(X, y)
    with pytest.warns(FitFailedWarning), warns_of_no_mean():
        kept = PopulationSearchCV(model, space, keep="ensemble", **how).fit(X, y)
    assert kept.ensemble_weights_[1] == 0


def test_values_that_can_not_be_fail_alone(iris):
    X, y = iris
    how = {"cv": 2, "sampler": "grid"}
    with pytest.warns(FitFailedWarning, match="hidden"), warns_of_no_mean():
        search = PopulationSearchCV(
            KLayerClassifier(**BRIEF), {"hidden": [(8,), (-1,)]}, **how
        ).fit(X, y)
    assert search.best_params_ == {"hidden": (8,)}
    with pytest.raises(ValueError, match="hidden"):
        PopulationSearchCV(
            KLayerClassifier(**BRIEF), {"hidden": [(8,), (-1,)]}, error_score="raise", **how
        ).fit(X, y)
    with pytest.raises(ValueError, match="All the 2 fits failed"):
        PopulationSearchCV(KLayerClassifier(**BRIEF), {"hidden": [(-1,)]}, **how).fit(X, y)
    model = make_pipeline(Counted(), KLayerClassifier(**BRIEF))
    with pytest.warns(FitFailedWarning, match="no such power"), warns_of_no_mean():
        search = PopulationSearchCV(model, {"counted__power": [1, -1]}, **how).fit(X, y)
    assert search.best_params_ == {"counted__power": 1}
    with pytest.raises(KlayerError, match="RandomizedSearchCV"):
        PopulationSearchCV(
            model, {"klayerclassifier": [KLayerClassifier(), LogisticRegression()]}, **how
        ).fit(X, y)


# Callbacks, limits, interrupts, progress.


def test_a_callback_ends_its_own_networks_alone(iris):
    X, y = iris

    def early(estimator, point):
        if estimator.l2 == 0.5:
            raise ZeroDivisionError("here")
        return estimator.l2 == 0.1 and point["update"] > 0

    model = KLayerClassifier(**BRIEF, callback=early)
    space = {"l2": [0.0, 0.1, 0.5]}
    with pytest.warns(FitFailedWarning, match="ZeroDivisionError: here"), warns_of_no_mean():
        ours = PopulationSearchCV(
            model, space, sampler="grid", cv=2, scoring=iterations, refit="updates"
        ).fit(X, y)
    with pytest.warns(FitFailedWarning), warns_of_no_mean():
        theirs = GridSearchCV(model, space, cv=2, scoring=iterations, refit="updates").fit(X, y)
    assert_same_search(ours, theirs, X)


def test_a_time_limit_ends_the_search_with_what_there_is(iris):
    X, y = iris
    model = KLayerClassifier(**{**BRIEF, "epochs": 1e6}, points_per_cycle=1, backend="numpy")
    space = {"lr_max": loguniform(1e-3, 1e-1), "hidden": [(8,), (6, 5)]}
    how = {"n_iter": 100, "cv": 2, "random_state": 0, "refit": False, "n_jobs": 2}
    search = PopulationSearchCV(
        model, space, time_limit=5.0, scoring=lambda estimator, X, y: estimator.n_iter_, **how
    ).fit(X, y)  # of these millions of updates one course alone would take hours
    tried = search.cv_results_["params"]
    assert len(tried) == 16
    for split in range(2):  # each has had its share of the time
        assert (search.cv_results_[f"split{split}_test_score"] > 0).all()
    assert tried == next(rounds(space, 100, "random", 0, 16)[1])


def test_an_interrupt_ends_the_search_and_leaves_nothing(iris):
    X, y = iris

    def stop(estimator, point):
        raise KeyboardInterrupt

    model = KLayerClassifier(**BRIEF, callback=stop)
    search = PopulationSearchCV(model, {"hidden": [(8,), (4,)]}, cv=2, n_jobs=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert not hasattr(search, "cv_results_")
    assert search.set_params(estimator__callback=None).fit(X, y).score(X, y) > 0


def test_scikit_learn_s_callbacks_are_refused_not_ignored():
    search = PopulationSearchCV(KLayerClassifier(**BRIEF), TWO)
    with pytest.raises(KlayerError, match="use verbose=1"):
        search.set_callbacks()


def test_progress_is_shown_when_asked_for(iris, capsys, monkeypatch):
    X, y = iris
    PopulationSearchCV(KLayerClassifier(**BRIEF), TWO, cv=2).fit(X, y)
    assert capsys.readouterr() == ("", "")
    said = []
    monkeypatch.setattr("klayer.progress.Meter.begin", lambda self, what, total: said.append(what))
    PopulationSearchCV(KLayerClassifier(**BRIEF), TWO, cv=2, verbose=1).fit(X, y)
    assert said[0] == "2 candidates in 2 folds"
