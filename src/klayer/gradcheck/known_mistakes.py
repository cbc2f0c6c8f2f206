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

__all__ = ["MISTAKES", "Here", "Mistake", "Planted", "Reference", "find_known", "plantings"]


@dataclass
class Layer:
    """What the forward pass keeps of a layer, each (N, H) but ``x``, (N, D), and ``var``, (H,).

    ``below`` is the input before the activation, ``s`` the product with W, ``hat`` its normalised
    values, ``z`` what the activation gets.
    """

    x: Array
    below: Array
    s: Array
    z: Array
    hat: Array
    var: Array


@dataclass
class Here:
    """A point of the backward pass, for the formula of a mistake.

    Attributes
    ----------
    value : array
        What is right at this point.
    g : array, shape (N, H)
        The gradient of the layer's values there.
    layer : int
    params : dict of array
    layers : dict of int -> Layer
        All layers' values.
    reference : Reference
    other : int
        The other layer that takes part, if one does.
    """

    value: Array
    g: Array
    layer: int
    params: Params
    layers: dict[int, Layer]
    reference: Reference
    other: int = 0

    @property
    def kept(self) -> Layer:
        """The values of the layer itself."""
        return self.layers[self.layer]

    def through_bn(
        self,
        gamma: Array | float | None = None,
        mean: float = 1,
        variance: float = 1,
        sd: Array | float | None = None,
        n: int | None = None,
    ) -> Array:
        """Return the gradient through the normalisation, with each part as it is or as given."""
        kept, n = self.kept, len(self.g) if n is None else n
        g = self.g * (self.params[f"gamma{self.layer}"] if gamma is None else gamma)
        out = g - mean * g.sum(axis=0) / n - variance * kept.hat * (g * kept.hat).sum(axis=0) / n
        sd = np.sqrt(kept.var + self.reference.network.eps) if sd is None else sd
        return np.asarray(out / sd)


@dataclass(frozen=True)
class Mistake:
    """A mistake: one row of the list.

    Attributes
    ----------
    kind : str
        Its identifier.
    text : str
        What is said of the layer or layers.
    where : str
        Which layers can have it: a key of the table below.
    point : str
        Which value of the backward pass is wrong: ``labels``, ``logits`` (the loss's gradient),
        ``mask``, ``hat`` (in gamma's gradient), ``bn`` (the gradient through normalisation),
        ``bias``, ``penalty``, ``input`` (in W's gradient) or ``back`` (the way down).
    wrong : callable
        ``wrong(here) -> array`` in its place.
    partner : callable, optional
        ``partner(network, layer, other)``: whether the other layer can take part, if one does.
    """

    kind: str
    text: str
    where: str
    point: str
    wrong: Callable[[Here], Array]
    partner: Callable[[Network, int, int], bool] | None = None

    def layers(self, network: Network) -> tuple[int, ...]:
        """Return the layers of a network that can have it."""
        possible = _WHERE[self.where]
        return tuple(one for one in range(1, network.depth + 1) if possible(network, one))


@dataclass(frozen=True)
class Planted:
    """A mistake in some layers, with the other layer that takes part (or 0)."""

    mistake: Mistake
    layers: tuple[int, ...]
    other: int = 0


# Which layers of a network can have a mistake.
_WHERE: dict[str, Callable[[Network, int], bool]] = {
    "bn": lambda net, layer: net.normalises(layer),
    "hidden": lambda net, layer: layer < net.depth,
    "hidden-bn": lambda net, layer: layer < net.depth and net.normalises(layer),
    "square": lambda net, layer: layer > 1 and net.widths[layer - 1] == net.widths[layer],
    "not-first": lambda _, layer: layer > 1,
    "last": lambda net, layer: layer == net.depth,
}


def _same_units(net: Network, layer: int, other: int) -> bool:
    return other < net.depth and net.widths[layer] == net.widths[other]


def _same_inputs(net: Network, layer: int, other: int) -> bool:
    return net.widths[layer - 1] == net.widths[other - 1]


_THROUGH = "in the gradient through normalisation"

