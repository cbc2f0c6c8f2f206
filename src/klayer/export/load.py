"""A predictor from whatever holds trained networks: an exported file, a population, a run."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from klayer.errors import KlayerError, require_kind
from klayer.export import safetensors
from klayer.export.csv import ARRAYS
from klayer.export.onnx import FILE as ONNX
from klayer.export.onnx_model import OnnxModel
from klayer.export.safetensors import unpack
from klayer.files import Damaged, foreign_kind, read_bytes, unpacked_arrays
from klayer.model import Model
from klayer.study import Run
from klayer.train import Ensemble, load_population
from klayer.train.stored import FORMAT as POPULATION

__all__ = ["is_exported", "load_model", "loaded"]

Predictor = Model | Ensemble | OnnxModel

# What an export's folder may hold.
FILES = (safetensors.FILE, ONNX)


def is_exported(path: Path) -> bool:
    """Say whether a path is a file or the folder of an export; a run that holds one is a run."""
    if (path / "run.json").exists():
        return False
    return path.is_file() or any((path / name).is_file() for name in (*FILES, ARRAYS))


def load_model(path: str | Path) -> Predictor:
    """Read trained networks, ready to judge raw rows.

    Parameters
    ----------
    path : path
        What ``klayer export`` or an estimator's ``export`` wrote (.safetensors, .onnx), what
        :meth:`klayer.Population.save` wrote, or a run directory.

    Returns
    -------
    model : Model, Ensemble or OnnxModel
        One network is a :class:`klayer.Model` with P = 1, several that were exported together are a
        :class:`klayer.Ensemble`; a population is a model of all its networks, a run one of its best. Of
        an ONNX file, what onnxruntime answers, with an ensemble's methods.

    Raises
    ------
    KlayerError
        If there is no such file, it is damaged or another's, or a package is missing.

    Examples
    --------
    >>> import tempfile
    >>> import klayer as kl
    >>> data = kl.load("digits")
    >>> population = kl.fit(data, hidden=(8,), cycles=1, half_cycle="1 epoch", seeds=2)
    >>> rows = data.splits["test"].features
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = kl.export_model(population, f"{folder}/digits.safetensors")
    ...     again = kl.load_model(f"{folder}/digits.safetensors")
    >>> again
    Ensemble of 2 of 2 networks for classification
    >>> bool((again.predict(rows) == kl.Ensemble([population.model()]).predict(rows)).all())
    True
    """
    return loaded(path)[0]


def loaded(path: str | Path) -> tuple[Predictor, dict[str, Any]]:
    """Read trained networks, and what is known of their data: ``n_features``, ``image_shape``, ..."""
    require_kind(path, (str, Path), "path", "the path of an exported file, or of a run directory")
    path = Path(path).expanduser()
    if path.is_dir() and (path / "run.json").exists():
        run = Run(path)
        return run.model(), run.info["data"]
    if path.is_dir():
        found = [path / name for name in FILES if (path / name).exists()]
        if len(found) != 1:
            if not found and (path / ARRAYS).exists():
                raise KlayerError(
                    f"{path} holds tables, which are for people: export the networks to safetensors or "
                    "onnx to ask them again."
                )
            raise KlayerError(
                f"{path} must be a run directory, or hold one of {' and '.join(FILES)}, but holds "
                f"{'both: name one' if found else 'neither'}."
            )
        [path] = found
    if not path.exists():
        raise KlayerError(f"no such file: {path}. `klayer export` says where it wrote.")
    content = read_bytes(path)
    if path.suffix.lower() == ".onnx":
        graph = OnnxModel(content, str(path))
        return graph, _of_data(path, graph.about, graph.n_features)
    if kind := foreign_kind(content):
        raise Damaged(
            f"{path} must hold networks that klayer wrote, but is {kind}: name a run directory, or a "
            "file that `klayer export` or Population.save wrote."
        )
    arrays, plain = unpacked_arrays(content, str(path), sealed=True)
    if plain.get("format") == POPULATION:
        model = load_population(path).model()
        return model, {"n_features": model.network.n_features}
    what = unpack(arrays, plain, str(path))
    return what.predictor(), _of_data(path, what.about, what.first.network.n_features)


def _of_data(path: Path, about: Mapping[str, Any], n_features: int) -> dict[str, Any]:
    """Return what reading rows needs to know, checked."""
    data = about.get("data") or {}
    found: dict[str, Any] = {"n_features": n_features}
    try:
        if data.get("image_shape") is not None:
            found["image_shape"] = shape = tuple(map(operator.index, data["image_shape"]))
            if len(shape) != 3 or min(shape) < 1 or math.prod(shape) != n_features:
                raise ValueError(f"images of shape {shape}")
        if data.get("value_range") is not None:
            low, high = found["value_range"] = tuple(map(float, data["value_range"]))
            if not -math.inf < low <= high < math.inf:
                raise ValueError(f"values from {low} to {high}")
        if data.get("background") in ("white", "black"):
            found["background"] = data["background"]
    except (AttributeError, TypeError, ValueError) as error:
        raise Damaged(f"{path} is damaged: what it says of its data can't be ({error}).") from None
    return found
