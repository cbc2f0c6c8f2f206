"""Who takes part: each method as its users would write it, with its own defaults.

All are given the same frame. Those that want numbers alone get texts as zeros and ones, and where scale
matters standardised numbers; those that take categories as they are get the frame.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

__all__ = ["METHODS", "Method", "on_numbers"]


class Method(NamedTuple):
    """A row of :data:`METHODS`: which module it needs, what makes it for a seed and threads, and whether
    a quick look does without it."""

    needs: str
    make: Callable[[int, int], Any]
    slow: bool = False


def on_numbers(model: Any, scaled: bool = False) -> Any:
    """Put a model behind the encoding of texts, and of scale where it has none of its own."""
    encode = make_column_transformer(
        (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_include="category"),
        ),
        remainder=StandardScaler() if scaled else "passthrough",
    )
    return make_pipeline(encode, model)


def _klayer(n_networks: int, **more: Any) -> Callable[[int, int], Any]:
    def make(seed: int, threads: int) -> Any:
        from klayer import KLayerClassifier

        return on_numbers(
            KLayerClassifier(n_networks=n_networks, random_state=seed, n_jobs=threads, **more)
        )

    return make


# What a search of klayer's varies: numbers that may differ between networks trained in lockstep.
SEARCHED = {
    "lr_max": "0.001:0.05",
    "dropout": "0:0.5:linear",
    "smoothing": [0.0, 0.01, 0.03, 0.1],
    "weight_decay": "0.001:1",
}


def _search(seed: int, threads: int) -> Any:
    from klayer import PopulationSearchCV

    space = {f"klayerclassifier__{name}": values for name, values in SEARCHED.items()}
    return PopulationSearchCV(
        _klayer(1)(seed, threads),
        space,
        n_iter=32,
        cv=3,
        scoring="neg_log_loss",
        keep="ensemble",
        random_state=seed,
        n_jobs=threads,
    )


def _mlp(seed: int, threads: int) -> Any:  # noqa: ARG001
    from sklearn.neural_network import MLPClassifier

    return on_numbers(MLPClassifier(random_state=seed), scaled=True)


def _logistic(seed: int, threads: int) -> Any:  # noqa: ARG001
    from sklearn.linear_model import LogisticRegression

    return on_numbers(LogisticRegression(max_iter=1000, random_state=seed), scaled=True)


def _boosting(seed: int, threads: int) -> Any:  # noqa: ARG001
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=seed)


class _RealMLP:
    """pytabkit's RealMLP, without its log on the terminal."""

    def __init__(self, seed: int, threads: int) -> None:
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        from pytabkit import RealMLP_TD_Classifier

        self._model = RealMLP_TD_Classifier(
            device="cpu", random_state=seed, n_threads=threads, verbosity=0
        )

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> None:
        """Train with its own defaults."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model.fit(X, y)

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return probabilities, (N, K)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._model.predict_proba(X)


METHODS: dict[str, Method] = {
    "klayer": Method("klayer", _klayer(1)),
    "klayer, 8 networks": Method("klayer", _klayer(8)),
    "klayer, search of 32": Method("klayer", _search, slow=True),
    "MLPClassifier": Method("sklearn", _mlp),
    "RealMLP": Method("pytabkit", _RealMLP, slow=True),
    "gradient boosting": Method("sklearn", _boosting),
    "logistic regression": Method("sklearn", _logistic),
}
