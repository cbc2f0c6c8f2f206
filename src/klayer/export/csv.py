"""Networks as tables: every array a CSV file with named rows and columns, for people and spreadsheets.

``network-1/W1.csv`` has a row for each input of the first layer and a column for each unit; what is a
number for each unit (``b1``, ``gamma1``, ``running_mean1``, ``input_mean``, ...) is a table of one row.
``arrays.csv`` lists them with their shapes, ``model.json`` has the rest.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Standardiser
from klayer.export.exported import Exported
from klayer.export.safetensors import arrays_of, described
from klayer.files import csv_text, json_text
from klayer.model import Model
from klayer.printable import printable
from klayer.train import Ensemble

__all__ = ["ARRAYS", "MODEL", "answers", "pack"]

ARRAYS, MODEL = "arrays.csv", "model.json"
MEASURES = "mean", "scale"

Array = NDArray[Any]


def pack(what: Exported) -> Iterator[dict[str, bytes]]:
    """Give the content of the files."""
    files: dict[str, bytes] = {}
    listed = []
    alone = [model.take([lane]) for model in what.models for lane in range(len(model))]
    for number, model in enumerate(alone, start=1):
        for name, array in arrays_of(model).items():
            own = array if name.startswith(("input_", "target_")) else array[0]
            path = f"{_folder(number)}/{name}.csv"
            rows, columns = _titles(model, name, own)
            cells = [[row, *values] for row, values in zip(rows, np.atleast_2d(own), strict=True)]
            files[path] = csv_text([name, *columns], cells).encode()
            shape = " x ".join(map(str, own.shape))
            listed.append([path, shape, str(own.dtype), _WHAT[_stem(name)]])
    files[ARRAYS] = csv_text(["file", "shape", "dtype", "what"], listed).encode()
    files[MODEL] = (json_text(described(what), indent=1) + "\n").encode()
    yield files


def _folder(number: int) -> str:
    return f"network-{number}"


_WHAT = {
    "W": "weights of a layer: a row for each input, a column for each unit",
    "b": "what is added to x W",
    "gamma": "what a normalised unit is multiplied by",
    "beta": "what is added to it",
    "running_mean": "mean of a unit, for its normalisation",
    "running_var": "variance of a unit, for its normalisation",
    "input_mean": "mean of a feature in training, to be subtracted from raw rows",
    "input_scale": "deviation of a feature in training, to divide by",
    "target_mean": "mean of a target in training, to be added to outputs",
    "target_scale": "deviation of a target in training, to multiply by",
}


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _titles(model: Model, name: str, array: Array) -> tuple[Sequence[str], Sequence[str]]:
    """Return how the rows and the columns of an array's table are called."""
    depth = model.network.depth
    features = [f"feature {d}" for d in range(1, model.network.n_features + 1)]
    if model.encoder is not None:
        features = list(map(printable, model.encoder.feature_names))
    if name.startswith("input_"):
        return [name], features
    if name.startswith("target_"):
        return [name], model.class_names
    layer = int(name.removeprefix(_stem(name)))

    def units(layer: int) -> Sequence[str]:
        if layer == 0:
            return features
        width = model.network.widths[layer]
        last = layer == depth
        return model.output_names if last else [f"unit {h}" for h in range(1, width + 1)]

    return units(layer - 1) if array.ndim == 2 else [name], units(layer)


def answers(files: Mapping[str, bytes], what: Exported, rows: Any) -> Array:
    """Return what the content of the files answers to raw rows, (N, outputs)."""
    numbers = itertools.count(1)
    models = [
        _read([_folder(next(numbers)) for _ in range(len(model))], files, model)
        for model in what.models
    ]
    ensemble = what.ensemble
    return Ensemble(models, ensemble.weights, ensemble.mirror).predict(rows)


def _read(folders: Sequence[str], files: Mapping[str, bytes], like: Model) -> Model:
    """Return a model with the arrays that files hold, all else like the model they were made of."""

    def array(name: str, one: Array) -> Array:
        each = [_table(files[f"{folder}/{name}.csv"]) for folder in folders]
        return np.stack(each).reshape(one.shape).astype(one.dtype)

    def standardiser(name: str, one: Standardiser) -> Standardiser:
        mean, scale = (_table(files[f"{folders[0]}/{name}_{what}.csv"]) for what in MEASURES)
        return Standardiser(mean.reshape(one.mean.shape), scale.reshape(one.scale.shape))

    return Model(
        like.network,
        {name: array(name, one) for name, one in like.params.items()},
        {name: array(name, one) for name, one in like.running.items()},
        standardiser("input", like.standardiser),
        like.class_names,
        like.targets and standardiser("target", like.targets),
        like.encoder,
    )


def _table(content: bytes) -> NDArray[np.float64]:
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    return np.array([row[1:] for row in rows[1:]], np.float64)
