"""What a trained network does at inference, step by step; neighbouring affine maps become one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError
from klayer.model import Model
from klayer.nn.pieces import (
    IN_TRAINING_ALONE,
    Activation,
    Affine,
    BatchNorm,
    Fork,
    Join,
    LayerNorm,
)

__all__ = ["InferenceStep", "folded", "steps_of"]


@dataclass(frozen=True)
class InferenceStep:
    """One step.

    Attributes
    ----------
    kind : str
        ``affine`` (``x W + b``), ``scale`` (``x scale + shift``), ``layer_norm`` (``x`` normalised by
        its units, then ``gamma`` and ``beta``), ``fork`` (``x`` is kept), ``join`` (it is added); else
        the name of an activation.
    layer : int
    arrays : mapping of array, shape (P, D, H) or (P, 1, H), float64
        By their names.
    eps : float
        Of a normalisation.
    """

    kind: str
    layer: int
    arrays: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    eps: float = 0.0


def steps_of(model: Model) -> Iterator[InferenceStep]:
    """Give what the networks of a model do to standardised rows, up to their outputs.

    Batch normalisation by running statistics is an affine map of each unit:
    ``gamma (x - m) / sqrt(v + eps) + beta = x scale + shift``. Dropout and noise do nothing.
    """

    def rows(key: str) -> NDArray[np.float64]:
        values = model.params[key] if key in model.params else model.running[key]
        return np.asarray(values, np.float64)[:, None, :]

    for piece in model.network.pieces:
        k = piece.layer
        match piece:
            case Affine():
                W = model.params[f"W{k}"].astype(np.float64)
                b = rows(f"b{k}") if piece.bias else np.zeros((len(W), 1, W.shape[2]))
                yield InferenceStep("affine", k, {"W": W, "b": b})
            case BatchNorm():
                scale = rows(f"gamma{k}") / np.sqrt(rows(f"running_var{k}") + piece.eps)
                shift = rows(f"beta{k}") - rows(f"running_mean{k}") * scale
                yield InferenceStep("scale", k, {"scale": scale, "shift": shift})
            case LayerNorm():
                arrays = {"gamma": rows(f"gamma{k}"), "beta": rows(f"beta{k}")}
                yield InferenceStep("layer_norm", k, arrays, piece.eps)
            case Activation():
                yield InferenceStep(piece.name, k)
            case Fork():
                yield InferenceStep("fork", k)
            case Join():
                yield InferenceStep("join", k)
            case _ if isinstance(piece, IN_TRAINING_ALONE):
                pass
            case _:
                kind = piece.describe()["piece"]
                raise KlayerError(
                    f"a network with the piece {kind!r} can't be written as ONNX yet."
                )


def folded(steps: Sequence[InferenceStep] | Iterator[InferenceStep]) -> list[InferenceStep]:
    """Return steps that do the same, with a scale beside an affine map inside of it."""
    found: list[InferenceStep] = []
    for step in steps:
        before = found[-1] if found else None
        kinds = (before.kind if before else "", step.kind)
        if before and kinds == ("affine", "scale"):
            found[-1] = InferenceStep(
                "affine", before.layer, _into_outputs(before.arrays, step.arrays)
            )
        elif before and kinds == ("scale", "affine"):
            found[-1] = InferenceStep(
                "affine", step.layer, _into_inputs(before.arrays, step.arrays)
            )
        else:
            found.append(step)
    return found


def _into_outputs(affine: Mapping[str, Any], scale: Mapping[str, Any]) -> dict[str, Any]:
    """``(x W + b) s + t``."""
    s, t = scale["scale"], scale["shift"]
    return {"W": affine["W"] * s, "b": affine["b"] * s + t}


def _into_inputs(scale: Mapping[str, Any], affine: Mapping[str, Any]) -> dict[str, Any]:
    """``(x s + t) W + b``."""
    s, t, W = scale["scale"], scale["shift"], affine["W"]
    # (P, 1, D) @ (P, D, H) -> (P, 1, H)
    return {"W": s.transpose(0, 2, 1) * W, "b": t @ W + affine["b"]}
