"""What a cost is known to be: a klayer network in the plainest NumPy, written apart from `klayer.nn`.

Its backward pass has named points at which a known mistake may stand for the right value: the checker
replays them, and the benchmark of the checker plants them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from klayer.gradcheck.objective import Array, Params
from klayer.nn import NUMBERS, Network

__all__ = ["SLOPES", "Layer", "Plant", "Reference"]

_SELU = 1.0507009873554805, 1.6732632423543772
_ROOT_2_PI = math.sqrt(2 / math.pi)


def _erf(z: Array) -> Array:
    from scipy.special import erf

    return np.asarray(erf(z))


def _gate(z: Array) -> Array:
    """Sigmoid."""
    return np.asarray(1 / (1 + np.exp(-z)))


def _tanh_form(z: Array) -> Array:
    return np.asarray(np.tanh(_ROOT_2_PI * (z + 0.044715 * z**3)))


def _gelu_slope(z: Array) -> Array:
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return np.asarray(0.5 * (1 + _erf(z / np.sqrt(2))) + z * density)


def _gelu_tanh_slope(z: Array) -> Array:
    t = _tanh_form(z)
    inner = _ROOT_2_PI * (1 + 3 * 0.044715 * z * z)
    return np.asarray(0.5 * (1 + t) + 0.5 * z * (1 - t * t) * inner)


_VALUES: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda z: z * (z.real > 0),
    "leaky_relu": lambda z: np.where(z.real > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "gelu": lambda z: z * 0.5 * (1 + _erf(z / np.sqrt(2))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + _tanh_form(z)),
    "silu": lambda z: z * _gate(z),
    "selu": lambda z: (
        _SELU[0] * np.where(z.real > 0, z, _SELU[1] * (np.exp(np.where(z.real > 0, 0 * z, z)) - 1))
    ),
}
# The derivative of each activation; that of ReLU as truth values.
SLOPES: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda z: z.real > 0,
    "leaky_relu": lambda z: np.where(z.real > 0, 1.0, 0.01),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "gelu": _gelu_slope,
    "gelu_tanh": _gelu_tanh_slope,
    "silu": lambda z: _gate(z) * (1 + z * (1 - _gate(z))),
    "selu": lambda z: _SELU[0] * np.where(z.real > 0, 1.0, _SELU[1] * np.exp(np.minimum(z, 0))),
}


@dataclass(frozen=True)
class Layer:
    """The values of a layer in a forward pass."""

    x: Array  # (N, D), the layer's input
    below: Array  # (N, D), what the activation below it gets; of the first layer the unchanged rows
    s: Array  # (N, H), the product with W
    hat: Array  # (N, H), normalised
    z: Array  # (N, H), what the activation gets
    var: Array  # of what is normalised, (1, H) by the batch, (N, 1) by the layer
    W: Array  # (D, H)
    gamma: Array | float  # (H,), or 1.0
    eps: float
    axis: int  # along which it normalises: 0 over the samples, 1 over the units
    activation: str
    mask: Array | float  # what dropout multiplies by, (N, H), or 1.0
    targets: Array  # of the last layer: what the loss has for it, (N, K)
    numbers: Mapping[str, float]

    def through_bn(
        self,
        g: Array,
        gamma: float | None = None,
        mean: float = 1,
        variance: float = 1,
        sd: Array | float | None = None,
        n: int | None = None,
        axis: int | None = None,
    ) -> Array:
        """Return a gradient through the normalisation, with each part as it is or as given."""
        axis = self.axis if axis is None else axis
        n = g.shape[axis] if n is None else n
        g = g * (self.gamma if gamma is None else gamma)
        sums = [one.sum(axis=axis, keepdims=True) / n for one in (g, g * self.hat)]
        out = g - mean * sums[0] - variance * self.hat * sums[1]
        return np.asarray(out / (np.sqrt(self.var + self.eps) if sd is None else sd))

    def slope(self, at: Array | None = None) -> Array:
        """Return the activation's derivative, at ``z`` or elsewhere."""
        return np.asarray(SLOPES[self.activation](self.z if at is None else at))

    def value(self) -> Array:
        """Return the activation of ``z``."""
        return np.asarray(_VALUES[self.activation](self.z))


