"""Plant known mistakes in a backward pass; count how many the gradient check finds and names.

    python benchmarks/gradcheck_mutants.py --seeds 20 --output mutants.md

Each mutant is a four-layer classifier in plain NumPy, handed to the checker as anyone's function,
with one mistake at a random layer: each of the checker's known mistakes of backpropagation, of its
factors and its penalties, and what else is listed here. ``found``: the verdict is "wrong".
``place``: the arrays named as the origin are exactly those where the mistake enters. ``cause``: the
first causes name the mistake itself, where it has a name. Exit status 1 if the promised rates are
missed.

    python benchmarks/gradcheck_mutants.py --seeds 3 --float32 --start-up

plants them in networks whose loss is computed in float32, and at start-up values: biases and beta 0,
gamma 1. What changes no gradient by a twentieth is left out of float32: rounding hides it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Products of 5 x 5 matrices: more than one BLAS thread only waits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from klayer.gradcheck import MISTAKES, Check, Reference, check_gradients, generic_params
from klayer.gradcheck.array_mistakes import PENALTIES
from klayer.gradcheck.factors import FACTORS
from klayer.gradcheck.known_mistakes import Mistake, Planted, layers_where
from klayer.nn import Network

DEPTH, WIDTH = 4, 5
# What is wrong there is wrong in every layer below.
ON_THE_WAY = {"labels", "targets", "logits", "drop", "mask", "bn", "back", "past"}


@dataclass(frozen=True)
class Mutant:
    """A mistake, planted in the backward pass or in the gradients that it returned.

    Attributes
    ----------
    name : str
    where : str
        Which layers can have it: see ``known_mistakes.layers_where``.
    plant : Mistake, or callable
        A mistake of the backward pass; or ``plant(grads, layer, params, model)``, which changes
        finished gradients of a layer in place.
    causes : tuple of str
        Identifiers of the causes that name it; empty where the place is all that can be said.
    everywhere : bool, or None
        In all layers that can have it, or in one; None: either, at random.
    """

    name: str
    where: str
    plant: Mistake | Callable
    causes: tuple[str, ...] = ()
    everywhere: bool | None = False


@dataclass
class Model:
    """A classifier with a mistake in some layers, or without one."""

    reference: Reference
    params: dict[str, np.ndarray]
    mutant: Mutant | None = None
    layers: tuple[int, ...] = ()
    other: int = 0
    single: bool = False  # float32
    start_up: bool = False

    def __call__(self, params):
        """Return the cost and its gradients, with the mistake."""
        return self.cost(params), self.gradients(params, self.mutant)

    def cost(self, params):
        """Return the cost alone."""
        if self.single:
            params = {name: value.astype(np.float32) for name, value in params.items()}
            return float(np.float32(self.reference.cost(params)))
        return self.reference.cost(params)

    def start(self):
        """Return where it is checked."""
        if not self.start_up:
            return self.params
        plain = {"b": 0.0, "beta": 0.0, "gamma": 1.0}
        return {
            name: np.full_like(value, plain.get(name.rstrip("0123456789"), np.nan))
            if name[0] != "W"
            else value
            for name, value in self.params.items()
        }

    def shows(self):
        """Whether some gradient changes by a twentieth of its array's largest."""
        right = self.gradients(self.params, None)
        return any(
            np.abs(grad - right[name]).max() > 0.05 * np.abs(right[name]).max()
            for name, grad in self.gradients(self.params, self.mutant).items()
        )

    def gradients(self, params, mutant: Mutant | None):
        """Return the gradients, with a mistake or without."""
        planted, layers = None, self.reference.forward(params)
        if mutant is not None and isinstance(mutant.plant, Mistake):
            planted = Planted(mutant.plant, self.layers, self.other)
            grads = self.reference.gradient(layers, planted.among(layers))
        else:
            grads = self.reference.gradient(layers)
        grads = {name: np.array(grad.real) for name, grad in grads.items()}
        if mutant is not None and planted is None:
            for layer in self.layers:
                mutant.plant(grads, layer, {k: v.real for k, v in params.items()}, self)
        return grads

    def origin(self) -> set[str]:
        """Return where the mistake enters: the arrays that it changes, without those below."""
        right = self.gradients(self.params, None)
        off = {
            name
            for name, grad in self.gradients(self.params, self.mutant).items()
            if np.abs(grad - right[name]).max() > 1e-11 * np.abs(right[name]).max()
        }
        if isinstance(self.mutant.plant, Mistake) and self.mutant.plant.point in ON_THE_WAY:
            top = max((name[-1] for name in off), default="")
            off = {name for name in off if name[-1] == top}
        return off


