"""Networks of every kind, with weights and running statistics that are not those of a start."""

import re

import numpy as np
import pytest

from klayer.data import Standardiser
from klayer.model import Model
from klayer.nn import Network
from klayer.nn.pieces import ACTIVATIONS

SKIPPING = {"hidden": (6, 6, 6), "skip": "equal"}
# Arguments of `Network`, beside sizes.
KINDS = {
    "linear": {"hidden": ()},
    "batch norm": {"batch_norm": "hidden"},
    "batch norm of all layers": {"batch_norm": "all"},
    "batch norm after": {"batch_norm": "hidden", "bn_place": "after"},
    "batch norm after, of all": {"batch_norm": "all", "bn_place": "after"},
    "layer norm": {"layer_norm": "hidden"},
    "dropout": {"drops_hidden": True, "drops_inputs": True},
    "noise": {"noisy_inputs": True, "drops_inputs": True},
    **{name: {"activation": name} for name in ACTIVATIONS},
    "two activations": {"activation": ("tanh", "gelu")},
    "skips": SKIPPING,
    "skips, batch norm": {**SKIPPING, "batch_norm": "hidden"},
    "skips, batch norm after": {**SKIPPING, "batch_norm": "all", "bn_place": "after"},
    "skips, batch norm after, some": {
        "hidden": (5, 5, 4, 4, 3),
        "skip": "equal",
        "batch_norm": "hidden",
        "bn_place": "after",
        "drops_hidden": True,
    },
    "skips, layer norm": {**SKIPPING, "layer_norm": "hidden", "activation": "silu"},
    "norms by layer": {"hidden": (6, 5, 4), "batch_norm": (2, 4), "layer_norm": (1,)},
    "batch norm after, by layer": {**SKIPPING, "batch_norm": (1, 3), "bn_place": "after"},
    "units alone": {"hidden": (1, 1), "batch_norm": "hidden", "skip": "equal"},
    "regression": {"loss": "squared", "n_classes": 2},
    "regression of one target": {"loss": "huber", "n_classes": 1, "batch_norm": "all"},
    "quantiles": {"loss": "quantile", "n_classes": 2, "quantiles": (0.1, 0.5, 0.9)},
    "multilabel": {"loss": "binary_cross_entropy", "n_classes": 4, "layer_norm": "hidden"},
}


def rows_like(n_features, samples=400, seed=5):
    """Raw rows: columns far from 0, of other spreads, and a constant one."""
    random = np.random.default_rng(seed)
    scale = np.logspace(-2, 3, n_features)
    rows = random.standard_normal((samples, n_features)) * scale + 3 * scale
    rows[:, -1] = 7.0
    return rows


def make(kind, networks=1, dtype=np.float32, n_features=5, **more):
    """A model of a kind; `more` as `KINDS`."""
    said = {"hidden": (6, 4), "n_classes": 3, **KINDS.get(kind, {}), **more}
    network = Network(n_features=n_features, **said)
    random = np.random.default_rng(3)
    params = network.init("he", range(networks), dtype)
    for key, value in params.items():
        noise = random.standard_normal(value.shape)
        params[key] = (value + (0.3 if key[0] in "bg" else 0.1) * noise).astype(dtype)
    running = network.init_running(networks, dtype)
    for key, value in running.items():
        noise = random.standard_normal(value.shape)
        running[key] = (value * np.exp(noise) if "var" in key else value + noise).astype(dtype)
    K = network.n_classes
    targets = None
    if network.task == "regression":
        targets = Standardiser(np.linspace(-5, 1e4, K), np.logspace(-1, 2, K))
    names = [f"c{k}" for k in range(K)]
    return Model(network, params, running, Standardiser.fit(rows_like(n_features)), names, targets)


# Programs of cards, by what they need: PyTorch is not always there.
NEEDS = ["no PyTorch", "PyTorch"]


def programs(folder, needs):
    """The programs of a folder's card, by what they use."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"With (\S+):\n\n```python\n(.*?)```", text, re.DOTALL))
    assert {"NumPy", "PyTorch"} <= set(found)
    if needs == "PyTorch":
        pytest.importorskip("torch")
    return {name: one for name, one in found.items() if (name == "PyTorch") == (needs == "PyTorch")}


def run(program, folder, monkeypatch, rows=None):
    """What a program calls `answer` and `label`; asked about `rows` in place of its own."""
    monkeypatch.chdir(folder)
    if rows is not None:
        program, found = re.subn(r"^rows = .*$", "rows = ROWS", program, flags=re.MULTILINE)
        assert found == 1, program
    said = {"ROWS": rows}
    exec(compile(program, "card", "exec"), said)
    return np.asarray(said["answer"]), said.get("label")
