"""Plant mistakes in networks of other makes; count those found, placed, named, and named falsely.

    python benchmarks/gradcheck_strangers.py --seeds 3 --output strangers.md

Four networks in plain NumPy, none of them klayer's: nested lists with tanh and squares; batch
normalisation, leaky ReLU and lambda / 2; columns as samples, (out, in) weights, (n, 1) biases and
sigmoids; an autoencoder that uses its weights twice. Each mistake is planted in float64 and float32, at
start-up (biases 0, gamma 1) and at a generic point, and checked by ``auto`` and ``central``. ``place``:
the arrays named as the origin are those where the mistake enters. ``cause``: one of the first two causes
is of a kind that names it. ``false``: a cause that is not so, held against the right gradient. Exit
status 1 if one is false, or the promised rates are missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from klayer.gradcheck import Cause, Check, check_gradients

SETTINGS = [
    (dtype, start, method)
    for dtype in ("float64", "float32")
    for start in ("start-up", "generic")
    for method in ("auto", "central")
]


@dataclass(frozen=True)
class Mistake:
    """A mistake in a stranger's network.

    Attributes
    ----------
    name, model : str
    origin : tuple of str
        The arrays where it enters.
    kinds : tuple of str
        The causes that name it; empty where the place is all that can be said.
    """

    name: str
    model: str
    origin: tuple[str, ...]
    kinds: tuple[str, ...] = ()


def nested(rng, dtype, generic):
    """tanh, mean squares over samples and outputs; a list of dictionaries."""
    n, sizes = 10, (6, 5, 4, 3)
    x, y = _cast(dtype, rng.standard_normal((n, 6)), rng.standard_normal((n, 3)))
    params = [
        {"W": rng.standard_normal((a, b)) / a**0.5, "b": generic * 0.2 * rng.standard_normal(b)}
        for a, b in pairwise(sizes)
    ]

    def function(params, wrong=""):
        p = [{k: _lower(v, dtype) for k, v in layer.items()} for layer in params]
        h, z = [x], []
        for i, layer in enumerate(p):
            z.append(h[-1] @ layer["W"] + layer["b"])
            h.append(np.tanh(z[-1]) if i < 2 else z[-1])
        r = h[-1] - y
        loss = (r * r).mean()
        g = 2 * r / r.size
        g = {"K": g * 3, "2": g / 2, "n": g * n}.get(wrong.removeprefix("scale-"), g)
        grads = [{}, {}, {}]
        for i in (2, 1, 0):
            below = np.roll(h[i], 1, axis=0) if (wrong, i) == ("shifted-input", 1) else h[i]
            grads[i]["W"] = below.T @ g
            grads[i]["b"] = g.sum(axis=0)
            if (wrong, i) == ("mean-b", 1):
                grads[i]["b"] = g.mean(axis=0)
            if (wrong, i) == ("first-sample", 2):
                grads[i]["b"] = g[0]
            g = g @ (p[i]["W"].T * (0.9 if (wrong, i) == ("stale-W", 2) else 1))
            slope = 1 - h[i] ** 2
            if i == 2 and wrong == "no-slope":
                slope = 1
            if i == 2 and wrong == "slope-of-z":
                slope = 1 - z[1] ** 2
            g = g * slope
        return loss, [{k: v.real for k, v in layer.items()} for layer in grads]

    return function, params, {"samples": n}


def normalised(rng, dtype, generic):
    """Batch normalisation, leaky ReLU, softmax, lambda / 2 ||W||^2; gradients called dW1."""
    n, lam = 12, 0.1
    x, labels = _cast(dtype, rng.standard_normal((n, 6)))[0], rng.integers(3, size=n)
    params = {
        "W1": rng.standard_normal((6, 5)) / 6**0.5,
        "gamma1": 1 + generic * 0.3 * rng.standard_normal(5),
        "beta1": generic * 0.3 * rng.standard_normal(5),
        "W2": rng.standard_normal((5, 5)) / 5**0.5,
        "b2": generic * 0.3 * rng.standard_normal(5),
        "W3": rng.standard_normal((5, 3)) / 5**0.5,
        "b3": generic * 0.3 * rng.standard_normal(3),
    }

    def function(params, wrong=""):
        p = {k: _lower(v, dtype) for k, v in params.items()}
        s = x @ p["W1"]
        c = s - s.mean(axis=0)
        inv = 1 / np.sqrt((c * c).mean(axis=0) + 1e-3)
        hat = c * inv
        z1 = p["gamma1"] * hat + p["beta1"]
        h1 = z1 * np.where(z1.real > 0, 1, 0.1)
        z2 = h1 @ p["W2"] + p["b2"]
        h2 = z2 * np.where(z2.real > 0, 1, 0.1)
        logits = h2 @ p["W3"] + p["b3"]
        logits = logits - logits.real.max(axis=1, keepdims=True)
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        loss = -log_probs[np.arange(n), labels].mean()
        loss = loss + lam / 2 * sum((p[k] ** 2).sum() for k in ("W1", "W2", "W3"))
        g = (np.exp(log_probs) - np.eye(3)[labels].astype(dtype)) / n
        grads = {"W3": h2.T @ g, "b3": g.sum(axis=0)}
        slope = 0.01 if wrong == "slope-of-layer-2" else 0.1
        g = (g @ p["W3"].T) * np.where(z2.real > 0, 1, slope)
        grads |= {"W2": h1.T @ g, "b2": g.sum(axis=0)}
        slope = 1 if wrong == "no-mask" else 0.1
        g = (g @ (p["W2"] if wrong == "no-transpose" else p["W2"].T)) * np.where(
            z1.real > 0, 1, slope
        )
        grads |= {"gamma1": (g * hat).sum(axis=0), "beta1": g.sum(axis=0)}
        g = g * (1 if wrong == "no-gamma" else p["gamma1"])
        mean = 0 if wrong == "no-mean-term" else g.mean(axis=0)
        variance = hat * (g * hat).mean(axis=0) * (0 if wrong == "no-variance-term" else 1)
        grads["W1"] = x.T @ (inv * (g - mean - variance))
        for key in ("W1", "W2", "W3"):
            times = {"lambda-2": 2, "no-penalty": 0, "penalty-sign": -1}.get(wrong, 1)
            grads[key] = grads[key] + times * lam * p[key]
        for key in ("gamma1", "b2"):
            if wrong == f"penalty-of-{key}":
                grads[key] = grads[key] + lam * p[key]
        if wrong == "swapped":
            grads["gamma1"], grads["beta1"] = grads["beta1"], grads["gamma1"]
        if wrong == "added-twice":
            grads["W3"] = 2 * grads["W3"]
        return loss, {f"d{k}": v.real for k, v in grads.items()}

    return function, params, {"samples": n, "l2": lam}


def columns(rng, dtype, generic):
    """Samples in columns, sigmoids, binary cross-entropy in bits or nats; (out, in) and (n, 1)."""
    n = 9
    x, t = _cast(dtype, rng.standard_normal((6, n)), rng.integers(2, size=(2, n)))
    params = {
        "W1": rng.standard_normal((4, 6)),
        "b1": generic * 0.3 * rng.standard_normal((4, 1)),
        "W2": rng.standard_normal((2, 4)),
        "b2": generic * 0.3 * rng.standard_normal((2, 1)),
    }

    def function(params, wrong=""):
        p = {k: _lower(v, dtype) for k, v in params.items()}
        h = 1 / (1 + np.exp(-(p["W1"] @ x + p["b1"])))
        q = 1 / (1 + np.exp(-(p["W2"] @ h + p["b2"])))
        loss = -(t * np.log(q) + (1 - t) * np.log(1 - q)).sum() / n
        bits = dtype(np.log(2)) if wrong == "bits" else dtype(1)
        loss = loss / bits
        g = (q - t) / n
        if wrong == "square-slope":
            g = g * q * (1 - q)
        grads = {"W2": g @ h.T, "b2": g.sum(axis=1, keepdims=True)}
        g = (p["W2"].T @ g) * h * ((1 - h) if wrong != "half-slope" else 1)
        grads |= {"W1": g @ x.T, "b1": g.sum(axis=1, keepdims=True)}
        grads = {k: v.real.copy() for k, v in grads.items()}
        if wrong == "last-row":
            grads["W1"][-1] = 0
        if wrong == "clipped":
            limit = np.sort(np.abs(grads["W1"]), axis=None)[12]
            grads["W1"] = np.clip(grads["W1"], -limit, limit)
        if wrong == "one-sign":
            grads["W2"][1, 2] *= -1
        if wrong == "mean-b1":
            grads["b1"] = grads["b1"] / n
        if wrong == "b2-is-ignored":
            grads["b2"] = 0 * grads["b2"]
        if wrong == "reversed":
            grads["W2"] = grads["W2"][:, ::-1]
        return loss, grads

    return function, params, {"samples": n}


def tied(rng, dtype, generic):
    """An autoencoder whose decoder is the encoder's transpose."""
    n = 8
    x = _cast(dtype, rng.standard_normal((n, 5)))[0]
    params = {
        "W": rng.standard_normal((5, 3)) / 5**0.5,
        "b": generic * 0.3 * rng.standard_normal(3),
        "c": generic * 0.3 * rng.standard_normal(5),
    }

    def function(params, wrong=""):
        p = {k: _lower(v, dtype) for k, v in params.items()}
        h = np.tanh(x @ p["W"] + p["b"])
        r = h @ p["W"].T + p["c"] - x
        loss = (r * r).sum() / n
        g = 2 * r / n
        back = (g @ p["W"]) * (1 - h * h)
        encoder, decoder = x.T @ back, g.T @ h
        grads = {"W": encoder + decoder, "b": back.sum(axis=0), "c": g.sum(axis=0)}
        if wrong == "second-use":
            grads["W"] = encoder
        if wrong == "first-use":
            grads["W"] = decoder
        if wrong == "c-in-float-sum":
            grads["c"] = g.sum(axis=0) + g[0]
        return loss, {k: v.real for k, v in grads.items()}

    return function, params, {"samples": n}


