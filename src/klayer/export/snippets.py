"""How an exported file is used without klayer, and with it: programs of a few lines, made to measure.

They are text for the model card; the suite runs each of them beside the networks that it is made for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from klayer.errors import KlayerError
from klayer.export import onnx
from klayer.export.exported import Exported
from klayer.export.snippet_rows import encoding, example_rows, is_table, quoted
from klayer.model import Model
from klayer.nn.pieces.activations import GELU_CUBE, GELU_FACTOR, LEAK, SELU_ALPHA, SELU_SCALE

__all__ = ["ACTIVATIONS", "snippets"]

# Classes that are named in a program, at the most.
_NAMED = 100


@dataclass(frozen=True)
class Words:
    """How a library says what networks do to ``x``."""

    library: str
    features: str
    weights: str
    root: str
    stack: str
    softmax: tuple[str, ...]
    sigmoid: str
    layer_norm: str
    sort: str
    repeat: str
    mirrored: str
    cast: str


NUMPY = Words(
    library="numpy",
    features="np.array({}, float)",
    weights="np.array({})",
    root="np.sqrt",
    stack="np.stack",
    softmax=(
        "x = np.exp(x - x.max(axis=-1, keepdims=True))",
        "x = x / x.sum(axis=-1, keepdims=True)",
    ),
    sigmoid="(1 + np.tanh(x / 2)) / 2",
    layer_norm="(x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + {})",
    sort="np.sort(x.reshape(*x.shape[:-1], {}, {}), axis=-1).reshape(x.shape)",
    repeat="{}.repeat({}, axis=-1)",
    mirrored="X.reshape(-1, {}, {}, {})[..., ::-1].reshape(X.shape)",
    cast="{}",
)
TORCH = Words(
    library="torch",
    features="torch.tensor({}, dtype=torch.float64)",
    weights="torch.tensor({})",
    root="torch.sqrt",
    stack="torch.stack",
    softmax=("x = torch.softmax(x, dim=-1)",),
    sigmoid="torch.sigmoid(x)",
    layer_norm="torch.nn.functional.layer_norm(x, x.shape[-1:], eps={})",
    sort="x.reshape(*x.shape[:-1], {}, {}).sort(dim=-1).values.reshape(x.shape)",
    repeat="{}.repeat_interleave({}, dim=-1)",
    mirrored="X.reshape(-1, {}, {}, {}).flip(-1).reshape(X.shape)",
    cast='({}).to(w["W1"].dtype)',
)

# How NumPy and PyTorch say each activation.
ACTIVATIONS: dict[str, dict[str, str]] = {
    "relu": {"numpy": "np.maximum(x, 0)", "torch": "torch.relu(x)"},
    "leaky_relu": {
        "numpy": f"np.where(x > 0, x, {LEAK} * x)",
        "torch": f"torch.nn.functional.leaky_relu(x, {LEAK})",
    },
    "tanh": {"numpy": "np.tanh(x)", "torch": "torch.tanh(x)"},
    "gelu": {
        "numpy": f"x * (1 + np.vectorize(math.erf)(x * {math.sqrt(0.5)!r})) / 2",
        "torch": "torch.nn.functional.gelu(x)",
    },
    "gelu_tanh": {
        "numpy": f"x * (1 + np.tanh({GELU_FACTOR!r} * (x + {GELU_CUBE} * x**3))) / 2",
        "torch": 'torch.nn.functional.gelu(x, approximate="tanh")',
    },
    "silu": {"numpy": "x * (1 + np.tanh(x / 2)) / 2", "torch": "torch.nn.functional.silu(x)"},
    "selu": {
        "numpy": f"{SELU_SCALE!r} * np.where(x > 0, x, {SELU_ALPHA!r} * np.expm1(np.minimum(x, 0)))",
        "torch": "torch.selu(x)",
    },
}


def snippets(what: Exported, form: str, file: str) -> dict[str, str]:
    """Return programs by the name of what they use.

    Each has a line ``rows = ...`` with an example, and makes ``answer``, (N, outputs): probabilities, or
    values in the targets' units.

    Parameters
    ----------
    what : Exported
    form : {"safetensors", "onnx", "csv"}
    file : str
        What the exported file is called; of several files it makes no difference.
    """
    found = {
        "NumPy": _by_hand(what, form, file, NUMPY),
        "PyTorch": _by_hand(what, form, file, TORCH),
    }
    if form == "onnx":
        found = {"onnxruntime": _by_onnxruntime(what, file), **found}
    if form != "csv":
        found["klayer"] = _by_klayer(what, file)
    return found


def _by_onnxruntime(what: Exported, file: str) -> str:
    lines = ["import numpy as np", "import onnxruntime", ""]
    lines += [f"session = onnxruntime.InferenceSession({quoted(file)})"]
    if what.encoder is None:
        lines += [example_rows(what), "[given] = session.get_inputs()"]
        lines += ['kind = np.float64 if given.type == "tensor(double)" else np.float32']
        lines += ["fed = {given.name: np.array(rows, kind)}"]
    else:
        if any(code.fill is not None for code in what.encoder.codes):
            lines.append('# a gap is float("nan"), of a text ""')
        if any(code.kind == "date" for code in what.encoder.codes):
            lines.append("# dates are days since 1970-01-01, UTC")
        lines += [example_rows(what, for_onnx=True)]
        lines += ['kinds = {"tensor(string)": object, "tensor(double)": np.float64}', "fed = {"]
        lines += ["    one.name: np.array([[row[one.name]] for row in rows], kinds[one.type])"]
        lines += ["    for one in session.get_inputs()", "}"]
    outputs = "[answer]" if what.task == "regression" else "label, answer"
    return _text([*lines, f"{outputs} = session.run(None, fed)"])


def _by_klayer(what: Exported, file: str) -> str:
    lines = [
        "import numpy as np",
        "",
        "import klayer as kl",
        "",
        f"model = kl.load_model({quoted(file)})",
    ]
    lines += example_rows(what).splitlines()
    given = "np.array(rows)"
    if is_table(what):
        assert what.encoder is not None
        lines.append(f"columns = [{', '.join(map(quoted, what.encoder.columns))}]")
        given = "np.array([[row[name] for name in columns] for row in rows], object)"
    alone = len(what.ensemble.weights) == 1 and what.ensemble.mirror is None
    first = "[0]  # of one network" if alone and not file.endswith(".onnx") else ""
    return _text([*lines, f"answer = model.predict({given}){first}"])


# By hand.


def _by_hand(what: Exported, form: str, file: str, words: Words) -> str:
    table = is_table(what)
    lines = [*_imports(what, form, words), "", *_loading(what, form, file, words)]
    rows = "rows"
    if table:
        lines += encoding(what, form, file)
        rows = "[features(row) for row in rows]"
    lines += [*example_rows(what).splitlines(), f"X = {words.features.format(rows)}"]
    if len(what.models) == 1 and what.ensemble.mirror is None:
        mean = _mean("x", what.weights[0].tolist(), _has_axis(what.first, form), words)
        lines += [*_network(what.first, form, words), f"answer = {mean}"]
    else:
        lines += _in_turn(what, form, words)
    return _text([*lines, *_label(what)])


def _in_turn(what: Exported, form: str, words: Words) -> Iterator[str]:
    """Lines that ask several models, or about mirror images: a function for each architecture."""
    bodies = [tuple(_network(model, form, words)) for model in what.models]
    names = {body: f"network{n}" for n, body in enumerate(dict.fromkeys(bodies), start=1)}
    for body, name in names.items():
        yield from ("", "", f"def {name}(X, w):", *(f"    {line}" for line in body), "    return x")
    yield from ("", "", "answer = 0")
    start = 1
    for body, model, weights, prefix in zip(
        bodies, what.models, what.weights, what.prefixes, strict=True
    ):
        if form == "csv":
            yield f"w = own({', '.join(str(start + lane) for lane in range(len(model)))})"
        elif prefix:
            yield f"w = own({quoted(prefix)})"
        start += len(model)
        x = f"{names[body]}(X, w)"
        if what.ensemble.mirror is not None:
            turned = words.mirrored.format(*what.ensemble.mirror)
            x = f"({x} + {names[body]}({turned}, w)) / 2"
        mean = _mean(f"({x})", weights.tolist(), _has_axis(model, form), words)
        yield f"answer = answer + {mean}"


def _has_axis(model: Model, form: str) -> bool:
    """Say whether arrays have an axis of networks: in ONNX one network alone has none."""
    return len(model) > 1 or form != "onnx"


def _mean(x: str, weights: list[float], population: bool, words: Words) -> str:
    """Say the weighted sum over the networks, (P, N, outputs) -> (N, outputs)."""
    if not population:
        return x if weights[0] == 1 else f"{weights[0]!r} * {x}"
    if weights == [1.0]:
        return f"{x}[0]"
    if len(set(weights)) == 1 and math.isclose(sum(weights), 1):
        return f"{x}.mean(0)"
    return f"({words.weights.format(weights)}[:, None, None] * {x}).sum(0)"


def _imports(what: Exported, form: str, words: Words) -> Iterator[str]:
    table, torch = is_table(what), words is TORCH
    names = {name for model in what.models for name in model.network.activations}
    dates = table and any(code.kind == "date" for code in what.first.encoder.codes)  # type: ignore[union-attr]
    if form == "csv":
        yield "import csv"
    if table:
        yield "import json"
    if dates or ("gelu" in names and not torch):
        yield "import math"
    if dates:
        yield "from datetime import datetime, timedelta"
    if form == "csv":
        yield "from pathlib import Path"
    yield ""
    if not torch:
        yield "import numpy as np"
    if form == "onnx":
        yield "import onnx"
    if torch:
        yield "import torch"
    if form == "onnx":
        yield "from onnx import numpy_helper"
    if form == "safetensors":
        if table:
            yield "from safetensors import safe_open"
        yield f"from safetensors.{words.library} import load_file"


def _loading(what: Exported, form: str, file: str, words: Words) -> list[str]:
    """Lines that read the arrays: of one model as ``w``, of several as what ``own`` returns."""
    several = len(what.models) > 1
    name = "arrays" if several else "w"
    own = [
        "",
        "",
        "def own(prefix):",
        "    names = [name for name in arrays if name.startswith(prefix)]",
        "    return {name.removeprefix(prefix): arrays[name] for name in names}",
        "",
        "",
    ]
    if form == "safetensors":
        return [f"{name} = load_file({quoted(file)})", *(own if several else [])]
    if form == "onnx":
        array = "numpy_helper.to_array(one)"
        array = f"torch.tensor({array})" if words is TORCH else array
        key = "one.name" if several else f"one.name.removeprefix({quoted(onnx.PREFIX)})"
        return [
            f"stored = onnx.load({quoted(file)}).graph.initializer",
            'stored = [one for one in stored if "/" in one.name]',
            f"{name} = {{{key}: {array} for one in stored}}",
            *(own if several else []),
        ]
    each = f"{words.stack}([table(folder / one.name) for folder in folders])"
    everyone = ", ".join(str(n) for n in range(1, len(what.ensemble.weights) + 1))
    return [
        "",
        "def table(path):",
        '    with path.open(newline="", encoding="utf-8") as file:',
        "        rows = [row[1:] for row in csv.reader(file)][1:]",
        f"    return {words.features.format('[[float(one) for one in row] for row in rows]')}",
        "",
        "",
        "def own(*numbers):",
        '    folders = [Path(f"network-{n}") for n in numbers]',
        '    files = sorted(folders[0].glob("*.csv"))',
        f"    return {{one.stem: {each} for one in files}}",
        "",
        "",
        *([] if several else [f"w = own({everyone})"]),
    ]


def _network(model: Model, form: str, words: Words) -> Iterator[str]:
    """Lines from raw rows ``X`` to the answers ``x`` of a model's networks, (P, N, outputs)."""
    standardised = '(X - w["input_mean"]) / w["input_scale"]'
    yield f"x = {words.cast.format(standardised)}"
    depth = model.network.depth
    yield f"for k in range(1, {depth + 1}):"
    for test, group in groupby(_layer(model, form, words), key=itemgetter(0)):
        which = [line for _, line in group]
        if test == tuple(range(1, depth + 1)):
            yield from (f"    {line}" for line in which)
        else:
            yield f"    if {_test(test, depth)}:"
            yield from (f"        {line}" for line in which)
    yield from _answers(model, form, words)


