"""What a gradient does to a parameter: a pair (init, update) each, and one row in a table.

``init`` makes the *slots*, arrays beside the parameters in the training state with the same leading
axis P; ``update`` moves one parameter of some networks in place, by the gradient of the data term that
the backward pass has just left. The penalty comes apart, as a number: an optimiser with a memory of
gradients meets ``2 lambda W`` where it says so, and never by accident.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import Gradient

__all__ = ["OPTIMISERS", "Numbers", "Optimiser", "Slots"]

Array = NDArray[Any]
Slots = dict[str, dict[str, Array]]  # slot -> key of the parameter -> array of its shape


@dataclass(frozen=True)
class Numbers:
    """Each network's numbers for one update of one parameter, shape (P, 1, ...) to fit it.

    Attributes
    ----------
    lr, minus_lr : array
        The learning rate, and its negative.
    slope : array or None
        ``2 lambda``: times ``W`` the gradient of the penalty ``lambda ||W||^2``; None for a parameter
        that is not penalised.
    keep : array or None
        ``1 - 2 lr lambda``, what gradient descent on the penalty leaves of a weight; None with
        ``slope``.
    more : mapping of array
        All other settings that are a number per network, by name: ``momentum``.
    """

    lr: Array
    minus_lr: Array
    slope: Array | None
    keep: Array | None
    more: Mapping[str, Array]


@dataclass(frozen=True)
class Optimiser:
    """A row of :data:`OPTIMISERS`.

    Attributes
    ----------
    init : callable ``(params) -> slots``
    update : callable ``(param, gradient, slots, numbers)``
        ``slots`` are those of this parameter, by slot.
    by_products : bool
        Whether weights move by ``keep W + c x^T g`` alone, so that updates of a large first layer may be
        carried out several at a time.
    """

    init: Callable[[Mapping[str, Array]], Slots]
    update: Callable[[Array, Gradient, Mapping[str, Array], Numbers], None]
    by_products: bool = False


def _slots(*names: str) -> Callable[[Mapping[str, Array]], Slots]:
    """Return an ``init`` for slots that start at 0."""

    def init(params: Mapping[str, Array]) -> Slots:
        return {name: {key: np.zeros_like(one) for key, one in params.items()} for name in names}

    return init


def sgd(param: Array, gradient: Gradient, slots: Mapping[str, Array], numbers: Numbers) -> None:  # noqa: ARG001
    """Stochastic gradient descent: ``W -= lr (g + 2 lambda W)``, as ``(1 - 2 lr lambda) W - lr g``.

    Examples
    --------
    >>> from klayer.nn.gradients import ArrayGradient
    >>> W, lr = np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([[0.5], [0.25]])
    >>> sgd(W, ArrayGradient(np.ones((2, 2))), {}, Numbers(lr, -lr, None, None, {}))
    >>> W.tolist()
    [[0.5, 0.5], [0.75, 0.75]]
    """
    gradient.add_to(param, numbers.keep, numbers.minus_lr)


def momentum(
    param: Array, gradient: Gradient, slots: Mapping[str, Array], numbers: Numbers
) -> None:
    """Heavy ball: ``v = m v + g + 2 lambda W``, ``W -= lr v``, with ``m`` the setting ``momentum``.

    The penalty's gradient goes into the velocity ``v``, as it does in PyTorch's ``weight_decay`` (which
    is ``2 lambda``). Source: Polyak 1964; Sutskever et al. 2013.

    Examples
    --------
    >>> from klayer.nn.gradients import ArrayGradient
    >>> W, v, lr = np.array([[1.0]]), np.array([[2.0]]), np.array([[0.5]])
    >>> numbers = Numbers(lr, -lr, None, None, {"momentum": np.array([[0.5]])})
    >>> momentum(W, ArrayGradient(np.array([[1.0]])), {"velocity": v}, numbers)
    >>> v.tolist(), W.tolist()
    ([[2.0]], [[0.0]])
    """
    velocity, g = slots["velocity"], gradient.value()
    np.multiply(velocity, numbers.more["momentum"], out=velocity)
    np.add(velocity, g, out=velocity)
    if numbers.slope is not None:
        np.multiply(param, numbers.slope, out=g)
        np.add(velocity, g, out=velocity)
    np.multiply(velocity, numbers.minus_lr, out=g)
    np.add(param, g, out=param)


OPTIMISERS: dict[str, Optimiser] = {
    "sgd": Optimiser(_slots(), sgd, by_products=True),
    "momentum": Optimiser(_slots("velocity"), momentum),
}
