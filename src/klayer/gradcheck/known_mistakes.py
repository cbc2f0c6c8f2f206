"""Known mistakes of backpropagation, each written once, and the plain backward pass they change.

Where the checker knows the network (:class:`Reference`), it computes the gradient that each mistake
would give, in one layer or in all, and looks whether that is the gradient it was handed. A match to
rounding names the mistake. The reference is written apart from :mod:`klayer.nn`, in the plainest
form, for one ReLU network; the benchmark of the checker plants the same mistakes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from klayer.gradcheck.objective import Array, Params
from klayer.gradcheck.result import Cause
from klayer.nn import Network

__all__ = [
    "MISTAKES",
    "Layer",
    "Mistake",
    "Planted",
    "Reference",
    "find_known",
    "layers_where",
    "plantings",
]


@dataclass(frozen=True)
class Layer:
    """The values of a layer in a forward pass."""

    x: Array  # (N, D), the layer's input
    below: Array  # (N, D), the same before the activation
    s: Array  # (N, H), the product with W
    hat: Array  # (N, H), normalised
    z: Array  # (N, H), what the activation gets
    var: Array  # (H,), of s
    W: Array  # (D, H)
    gamma: Array | float  # (H,), or 1.0
    eps: float

    def through_bn(
        self,
        g: Array,
        gamma: float | None = None,
        mean: float = 1,
        variance: float = 1,
        sd: Array | float | None = None,
        n: int | None = None,
    ) -> Array:
        """Return a gradient through the normalisation, with each part as it is or as given."""
        n = len(g) if n is None else n
        g = g * (self.gamma if gamma is None else gamma)
        out = g - mean * g.sum(axis=0) / n - variance * self.hat * (g * self.hat).sum(axis=0) / n
        return np.asarray(out / (np.sqrt(self.var + self.eps) if sd is None else sd))


@dataclass(frozen=True)
class Mistake:
    """A mistake: one row of the list."""

    kind: str  # its identifier
    text: str  # what is said of the layer or layers
    where: str  # which layers can have it, for layers_where
    # Which value of the backward pass is wrong: labels, logits (the loss's gradient), mask, hat (in
    # gamma's gradient), bn (the gradient through normalisation), bias, input (in W's gradient) or
    # back (W on the way down).
    point: str
    # wrong(right, layer, g): what stands there for the right value, where the gradient g arrives.
    wrong: Callable[[Array, Layer, Array], Array]
    # partner(network, layer, other): whether the layer can be mistaken for the other, whose values
    # are then given to wrong.
    partner: Callable[[Network, int, int], bool] | None = None

    def others(self, network: Network, layer: int) -> list[int]:
        """Return the layers that can be mistaken for a layer; 0 if none takes part."""
        if self.partner is None:
            return [0]
        every = range(1, network.depth + 1)
        return [one for one in every if one != layer and self.partner(network, layer, one)]


@dataclass(frozen=True)
class Planted:
    """A mistake in some layers, with the other layer that takes part (or 0)."""

    mistake: Mistake
    layers: tuple[int, ...]
    other: int = 0


def layers_where(network: Network, where: str) -> tuple[int, ...]:
    """Return the layers of a network of which all words of ``where`` hold.

    Examples
    --------
    >>> layers_where(Network(4, (5, 5), 3, batch_norm="hidden"), "hidden bn")
    (1, 2)
    """
    last, w = network.depth, network.widths
    holds: dict[str, Callable[[int], bool]] = {
        "any": lambda _: True,
        "bn": network.normalises,
        "bias": lambda layer: not network.normalises(layer),
        "first": lambda layer: layer == 1,
        "not-first": lambda layer: layer > 1,
        "hidden": lambda layer: layer < last,
        "last": lambda layer: layer == last,
        "square": lambda layer: w[layer - 1] == w[layer],
    }
    every = range(1, last + 1)
    return tuple(one for one in every if all(holds[word](one) for word in where.split()))


def _same_units(net: Network, layer: int, other: int) -> bool:
    return other < net.depth and net.widths[layer] == net.widths[other]


def _same_inputs(net: Network, layer: int, other: int) -> bool:
    return net.widths[layer - 1] == net.widths[other - 1]


_THROUGH = "in the gradient through normalisation"

MISTAKES = {
    one.kind: one
    for one in (
        Mistake("bn-mean", f"the mean's term is missing {_THROUGH}",
                "bn", "bn", lambda _, at, g: at.through_bn(g, mean=0)),
        Mistake("bn-variance", f"the variance's term is missing {_THROUGH}",
                "bn", "bn", lambda _, at, g: at.through_bn(g, variance=0)),
        Mistake("bn-statistics", f"mean and variance are treated as constants {_THROUGH}",
                "bn", "bn", lambda _, at, g: at.through_bn(g, mean=0, variance=0)),
        Mistake("bn-eps", f"sd + eps stands for sqrt(var + eps) {_THROUGH}",
                "bn", "bn", lambda _, at, g: at.through_bn(g, sd=np.sqrt(at.var) + at.eps)),
        Mistake("bn-no-eps", f"eps is left out {_THROUGH}",
                "bn", "bn", lambda _, at, g: at.through_bn(g, sd=np.sqrt(at.var))),
        Mistake("bn-unbiased", f"n - 1 stands for n {_THROUGH}",
                "bn", "bn", lambda _, at, g: at.through_bn(g, n=len(g) - 1)),
        Mistake("bn-gamma", f"the factor gamma is missing {_THROUGH}",
                "bn", "bn", lambda _, at, g: at.through_bn(g, gamma=1)),
        Mistake("bn-sd", "the division by the standard deviation is missing in the gradient",
                "bn", "bn", lambda _, at, g: at.through_bn(g, sd=1)),
        Mistake("bn-skipped", "the gradient passes the normalisation as if it weren't there",
                "bn", "bn", lambda _, __, g: g),
        Mistake("gamma-shifted", "gamma's gradient uses the normalised values after gamma and beta",
                "bn", "hat", lambda _, at, __: at.z),
        Mistake("mask-missing", "the activation's mask is missing on the way back",
                "hidden", "mask", lambda right, *_: np.ones_like(right)),
        Mistake("mask-before-bn", "the mask is taken from the values before normalisation",
                "hidden bn", "mask", lambda _, at, __: at.s.real > 0),
        Mistake("mask-other", "the mask of another layer is used",
                "hidden", "mask", lambda _, at, __: at.z.real > 0, _same_units),
        Mistake("mask-inverted", "the mask is inverted: it passes where the activation is zero",
                "hidden", "mask", lambda right, *_: ~right),
        Mistake("weights-transposed", "W is used on the way back where its transpose belongs",
                "not-first square", "back", lambda right, *_: right.T),
        Mistake("input-linear", "W's gradient uses the layer's input before the activation",
                "not-first", "input", lambda _, at, __: at.below),
        Mistake("input-other", "W's gradient uses the input of another layer",
                "not-first", "input", lambda _, at, __: at.x, _same_inputs),
        Mistake("labels-missing", "the labels are not subtracted from the probabilities",
                "last", "labels", lambda right, *_: 0 * right),
        Mistake("labels-shifted", "the labels are shifted against the samples by one",
                "last", "labels", lambda right, *_: np.roll(right, 1, axis=0)),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """What a cost is known to be: a klayer network on a batch.

    The parameters that are checked may have other names, if their layers stand in the same order and
    hold the same kinds of arrays; weights may be laid out as (out, in), biases as (1, n) or (n, 1).

    Parameters
    ----------
    network : Network
    x : array, shape (N, D)
    labels : int array, shape (N,)
    l2 : float
        The penalty's strength, lambda, in ``lambda * sum ||W||^2``.
    """

    network: Network
    x: Array
    labels: Array
    l2: float = 0.0

    @property
    def replays(self) -> bool:
        """Whether mistakes can be replayed for such a network: ReLU, softmax, nothing else."""
        network = self.network
        plain = Network(
            network.n_features,
            network.hidden,
            network.n_classes,
            network.batch_norm,
            network.bn_eps,
        )
        return network == plain

    def forward(self, params: Params) -> dict[int, Layer]:
        """Return what a backward pass needs, layer by layer; complex-safe."""
        single = params["W1"].dtype == np.float32
        network, x = self.network, np.asarray(self.x, np.float32 if single else np.float64)
        layers: dict[int, Layer] = {}
        below = x
        for layer in range(1, network.depth + 1):
            W = params[f"W{layer}"]
            s = x @ W  # (N, D) @ (D, H) -> (N, H)
            gamma, hat, var = params.get(f"gamma{layer}", 1.0), s, np.ones(1)
            if network.normalises(layer):
                centred = s - s.mean(axis=0)
                var = (centred * centred).mean(axis=0)
                hat = centred / np.sqrt(var + network.bn_eps)
                z = gamma * hat + params[f"beta{layer}"]
            else:
                z = s + params[f"b{layer}"]
            layers[layer] = Layer(x, below, s, hat, z, var, W, gamma, network.bn_eps)
            x, below = z * (z.real > 0), z
        return layers

    def cost(self, params: Params) -> complex:
        """Return the mean cross-entropy and the penalty; complex-safe."""
        layers, k = self.forward(params), self.network.depth
        of_labels = _log_softmax(layers[k].z)[np.arange(len(self.labels)), self.labels]
        weights = [params[f"W{layer}"] for layer in range(1, k + 1)]
        cost: complex = -of_labels.mean() + self.l2 * sum((W * W).sum() for W in weights)
        return cost

    def gradient(self, layers: dict[int, Layer], planted: Planted | None = None) -> Params:
        """Return the gradient of the cost after a forward pass, or what a mistake makes of it."""
        network, k = self.network, self.network.depth

        def put(point: str, layer: int, right: Array, g: Array) -> Array:
            if planted and planted.mistake.point == point and layer in planted.layers:
                return planted.mistake.wrong(right, layers[planted.other or layer], g)
            return right

        g = np.exp(_log_softmax(layers[k].z))
        onehot = put("labels", k, np.eye(network.n_classes)[self.labels], g)
        g = put("logits", k, (g - onehot) / len(g), g)
        grads: Params = {}
        for layer in range(k, 0, -1):
            at = layers[layer]
            if layer < k:
                g = g * put("mask", layer, at.z.real > 0, g)
            if network.normalises(layer):
                grads[f"gamma{layer}"] = (g * put("hat", layer, at.hat, g)).sum(axis=0)
                grads[f"beta{layer}"] = g.sum(axis=0)
                g = put("bn", layer, at.through_bn(g), g)
            else:
                grads[f"b{layer}"] = put("bias", layer, g, g).sum(axis=0)
            x = put("input", layer, at.x, g)
            grads[f"W{layer}"] = x.T @ g + 2 * self.l2 * at.W  # (D, N) @ (N, H) -> (D, H)
            g = g @ put("back", layer, at.W, g).T  # (N, H) @ (H, D) -> (N, D)
        return grads


def plantings(network: Network) -> Iterator[Planted]:
    """Yield every mistake in every place: in all layers that can have it at once, and in each."""
    for mistake in MISTAKES.values():
        layers = layers_where(network, mistake.where)
        if mistake.partner is None and len(layers) > 1:
            yield Planted(mistake, layers)
        for layer in layers:
            for other in mistake.others(network, layer):
                yield Planted(mistake, (layer,), other)


def find_known(reference: Reference, params: Params, analytic: Params) -> list[Cause]:
    """Return the mistakes whose gradient of the whole cost is the analytic one to rounding.

    Both mappings are of one network, without an axis for the population.
    """
    layers = reference.forward(params)
    correct = reference.gradient(layers)
    # What the mistake makes structurally zero is rounding: no array is smaller than this.
    least = 1e-10 * max(float(np.linalg.norm(value)) for value in correct.values())

    def distance(first: Params, second: Params, name: str) -> float:
        a, b = first[name], second[name]
        size = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)), least)
        return float(np.linalg.norm(a - b)) / size if size > 0 else 0.0

    off = {name for name in correct if distance(analytic, correct, name) > 1e-10}
    found = []
    for planted in plantings(reference.network):
        with np.errstate(all="ignore"):  # a mistake may divide by nothing
            wrong = reference.gradient(layers, planted)
        if not all(np.isfinite(value).all() for value in wrong.values()):
            continue
        if any(distance(analytic, wrong, name) > 2e-4 for name in correct):
            continue  # the first array tells, as a rule: no distance exceeds 2
        touched = [name for name in correct if distance(wrong, correct, name) > 1e-10]
        if not touched or not off & set(touched):
            continue
        left = max(distance(analytic, wrong, name) for name in correct)
        size = max(distance(wrong, correct, name) for name in touched)
        if left <= 1e-4 * size:
            one = len(planted.layers) == 1
            where = f"layer {planted.layers[0]}" if one else "every layer that has it"
            detail = f" (that of layer {planted.other})" if planted.other else ""
            text = f"{where}: {planted.mistake.text}{detail}."
            found.append(Cause(planted.mistake.kind, tuple(touched), text, left / size))
    # The same gradient by one layer or by "all" of one layer, or by two roads: one is enough each.
    return sorted(found, key=lambda cause: (len(cause.arrays), cause.remainder))[:2]


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