MODELS: dict[str, Callable] = {
    "nested": nested, "normalised": normalised, "columns": columns, "tied": tied,
}  # fmt: skip

_EVERY = ("0.W", "0.b", "1.W", "1.b", "2.W", "2.b")
MISTAKES = (
    Mistake("no-slope", "nested", ("1.W", "1.b")),
    Mistake("slope-of-z", "nested", ("1.W", "1.b")),
    Mistake("scale-K", "nested", ("2.W", "2.b"), ("factor",)),
    Mistake("scale-2", "nested", ("2.W", "2.b"), ("factor",)),
    Mistake("scale-n", "nested", ("2.W", "2.b"), ("factor",)),
    Mistake("shifted-input", "nested", ("1.W",)),
    Mistake("stale-W", "nested", ("1.W", "1.b"), ("factor",)),
    Mistake("mean-b", "nested", ("1.b",), ("factor",)),
    Mistake("first-sample", "nested", ("2.b",)),
    Mistake("slope-of-layer-2", "normalised", ("W2", "b2")),
    Mistake("no-mask", "normalised", ("gamma1", "beta1", "W1")),
    Mistake("no-transpose", "normalised", ("gamma1", "beta1", "W1")),
    Mistake("no-gamma", "normalised", ("W1",)),
    Mistake("no-mean-term", "normalised", ("W1",)),
    Mistake("no-variance-term", "normalised", ("W1",)),
    Mistake("lambda-2", "normalised", ("W1", "W2", "W3"), ("l2-convention",)),
    Mistake("no-penalty", "normalised", ("W1", "W2", "W3"), ("l2-half", "l2-convention")),
    Mistake("penalty-sign", "normalised", ("W1", "W2", "W3"), ("l2-missing", "l2-convention")),
    Mistake("penalty-of-gamma1", "normalised", ("gamma1",), ("l2-extra",)),
    Mistake("penalty-of-b2", "normalised", ("b2",), ("l2-extra",)),
    Mistake("swapped", "normalised", ("gamma1", "beta1"), ("swapped",)),
    Mistake("added-twice", "normalised", ("W3",), ("factor", "factor-data")),
    Mistake("bits", "columns", ("W2", "b2"), ("factor",)),
    Mistake("square-slope", "columns", ("W2", "b2")),
    Mistake("half-slope", "columns", ("W1", "b1")),
    Mistake("last-row", "columns", ("W1",), ("lines", "partly-zero")),
    Mistake("clipped", "columns", ("W1",), ("clipped",)),
    Mistake("one-sign", "columns", ("W2",), ("entry",)),
    Mistake("mean-b1", "columns", ("b1",), ("factor",)),
    Mistake("b2-is-ignored", "columns", ("b2",), ("zero",)),
    Mistake("reversed", "columns", ("W2",), ("reversed",)),
    Mistake("second-use", "tied", ("W",)),
    Mistake("first-use", "tied", ("W",)),
    Mistake("c-in-float-sum", "tied", ("c",)),
)  # fmt: skip