def _test(layers: tuple[int, ...], depth: int) -> str:
    if len(layers) == 1:
        return f"k == {layers[0]}"
    return f"k < {depth}" if layers == tuple(range(1, depth)) else f"k in {layers}"


def _layer(model: Model, form: str, words: Words) -> Iterator[tuple[tuple[int, ...], str]]:
    """Lines of the loop over the layers, each with those that it is for."""
    network = model.network
    every = tuple(range(1, network.depth + 1))
    hidden = every[:-1]

    def vector(name: str) -> str:
        return f'w[f"{name}{{k}}"]' + ("[:, None]" if form == "safetensors" else "")

    def lines(layers: Iterable[int], *said: str) -> Iterator[tuple[tuple[int, ...], str]]:
        which = tuple(layers)
        return ((which, line) for line in said) if which else iter(())

    normal = [k for k in every if network.normalises(k)]
    behind = [k for k in normal if network.bn_place == "after" and k in hidden]
    before = [k for k in normal if k not in behind]
    skips = [one.layer for one in network.pieces if one.describe()["piece"] == "join"]
    root = f"{words.root}({vector('running_var')} + {network.bn_eps!r})"
    centred = f"x = (x - {vector('running_mean')}) / {root}"
    scaled = f"x = {vector('gamma')} * x + {vector('beta')}"
    folded = form == "onnx"

    yield from lines(skips and every, "kept = x")
    biased = every if folded else [k for k in every if k not in before]
    product, plus = 'x = x @ w[f"W{k}"]', f" + {vector('b')}"
    if biased == list(every) or folded:
        yield from lines(every, product + plus)
    else:
        yield from lines(every, product)
        yield from lines(biased, f"x = x{plus}")
    if not folded:
        yield from lines(before, centred, scaled)
    centring = [k for k in hidden if network.normalises_samples(k)]
    if centring:
        yield from lines(centring, f"x = {words.layer_norm.format(repr(network.bn_eps))}", scaled)
    for name in dict.fromkeys(network.activations):
        if name not in ACTIVATIONS:
            raise KlayerError(f"the activation {name!r} has no line for the model card yet.")
        which = [k for k, one in zip(hidden, network.activations, strict=True) if one == name]
        yield from lines(which, f"x = {ACTIVATIONS[name][words.library]}")
    if not folded:
        yield from lines(behind, centred, scaled)
    else:  # what a skip connection keeps from being a part of the next affine map
        left = [k for k in behind if k in skips or k + 1 in skips]
        yield from lines(left, f"x = x * {vector('scale')} + {vector('shift')}")
    yield from lines(skips, "x = x + kept")


def _answers(model: Model, form: str, words: Words) -> Iterator[str]:
    if model.task == "classification":
        yield from words.softmax
    elif model.task == "multilabel":
        yield f"x = {words.sigmoid}"
    else:
        each, arrays = len(model.network.quantiles), ['w["target_scale"]', 'w["target_mean"]']
        if each > 1:
            yield f"x = {words.sort.format(model.network.n_classes, each)}"
        if each > 1 and form != "onnx":
            arrays = [words.repeat.format(one, each) for one in arrays]
        yield f"x = x * {arrays[0]} + {arrays[1]}"


def _label(what: Exported) -> list[str]:
    if what.task == "classification" and len(what.labels) > _NAMED:
        return ["label = answer.argmax(-1)  # the index of a class, from 0"]
    if what.task == "classification":
        names = ", ".join(map(quoted, what.labels))
        return [f"names = [{names}]", "label = [names[int(k)] for k in answer.argmax(-1)]"]
    return ["label = answer > 0.5"] if what.task == "multilabel" else []


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines).lstrip("\n") + "\n"
