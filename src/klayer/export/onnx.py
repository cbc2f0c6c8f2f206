"""Networks as one graph of ONNX: raw rows in, probabilities, labels or values out.

Encoders and standardisation are inside, batch normalisation is folded into the affine maps, dropout is
gone. Several networks are one graph that averages: their arrays carry the population axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.errors import KlayerError
from klayer.export.exported import Exported
from klayer.export.onnx_graph import Graph, require_onnx
from klayer.export.onnx_inputs import features, inputs_of
from klayer.export.onnx_model import DIGEST, OnnxModel, digest_place
from klayer.export.safetensors import described
from klayer.export.steps import InferenceStep, folded, steps_of
from klayer.files import BLANK, json_text, sealed_at
from klayer.model import Model
from klayer.nn.pieces.activations import GELU_CUBE, GELU_FACTOR, LEAK, SELU_ALPHA, SELU_SCALE

__all__ = ["ACTIVATIONS", "FILE", "PREFIX", "answers", "pack"]

FILE = "model.onnx"
Array = NDArray[Any]

# What the names of one model's arrays begin with: a column of a table may be called W1.
PREFIX = "network/"
# Protocol buffers hold no more.
MOST_BYTES = 2**31 - 1


class _Body:
    """The part of a graph that calculates in one dtype."""

    def __init__(self, graph: Graph, dtype: DTypeLike) -> None:
        self.graph, self.dtype = graph, np.dtype(dtype)
        self.op = graph.op

    def number(self, value: float) -> str:
        return self.graph.constant("number", np.asarray(value, self.dtype))

    def gelu(self, x: str) -> str:
        """``x (1 + erf(x / sqrt 2)) / 2``; runtimes have the error function in float32 alone."""
        root = self.op("Mul", x, self.number(math.sqrt(0.5)))
        erf = self.op("Erf", self.graph.cast(root, np.float32))
        erf = self.graph.cast(erf, self.dtype) if self.dtype != np.float32 else erf
        return self._half(x, erf)

    def gelu_tanh(self, x: str) -> str:
        square = self.op("Mul", self.op("Mul", x, x), self.number(GELU_FACTOR * GELU_CUBE))
        inner = self.op("Mul", self.op("Add", square, self.number(GELU_FACTOR)), x)
        return self._half(x, self.op("Tanh", inner))

    def _half(self, x: str, t: str) -> str:
        """``x (1 + t) / 2``."""
        half = self.op("Mul", self.op("Add", t, self.number(1)), self.number(0.5))
        return self.op("Mul", x, half)


ACTIVATIONS: dict[str, Callable[[_Body, str], str]] = {
    "relu": lambda body, x: body.op("Relu", x),
    "leaky_relu": lambda body, x: body.op("LeakyRelu", x, alpha=LEAK),
    "tanh": lambda body, x: body.op("Tanh", x),
    "gelu": _Body.gelu,
    "gelu_tanh": _Body.gelu_tanh,
    "silu": lambda body, x: body.op("Mul", x, body.op("Sigmoid", x)),
    "selu": lambda body, x: body.op("Selu", x, alpha=SELU_ALPHA, gamma=SELU_SCALE),
}


def pack(what: Exported) -> Iterator[dict[str, bytes]]:
    """Give the content of the file: in float32 where that is what the weights are, then in float64.

    Raises
    ------
    KlayerError
        If packages are missing, for a piece that ONNX isn't told, and for more than 2 GB.
    """
    require_onnx("onnx", "onnxruntime")
    dtypes = [np.float32, np.float64] if _in_float32(what.models) else [np.float64]
    for dtype in dtypes:
        yield {FILE: _content(what, dtype)}


def answers(files: Mapping[str, bytes], what: Exported, rows: Any) -> Array:  # noqa: ARG001
    """Return what the content of the file answers to raw rows, (N, outputs)."""
    return OnnxModel(files[FILE], FILE).run(rows)[-1]


def _in_float32(models: Sequence[Model]) -> bool:
    """Say whether weights have no more digits than float32, but for those that a temperature divided."""
    with np.errstate(over="ignore"):
        return all(
            array.dtype == np.float32 or np.array_equal(array, array.astype(np.float32))
            for model in models
            for key, array in model.params.items()
            if key not in model.network.pieces[-1].params()
        )


def _content(what: Exported, dtype: DTypeLike) -> bytes:
    inputs = inputs_of(what, np.dtype(dtype))
    names = ["values"] if what.task == "regression" else ["label", "probabilities"]
    graph = Graph({one.name for one in inputs} | set(names))
    rows = features(graph, what, inputs)
    total = None
    for prefix, model, weights in zip(what.prefixes, what.models, what.weights, strict=True):
        views = [rows]
        if what.ensemble.mirror is not None:
            views.append(_mirrored(graph, rows, what.ensemble.mirror))
        given = inputs[0].dtype if what.encoder is None else np.dtype(np.float64)
        arrays: dict[str, str] = {}
        for view in views:
            one = _network(_Body(graph, dtype), view, given, model, prefix, arrays)
            one = _mean(graph, one, weights / len(views), len(model), prefix)
            total = one if total is None else graph.op("Add", total, one)
    assert total is not None
    raw = np.dtype(np.float64) if what.task == "regression" else np.dtype(dtype)
    graph.op("Identity", total, out=names[-1])
    outputs = [_value(names[-1], raw, [None, what.first.network.outputs])]
    if what.task != "regression":
        outputs.insert(0, _label(graph, what, total))
    version = (what.about.get("versions") or {}).get("klayer", "")
    made = graph.model(
        [_value(one.name, one.dtype, [None, one.width], one.doc) for one in inputs],
        outputs,
        _doc(what),
        version,
        {"klayer": json_text(described(what)), DIGEST: BLANK.decode()},
    )
    size = made.ByteSize()
    if size > MOST_BYTES:
        raise KlayerError(
            f"a file of ONNX must have less than 2 GB, but this one has {size:,} bytes: export fewer "
            "networks, or --to safetensors."
        )
    content = made.SerializeToString()
    at = digest_place(content)
    assert at is not None
    return b"".join(sealed_at(content, at))


def _doc(what: Exported) -> str:
    n = len(what.ensemble)
    name = (what.about.get("data") or {}).get("name")
    mean = f"mean of {n} networks" if n > 1 else "network"
    return f"klayer: {mean} for {what.task}{f' on {name}' if name else ''}"


def _value(name: str, dtype: np.dtype[Any], shape: list[int | None], doc: str = "") -> Any:
    from onnx import TensorProto, helper

    text = dtype.kind in "UO"
    kind = TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(dtype)
    sizes = ["N" if size is None else size for size in shape]
    return helper.make_tensor_value_info(name, kind, sizes, doc)


def _network(
    body: _Body,
    x: str,
    given: np.dtype[Any],
    model: Model,
    prefix: str,
    arrays: dict[str, str],
) -> str:
    """Add the networks of a model, raw features (N, D) to answers (P, N, outputs).

    ``arrays`` has the names of the constants that are there already.
    """
    graph, several = body.graph, len(model) > 1

    def array(name: str, values: Any, dtype: DTypeLike = body.dtype) -> str:
        if name not in arrays:
            arrays[name] = graph.constant((prefix or PREFIX) + name, np.asarray(values, dtype))
        return arrays[name]

    def own(name: str, values: Array) -> str:  # of one network without the axis P
        return array(name, values if several else values[0])

    x = graph.op("Sub", x, array("input_mean", model.standardiser.mean, given))
    x = graph.op("Div", x, array("input_scale", model.standardiser.scale, given))
    x = graph.cast(x, body.dtype) if given != body.dtype else x
    kept = x
    for step in folded(steps_of(model)):
        named = {key: f"{key}{step.layer}" for key in step.arrays}
        values = {key: own(named[key], one) for key, one in step.arrays.items()}
        match step:
            case InferenceStep("affine"):
                # (N, D) or (P, N, D) @ (P, D, H) -> (P, N, H)
                x = graph.op("Add", graph.op("MatMul", x, values["W"]), values["b"])
            case InferenceStep("scale"):
                x = graph.op("Add", graph.op("Mul", x, values["scale"]), values["shift"])
            case InferenceStep("layer_norm"):
                ones = array(f"ones{step.layer}", np.ones(step.arrays["gamma"].shape[-1]))
                x = graph.op("LayerNormalization", x, ones, axis=-1, epsilon=step.eps)
                x = graph.op("Add", graph.op("Mul", x, values["gamma"]), values["beta"])
            case InferenceStep("fork"):
                kept = x
            case InferenceStep("join"):
                x = graph.op("Add", x, kept)
            case _:
                x = _activated(body, x, step.kind)
    return _answered(body, x, model, array)


def _activated(body: _Body, x: str, name: str) -> str:
    if name not in ACTIVATIONS:
        raise KlayerError(f"the activation {name!r} can't be written as ONNX yet.")
    return ACTIVATIONS[name](body, x)


def _answered(body: _Body, x: str, model: Model, array: Callable[..., str]) -> str:
    """Add what makes answers of outputs."""
    graph, network = body.graph, model.network
    if model.task == "classification":
        return graph.op("Softmax", x, axis=-1)
    if model.task == "multilabel":
        return graph.op("Sigmoid", x)
    assert model.targets is not None
    each = max(1, len(network.quantiles))
    if each > 1:  # of each target they ascend
        lead = [len(model)] if len(model) > 1 else []
        apart = graph.constant("apart", np.array([*lead, -1, network.n_classes, each]))
        back = graph.constant("back", np.array([*lead, -1, network.outputs]))
        count = graph.constant("count", np.array([each]))
        x = graph.op("TopK", graph.op("Reshape", x, apart), count, axis=-1, largest=0, sorted=1)
        x = graph.op("Reshape", x, back)
    x = graph.cast(x, np.float64) if body.dtype != np.float64 else x
    scale, mean = (np.repeat(one, each) for one in (model.targets.scale, model.targets.mean))
    x = graph.op("Mul", x, array("target_scale", scale, np.float64))
    return graph.op("Add", x, array("target_mean", mean, np.float64))


def _mean(graph: Graph, x: str, weights: Array, networks: int, prefix: str) -> str:
    """Add the weighted sum over the networks, (P, N, outputs) -> (N, outputs)."""
    if networks == 1:
        if weights[0] == 1:
            return x
        return graph.op("Mul", x, _like(graph, x, f"{prefix}weight", weights[0]))
    each = _like(graph, x, f"{prefix}weights", weights[:, None, None])
    axis = graph.constant("networks", np.array([0]))
    return graph.op("ReduceSum", graph.op("Mul", x, each), axis, keepdims=0)


def _like(graph: Graph, x: str, name: str, values: Any) -> str:
    """Add a constant in the dtype of a value that is there."""
    return graph.op("CastLike", graph.constant(name, np.asarray(values, np.float64)), x)


def _mirrored(graph: Graph, rows: str, shape: tuple[int, int, int]) -> str:
    """Add what turns flattened images left to right."""
    turned = np.arange(math.prod(shape)).reshape(shape)[..., ::-1].ravel()
    return graph.op("Gather", rows, graph.constant("mirror", turned), axis=1)


def _label(graph: Graph, what: Exported, probabilities: str) -> Any:
    """Add the answer: the most probable class as the user has it, or 0 and 1 for each label."""
    if what.task == "multilabel":
        half = graph.op("CastLike", graph.constant("half", np.float64(0.5)), probabilities)
        found = graph.op("Greater", probabilities, half)
        graph.op("Identity", graph.cast(found, np.int64), out="label")
        return _value("label", np.dtype(np.int64), [None, what.first.network.outputs])
    labels = np.array(what.labels)
    if labels.dtype.kind not in "bif":
        labels = np.array([str(one) for one in what.labels], object)
    best = graph.op("ArgMax", probabilities, axis=-1, keepdims=0)
    graph.op("Gather", graph.constant("classes", labels), best, out="label", axis=0)
    return _value("label", labels.dtype, [None])
