"""The search in lockstep: what scikit-learn's own gives, and what only populations can."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from klayer.estimator import KLayerClassifier, KLayerRegressor, PopulationSearchCV

LONGER = {"hidden": (16,), "epochs": 60, "lr_max": 0.01, "random_state": 0}


@parametrize_with_checks(
    [
        PopulationSearchCV(KLayerClassifier(**LONGER), {"lr_max": [0.01, 0.02]}, cv=2),
        PopulationSearchCV(KLayerRegressor(**LONGER), {"lr_max": [0.01, 0.02]}, cv=2),
        PopulationSearchCV(
            KLayerClassifier(**LONGER), {"lr_max": [0.01, 0.02]}, cv=2, keep="ensemble"
        ),
        PopulationSearchCV(
            KLayerRegressor(**LONGER), {"lr_max": [0.01, 0.02]}, cv=2, keep="ensemble"
        ),
    ],
)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)
