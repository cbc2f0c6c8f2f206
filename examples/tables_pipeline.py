"""A table with gaps and words in a scikit-learn pipeline: search, scores, what each column counts for.

python examples/tables_pipeline.py
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import klayer as kl


def people(n: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Return made-up people, and which of them bought something; there are gaps and words."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.normal(45, 15, n).round(),
            "income": rng.lognormal(10, 0.5, n).round(-2),
            "town": rng.choice(["Ur", "Uruk", "Kish", "Lagash"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "shoe size": rng.normal(41, 2, n).round(),
        }
    )
    wants = 2 * np.sin(table["age"] / 8) + (table["town"] == "Kish") + np.log(table["income"] / 2e4)
    bought = pd.Series(np.where(wants + rng.normal(0, 0.7, n) > 0, "yes", "no"), name="bought")
    table.loc[rng.random(n) < 0.05, "income"] = np.nan
    return table, bought


def with_columns(last: object) -> Pipeline:
    """Return a pipeline that fills gaps, makes numbers of words, and asks ``last``."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (words, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, last)


def main() -> None:
    """Compare two pipelines, and ask the better one about its columns."""
    X, y = people()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    models = {
        "logistic regression": with_columns(LogisticRegression(max_iter=1000)),
        "8 networks": with_columns(
            kl.KLayerClassifier(n_networks=8, calibrate=True, random_state=0)
        ),
    }
    print("5-fold cross-validation of the training rows, mean +- standard deviation")
    for name, model in models.items():
        found = cross_validate(model, X_train, y_train, scoring=["accuracy", "neg_log_loss"])
        right, loss = found["test_accuracy"], -found["test_neg_log_loss"]
        print(
            f"  {name:20} accuracy {right.mean():.3f} +- {right.std(ddof=1):.3f}, "
            f"log-loss {loss.mean():.3f} +- {loss.std(ddof=1):.3f}"
        )
    model = models["8 networks"].fit(X_train, y_train)
    print(f"test accuracy of the networks: {model.score(X_test, y_test):.3f} (n = {len(y_test)})")

    importance = permutation_importance(model, X_test, y_test, n_repeats=10, random_state=0)
    print("accuracy lost when a column is shuffled, 10 times")
    for column in importance.importances_mean.argsort()[::-1]:
        mean, sd = importance.importances_mean[column], importance.importances_std[column]
        print(f"  {X.columns[column]:10} {mean:6.3f} +- {sd:.3f}")


if __name__ == "__main__":
    main()