MISTAKES = {
    one.kind: one
    for one in (
        Mistake("bn-mean", f"the mean's term is missing {_THROUGH}",
                "bn", "bn", lambda at: at.through_bn(mean=0)),
        Mistake("bn-variance", f"the variance's term is missing {_THROUGH}",
                "bn", "bn", lambda at: at.through_bn(variance=0)),
        Mistake("bn-statistics", f"mean and variance are treated as constants {_THROUGH}",
                "bn", "bn", lambda at: at.through_bn(mean=0, variance=0)),
        Mistake("bn-eps", f"sd + eps stands for sqrt(var + eps) {_THROUGH}",
                "bn", "bn",
                lambda at: at.through_bn(sd=np.sqrt(at.kept.var) + at.reference.network.eps)),
        Mistake("bn-no-eps", f"eps is left out {_THROUGH}",
                "bn", "bn", lambda at: at.through_bn(sd=np.sqrt(at.kept.var))),
        Mistake("bn-unbiased", f"n - 1 stands for n {_THROUGH}",
                "bn", "bn", lambda at: at.through_bn(n=len(at.g) - 1)),
        Mistake("bn-gamma", f"the factor gamma is missing {_THROUGH}",
                "bn", "bn", lambda at: at.through_bn(gamma=1)),
        Mistake("bn-sd", "the division by the standard deviation is missing in the gradient",
                "bn", "bn", lambda at: at.through_bn(sd=1)),
        Mistake("bn-skipped", "the gradient passes the normalisation as if it weren't there",
                "bn", "bn", lambda at: at.g),
        Mistake("gamma-shifted", "gamma's gradient uses the normalised values after gamma and beta",
                "bn", "hat", lambda at: at.kept.z),
        Mistake("mask-missing", "the activation's mask is missing on the way back",
                "hidden", "mask", lambda at: np.ones_like(at.value)),
        Mistake("mask-before-bn", "the mask is taken from the values before normalisation",
                "hidden-bn", "mask", lambda at: at.kept.s.real > 0),
        Mistake("mask-other", "the mask of another layer is used",
                "hidden", "mask", lambda at: at.layers[at.other].z.real > 0, _same_units),
        Mistake("mask-inverted", "the mask is inverted: it passes where the activation is zero",
                "hidden", "mask", lambda at: ~at.value),
        Mistake("weights-transposed", "W is used on the way back where its transpose belongs",
                "square", "back", lambda at: at.value.T),
        Mistake("input-linear", "W's gradient uses the layer's input before the activation",
                "not-first", "input", lambda at: at.kept.below),
        Mistake("input-other", "W's gradient uses the input of another layer",
                "not-first", "input", lambda at: at.layers[at.other].x, _same_inputs),
        Mistake("labels-missing", "the labels are not subtracted from the probabilities",
                "last", "labels", lambda at: 0 * at.value),
        Mistake("labels-shifted", "the labels are shifted against the samples by one",
                "last", "labels", lambda at: np.roll(at.value, 1, axis=0)),
    )
}  # fmt: skip


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
    x: Array
    labels: Array
    l2: float = 0.0

    def fits(self, params: Params) -> bool:
        """Whether parameters have this network's keys and shapes."""
        return {name: value.shape for name, value in params.items()} == self.network.shapes()

    def forward(self, params: Params) -> dict[int, Layer]:
        """Return what a backward pass needs, layer by layer; complex-safe."""
        network, x = self.network, np.asarray(self.x, np.float64)
        layers: dict[int, Layer] = {}
        below = x
        for layer in range(1, network.depth + 1):
            s = x @ params[f"W{layer}"]  # (N, D) @ (D, H) -> (N, H)
            centred = s - s.mean(axis=0)
            var = (centred * centred).mean(axis=0)
            hat = centred / np.sqrt(var + network.eps)
            if network.normalises(layer):
                z = params[f"gamma{layer}"] * hat + params[f"beta{layer}"]
            else:
                z = s + params[f"b{layer}"]
            layers[layer] = Layer(x, below, s, z, hat, var)
            x, below = z * (z.real > 0), z
        return layers

    def cost(self, params: Params) -> complex:
        """Return the mean cross-entropy and the penalty; complex-safe."""
        layers, k = self.forward(params), self.network.depth
        of_labels = _log_softmax(layers[k].z)[np.arange(len(self.labels)), self.labels]
        weights = [params[f"W{layer}"] for layer in range(1, k + 1)]
        cost: complex = -of_labels.mean() + self.l2 * sum((W * W).sum() for W in weights)
        return cost

    def gradient(
        self, params: Params, layers: dict[int, Layer], planted: Planted | None = None
    ) -> Params:
        """Return the gradient of the cost, or what a planted mistake makes of it."""
        network, k = self.network, self.network.depth

        def put(point: str, layer: int, value: Array, g: Array) -> Array:
            if planted and planted.mistake.point == point and layer in planted.layers:
                here = Here(value, g, layer, params, layers, self, planted.other)
                return planted.mistake.wrong(here)
            return value

        g = np.exp(_log_softmax(layers[k].z))
        onehot = put("labels", k, np.eye(network.n_classes)[self.labels], g)
        g = put("logits", k, (g - onehot) / len(g), g)
        grads: Params = {}
        for layer in range(k, 0, -1):
            kept, W = layers[layer], params[f"W{layer}"]
            if layer < k:
                g = g * put("mask", layer, kept.z.real > 0, g)
            if network.normalises(layer):
                grads[f"gamma{layer}"] = (g * put("hat", layer, kept.hat, g)).sum(axis=0)
                grads[f"beta{layer}"] = g.sum(axis=0)
                right = Here(g, g, layer, params, layers, self).through_bn()
                g = put("bn", layer, right, g)
            else:
                grads[f"b{layer}"] = put("bias", layer, g, g).sum(axis=0)
            penalty = put("penalty", layer, 2 * self.l2 * W, g)
            # (D, N) @ (N, H) -> (D, H)
            grads[f"W{layer}"] = put("input", layer, kept.x, g).T @ g + penalty
            g = g @ put("back", layer, W.T, g)  # (N, H) @ (H, D) -> (N, D)
        return grads


def plantings(network: Network) -> Iterator[Planted]:
    """Yield every mistake in every place: in all layers that can have it at once, and in each."""
    for mistake in MISTAKES.values():
        layers = mistake.layers(network)
        if mistake.partner is not None:
            for layer in layers:
                for other in range(1, network.depth + 1):
                    if other != layer and mistake.partner(network, layer, other):
                        yield Planted(mistake, (layer,), other)
            continue
        if len(layers) > 1:
            yield Planted(mistake, layers)
        for layer in layers:
            yield Planted(mistake, (layer,))


def find_known(reference: Reference, params: Params, analytic: Params) -> list[Cause]:
    """Return the mistakes whose gradient is the analytic one to rounding.

    Parameters
    ----------
    reference : Reference
    params : dict of array, without population axis
    analytic : dict of array, the gradient of the whole cost
    """
    layers = reference.forward(params)
    correct = reference.gradient(params, layers)
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
            wrong = reference.gradient(params, layers, planted)
        if not all(np.isfinite(value).all() for value in wrong.values()):
            continue
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
