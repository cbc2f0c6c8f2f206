"""Small runs that the tests of the report look at."""

import numpy as np

from klayer.study import Study
from klayer.study.launch import run_study

BRIEF = {"batch_size": 50, "cycles": 1, "half_cycle": "2 epochs", "points_per_cycle": 4, "l2": 1e-3}


def make_study(out, **changes):
    """Train a small study of 2 depths x 2 normalisations x 2 initialisations on digits."""
    values = {
        "name": "small",
        "title": "A small study",
        "data": "digits",
        "seeds": 3,
        "settings": BRIEF,
        "grid": {
            "hidden": [[16], [12, 10, 8, 8]],
            "batch_norm": ["none", "hidden"],
            "init": ["he", "gaussian:0.0001"],
        },
        "published": [
            {"where": {"hidden": [16], "init": "he"}, "source": "somewhere", "test": 0.2}
        ],
    }
    return run_study(Study.from_values(values | changes), out=out, workers=2)


def make_npz(path, rng):
    """Write a data set of 3 classes and 12 features that are no image."""
    y = rng.integers(0, 3, 300)
    X = rng.normal(size=(300, 12)) + 2 * np.eye(3, 12)[y]
    np.savez(path, X=X, y=y)
    return path
