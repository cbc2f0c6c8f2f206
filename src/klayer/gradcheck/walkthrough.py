"""One forward and one backward pass, step by step, with every number in sight.

The numbers are those of a plan, what training runs, halted after each piece; and at the end stands what
the check says of these very gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError
from klayer.gradcheck.network import check_network, drawn_labels, generic_params
from klayer.gradcheck.result import Check
from klayer.nn import Batch, Network
from klayer.nn.gradients import Gradient
from klayer.nn.pieces import Piece

__all__ = ["Step", "Walkthrough", "walk_through"]

# So many numbers a page can show and a reader can follow.
MOST_NUMBERS = 100

Array = NDArray[Any]

# Forward, backward: of the pieces that people ask about; others are shown without a formula.
FORMULAS = {
    "affine": ("s = x W + b", "dW = xᵀ g,  db = Σ g over samples,  dx = g Wᵀ"),
    "batch_norm": (
        "ŝ = (s − mean) / √(variance + ε),  y = γ ŝ + β",
        "dβ = Σ g,  dγ = Σ g ŝ,  ds = γ / √(variance + ε) · (g − mean(g) − ŝ mean(g ŝ))",
    ),
    "relu": ("y = max(s, 0)", "ds = g where s > 0, else 0"),
    "leaky_relu": ("y = s where s > 0, else 0.01 s", "ds = g where s > 0, else 0.01 g"),
    "tanh": ("y = tanh s", "ds = g (1 − y²)"),
}
LOSS_FORMULAS = {
    "softmax_cross_entropy": (
        "p = exp(s) / Σ exp(s),  loss = mean of −log p[label]",
        "ds = (p − onehot(label)) / N",
    ),
    "squared": ("loss = mean of squared differences", "ds = derivative of the loss by each output"),
}
WORDS = {"affine": "affine map", "batch_norm": "batch normalisation", "relu": "ReLU"}


@dataclass(frozen=True)
class Step:
    """One halt.

    Attributes
    ----------
    title, formula, note : str
        The latter two may be empty.
    back : bool
        Whether it is on the way back.
    place : int
        The piece, from 0; the number of pieces stands for the loss, -1 for the data.
    arrays : dict of array
        What came in, what the step has, what it makes, by name; at most two axes.
    """

    title: str
    formula: str
    note: str
    back: bool
    place: int
    arrays: dict[str, Array]


@dataclass(frozen=True)
class Walkthrough:
    """A forward and a backward pass of one network, and the check of its gradients.

    Attributes
    ----------
    stations : tuple of str
        Names of the pieces and of the loss, in the order of the forward pass.
    steps : tuple of Step
    grads : dict of array
        Of the cost, by parameter.
    check : Check
        Of this network at these parameters on this batch.
    """

    stations: tuple[str, ...]
    steps: tuple[Step, ...]
    grads: dict[str, Array]
    check: Check

    def html(self, title: str = "Forward and backward, step by step") -> str:
        """Return a page of its own: no external file; buttons and arrow keys go from step to step.

        Without scripts, and printed, all steps stand one below another.
        """
        from importlib import resources

        import jinja2

        source = resources.files("klayer.gradcheck").joinpath("templates/walkthrough.html.j2")
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.filters["number"] = _number
        environment.filters["table"] = _table
        return environment.from_string(source.read_text(encoding="utf-8")).render(
            walk=self, title=title
        )


def walk_through(
    network: Network | None = None,
    params: Mapping[str, ArrayLike] | None = None,
    x: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    l2: float = 0.0,
    seed: int = 0,
) -> Walkthrough:
    """Do one forward and one backward pass, and keep every number on the way.

    Parameters
    ----------
    network : Network, optional
        A small one: at most 100 numbers in an array. By default 2 inputs, 3 hidden units with batch
        normalisation and ReLU, 2 classes.
    params : dict of array, shape (1, ...), optional
        By default drawn by ``seed`` and rounded to two decimals, so that the reader can calculate along.
    x : array, shape (N, D), optional
        By default five samples, rounded likewise.
    labels : int array, shape (N,), optional
        To be given with ``x``.
    l2 : float, >= 0
        lambda of the penalty ``lambda * sum_l ||W_l||^2``.
    seed : int, >= 0

    Returns
    -------
    walk : Walkthrough

    Raises
    ------
    KlayerError
        For arrays that don't fit the network, or too many numbers to look at.

    Examples
    --------
    >>> walk = walk_through(Network(2, (3,), 2))
    >>> walk.stations
    ('affine map 1', 'ReLU 1', 'affine map 2', 'softmax cross-entropy')
    >>> [step.title for step in walk.steps][-2:]
    ['Back through ReLU 1', 'Back through affine map 1']
    >>> walk.check.verdict
    'right'
    """
    network = network or Network(2, (3,), 2, batch_norm="hidden")
    rng = np.random.default_rng(seed)
    if params is None:
        drawn = generic_params(network, seed=seed)
        params = {key: value.round(2) for key, value in drawn.items()}
    if x is None and labels is None:
        x = rng.standard_normal((5, network.n_features)).round(1)
        labels = drawn_labels(network, 5, rng).round(1)
        if network.task == "classification":
            labels = np.arange(5) % network.n_classes
    check = check_network(network, params, x, labels, l2=l2, seed=seed)
    values = {key: np.asarray(value, float) for key, value in params.items()}
    batch = Batch(np.asarray(x, float), np.asarray(labels))
    most = max(array.size for array in (batch.x, *values.values()))
    if len(values["W1"]) != 1 or most > MOST_NUMBERS:
        raise KlayerError(
            f"a walk is for one network with at most {MOST_NUMBERS} numbers in an array, but got "
            f"{len(values['W1'])} networks and {most} numbers: take fewer units or samples."
        )
    grads: dict[str, Array] = {}

    def keep(key: str, gradient: Gradient) -> Any:
        def note() -> None:
            grads[key] = gradient.value().copy()[0]

        return note

    plan = network.plan(values, batch, use=keep)
    stations = tuple(_station(piece) for piece in network.pieces)
    stations += (network.loss.replace("_", " ").replace("cross entropy", "cross-entropy"),)
    steps = [
        Step(
            "The mini-batch",
            "",
            f"{len(batch.x)} samples as rows, {batch.x.shape[1]} features each.",
            False,
            -1,
            {"x": batch.x, "labels": batch.labels.reshape(len(batch.x), -1)},
        )
    ]
    flowing: Array = batch.x
    seen: set[str] = set()
    for place, back, value in plan.walk():
        now = _two_axes(value)
        last = place == len(network.pieces)
        if back and last:
            flowing = now
            formula = LOSS_FORMULAS.get(network.loss, ("", ""))[1]
            steps.append(Step(f"Back through {stations[-1]}", formula, "", True, place, {"g": now}))
        elif back:
            piece = network.pieces[place]
            arrays = {"g": flowing}
            arrays |= {f"d{key}": value for key, value in grads.items() if key not in seen}
            seen |= grads.keys()
            if place:
                arrays["g for the piece below"] = now
            formula = FORMULAS.get(str(piece.describe()["piece"]), ("", ""))[1]
            title = f"Back through {stations[place]}"
            steps.append(Step(title, formula, "", True, place, arrays))
            flowing = now
        elif last:
            formula = LOSS_FORMULAS.get(network.loss, ("", ""))[0]
            arrays = {"outputs": flowing, "loss": now}
            steps.append(Step(f"The loss: {stations[-1]}", formula, "", False, place, arrays))
        else:
            piece = network.pieces[place]
            own = {key: _two_axes(values[key]) for key in piece.params()}
            arrays = {"in": flowing} | own | {"out": now}
            formula = FORMULAS.get(str(piece.describe()["piece"]), ("", ""))[0]
            title = stations[place][0].upper() + stations[place][1:]
            steps.append(Step(title, formula, "", False, place, arrays))
            flowing = now
    if l2:
        weights = [key for key in grads if key.startswith("W")]
        grads |= {key: grads[key] + 2 * l2 * values[key][0] for key in weights}
        note = "The cost is the loss plus λ times the sum of all squared weights."
        whole = {f"dW{key[1:]} of the cost": grads[key] for key in sorted(weights)}
        steps.append(Step("The penalty", f"dW + 2 λ W,  λ = {l2:g}", note, True, -1, whole))
    return Walkthrough(stations, tuple(steps), grads, check)


def _station(piece: Piece) -> str:
    kind = str(piece.describe()["piece"])
    return f"{WORDS.get(kind, kind.replace('_', ' '))} {piece.layer}"


def _two_axes(value: Array) -> Array:
    """Return a copy with at most two axes, without the population's."""
    array = np.array(value)
    return array[0] if array.ndim == 3 else np.atleast_2d(array)


def _number(value: float) -> str:
    if float(value).is_integer():
        return f"{value + 0:.0f}".replace("-", "−")
    return (f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.0e}").replace("-", "−")


def _table(array: Array) -> list[list[tuple[str, float]]]:
    """Return rows of (text, shade), the shade from -1 to 1 in units of the largest number."""
    rows = np.atleast_2d(np.asarray(array, float))
    most = float(np.abs(rows).max()) or 1.0
    return [[(_number(v), round(float(v) / most, 2)) for v in row] for row in rows]
