"""Steps that are scaled by the size of past gradients: Adam, AdamW, RMSprop.

The slots are sums, without the factor ``1 - beta`` of the averages that they stand for; that factor,
Adam's correction of the start and the learning rate make one number for each update. Two passes over the
arrays are saved by it, and the step is the same to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Workspace
from klayer.train.optimisers.row import Numbers

__all__ = ["adam", "adam_rates", "adamw", "adamw_rates", "rmsprop", "rmsprop_rates"]

Array = NDArray[Any]


def adam_rates(lr: Array, more: Mapping[str, Array], t: Array) -> dict[str, Array]:
    """Return the factor of a step and what is added to the root, for the sums that the slots are."""
    b1, b2 = more["momentum"], more["beta2"]
    scale = np.sqrt((1 - b2**t) / (1 - b2))
    return {
        "minus_step": -lr * (1 - b1) / (1 - b1**t) * scale,
        "floor": more["optimiser_eps"] * scale,
    }


def adam(
    param: Array, g: Array, slots: Mapping[str, Array], numbers: Numbers, ws: Workspace
) -> None:
    """Adam: ``W -= lr m_hat / (sqrt(v_hat) + eps)``, with the L2 penalty of the cost in the gradient.

    ``d = g + 2 lambda W``, ``m = b1 m + (1 - b1) d``, ``v = b2 v + (1 - b2) d^2``, ``m_hat = m / (1 -
    b1^t)``, ``v_hat = v / (1 - b2^t)``, with ``b1`` the setting ``momentum``, ``b2`` ``beta2``, ``eps``
    ``optimiser_eps``. The penalty's gradient is scaled like the rest, as PyTorch's ``Adam(weight_decay=2
    lambda)`` has it: weights with large gradients shrink less. For decay that is not, see :func:`adamw`.
    Source: Kingma & Ba 2015, arXiv:1412.6980.

    Examples
    --------
    The very first step has the length of the learning rate, whatever the gradient:

    >>> W, lr = np.array([[1.0]]), np.array([[0.5]])
    >>> settings = {"momentum": np.array([0.9]), "beta2": np.array([0.999])}
    >>> settings["optimiser_eps"] = np.zeros(1)
    >>> numbers = Numbers(lr, -lr, None, None, adam_rates(lr, settings, np.ones((1, 1))) | settings)
    >>> slots = {"mean": np.zeros((1, 1)), "square": np.zeros((1, 1))}
    >>> adam(W, np.array([[7.0]]), slots, numbers, Workspace())
    >>> W.round(12).tolist()
    [[0.5]]
    """
    step = ws.array("optimiser", g.shape, g.dtype)
    if numbers.slope is not None:
        np.multiply(param, numbers.slope, out=step)
        np.add(g, step, out=g)
    mean = slots["mean"]
    np.multiply(mean, numbers.more["momentum"], out=mean)
    np.add(mean, g, out=mean)
    _root_of_square(g, slots["square"], numbers, step)
    np.divide(mean, step, out=step)
    np.multiply(step, numbers.more["minus_step"], out=step)
    np.add(param, step, out=param)


def adamw_rates(lr: Array, more: Mapping[str, Array], t: Array) -> dict[str, Array]:
    """Return those of Adam, and what decay leaves of a weight."""
    return {**adam_rates(lr, more, t), "keep_decayed": 1 - lr * more["weight_decay"]}


def adamw(
    param: Array, g: Array, slots: Mapping[str, Array], numbers: Numbers, ws: Workspace
) -> None:
    """AdamW: *decoupled* decay, ``W = (1 - lr weight_decay) W``, and then Adam's step.

    Decay is no penalty: it is in no cost and no gradient, and so nothing scales it. It holds for the
    weights alone, not for biases, gamma and beta. The L2 penalty of the cost (``l2``) is another number:
    where it is not 0, its gradient goes through Adam's step as it does in :func:`adam`. PyTorch's
    ``AdamW(weight_decay=w)`` is ``weight_decay=w, l2=0``.
    Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
    """
    if numbers.slope is not None:
        np.multiply(param, numbers.more["keep_decayed"], out=param)
    adam(param, g, slots, numbers, ws)


def rmsprop_rates(lr: Array, more: Mapping[str, Array], t: Array) -> dict[str, Array]:
    """Return the factor of a step and what is added to the root, for the sum that the slot is."""
    scale = 1 / np.sqrt(1 - more["beta2"])
    return {
        "minus_step": -lr * scale,
        "floor": np.broadcast_to(
            more["optimiser_eps"] * scale, np.broadcast_shapes(lr.shape, t.shape)
        ),
    }


def rmsprop(
    param: Array, g: Array, slots: Mapping[str, Array], numbers: Numbers, ws: Workspace
) -> None:
    """RMSprop: ``d = g + 2 lambda W``, ``v = b2 v + (1 - b2) d^2``, ``W -= lr d / (sqrt(v) + eps)``.

    ``b2`` is the setting ``beta2`` (PyTorch's ``alpha``), ``eps`` is ``optimiser_eps``.
    Source: Tieleman & Hinton 2012, lecture 6.5.
    """
    step = ws.array("optimiser", g.shape, g.dtype)
    if numbers.slope is not None:
        np.multiply(param, numbers.slope, out=step)
        np.add(g, step, out=g)
    move = ws.array("move", g.shape, g.dtype)
    np.multiply(g, numbers.more["minus_step"], out=move)
    _root_of_square(g, slots["square"], numbers, step)
    np.divide(move, step, out=step)
    np.add(param, step, out=param)


def _root_of_square(g: Array, square: Array, numbers: Numbers, root: Array) -> None:
    """Add ``g^2`` to ``b2 square`` and write its root, with the floor, to ``root``; ``g`` is lost."""
    np.multiply(g, g, out=g)
    np.multiply(square, numbers.more["beta2"], out=square)
    np.add(square, g, out=square)
    np.sqrt(square, out=root)
    np.add(root, numbers.more["floor"], out=root)
