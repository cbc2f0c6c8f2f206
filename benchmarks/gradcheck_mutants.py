"""Plant known mistakes in a backward pass; count how many the gradient check finds and names.

    python benchmarks/gradcheck_mutants.py --seeds 20 --output mutants.md

Each mutant is a four-layer classifier, written here in plain NumPy and handed to the checker as
anyone's function, with one mistake at a random layer. ``found``: the verdict is "wrong". ``place``:
the arrays named as the origin are exactly those where the mistake enters (layer and kind).
``cause``: the first causes name the mistake itself, where it has a name. Exit status 1 if the
promised rates are missed.
"""

# ruff: noqa: ARG005

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Products of 5 x 5 matrices: more than one BLAS thread only waits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from klayer.gradcheck import Check, Reference, check_gradients, generic_params
from klayer.nn import Network

DEPTH, WIDTH = 4, 5
HIDDEN = range(1, DEPTH)


@dataclass
class Model:
    """A classifier with a hook at each point of its backward pass."""

    network: Network
    x: np.ndarray
    labels: np.ndarray
    l2: float
    layer: int
    rng: np.random.Generator
    hook: Callable = lambda point, layer, value, here: value
    kept: dict = field(default_factory=dict)

    def forward(self, params):
        """Return the logits, and keep what the backward pass needs."""
        net, x, kept = self.network, self.x, {}
        linear = x
        for layer in range(1, net.depth + 1):
            s = x @ params[f"W{layer}"]  # (N, D) @ (D, H) -> (N, H)
            here = {"x": x, "linear": linear, "s": s}
            if net.normalises(layer):
                centred = s - s.mean(axis=0)
                here["var"] = (centred * centred).mean(axis=0)
                here["hat"] = centred / np.sqrt(here["var"] + net.eps)
                linear = params[f"gamma{layer}"] * here["hat"] + params[f"beta{layer}"]
            else:
                linear = s + params[f"b{layer}"]
            here["z"] = linear
            x = linear * (linear.real > 0)
            kept[layer] = here
        return linear, kept

    def __call__(self, params):
        """Return the cost and its gradients, with whatever the hook plants."""
        logits, kept = self.forward(params)
        self.kept = kept
        n, k = len(self.labels), self.network.depth
        exp = np.exp(logits - logits.real.max(axis=1, keepdims=True))
        probs = exp / exp.sum(axis=1, keepdims=True)
        weights = [params[f"W{layer}"] for layer in range(1, k + 1)]
        cost = -np.log(probs[np.arange(n), self.labels]).mean()
        cost = cost + self.l2 * sum((W * W).sum() for W in weights)

        hook, grads = self.hook, {}
        onehot = hook("onehot", k, np.eye(self.network.n_classes)[self.labels], None)
        g = hook("logits", k, (probs - onehot) / n, None)
        for layer in range(k, 0, -1):
            here = {**kept[layer], "params": params, "g": g}
            if layer < k:
                g = g * hook("mask", layer, kept[layer]["z"].real > 0, here)
            if self.network.normalises(layer):
                hat = hook("hat", layer, here["hat"], here)
                grads[f"gamma{layer}"] = (g * hat).sum(axis=0)
                grads[f"beta{layer}"] = g.sum(axis=0)
                here.update(g=g, gamma=params[f"gamma{layer}"])
                g = hook("bn", layer, through_bn(here, self.network.eps), here)
            else:
                grads[f"b{layer}"] = hook("b", layer, g, here).sum(axis=0)
            W = params[f"W{layer}"]
            penalty = hook("penalty", layer, 2 * self.l2 * W, here)
            grads[f"W{layer}"] = hook("input", layer, here["x"], here).T @ g + penalty
            g = g @ hook("back", layer, W.T, here)  # (N, H) @ (H, D) -> (N, D)
        grads = {key: np.array(value.real) for key, value in grads.items()}
        return cost, hook("grads", 0, grads, {"params": params})


def through_bn(here, eps, gamma=True, mean=True, variance=True, root=None, n=None):
    """Return the gradient through batch normalisation, or a mutilated one."""
    g, hat = here["g"], here["hat"]
    n = n or len(g)
    g = g * here["gamma"] if gamma else g
    out = g - mean * g.sum(axis=0) / n - variance * hat * (g * hat).sum(axis=0) / n
    return out / (np.sqrt(here["var"] + eps) if root is None else root)


