"""A search whose candidates of all folds train in lockstep.

`candidates` draws them, `folds` trains and scores them, `ensemble` lets some of them answer together.
"""

from klayer.estimator.search_cv.search import PopulationSearchCV

__all__ = ["PopulationSearchCV"]