def gradient_of(kind: str, change: Callable) -> Callable:
    """Plant ``change(grad, param, model)`` in the finished gradients of one kind of array."""

    def plant(grads, layer, params, model):
        key = f"{kind}{layer}"
        grads[key] = change(grads[key], params[key], model)

    return plant


def exchange(first: Callable, second: Callable) -> Callable:
    """Plant an exchange of the gradients ``first(layer)`` and ``second(layer)``."""

    def plant(grads, layer, _params, _model):
        a, b = first(layer), second(layer)
        grads[a], grads[b] = grads[b], grads[a]

    return plant


def penalty_of_another(grads, layer, params, model):
    own, other = params[f"W{layer}"], params[f"W{5 - layer}"]
    grads[f"W{layer}"] += 2 * model.reference.l2 * (other - own)


def one_entry(grad, _param, _model):
    grad = grad.copy()
    grad.flat[grad.size // 2] *= 1.5  # always the same: what moves with the point may be a kink
    return grad


def one_zero(grad, _param, _model):
    grad = grad.copy()
    grad.flat[grad.size // 2] = 0
    return grad


def clipped(grad, _param, _model):
    limit = np.sort(np.abs(grad), axis=None)[grad.size // 2]
    return np.clip(grad, -limit, limit)


def without_last_row(grad, _param, _model):
    grad = grad.copy()
    grad[-1] = 0
    return grad


def without_a_sample(right, *_):
    return right[:-1]


def stale(right, *_):
    # Kept from before an update: slightly other values.
    return right + 0.02 * np.random.default_rng(7).standard_normal(right.shape)


def in_pass(name: str, where: str, point: str, wrong: Callable, *causes: str) -> Mutant:
    """Return a mutant of the backward pass that is none of the known mistakes."""
    return Mutant(name, where, Mistake(name, name, where, point, wrong), causes)


def of_penalty(times: Callable, kind: str, text: str, everywhere: bool) -> Mutant:
    """Return a mutant of W's gradient, with so many times the right penalty's gradient in it."""

    def change(grad, param, model):
        factor = times(len(model.reference.labels))
        return grad + 2 * (factor - 1) * model.reference.l2 * param

    name = text.format(arrays="all W" if everywhere else "one W", n="n").rstrip(".")
    return Mutant(name, "any", gradient_of("W", change), (kind,), everywhere)


def of_factor(times: Callable, text: str) -> Mutant:
    """Return a mutant of W's gradient, so many times the right one."""

    def change(grad, _param, model):
        return grad * times(len(model.reference.labels))

    name = f"one W is {text.format(n='n')}"
    return Mutant(name, "any", gradient_of("W", change), ("factor",))


MUTANTS = (
    Mutant("gamma and beta swapped", "hidden bn",
           exchange(lambda k: f"gamma{k}", lambda k: f"beta{k}"), ("swapped",)),
    Mutant("W of two layers swapped", "first", exchange(lambda _: "W2", lambda _: "W3"),
           ("swapped",)),
    Mutant("b of two layers swapped", "first bias", exchange(lambda _: "b1", lambda _: "b3"),
           ("swapped",)),
    *(
        Mutant(kind, one.where, one, (kind,), None if one.partner is None else False)
        for kind, one in MISTAKES.items()
    ),
    *(of_penalty(*row[1:], everywhere) for row in PENALTIES for everywhere in (True, False)),
    *(of_factor(*row[1:]) for row in FACTORS),
    Mutant("L1 in place of L2", "any",
           gradient_of("W", lambda g, p, m: g + m.reference.l2 * (np.sign(p) - 2 * p)),
           ("l2-sign",), True),
    Mutant("L2 of another layer's W", "not-first square", penalty_of_another, ("l2-other",)),
    *(
        Mutant(f"L2 on {kind}", where,
               gradient_of(kind, lambda g, p, m: g + 2 * m.reference.l2 * p), ("l2-extra",), True)
        for kind, where in (("b", "bias"), ("gamma", "bn"), ("beta", "bn"))
    ),
    in_pass("1/n missing", "last", "logits", lambda v, *_: v * len(v), "factor", "factor-data"),
    in_pass("1/n twice", "last", "logits", lambda v, *_: v / len(v), "factor", "factor-data"),
    Mutant("1/n missing in one b", "bias",
           gradient_of("b", lambda g, _p, m: g * len(m.reference.labels)), ("factor",)),
    Mutant("sign of beta", "hidden bn", gradient_of("beta", lambda g, _p, _m: -g), ("factor",)),
    Mutant("one element of W off", "any", gradient_of("W", one_entry), ("entry",)),
    Mutant("one element of gamma zero", "hidden bn", gradient_of("gamma", one_zero), ("entry",)),
    Mutant("W off by 0.01 %", "any", gradient_of("W", lambda g, _p, _m: g * 1.0001), ("factor",)),
    Mutant("gamma off by 0.01 %", "hidden bn", gradient_of("gamma", lambda g, _p, _m: g * 1.0001),
           ("factor",)),
    Mutant("W forgotten (zero)", "any", gradient_of("W", lambda g, _p, _m: 0 * g), ("zero",)),
    Mutant("b forgotten (zero)", "bias", gradient_of("b", lambda g, _p, _m: 0 * g), ("zero",)),
    Mutant("b off by a constant", "bias", gradient_of("b", lambda g, _p, _m: g + 1e-3),
           ("offset",)),
    Mutant("W clipped", "any", gradient_of("W", clipped), ("clipped",)),
    Mutant("W transposed in the gradient", "not-first square",
           gradient_of("W", lambda g, _p, _m: g.T), ("transposed",)),
    Mutant("W reshaped in the other order", "first",
           gradient_of("W", lambda g, _p, _m: g.ravel().reshape(g.shape, order="F")),
           ("reshaped",)),
    Mutant("rows of W shifted by one", "any",
           gradient_of("W", lambda g, _p, _m: np.roll(g, 1, axis=0)), ("shifted",)),
    Mutant("a row of W left out", "any", gradient_of("W", without_last_row), ("lines",)),
    in_pass("a sample left out of b", "bias", "bias", without_a_sample),
    in_pass("stale W on the way back", "not-first", "back", stale),
    in_pass("stale activations", "any", "input", stale),
)  # fmt: skip


PLAIN = [{"batch_norm": norm} for norm in ("none", "hidden", "all")]
SMOOTHED = "softmax_cross_entropy"
OTHERS = [
    *({"activation": name} for name in ("leaky_relu", "tanh", "gelu", "gelu_tanh", "silu", "selu")),
    {"layer_norm": "hidden"},
    {"layer_norm": "hidden", "activation": "tanh"},
    {"drops_hidden": True},
    {"noisy_inputs": True},
    {"skip": "equal"},
    {"skip": "equal", "activation": "tanh"},
    *({"loss": name} for name in ("squared", "absolute", "huber", "binary_cross_entropy")),
    {"loss": "quantile", "quantiles": (0.2, 0.7)},
]


def networks(table: list[dict]) -> list[Network]:
    """Return networks with these pieces, of one shape.

    With a larger eps than klayer's own 1e-8: mistakes about eps must be above the rounding.
    """
    return [Network(6, (WIDTH,) * (DEPTH - 1), 4, bn_eps=1e-5, **pieces) for pieces in table]


def labels_for(network: Network, samples: int, rng) -> np.ndarray:
    """Draw labels as the network's loss takes them."""
    if network.task == "classification":
        return rng.integers(4, size=samples)
    labels = rng.standard_normal((samples, 4))
    return labels if network.task == "regression" else (labels > 0).astype(float)


def build(mutant: Mutant | None, seed: int, single: bool = False, start_up: bool = False) -> Model:
    """Return a model with the mistake planted, or a correct one."""
    index = 0 if mutant is None else 1 + MUTANTS.index(mutant)
    rng = np.random.default_rng([seed, index])
    where = "any" if mutant is None else mutant.where
    # ReLU and softmax, unless the mistake is one of another piece or loss.
    possible = [one for one in networks(PLAIN) if layers_where(one, where)]
    possible = possible or [one for one in networks(OTHERS) if layers_where(one, where)]
    network = possible[rng.integers(len(possible))]
    samples = int(rng.integers(8, 21))
    reference = Reference(
        network,
        x=rng.standard_normal((samples, 6)),
        labels=labels_for(network, samples, rng),
        l2=float(rng.uniform(0.01, 0.2)),
        numbers={"smoothing": 0.2 if where.endswith(SMOOTHED) else 0.0, "huber_delta": 0.3},
        masks={
            layer: (rng.random((samples, WIDTH)) < 0.7) / 0.7
            for layer in range(1, DEPTH)
            if network.drops_hidden
        },
        noise=0.3 * rng.standard_normal((samples, 6)) if network.noisy_inputs else 0.0,
    )
    params = {k: v[0] for k, v in generic_params(network, seed=1000 * index + seed).items()}
    if mutant is None:
        return Model(reference, params, single=single, start_up=start_up)
    layers = layers_where(network, where)
    one = int(rng.choice(layers))
    either = bool(rng.random() < 0.5) if mutant.everywhere is None else mutant.everywhere
    others = mutant.plant.others(network, one) if isinstance(mutant.plant, Mistake) else [0]
    where = layers if either else (one,)
    model = Model(reference, params, mutant, where, int(rng.choice(others)), single, start_up)
    # Of a gradient of dead units, which is zero, half and twice are the same: take another model.
    return model if model.origin() else build(mutant, seed + 1000, single, start_up)


def check(model: Model, method: str) -> Check:
    """Check a model as anyone's function, with everything told that a user can tell."""
    reference = model.reference
    return check_gradients(
        model,
        model.start(),
        loss=model.cost,
        method=method,
        samples=len(reference.labels),
        l2=reference.l2,
        reference=reference,
    )


@dataclass
class Tally:
    """Counts of one mutant under one method."""

    runs: int = 0
    found: int = 0
    place: int = 0
    cause: int = 0


def run(
    seeds: int, methods=("complex", "central"), mutants=MUTANTS, single=False, start_up=False
) -> dict[str, dict[str, Tally]]:
    """Return the tallies: mutant -> method -> counts."""
    tallies = {}
    for mutant in mutants:
        tallies[mutant.name] = {method: Tally() for method in methods}
        for seed in range(seeds):
            for method in methods:
                model = build(mutant, seed, single, start_up)
                if single and not model.shows():
                    continue
                result = check(model, method)
                tally = tallies[mutant.name][method]
                tally.runs += 1
                tally.found += result.verdict == "wrong"
                tally.place += set(result.origin) == model.origin()
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
        sum(one.cause for one in named) / max(1, sum(one.runs for one in named)),
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
    parser.add_argument("--float32", action="store_true", help="losses in float32")
    parser.add_argument("--start-up", action="store_true", help="biases 0, gamma 1")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    options = parser.parse_args()
    start = time.perf_counter()
    tallies = run(
        options.seeds,
        methods=("auto" if options.float32 else "complex", "central"),
        mutants=[one for one in MUTANTS if options.only in one.name],
        single=options.float32,
        start_up=options.start_up,
    )
    table = markdown(tallies)
    print(table)
    print(f"{time.perf_counter() - start:.0f} s")
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    first = next(iter(tallies[next(iter(tallies))]))
    (found, place, _), (found_central, _, _) = rates(tallies, first), rates(tallies, "central")
    return 0 if found == 1 and found_central >= 0.95 and place >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
