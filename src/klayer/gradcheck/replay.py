"""Hypotheses about a whole network: known mistakes of backpropagation, replayed and compared.

Where the checker knows the network (:class:`Reference`), it computes the gradient that each mistake
would give, in one layer or in all, and looks whether that is the gradient it was handed. A match to
rounding names the mistake. Written apart from :mod:`klayer.nn`, in the plainest form, for one
network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from klayer.gradcheck.result import Cause
from klayer.nn import Network

__all__ = ["MISTAKES", "Reference", "replay"]

Params = dict[str, NDArray]

# id -> (what is said of the layer or layers, which layers can have it)
MISTAKES = {
    "bn-mean": ("the mean's term is missing in the gradient through normalisation", "bn"),
    "bn-variance": ("the variance's term is missing in the gradient through normalisation", "bn"),
    "bn-statistics": (
        "mean and variance are treated as constants in the gradient through normalisation",
        "bn",
    ),
    "bn-eps": ("sd + eps stands for sqrt(var + eps) in the gradient through normalisation", "bn"),
    "bn-no-eps": ("eps is left out in the gradient through normalisation", "bn"),
    "bn-unbiased": ("n - 1 stands for n in the gradient through normalisation", "bn"),
    "bn-gamma": ("the factor gamma is missing in the gradient through normalisation", "bn"),
    "bn-sd": ("the division by the standard deviation is missing in the gradient", "bn"),
    "bn-skipped": ("the gradient passes the normalisation as if it weren't there", "bn"),
    "gamma-shifted": ("gamma's gradient uses the normalised values after gamma and beta", "bn"),
    "mask-missing": ("the activation's mask is missing on the way back", "hidden"),
    "mask-before-bn": ("the mask is taken from the values before normalisation", "hidden-bn"),
    "mask-other": ("the mask of another layer is used", "hidden"),
    "mask-inverted": ("the mask is inverted: it passes where the activation is zero", "hidden"),
    "weights-transposed": ("W is used on the way back where its transpose belongs", "square"),
    "input-linear": ("W's gradient uses the layer's input before the activation", "not-first"),
    "input-other": ("W's gradient uses the input of another layer", "not-first"),
    "labels-missing": ("the labels are not subtracted from the probabilities", "last"),
    "labels-shifted": ("the labels are shifted against the samples by one", "last"),
}


@dataclass(frozen=True)
class Reference:
    """What a cost is known to be: a klayer network on a batch.

    Parameters
    ----------
    network : Network
    x : array, shape (N, D)
    labels : int array, shape (N,)
    l2 : float
        The penalty's strength, lambda, in ``lambda * sum ||W||^2``.
    """

    network: Network
    x: NDArray
    labels: NDArray
    l2: float = 0.0

    def fits(self, params: Params) -> bool:
        """Whether parameters have this network's keys and shapes."""
        return {name: value.shape for name, value in params.items()} == self.network.shapes()


def replay(reference: Reference, params: Params, analytic: Params) -> list[Cause]:
    """Return the mistakes whose gradient is the analytic one to rounding.

    Parameters
    ----------
    reference : Reference
    params : dict of array, without population axis
    analytic : dict of array, the gradient of the whole cost
    """
    network = reference.network
    kept = _forward(reference, params)
    correct = _backward(reference, params, kept)
    # What the mistake makes structurally zero is rounding: no array is smaller than this.
    least = 1e-10 * max(float(np.linalg.norm(value)) for value in correct.values())

    def distance(first: Params, second: Params, name: str) -> float:
        a, b = first[name], second[name]
        size = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)), least)
        return float(np.linalg.norm(a - b)) / size if size > 0 else 0.0

    off = {name for name in correct if distance(analytic, correct, name) > 1e-10}
    found = []
    for mistake, layers, other in _candidates(network):
        with np.errstate(all="ignore"):  # a mistake may divide by nothing
            wrong = _backward(reference, params, kept, mistake, layers, other)
        if not all(np.isfinite(value).all() for value in wrong.values()):
            continue
        touched = [name for name in correct if distance(wrong, correct, name) > 1e-10]
        if not touched or not off & set(touched):
            continue
        left = max(distance(analytic, wrong, name) for name in correct)
        size = max(distance(wrong, correct, name) for name in touched)
        if left <= 1e-4 * size:
            where = f"layer {layers[0]}" if len(layers) == 1 else "every layer that has it"
            detail = f" (that of layer {other})" if other else ""
            text = f"{where}: {MISTAKES[mistake][0]}{detail}."
            found.append(Cause(mistake, tuple(touched), text, left / size))
    # The same gradient by one layer or by "all" of one layer, or by two roads: one is enough each.
    return sorted(found, key=lambda cause: (len(cause.arrays), cause.remainder))[:2]


