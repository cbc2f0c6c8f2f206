"""Networks in one safetensors file: every array, and the rest as JSON in its metadata.

Arrays of a network keep their names, with the population axis in front: ``W1`` (P, D, H), ``b1`` (P, H),
``gamma1``, ``running_mean1``, ...; ``input_mean`` and ``input_scale`` (D,) standardise rows,
``target_mean`` and ``target_scale`` (K,) are those of a regression's targets. Where several models of
different architectures answer together, the names begin with ``model1/``, ``model2/``, ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Encoder, Standardiser
from klayer.errors import KlayerError
from klayer.export.exported import Exported
from klayer.files import Damaged, packed_arrays, unpacked_arrays
from klayer.model import Model
from klayer.nn import Network
from klayer.train import Ensemble

__all__ = ["FILE", "FORMAT", "answers", "arrays_of", "pack", "unpack"]

FILE = "model.safetensors"
FORMAT = "klayer.model/1"

Array = NDArray[Any]


def arrays_of(model: Model) -> dict[str, Array]:
    """Return all arrays of a model by the names that they have in files."""
    arrays = {**model.params, **model.running}
    for name, one in (("input", model.standardiser), ("target", model.targets)):
        if one is not None:
            arrays |= {f"{name}_mean": one.mean, f"{name}_scale": one.scale}
    return arrays


def described(what: Exported) -> dict[str, Any]:
    """Return all that is no array, as plain values for JSON."""
    ensemble = what.ensemble
    return {
        "format": FORMAT,
        "task": what.task,
        "class_names": list(what.first.class_names),
        "encoder": what.encoder and what.encoder.as_plain(),
        "models": [
            {
                "network": model.network.describe(),
                "networks": len(model),
                "temperatures": model.temperatures.tolist(),
            }
            for model in what.models
        ],
        "weights": ensemble.weights.tolist(),
        "mirror": ensemble.mirror and list(ensemble.mirror),
        "about": dict(what.about),
    }


def pack(what: Exported) -> Iterator[dict[str, bytes]]:
    """Give the content of the file."""
    arrays = {
        prefix + name: array
        for prefix, model in zip(what.prefixes, what.models, strict=True)
        for name, array in arrays_of(model).items()
    }
    yield {FILE: b"".join(packed_arrays(arrays, described(what)))}


def answers(files: Mapping[str, bytes], what: Exported, rows: Any) -> Array:  # noqa: ARG001
    """Return what the content of the file answers to raw rows, (N, outputs)."""
    return unpack(*unpacked_arrays(files[FILE], FILE, sealed=True), FILE).ensemble.predict(rows)


def unpack(arrays: Mapping[str, Array], plain: Mapping[str, Any], where: str) -> Exported:
    """Make networks of the arrays and plain values of a file.

    Raises
    ------
    Damaged
        If it isn't whole, or another kind of file; ``where`` names it.
    KlayerError
        If a later version of klayer wrote it.
    """
    if plain.get("format") != FORMAT:
        raise Damaged(
            f"{where} must hold an exported model ({FORMAT}), but says {plain.get('format')!r:.60}: "
            "`klayer export` writes one; a run is read by its folder."
        )
    try:
        models = [_model(arrays, plain, prefix, one) for prefix, one in _prefixed(plain)]
        mirror = plain["mirror"] and tuple(plain["mirror"])
        ensemble = Ensemble(models, plain["weights"], mirror)
        about = dict(plain["about"])
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, KlayerError):
            raise type(error)(f"{where}: {error}") from None
        raise Damaged(
            f"{where} must hold a whole model, but reading it failed: {error!r}."
        ) from None
    return Exported(ensemble, about)


def _prefixed(plain: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    several = len(plain["models"]) > 1
    return [
        (f"model{index}/" if several else "", one)
        for index, one in enumerate(plain["models"], start=1)
    ]


def _model(arrays: Mapping[str, Array], plain: Mapping[str, Any], prefix: str, one: Any) -> Model:
    network = Network.from_description(one["network"])

    def taken(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
        found = {}
        for name, shape in shapes.items():
            array, wanted = arrays[prefix + name], (one["networks"], *shape)
            if array.shape != wanted or array.dtype.kind != "f":
                raise Damaged(
                    f"{prefix}{name} must be numbers of shape {wanted}, but is {array.dtype} "
                    f"{array.shape}."
                )
            found[name] = array
        return found

    def standardiser(name: str, size: int) -> Standardiser:
        mean, scale = arrays[f"{prefix}{name}_mean"], arrays[f"{prefix}{name}_scale"]
        for array in (mean, scale):
            if array.shape != (size,) or array.dtype != np.float64 or not np.isfinite(array).all():
                raise Damaged(
                    f"{name}_mean and {name}_scale must be {size} finite numbers in float64 each, but "
                    f"one is {array.dtype} {array.shape}."
                )
        return Standardiser(mean, scale)

    model = Model(
        network,
        taken(network.shapes()),
        taken(network.running_shapes()),
        standardiser("input", network.n_features),
        [str(name) for name in plain["class_names"]],
        standardiser("target", network.n_classes) if network.task == "regression" else None,
        None if plain["encoder"] is None else Encoder.from_plain(plain["encoder"]),
    )
    # The arrays have them in already: they are told, not applied.
    model.temperatures = np.array(one["temperatures"], np.float64).reshape(len(model))
    return model