def _lower(value, dtype):
    return value if np.iscomplexobj(value) and dtype is np.float64 else value.astype(dtype)


def _cast(dtype, *arrays):
    return [one.astype(dtype) for one in arrays]


def check(mistake: Mistake | None, model: str, seed: int, setting) -> tuple[Check, dict, Callable]:
    """Check a network; return its parameters, and the same network in float64, too."""
    dtype, start, method = setting
    generic = float(start == "generic")

    def make(dtype):
        return MODELS[model](np.random.default_rng([seed, 91]), dtype, generic)

    function, params, known = make(np.dtype(dtype).type)
    name = "" if mistake is None else mistake.name
    result = check_gradients(lambda p: function(p, name), params, method=method, **known)
    return result, params, make(np.float64)[0]


def flat(tree) -> dict[str, np.ndarray]:
    """Return gradients by the checker's names."""
    from klayer.gradcheck.structure import flatten

    return {
        key[1:] if key[0] == "d" and key[1:2] in "Wgb" else key: np.asarray(value)
        for key, value in flatten(tree).items()
    }


def holds(cause: Cause, right: dict, found: dict, params: dict) -> bool:
    """Whether what a cause says of its arrays is so, by the right gradient in float64."""
    return cause.kind == "place" or all(
        _is_so(cause.kind, found[name], right[name], params[name],
               [value for key, value in right.items() if key != name])
        for name in cause.arrays
    )  # fmt: skip