def _candidates(network: Network) -> Iterator[tuple[str, tuple[int, ...], int]]:
    k = network.depth
    w = network.widths
    every = range(1, k + 1)
    groups = {
        "bn": [one for one in every if network.normalises(one)],
        "hidden": list(range(1, k)),
        "hidden-bn": [one for one in range(1, k) if network.normalises(one)],
        "square": [one for one in range(2, k + 1) if w[one - 1] == w[one]],
        "not-first": list(range(2, k + 1)),
        "last": [k],
    }
    for mistake, (_, group) in MISTAKES.items():
        layers = groups[group]
        if mistake == "mask-other":
            pairs = [(one, b) for one in layers for b in layers if b != one and w[one] == w[b]]
        elif mistake == "input-other":
            pairs = [
                (one, b) for one in layers for b in every if b != one and w[one - 1] == w[b - 1]
            ]
        else:
            pairs = [(one, 0) for one in layers]
            if len(layers) > 1:
                yield mistake, tuple(layers), 0
        for one, other in pairs:
            yield mistake, (one,), other


def _forward(reference: Reference, params: Params) -> dict[int, dict[str, NDArray]]:
    network, x = reference.network, np.asarray(reference.x, np.float64)
    kept: dict[int, dict[str, NDArray]] = {}
    linear = x
    for layer in range(1, network.depth + 1):
        s = x @ params[f"W{layer}"]  # (N, D) @ (D, H) -> (N, H)
        here = {"x": x, "linear": linear, "s": s}
        if network.normalises(layer):
            here["mean"], here["var"] = s.mean(axis=0), s.var(axis=0)
            here["hat"] = (s - here["mean"]) / np.sqrt(here["var"] + network.bn_eps)
            z = params[f"gamma{layer}"] * here["hat"] + params[f"beta{layer}"]
        else:
            z = s + params[f"b{layer}"]
        here["z"] = linear = z
        x = np.maximum(z, 0)
        kept[layer] = here
    return kept


def _backward(reference, params, kept, mistake="", layers=(), other=0) -> Params:
    network, labels = reference.network, reference.labels
    n, k = len(labels), network.depth
    logits = kept[k]["z"]
    g = np.exp(logits - logits.max(axis=1, keepdims=True))
    g /= g.sum(axis=1, keepdims=True)
    onehot = np.eye(network.n_classes)[labels]
    if mistake == "labels-missing":
        onehot = 0 * onehot
    elif mistake == "labels-shifted":
        onehot = np.roll(onehot, 1, axis=0)
    g = (g - onehot) / n
    grads: Params = {}
    for layer in range(k, 0, -1):
        here, fault = kept[layer], mistake if layer in layers else ""
        if layer < k:
            g = g * _mask(kept, layer, fault, other)
        if network.normalises(layer):
            hat = here["z"] if fault == "gamma-shifted" else here["hat"]
            grads[f"gamma{layer}"] = (g * hat).sum(axis=0)
            grads[f"beta{layer}"] = g.sum(axis=0)
            g = _through_bn(g, here, params[f"gamma{layer}"], network.bn_eps, fault)
        else:
            grads[f"b{layer}"] = g.sum(axis=0)
        W = params[f"W{layer}"]
        x = here["linear"] if fault == "input-linear" else here["x"]
        if fault == "input-other":
            x = kept[other]["x"]
        grads[f"W{layer}"] = x.T @ g + 2 * reference.l2 * W  # (D, N) @ (N, H) -> (D, H)
        g = g @ (W if fault == "weights-transposed" else W.T)  # (N, H) @ (H, D) -> (N, D)
    return grads


def _mask(kept, layer: int, fault: str, other: int) -> NDArray:
    if fault == "mask-missing":
        return np.ones_like(kept[layer]["z"])
    if fault == "mask-before-bn":
        return kept[layer]["s"] > 0
    if fault == "mask-other":
        return kept[other]["z"] > 0
    return (kept[layer]["z"] > 0) != (fault == "mask-inverted")


def _through_bn(g: NDArray, here, gamma: NDArray, eps: float, fault: str) -> NDArray:
    hat, var, n = here["hat"], here["var"], len(g)
    if fault == "bn-skipped":
        return g
    if fault != "bn-gamma":
        g = g * gamma
    mean_term, var_term = g.mean(axis=0), hat * (g * hat).mean(axis=0)
    if fault in ("bn-mean", "bn-statistics"):
        mean_term = 0
    if fault in ("bn-variance", "bn-statistics"):
        var_term = 0
    if fault == "bn-unbiased" and n > 1:
        mean_term, var_term = mean_term * n / (n - 1), var_term * n / (n - 1)
    sd = np.sqrt(var + eps)
    if fault == "bn-eps":
        sd = np.sqrt(var) + eps
    elif fault == "bn-no-eps":
        sd = np.sqrt(np.maximum(var, 1e-300))
    elif fault == "bn-sd":
        sd = 1.0
    return (g - mean_term - var_term) / sd
