"""Check correct models that are awkward to check; count the false alarms. There must be none.

    python benchmarks/gradcheck_false_alarms.py --models 1000 --output false_alarms.md

Three kinds of models take turns: klayer's own networks (1 to 3 at once); a function in plain NumPy
with superfluous biases before batch normalisation, whose gradient is structurally zero; and the
same with ``numpy.maximum`` and ``numpy.var``, which a complex step can't see through. Each gets
some of: dead units, inputs planted exactly at a kink, batches of 2 to 50, every depth from 2 to 6,
a penalty or none.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from klayer.gradcheck import Check, check_gradients, check_network, generic_params
from klayer.nn import Network

METHODS = ("auto", "central")
KINDS = ("klayer network", "biases before BN", "not complex-safe")


@dataclass
class Case:
    """A correct model.

    Attributes
    ----------
    kind : str
    traits : tuple of str
        What makes it awkward.
    """

    kind: str
    traits: tuple[str, ...]
    network: Network
    params: dict[str, np.ndarray]
    x: np.ndarray
    labels: np.ndarray
    l2: float

    def check(self, method: str) -> Check:
        """Check it with one method."""
        if self.kind == "klayer network":
            return check_network(
                self.network, self.params, self.x, self.labels, l2=self.l2, method=method
            )
        params = {name: value[0] for name, value in self.params.items()}
        return check_gradients(self, params, loss=self.loss, method=method)

    def loss(self, params):
        """Return the cost."""
        return self.forward(params)[0]

    def forward(self, params):
        """Return cost, probabilities and each layer's values: every layer has a bias."""
        safe = self.kind == "biases before BN"
        net, x = self.network, self.x
        kept = []
        for layer in range(1, net.depth + 1):
            s = x @ params[f"W{layer}"] + params[f"b{layer}"]
            hat = inv = None
            z = s
            if net.normalises(layer):
                centred = s - s.mean(axis=0)
                var = (centred * centred).mean(axis=0) if safe else np.var(s, axis=0)
                inv = 1 / np.sqrt(var + net.bn_eps)
                hat = centred * inv
                z = params[f"gamma{layer}"] * hat + params[f"beta{layer}"]
            kept.append((x, z, hat, inv))
            x = z * (z.real > 0) if safe else np.maximum(z, 0)
        shifted = z - z.real.max(axis=1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        weights = [params[f"W{layer}"] for layer in range(1, net.depth + 1)]
        loss = -log_probs[np.arange(len(x)), self.labels].mean()
        loss = loss + self.l2 * sum((W * W).sum() for W in weights)
        return loss, np.exp(log_probs), kept

    def __call__(self, params):
        """Return cost and gradients."""
        net = self.network
        loss, probs, kept = self.forward(params)
        grads = {}
        g = (probs - np.eye(net.n_classes)[self.labels]) / len(probs)
        for layer in range(net.depth, 0, -1):
            x, z, hat, inv = kept[layer - 1]
            if layer < net.depth:
                g = g * (z.real > 0)
            if net.normalises(layer):
                grads[f"gamma{layer}"] = (g * hat).sum(axis=0)
                grads[f"beta{layer}"] = g.sum(axis=0)
                g = g * params[f"gamma{layer}"]
                g = inv * (g - g.mean(axis=0) - hat * (g * hat).mean(axis=0))
            W = params[f"W{layer}"]
            grads[f"b{layer}"] = g.sum(axis=0)
            grads[f"W{layer}"] = x.T @ g + 2 * self.l2 * W
            g = g @ W.T
        return loss, {key: value.real for key, value in grads.items()}


def build(seed: int) -> Case:
    """Return a correct model; the seed decides all about it."""
    rng = np.random.default_rng([seed, 77])
    kind = KINDS[seed % len(KINDS)]
    depth = int(rng.integers(2, 7))
    hidden = tuple(int(one) for one in rng.integers(2, 8, size=depth - 1))
    norm = str(rng.choice(["none", "hidden", "all"]))
    if kind != "klayer network":
        norm = str(rng.choice(["hidden", "all"]))
    eps = float(rng.choice([1e-5, 1e-8]))
    sizes = int(rng.integers(2, 8)), hidden, int(rng.integers(2, 6))
    network = Network(*sizes, batch_norm=norm, bn_eps=eps)
    P = int(rng.integers(1, 4)) if kind == "klayer network" else 1
    init = str(rng.choice(["he", "xavier", "gaussian:0.1", "gaussian:0.01"]))
    params = generic_params(network, P, init, seed)
    if kind != "klayer network":
        for layer in range(1, depth + 1):
            width = network.widths[layer]
            params.setdefault(f"b{layer}", 0.1 * rng.standard_normal((1, width)))
    n = int(rng.choice([2, 3, 4, int(rng.integers(5, 51))]))
    x = rng.standard_normal((n, network.n_features))
    labels = rng.integers(network.n_classes, size=n)
    l2 = float(rng.choice([0.0, 1e-4, 0.1, 1.0]))
    traits = [f"n = {n}" if n < 5 else "n >= 5", f"BN {norm}"]
    if rng.random() < 0.4:
        traits.append("dead units")
        _kill(network, params, rng)
    if rng.random() < 0.5:
        traits.append("planted kinks")
        _plant(network, params, x, rng)
    return Case(kind, tuple(traits), network, params, x, labels, l2)


def _kill(network: Network, params, rng) -> None:
    """Make one unit of some hidden layers never active."""
    for layer in range(1, network.depth):
        if rng.random() < 0.5:
            unit = int(rng.integers(network.widths[layer]))
            key = f"beta{layer}" if network.normalises(layer) else f"b{layer}"
            params[key][:, unit] = -50.0


def _plant(network: Network, params, x, rng) -> None:
    """Put pre-activations exactly at 0, by one of three roads."""
    road = int(rng.integers(3))
    first = "beta1" if network.normalises(1) else "b1"
    if road == 0:  # a sample of zeros meets biases of zero
        x[0] = 0
        params[first][:] = 0
        params.get("b1", params[first])[:] = 0
    elif road == 1:  # small whole numbers, whose sums hit 0
        params["W1"][:] = rng.integers(-1, 2, size=params["W1"].shape)
        params["W1"][:, 0, :] += 1.0 * (np.abs(params["W1"]).sum(axis=1) == 0)
        x[:] = rng.integers(-2, 3, size=x.shape)
        params[first][:] = 0
    else:  # a unit whose value is 0 for every sample
        unit = int(rng.integers(network.widths[1]))
        if network.normalises(1):
            params["gamma1"][:, unit] = 0
        else:
            params["W1"][:, :, unit] = 0
        params[first][:, unit] = 0


def run(models: int, methods=METHODS, first: int = 0) -> tuple[Counter, list[str]]:
    """Return counts of (method in use, verdict), and a line for each model called wrong."""
    counts: Counter = Counter()
    alarms = []
    for seed in range(first, first + models):
        case = build(seed)
        for method in methods:
            check = case.check(method)
            counts[case.kind, f"{method}: {check.method}", check.verdict] += 1
            if check.verdict == "wrong":
                rows = ", ".join(row.name for row in check.rows if row.verdict == "wrong")
                traits = ", ".join(case.traits)
                alarms.append(f"model {seed}, {case.kind} ({traits}), {method}: {rows}")
    return counts, alarms


def markdown(models: int, counts: Counter, alarms: list[str]) -> str:
    """Return the table."""
    lines = [
        f"{models} correct models.",
        "",
        "| model | method: in use | verdict | checks |",
        "|---|---|---|---:|",
        *(f"| {' | '.join(key)} | {count} |" for key, count in sorted(counts.items())),
        "",
        *(f"- {line}" for line in alarms),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first model")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    options = parser.parse_args()
    start = time.perf_counter()
    counts, alarms = run(options.models, first=options.first)
    table = markdown(options.models, counts, alarms)
    print(table)
    print(f"{time.perf_counter() - start:.0f} s")
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