def _is_so(kind, a, n, theta, others) -> bool:
    """Whether a is what a mistake of this kind makes of the right gradient n."""
    off = np.abs(a - n) > 1e-3 * np.abs(n).max()
    rules = {
        "factor": lambda: _proportional(a, n),
        "factor-data": lambda: _two_terms(a, n, theta),
        "zero": lambda: not a.any() and n.any(),
        "partly-zero": lambda: (a[off] == 0).all(),
        "swapped": lambda: any(one.shape == a.shape and _near(a, one) for one in others),
        "offset": lambda: np.ptp(a - n) <= 0.05 * np.abs(a - n).max(),
        "entry": lambda: off.sum() == 1,
        "few": lambda: 0 < off.sum() < off.size / 4,
        "lines": lambda: off.any(axis=1).sum() == 1 or off.any(axis=0).sum() == 1,
        "clipped": lambda: (np.abs(a) <= np.abs(n) * 1.01 + 1e-9).all(),
        "reversed": lambda: any(_near(np.flip(a, k), n) for k in range(a.ndim)),
        "shifted": lambda: any(_near(np.roll(a, s, k), n) for s in (1, -1) for k in range(a.ndim)),
        "transposed": lambda: _near(a.T, n),
        "absolute": lambda: _near(a, np.abs(n)),
        "no-dependence": lambda: np.abs(n).max() < 1e-9,
    }
    rules["copied"] = rules["swapped"]
    l2 = kind.startswith("l2")
    return bool(_proportional(a - n, theta) if l2 else kind in rules and rules[kind]())


