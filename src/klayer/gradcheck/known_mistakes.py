"""Known mistakes of backpropagation, each written once.

Where the checker knows the network (:class:`klayer.gradcheck.reference.Reference`), it computes the
gradient that each mistake would give, in one layer or in all, and looks whether that is the gradient it
was handed. A match to rounding names the mistake. The benchmark of the checker plants the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from klayer.gradcheck.objective import Array, Params
from klayer.gradcheck.reference import SLOPES, Layer, Plant, Reference
from klayer.gradcheck.result import Cause
from klayer.nn import LOSSES, Network

__all__ = ["MISTAKES", "Mistake", "Planted", "find_known", "layers_where", "plantings"]


@dataclass(frozen=True)
class Mistake:
    """A mistake: one row of the list."""

    kind: str  # its identifier
    text: str  # what is said of the layer or layers
    where: str  # which layers can have it, for layers_where
    # Which value of the backward pass is wrong: labels, targets (smoothed), logits (the loss's
    # gradient), drop (what dropout multiplies by), mask (the activation's derivative), hat (in gamma's
    # gradient), bn (the gradient through normalisation), bias, input (in W's gradient), back (W on the
    # way down) or past (the gradient past a layer).
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

    def among(self, layers: dict[int, Layer]) -> Plant:
        """Return what stands at each point of a backward pass through these layers."""

        def put(point: str, layer: int, right: Array, g: Array) -> Array:
            if point != self.mistake.point or layer not in self.layers:
                return right
            return self.mistake.wrong(right, layers[self.other or layer], g)

        return put


def layers_where(network: Network, where: str) -> tuple[int, ...]:
    """Return the layers of a network of which all words of ``where`` hold.

    Examples
    --------
    >>> layers_where(Network(4, (5, 5), 3, batch_norm="hidden"), "hidden bn")
    (1, 2)
    """
    last, w = network.depth, network.widths
    shapes, names = network.shapes(), (*network.activations, "")

    def is_one_of(*known: str) -> Callable[[int], bool]:
        return lambda layer: names[layer - 1] in known

    holds: dict[str, Callable[[int], bool]] = {
        "any": lambda _: True,
        "bn": network.normalises,
        "ln": network.normalises_samples,
        "norm": lambda layer: f"gamma{layer}" in shapes,
        "before": lambda layer: layer == last or network.bn_place == "before",
        "bias": lambda layer: f"b{layer}" in shapes,
        "kinked": is_one_of("relu", "leaky_relu"),
        "relu": is_one_of("relu"),
        "leaky": is_one_of("leaky_relu"),
        "smooth": is_one_of(*(name for name in SLOPES if name not in ("relu", "leaky_relu"))),
        "gelu": is_one_of("gelu", "gelu_tanh"),
        "gated": is_one_of("gelu", "gelu_tanh", "silu"),
        "selu": is_one_of("selu"),
        "drop": network.drops,
        "changed": lambda layer: layer == 1 and network.changes_inputs,
        "skip": lambda layer: (
            1 < layer < last and network.skip == "equal" and w[layer - 1] == w[layer]
        ),
        **dict.fromkeys(LOSSES, lambda _: False),
        network.loss: lambda _: True,
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


def _gate_alone(_: Array, at: Layer, __: Array) -> Array:
    """The gate of a unit ``z gate(z)``."""
    with np.errstate(all="ignore"):
        return np.asarray(np.where(at.z == 0, 0.5, at.value() / at.z))


def _other_form(_: Array, at: Layer, __: Array) -> Array:
    return SLOPES["gelu" if at.activation == "gelu_tanh" else "gelu_tanh"](at.z)


def _residual(_: Array, at: Layer, __: Array) -> Array:
    return np.asarray((at.z - at.targets) / at.z.size)


def _swapped_quantiles(right: Array, at: Layer, _: Array) -> Array:
    return np.asarray(2 * ((at.z - at.targets).real > 0) / at.z.size - 1 / at.z.size - right)


_THROUGH = "in the gradient through normalisation"
_LN = "in the gradient through layer normalisation"

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
                "norm before", "hat", lambda _, at, __: at.z),
        Mistake("mask-missing", "the activation's mask is missing on the way back",
                "hidden", "mask", lambda right, *_: np.ones_like(right)),
        Mistake("mask-before-bn", "the mask is taken from the values before normalisation",
                "hidden bn before", "mask", lambda _, at, __: at.slope(at.s)),
        Mistake("mask-other", "the mask of another layer is used",
                "hidden", "mask", lambda _, at, __: at.slope(), _same_units),
        Mistake("mask-inverted", "the mask is inverted: it passes where the activation is zero",
                "hidden relu", "mask", lambda right, *_: ~right),
        Mistake("weights-transposed", "W is used on the way back where its transpose belongs",
                "not-first square", "back", lambda right, *_: right.T),
        Mistake("input-linear", "W's gradient uses the layer's input before the activation",
                "not-first", "input", lambda _, at, __: at.below),
        Mistake("input-other", "W's gradient uses the input of another layer",
                "not-first", "input", lambda _, at, __: at.x, _same_inputs),
        Mistake("labels-missing", "the labels are not subtracted from the probabilities",
                "last softmax_cross_entropy", "labels", lambda right, *_: 0 * right),
        Mistake("labels-shifted", "the labels are shifted against the samples by one",
                "last softmax_cross_entropy", "labels",
                lambda right, *_: np.roll(right, 1, axis=0)),
        Mistake("mask-leak", "the leak is missing: the derivative is 0 for negative values",
                "hidden leaky", "mask", lambda _, at, __: at.z.real > 0),
        Mistake("slope-at-output", "the activation's derivative is taken at its output",
                "hidden smooth", "mask", lambda _, at, __: at.slope(at.value())),
        Mistake("slope-gate", "the activation's derivative is its gate alone",
                "hidden gated", "mask", _gate_alone),
        Mistake("slope-other-form", "the derivative is that of GELU's other form",
                "hidden gelu", "mask", _other_form),
        Mistake("slope-alpha", "the derivative for negative values is without SELU's alpha",
                "hidden selu", "mask",
                lambda right, at, _: np.where(at.z.real > 0, right, right / 1.6732632423543772)),
        Mistake("ln-mean", f"the mean's term is missing {_LN}",
                "ln", "bn", lambda _, at, g: at.through_bn(g, mean=0)),
        Mistake("ln-variance", f"the variance's term is missing {_LN}",
                "ln", "bn", lambda _, at, g: at.through_bn(g, variance=0)),
        Mistake("ln-statistics", f"mean and variance are treated as constants {_LN}",
                "ln", "bn", lambda _, at, g: at.through_bn(g, mean=0, variance=0)),
        Mistake("ln-over-samples", f"the means are over the samples {_LN}",
                "ln", "bn", lambda _, at, g: at.through_bn(g, axis=0)),
        Mistake("ln-gamma", f"the factor gamma is missing {_LN}",
                "ln", "bn", lambda _, at, g: at.through_bn(g, gamma=1)),
        Mistake("ln-sd", "the division by the standard deviation is missing in the gradient through "
                "layer normalisation",
                "ln", "bn", lambda _, at, g: at.through_bn(g, sd=1)),
        Mistake("ln-skipped", "the gradient passes layer normalisation as if it weren't there",
                "ln", "bn", lambda _, __, g: g),
        Mistake("dropout-missing", "what was dropped gets a gradient",
                "drop", "drop", lambda right, *_: np.where(right > 0, right, right.max())),
        Mistake("dropout-unscaled", "dropout's factor 1 / (1 - rate) is missing on the way back",
                "drop", "drop", lambda right, *_: (right > 0) * 1.0),
        Mistake("dropout-shifted", "other units are dropped on the way back than forwards",
                "drop", "drop", lambda right, *_: np.roll(right, 1, axis=0)),
        Mistake("input-unchanged",
                "W's gradient uses the inputs without their noise, or before some were dropped",
                "changed", "input", lambda _, at, __: at.below),
        Mistake("skip-missing", "the gradient that comes past the layer is missing",
                "skip", "past", lambda right, *_: 0 * right),
        Mistake("skip-twice", "the gradient that comes past the layer is added twice",
                "skip", "past", lambda right, *_: 2 * right),
        Mistake("skip-slope", "the gradient past the layer goes through its activation",
                "skip", "past", lambda right, at, _: right * at.slope()),
        Mistake("smoothing-missing", "the labels are not smoothed in the gradient",
                "last softmax_cross_entropy", "targets", lambda _, at, __: at.targets),
        Mistake("huber-unclipped", "Huber's residuals are not clipped in the gradient",
                "last huber", "logits", _residual),
        Mistake("absolute-residual", "the gradient is the residual, without its sign taken",
                "last absolute", "logits", _residual),
        Mistake("quantile-swapped", "q and 1 - q are exchanged in the gradient",
                "last quantile", "logits", _swapped_quantiles),
        Mistake("sigmoid-twice", "the sigmoid's derivative is applied to a gradient that has it in it",
                "last binary_cross_entropy", "logits",
                lambda right, at, _: right * (1 - np.tanh(at.z / 2) ** 2) / 4),
    )
}  # fmt: skip


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
            wrong = reference.gradient(layers, planted.among(layers))
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