class Plant(Protocol):
    """What stands at a point of the backward pass for the right value of a layer."""

    def __call__(self, point: str, layer: int, right: Array, g: Array) -> Array: ...


def _nothing(point: str, layer: int, right: Array, g: Array) -> Array:  # noqa: ARG001
    return right


@dataclass(frozen=True)
class Reference:
    """What a cost is known to be: a klayer network on a batch.

    The parameters that are checked may have other names, if their layers stand in the same order and
    hold the same kinds of arrays; weights may be laid out as (out, in), biases as (1, n) or (n, 1).

    Parameters
    ----------
    network : Network
    x : array, shape (N, D)
    labels : array, (N,) or (N, K), as the network's loss takes them
    l2 : float
        The penalty's strength, lambda, in ``lambda * sum ||W||^2``.
    numbers : mapping of float, optional
        Those of the network that are no parameters: ``smoothing``, ``huber_delta``.
    masks : mapping of array, optional
        What dropout multiplies the outputs of each layer by, (N, H); layer 0 is the inputs.
    noise : array, shape (N, D), optional
        What is added to the inputs, before any of them is dropped.
    """

    network: Network
    x: Array
    labels: Array
    l2: float = 0.0
    numbers: Mapping[str, float] = field(default_factory=dict)
    masks: Mapping[int, Array] = field(default_factory=dict)
    noise: Array | float = 0.0

    def number(self, name: str) -> float:
        """Return a number of the network."""
        return float(self.numbers.get(name, NUMBERS[name]))

    def skips(self, layer: int) -> bool:
        """Whether a layer adds its input to its output."""
        network, w = self.network, self.network.widths
        hidden = 1 < layer < network.depth
        return hidden and network.skip == "equal" and w[layer - 1] == w[layer]

    def after(self, layer: int) -> bool:
        """Whether a layer normalises after its activation."""
        network = self.network
        hidden = layer < network.depth
        return hidden and network.normalises(layer) and network.bn_place == "after"

    def forward(self, params: Params) -> dict[int, Layer]:
        """Return what a backward pass needs, layer by layer; complex-safe."""
        network, single = self.network, params["W1"].dtype == np.float32
        below: Array = np.asarray(self.x, np.float32 if single else np.float64)
        x = (below + self.noise) * self.masks.get(0, 1.0)
        layers: dict[int, Layer] = {}
        targets = self._targets()
        for layer in range(1, network.depth + 1):
            hidden = layer < network.depth
            W = params[f"W{layer}"]
            s = x @ W + params.get(f"b{layer}", 0.0)  # (N, D) @ (D, H) -> (N, H)
            gamma, hat, var, z = params.get(f"gamma{layer}", 1.0), s, np.ones(1), s
            axis = 0 if network.normalises(layer) else 1
            normalises = f"gamma{layer}" in params
            name = network.activations[layer - 1] if hidden else ""
            if normalises and not self.after(layer):
                hat, var = _normalised(s, axis, network.bn_eps)
                z = gamma * hat + params[f"beta{layer}"]
            out = np.asarray(_VALUES[name](z)) if hidden else z
            if self.after(layer):
                hat, var = _normalised(out, axis, network.bn_eps)
                out = gamma * hat + params[f"beta{layer}"]
            mask = self.masks.get(layer, 1.0)
            layers[layer] = Layer(
                *(x, below, s, hat, z, var, W, gamma, network.bn_eps, axis, name, mask),
                *(targets, {name: self.number(name) for name in NUMBERS}),
            )
            x, below = out * mask + (x if self.skips(layer) else 0.0), z
        return layers

    def _targets(self) -> Array:
        """Return the labels against the outputs, (N, K)."""
        if self.network.task == "classification":
            return np.asarray(np.eye(self.network.n_classes)[self.labels])
        return np.repeat(self.labels, max(1, len(self.network.quantiles)), axis=1)

    def _loss(self, z: Array) -> tuple[Any, Array]:
        """Return the mean loss of outputs, and its derivative with the labels right."""
        y, network = self._targets(), self.network
        d = z - y
        if network.loss == "softmax_cross_entropy":
            target = self._smoothed(y)
            return -(target * _log_softmax(z)).sum() / len(z), self._softmax_slope(z, target)
        if network.loss == "binary_cross_entropy":
            folded = np.where(z.real > 0, -z, z)
            each = z * (z.real > 0) - y * z + np.log(1 + np.exp(folded))
            return each.mean(), (_gate(z) - y) / z.size
        if network.loss == "squared":
            return (d * d).mean(), 2 * d / z.size
        if network.loss == "huber":
            delta = self.number("huber_delta")
            c = np.where(abs(d.real) <= delta, d, delta * np.sign(d.real))
            return (c * (d - c / 2)).mean(), c / z.size
        if network.loss == "absolute":
            slope = np.sign(d.real)
        else:
            slope = (d.real > 0) - np.tile(network.quantiles, network.n_classes)
        return (d * slope).mean(), slope / z.size

    def _smoothed(self, onehot: Array) -> Array:
        smoothing = self.number("smoothing")
        return (1 - smoothing) * onehot + smoothing / self.network.n_classes

    @staticmethod
    def _softmax_slope(z: Array, target: Array) -> Array:
        return np.asarray((np.exp(_log_softmax(z)) - target) / len(z))

    def cost(self, params: Params) -> complex:
        """Return the mean loss and the penalty; complex-safe."""
        layers, k = self.forward(params), self.network.depth
        weights = [params[f"W{layer}"] for layer in range(1, k + 1)]
        cost: complex = self._loss(layers[k].z)[0] + self.l2 * sum((W * W).sum() for W in weights)
        return cost

    def gradient(self, layers: dict[int, Layer], put: Plant = _nothing) -> Params:
        """Return the gradient of the cost after a forward pass, or what a mistake makes of it.

        Parameters
        ----------
        layers : dict of Layer
        put : callable ``(point, layer, right, g)``, optional
            What stands at each point, where the gradient ``g`` arrives; by default the right value.
        """
        network, k = self.network, self.network.depth
        z = layers[k].z
        g = self._loss(z)[1]
        if network.task == "classification":
            onehot = put("labels", k, self._targets(), np.exp(_log_softmax(z)))
            target = put("targets", k, self._smoothed(onehot), onehot)
            g = self._softmax_slope(z, target)
        g = put("logits", k, g, g)
        grads: Params = {}
        for layer in range(k, 0, -1):
            at, past = layers[layer], np.zeros(1)
            normalises = f"gamma{layer}" in network.shapes()
            if self.skips(layer):
                past = put("past", layer, g, g)
            if layer < k:
                g = g * put("drop", layer, np.asarray(at.mask), g)
                if self.after(layer):
                    g = self._through(layer, at, g, put, grads)
                g = g * put("mask", layer, at.slope(), g)
            if normalises and not self.after(layer):
                g = self._through(layer, at, g, put, grads)
            if f"b{layer}" in network.shapes():
                grads[f"b{layer}"] = put("bias", layer, g, g).sum(axis=0)
            x = put("input", layer, at.x, g)
            grads[f"W{layer}"] = x.T @ g + 2 * self.l2 * at.W  # (D, N) @ (N, H) -> (D, H)
            g = g @ put("back", layer, at.W, g).T + past  # (N, H) @ (H, D) -> (N, D)
        return grads

    @staticmethod
    def _through(layer: int, at: Layer, g: Array, put: Plant, grads: Params) -> Array:
        grads[f"gamma{layer}"] = (g * put("hat", layer, at.hat, g)).sum(axis=0)
        grads[f"beta{layer}"] = g.sum(axis=0)
        return put("bn", layer, at.through_bn(g), g)


def _normalised(s: Array, axis: int, eps: float) -> tuple[Array, Array]:
    centred = s - s.mean(axis=axis, keepdims=True)
    var = (centred * centred).mean(axis=axis, keepdims=True)
    return centred / np.sqrt(var + eps), var


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