def _near(a, b, slack=0.03) -> bool:
    return bool(np.linalg.norm(a - b) <= slack * max(np.linalg.norm(b), 1e-12))


def _proportional(a, b) -> bool:
    return _near(float((a * b).sum() / max((b * b).sum(), 1e-300)) * b, a)


def _two_terms(a, n, theta) -> bool:
    X = np.stack([a.ravel(), theta.ravel()], axis=1)
    left = n.ravel() - X @ np.linalg.lstsq(X, n.ravel(), rcond=None)[0]
    return bool(np.linalg.norm(left) <= 0.03 * np.linalg.norm(n))


def run(seeds: int, mistakes=MISTAKES, settings=SETTINGS) -> dict:
    """Return counts by setting, and a line for each miss."""
    counts: dict = {setting: Counter() for setting in settings}
    misses = []
    for mistake in mistakes:
        for setting in settings:
            for seed in range(seeds):
                result, params, exact = check(mistake, mistake.model, seed, setting)
                count = counts[setting]
                count["runs"] += 1
                count[result.verdict] += 1
                placed = set(result.origin) == set(mistake.origin)
                count["place"] += placed
                named = {cause.kind for cause in result.causes[:2]}
                count["nameable"] += bool(mistake.kinds)
                count["cause"] += bool(named & set(mistake.kinds))
                at = params if result.point == "given" else _second(params)
                right, found = flat(exact(at)[1]), flat(exact(at, mistake.name)[1])
                false = [one for one in result.causes if not holds(one, right, found, flat(at))]
                count["false"] += len(false)
                if result.verdict != "wrong" or not placed or false:
                    said = "; ".join(f"{one.kind}: {one.text}" for one in false)
                    misses.append(
                        f"{mistake.name} {' '.join(setting)} seed {seed}: {result.verdict}, at "
                        f"{', '.join(result.origin)} {said}"
                    )
    return {"counts": counts, "misses": misses}


def _second(params):
    """Return a generic point: what a cause says is so at any."""
    from klayer.gradcheck.structure import Structure, flatten

    rng = np.random.default_rng(3)
    leaves = {
        key: value + 0.1 * np.where(value == 0, 1, np.abs(value)) * rng.standard_normal(value.shape)
        for key, value in flatten(params).items()
    }
    return Structure(params).build(leaves)


def right_models(seeds: int) -> tuple[Counter, list[str]]:
    """Check the same networks without a mistake."""
    counts, alarms = Counter(), []
    for model in MODELS:
        for setting in SETTINGS:
            for seed in range(seeds):
                result = check(None, model, seed, setting)[0]
                counts[result.verdict] += 1
                if result.verdict == "wrong":
                    alarms.append(f"{model} {setting} seed {seed}")
    return counts, alarms


def markdown(found: dict, seeds: int) -> str:
    """Return the table."""
    lines = [
        f"{len(MISTAKES)} mistakes in {len(MODELS)} networks, {seeds} seeds each.",
        "",
        "| precision | point | method | runs | found | undecided | called right | place | cause | "
        "false causes |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for setting, count in found["counts"].items():
        cells = [*setting, count["runs"], count["wrong"], count["undecided"], count["right"]]
        cells += [count["place"], f"{count['cause']} of {count['nameable']}", count["false"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in found["misses"])]).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="mistakes whose name holds this text")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    options = parser.parse_args()
    start = time.perf_counter()
    found = run(options.seeds, [one for one in MISTAKES if options.only in one.name])
    counts, alarms = right_models(options.seeds)
    table = markdown(found, options.seeds)
    print(table)
    print(f"without a mistake: {dict(counts)}", *alarms, sep="\n")
    print(f"{time.perf_counter() - start:.0f} s")
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    total = sum(found["counts"].values(), Counter())
    good = total["wrong"] == total["runs"] and total["place"] >= 0.99 * total["runs"]
    return 0 if good and not total["false"] and not alarms else 1


if __name__ == "__main__":
    sys.exit(main())
