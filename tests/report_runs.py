"""Small runs that the tests of the report look at."""

import json
import shutil

import numpy as np

from klayer.study import Run, Study
from klayer.study.launch import run_study
from run_files import store, store_lines

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


def without_split(run, copy, *splits):
    """Copy a run as if its data had no such splits."""
    shutil.copytree(run.path, copy)
    info = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    for split in splits:
        del info["data"]["samples"][split]
    store(copy / "run.json", info)
    lines = []
    for record in run.networks:
        values = record.to_json()
        for split in splits:
            for kind in ("accuracy", "loss", "cost"):
                del values[f"{split}_{kind}"]
                values["history"].pop(f"{split}_{kind}", None)
        lines.append(values)
    store_lines(copy / "networks.jsonl", lines)
    return Run(copy)