@dataclass(frozen=True)
class Mutant:
    """A mistake.

    Attributes
    ----------
    name : str
    plant : callable
        ``plant(model) -> hook``.
    origin : callable
        ``origin(model) -> set`` of the arrays where the mistake enters.
    layers : range
        Where it may be planted.
    batch_norm : tuple of str
    causes : tuple of str
        Identifiers of the causes that name it; empty where the place is all that can be said.
    """

    name: str
    plant: Callable
    origin: Callable
    layers: range = range(1, DEPTH + 1)
    batch_norm: tuple[str, ...] = ("none", "hidden", "all")
    causes: tuple[str, ...] = ()


def arrays_of(model: Model, layer: int) -> set[str]:
    return {key for key in model.network.shapes() if key.endswith(str(layer))}


def one(*kinds: str):
    return lambda model: {f"{kind}{model.layer}" for kind in kinds}


def every(*kinds: str):
    return lambda model: {key for key in model.network.shapes() if key[:-1] in kinds}


def at_layer(model: Model) -> set[str]:
    return arrays_of(model, model.layer)


def below(model: Model) -> set[str]:
    return arrays_of(model, model.layer - 1)


def at_top(model: Model) -> set[str]:
    return arrays_of(model, model.network.depth)


def normalised_below(model: Model) -> set[str]:
    return {f"W{model.layer}"}


def at(point: str, change: Callable, everywhere: bool = False) -> Callable:
    """Plant ``change(value, here, model)`` at a point of one layer, or of every layer."""

    def plant(model: Model):
        def hook(where, layer, value, here):
            if where == point and (everywhere or layer == model.layer):
                return change(value, here, model)
            return value

        return hook

    return plant


def on(kind: str, change: Callable, everywhere: bool = False) -> Callable:
    """Plant ``change(grad, param, model)`` in a finished gradient of one layer, or of all."""

    def plant(model: Model):
        def hook(point, _layer, value, here):
            if point != "grads":
                return value
            keys = every(kind)(model) if everywhere else {f"{kind}{model.layer}"}
            return {
                key: change(grad, here["params"][key].real, model) if key in keys else grad
                for key, grad in value.items()
            }

        return hook

    return plant


def exchanged(first: Callable, second: Callable) -> Callable:
    """Plant an exchange of two finished gradients."""

    def plant(model: Model):
        def hook(point, _layer, value, _here):
            if point == "grads":
                a, b = first(model), second(model)
                value[a], value[b] = value[b], value[a]
            return value

        return hook

    return plant


