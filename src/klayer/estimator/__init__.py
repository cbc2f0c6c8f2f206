"""scikit-learn's door to the same engine: a classifier, a regressor, and a search over both.

The classes are estimators as scikit-learn's own are: they can be cloned, pickled, searched and put
into pipelines. What they take is the table of settings, under the same names.
"""

from klayer.estimator.classifier import KLayerClassifier
from klayer.estimator.regressor import KLayerRegressor
from klayer.estimator.search_cv import PopulationSearchCV

__all__ = ["KLayerClassifier", "KLayerRegressor", "PopulationSearchCV"]
