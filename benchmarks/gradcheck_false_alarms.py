"""Check correct models that are awkward to check; count the false alarms. There must be none.

    python benchmarks/gradcheck_false_alarms.py --models 1000 --output false_alarms.md

Three kinds of models take turns: klayer's own networks (1 to 3 at once); a function in plain NumPy
with superfluous biases before batch normalisation, whose gradient is structurally zero; and the
same with ``numpy.maximum`` and ``numpy.var``, which a complex step can't see through. Each gets
some of: dead units, inputs planted exactly at a kink, batches of 2 to 50, every depth from 2 to 6,
a penalty or none.

    python benchmarks/gradcheck_false_alarms.py --rough --models 1000

checks plain networks whose losses are rough: in float32, with a part in float32, rounded to some digits,
with offsets and scales from 1e-12 to 1e12. Right gradients that are called wrong are alarms; those that
are undecided are counted. Beside each stands the same model with one gradient doubled: called right, it
is a miss.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
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


PRECISIONS = ("float64", "float32", "float32 data, float64 penalty", "rounded")


class Rough:
    """A two-layer classifier with a rough loss, and its gradient; doubled in one array, if asked for."""

    def __init__(self, seed: int, doubled: bool = False) -> None:
        rng = np.random.default_rng([seed, 78])
        self.precision = PRECISIONS[seed % len(PRECISIONS)]
        n, d, h, k = (int(rng.integers(*two)) for two in ((4, 30), (2, 9), (2, 9), (2, 6)))
        self.dtype = np.float32 if "float32" in self.precision else np.float64
        self.x = rng.standard_normal((n, d)).astype(self.dtype)
        self.labels = rng.integers(k, size=n)
        self.smooth = bool(rng.random() < 0.5)
        self.scale, self.offset = 1.0, 0.0
        # Halves: the one or the other; in float32, powers that it has.
        if rng.random() < 0.5:
            self.scale = 10.0 ** int(rng.integers(-12, 13))
        if rng.random() < 0.5:
            self.offset = (
                float(rng.choice([-1, 1])) * self.scale * 10.0 ** int(rng.integers(-12, 13))
            )
        self.digits = int(rng.integers(1, 9)) - round(np.log10(self.scale))
        self.l2 = float(rng.choice([0.0, 0.01, 1.0])) * self.scale
        self.doubled = str(rng.choice(["W1", "b1", "W2", "b2"])) if doubled else ""
        self.params = {
            "W1": rng.standard_normal((d, h)) / d**0.5,
            "b1": 0.3 * rng.standard_normal(h) * float(rng.random() < 0.7),
            "W2": rng.standard_normal((h, k)) / h**0.5,
            "b2": 0.3 * rng.standard_normal(k) * float(rng.random() < 0.7),
        }

    def __call__(self, params):
        """Return the loss, as it is told, and its gradients."""
        t = self.dtype
        p = {key: value.astype(t) for key, value in params.items()}
        z = self.x @ p["W1"] + p["b1"]
        h = np.tanh(z) if self.smooth else np.maximum(z, 0)
        s = h @ p["W2"] + p["b2"]
        s = s - s.max(axis=1, keepdims=True)
        probs = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
        rows = np.arange(len(self.x))
        loss = -np.log(probs[rows, self.labels]).mean() * t(self.scale)
        # A constant added in float32 may swallow the data's loss for good: then it is another loss.
        mixed = self.precision.endswith("penalty")
        loss = float(loss) + self.offset if mixed else loss + t(self.offset)
        probs[rows, self.labels] -= 1
        g = probs / t(len(self.x)) * t(self.scale)
        grads = {"W2": h.T @ g, "b2": g.sum(axis=0)}
        g = (g @ p["W2"].T) * ((1 - h * h) if self.smooth else (z > 0))
        grads |= {"W1": self.x.T @ g, "b1": g.sum(axis=0)}
        whole, l2 = (params, self.l2) if mixed else (p, t(self.l2))
        for key in ("W1", "W2"):
            loss = loss + l2 * (whole[key] ** 2).sum()
            grads[key] = grads[key] + 2 * l2 * whole[key]
        if self.doubled:
            grads[self.doubled] = 2 * grads[self.doubled]
        loss = float(loss)
        if self.precision == "rounded":
            loss = round(loss, self.digits)
        return loss, {key: value.astype(np.float64) for key, value in grads.items()}


def run_rough(models: int, methods=METHODS, first: int = 0) -> tuple[Counter, Counter, list[str]]:
    """Return counts of (precision, verdict) of right and of wrong models, and a line for each alarm."""
    right, wrong, alarms = Counter(), Counter(), []
    for seed in range(first, first + models):
        for doubled, counts in ((False, right), (True, wrong)):
            model = Rough(seed, doubled)
            for method in methods:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # casts of the complex trial
                    check = check_gradients(model, model.params, method=method)
                counts[model.precision, check.verdict] += 1
                if check.verdict == ("right" if doubled else "wrong"):
                    told = "a miss" if doubled else "an alarm"
                    if doubled and not np.any(model(model.params)[1][model.doubled]):
                        continue  # dead at this point; the second one tells
                    names = ", ".join(row.name for row in check.rows if row.verdict == "wrong")
                    alarms.append(
                        f"{told}: model {seed}, {model.precision}, scale {model.scale:g}, offset "
                        f"{model.offset:g}, {method}: {names or model.doubled}"
                    )
    return right, wrong, alarms


def markdown_rough(models: int, right: Counter, wrong: Counter, alarms: list[str]) -> str:
    """Return the table."""
    lines = [
        f"{models} right models, and the same with one gradient doubled; by auto and central.",
        "",
        "| loss | right: right | undecided | called wrong | doubled: wrong | undecided | called right |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for precision in PRECISIONS:
        cells = [right[precision, verdict] for verdict in ("right", "undecided", "wrong")]
        cells += [wrong[precision, verdict] for verdict in ("wrong", "undecided", "right")]
        lines.append(f"| {precision} | {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in alarms)]).rstrip() + "\n"


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
    parser.add_argument("--rough", action="store_true", help="check models with rough losses")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.rough:
        right, wrong, alarms = run_rough(options.models, first=options.first)
        table = markdown_rough(options.models, right, wrong, alarms)
    else:
        counts, alarms = run(options.models, first=options.first)
        table = markdown(options.models, counts, alarms)
    print(table)
    print(f"{time.perf_counter() - start:.0f} s")
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