def one_entry(grad, _param, _model):
    grad = grad.copy()
    at = np.unravel_index(np.argsort(-np.abs(grad), axis=None)[grad.size // 4], grad.shape)
    grad[at] *= 1.5
    return grad


def first_zero(grad, _param, _model):
    grad = grad.copy()
    grad.flat[int(np.argmax(np.abs(grad)))] = 0
    return grad


def clipped(grad, _param, _model):
    limit = np.sort(np.abs(grad), axis=None)[grad.size // 2]
    return np.clip(grad, -limit, limit)


def without_last_row(grad, _param, _model):
    grad = grad.copy()
    grad[int(np.argmax(np.abs(grad).sum(axis=1)))] = 0
    return grad


def without_a_sample(value, _here, _model):
    return np.delete(value, int(np.argmax(np.abs(value).sum(axis=1))), axis=0)


def other_hidden(model: Model) -> int:
    return model.layer % (DEPTH - 1) + 1


def stale_input(value, _here, model):
    # Activations kept from before an update: those of slightly other parameters.
    old = {
        key: array + 0.02 * np.random.default_rng(7).standard_normal(array.shape)
        for key, array in _here["params"].items()
    }
    return model.forward(old)[1][model.layer]["x"] if model.layer > 1 else value[::-1]


def stale_weights(value, _here, _model):
    return value + 0.02 * np.random.default_rng(7).standard_normal(value.shape)


BN = ("hidden", "all")
SQUARE = range(2, DEPTH)  # W2 and W3 are WIDTH x WIDTH

MUTANTS = (
    Mutant("gamma and beta swapped",
           exchanged(lambda m: f"gamma{m.layer}", lambda m: f"beta{m.layer}"),
           one("gamma", "beta"), HIDDEN, BN, ("swapped",)),
    Mutant("W of two layers swapped", exchanged(lambda m: "W2", lambda m: "W3"),
           lambda m: {"W2", "W3"}, causes=("swapped",)),
    Mutant("b of two layers swapped", exchanged(lambda m: "b1", lambda m: "b3"),
           lambda m: {"b1", "b3"}, batch_norm=("none",), causes=("swapped",)),
    Mutant("factor 2 missing in L2", at("penalty", lambda v, h, m: v / 2, True), every("W"),
           causes=("l2-half",)),
    Mutant("factor 2 missing in L2, one layer", at("penalty", lambda v, h, m: v / 2), one("W"),
           causes=("l2-half",)),
    Mutant("L2 missing", at("penalty", lambda v, h, m: 0 * v, True), every("W"),
           causes=("l2-missing",)),
    Mutant("L2 missing, one layer", at("penalty", lambda v, h, m: 0 * v), one("W"),
           causes=("l2-missing",)),
    Mutant("L2 added twice", at("penalty", lambda v, h, m: 2 * v, True), every("W"),
           causes=("l2-double",)),
    Mutant("sign of L2", at("penalty", lambda v, h, m: -v), one("W"), causes=("l2-sign",)),
    Mutant("L2 divided by n", at("penalty", lambda v, h, m: v / len(m.labels), True), every("W"),
           causes=("l2-over-n",)),
    Mutant("L1 in place of L2", at("penalty", lambda v, h, m: m.l2 * np.sign(v.real), True),
           every("W"),
           causes=("l2-sign",)),
    Mutant("L2 of another layer's W",
           at("penalty", lambda v, h, m: 2 * m.l2 * h["params"][f"W{5 - m.layer}"]),
           one("W"), SQUARE, causes=("l2-other",)),
    Mutant("L2 on biases", on("b", lambda g, p, m: g + 2 * m.l2 * p, True), every("b"),
           batch_norm=("none",), causes=("l2-extra",)),
    Mutant("L2 on gamma", on("gamma", lambda g, p, m: g + 2 * m.l2 * p, True), every("gamma"),
           batch_norm=BN, causes=("l2-extra",)),
    Mutant("L2 on beta", on("beta", lambda g, p, m: g + 2 * m.l2 * p, True), every("beta"),
           batch_norm=BN, causes=("l2-extra",)),
    Mutant("1/n missing", at("logits", lambda v, h, m: v * len(m.labels), True), at_top,
           causes=("factor", "factor-data")),
    Mutant("1/n twice", at("logits", lambda v, h, m: v / len(m.labels), True), at_top,
           causes=("factor", "factor-data")),
    Mutant("1/n missing in one b", on("b", lambda g, p, m: g * len(m.labels)), one("b"),
           batch_norm=("none",), causes=("factor",)),
    Mutant("sign of beta", on("beta", lambda g, p, m: -g), one("beta"), HIDDEN, BN, ("factor",)),
    Mutant("one element of W off", on("W", one_entry), one("W"), causes=("entry",)),
    Mutant("one element of gamma zero", on("gamma", first_zero), one("gamma"), HIDDEN, BN,
           ("entry",)),
    Mutant("W off by 0.01 %", on("W", lambda g, p, m: g * 1.0001), one("W"), causes=("factor",)),
    Mutant("gamma off by 0.01 %", on("gamma", lambda g, p, m: g * 1.0001), one("gamma"), HIDDEN, BN,
           ("factor",)),
    Mutant("W forgotten (zero)", on("W", lambda g, p, m: 0 * g), one("W"), causes=("zero",)),
    Mutant("b forgotten (zero)", on("b", lambda g, p, m: 0 * g), one("b"), batch_norm=("none",),
           causes=("zero",)),
    Mutant("b off by a constant", on("b", lambda g, p, m: g + 1e-3), one("b"), batch_norm=("none",),
           causes=("offset",)),
    Mutant("W clipped", on("W", clipped), one("W"), causes=("clipped",)),
    Mutant("W transposed in the gradient", on("W", lambda g, p, m: g.T), one("W"), SQUARE,
           causes=("transposed",)),
    Mutant("W reshaped in the other order",
           on("W", lambda g, p, m: g.ravel().reshape(g.shape, order="F")), one("W"), range(1, 2),
           causes=("reshaped",)),
    Mutant("rows of W shifted by one", on("W", lambda g, p, m: np.roll(g, 1, axis=0)), one("W"),
           causes=("shifted",)),
    Mutant("a row of W left out", on("W", without_last_row), one("W"), causes=("lines",)),
    Mutant("a sample left out of b", at("b", without_a_sample), one("b"),
           batch_norm=("none",)),
    Mutant("W transposed on the way back", at("back", lambda v, h, m: v.T), below, SQUARE,
           causes=("weights-transposed",)),
    Mutant("stale W on the way back", at("back", stale_weights), below, range(2, DEPTH + 1)),
    Mutant("stale activations", at("input", stale_input), one("W")),
    Mutant("activations before the ReLU", at("input", lambda v, h, m: h["linear"]), one("W"),
           range(2, DEPTH + 1), causes=("input-linear",)),
    Mutant("another layer's input",
           at("input", lambda v, h, m: m.kept[m.layer % (DEPTH - 1) + 2]["x"]), one("W"),
           range(2, DEPTH + 1), causes=("input-other",)),
    Mutant("mask of another layer",
           at("mask", lambda v, h, m: m.kept[other_hidden(m)]["z"].real > 0),
           at_layer, HIDDEN, causes=("mask-other",)),
    Mutant("mask missing", at("mask", lambda v, h, m: np.ones_like(v)), at_layer, HIDDEN,
           causes=("mask-missing",)),
    Mutant("mask inverted", at("mask", lambda v, h, m: ~v), at_layer, HIDDEN,
           causes=("mask-inverted",)),
    Mutant("mask from before BN", at("mask", lambda v, h, m: h["s"].real > 0), at_layer, HIDDEN, BN,
           ("mask-before-bn",)),
    Mutant("gamma's gradient from after gamma, beta", at("hat", lambda v, h, m: h["z"]),
           one("gamma"),
           HIDDEN, BN, ("gamma-shifted",)),
    Mutant("BN: sd + eps",
           at("bn", lambda v, h, m: through_bn(h, 0, root=np.sqrt(h["var"]) + m.network.eps)),
           normalised_below, HIDDEN, BN, ("bn-eps",)),
    Mutant("BN: eps left out", at("bn", lambda v, h, m: through_bn(h, 0)), normalised_below,
           HIDDEN, BN,
           ("bn-no-eps",)),
    Mutant("BN: mean term missing",
           at("bn", lambda v, h, m: through_bn(h, m.network.eps, mean=False)),
           normalised_below, HIDDEN, BN, ("bn-mean",)),
    Mutant("BN: variance term missing",
           at("bn", lambda v, h, m: through_bn(h, m.network.eps, variance=False)),
           normalised_below, HIDDEN, BN, ("bn-variance",)),
    Mutant("BN: statistics taken as constants",
           at("bn", lambda v, h, m: through_bn(h, m.network.eps, mean=False, variance=False), True),
           lambda m: {f"W{DEPTH if m.network.batch_norm == 'all' else DEPTH - 1}"}, HIDDEN, BN,
           ("bn-statistics",)),
    Mutant("BN: n - 1 for n", at("bn", lambda v, h, m: through_bn(h, m.network.eps, n=len(v) - 1)),
           normalised_below, HIDDEN, BN, ("bn-unbiased",)),
    Mutant("BN: gamma missing", at("bn", lambda v, h, m: through_bn(h, m.network.eps, gamma=False)),
           normalised_below, HIDDEN, BN, ("bn-gamma",)),
    Mutant("BN: skipped on the way back", at("bn", lambda v, h, m: h["g"]), normalised_below,
           HIDDEN, BN,
           ("bn-skipped",)),
    Mutant("labels not subtracted", at("onehot", lambda v, h, m: 0 * v, True), at_top,
           causes=("labels-missing",)),
    Mutant("labels shifted by a sample", at("onehot", lambda v, h, m: np.roll(v, 1, axis=0), True),
           lambda m: at_top(m) - {f"b{DEPTH}", f"beta{DEPTH}"}, causes=("labels-shifted",)),
)  # fmt: skip


def build(mutant: Mutant | None, seed: int) -> tuple[Model, dict[str, np.ndarray]]:
    """Return a model with the mistake planted (or a correct one), and its parameters."""
    index = 0 if mutant is None else 1 + MUTANTS.index(mutant)
    rng = np.random.default_rng([seed, index])
    norm = str(rng.choice(("none", "hidden", "all") if mutant is None else mutant.batch_norm))
    # A larger eps than klayer's own 1e-8: mistakes about eps must be above the rounding.
    network = Network(6, (WIDTH,) * (DEPTH - 1), 4, batch_norm=norm, eps=1e-5)
    samples = int(rng.integers(8, 21))
    model = Model(
        network,
        x=rng.standard_normal((samples, 6)),
        labels=rng.integers(4, size=samples),
        l2=float(rng.uniform(0.01, 0.2)),
        layer=int(rng.choice(HIDDEN if mutant is None else mutant.layers)),
        rng=rng,
    )
    params = generic_params(network, seed=1000 * index + seed)
    if mutant is not None:
        model.hook = mutant.plant(model)
    return model, {key: value[0] for key, value in params.items()}


def check(model: Model, params, method: str) -> Check:
    """Check a model as anyone's function, with everything told that a user can tell."""
    return check_gradients(
        model,
        params,
        method=method,
        samples=len(model.labels),
        l2=model.l2,
        reference=Reference(model.network, model.x, model.labels, model.l2),
    )


@dataclass
class Tally:
    """Counts of one mutant under one method."""

    runs: int = 0
    found: int = 0
    place: int = 0
    cause: int = 0


def run(seeds: int, methods=("complex", "central"), mutants=MUTANTS) -> dict[str, dict[str, Tally]]:
    """Return the tallies: mutant -> method -> counts."""
    tallies = {}
    for mutant in mutants:
        tallies[mutant.name] = {method: Tally() for method in methods}
        for seed in range(seeds):
            for method in methods:
                model, params = build(mutant, seed)
                result = check(model, params, method)
                tally = tallies[mutant.name][method]
                tally.runs += 1
                tally.found += result.verdict == "wrong"
                tally.place += set(result.origin) == mutant.origin(model)
                named = {cause.kind for cause in result.causes[:2]}
                tally.cause += bool(named & set(mutant.causes))
    return tallies


def rates(tallies, method: str) -> tuple[float, float, float]:
    """Return the fractions found, placed, and named (of those mutants that have a name)."""
    counts = {name: one[method] for name, one in tallies.items()}
    named = [counts[mutant.name] for mutant in MUTANTS if mutant.causes and mutant.name in counts]
    runs = sum(one.runs for one in counts.values())
    return (
        sum(one.found for one in counts.values()) / runs,
        sum(one.place for one in counts.values()) / runs,
        sum(one.cause for one in named) / sum(one.runs for one in named),
    )


def markdown(tallies) -> str:
    """Return the table."""
    methods = list(next(iter(tallies.values())))
    runs = next(iter(tallies.values()))[methods[0]].runs
    heads = [f"{method}: {what}" for method in methods for what in ("found", "place", "cause")]
    lines = [
        f"{len(tallies)} mutants, {runs} seeds each; counts of {runs}.",
        "",
        f"| mutant | {' | '.join(heads)} |",
        f"|---|{'---:|' * len(heads)}",
    ]
    for mutant in MUTANTS:
        if mutant.name in tallies:
            cells = []
            for method in methods:
                tally = tallies[mutant.name][method]
                cause = str(tally.cause) if mutant.causes else "-"
                cells += [str(tally.found), str(tally.place), cause]
            lines.append(f"| {mutant.name} | {' | '.join(cells)} |")
    total = [f"{rate:.1%}" for method in methods for rate in rates(tallies, method)]
    lines.append(f"| **all** | {' | '.join(total)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", default="", help="mutants whose name holds this text")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    options = parser.parse_args()
    start = time.perf_counter()
    tallies = run(options.seeds, mutants=[one for one in MUTANTS if options.only in one.name])
    table = markdown(tallies)
    print(table)
    print(f"{time.perf_counter() - start:.0f} s")
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    (found, place, _), (found_central, _, _) = rates(tallies, "complex"), rates(tallies, "central")
    return 0 if found == 1 and found_central >= 0.95 and place >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
