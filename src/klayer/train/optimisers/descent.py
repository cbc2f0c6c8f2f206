"""Gradient descent, plain and with a velocity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Workspace
from klayer.nn.gradients import Gradient
from klayer.train.optimisers.row import Numbers

__all__ = ["momentum", "nesterov", "sgd"]

Array = NDArray[Any]


def sgd(
    param: Array,
    gradient: Gradient,
    slots: Mapping[str, Array],  # noqa: ARG001
    numbers: Numbers,
    ws: Workspace,  # noqa: ARG001
) -> Callable[[], None]:
    """Stochastic gradient descent: ``W -= lr (g + 2 lambda W)``, as ``(1 - 2 lr lambda) W - lr g``.

    Examples
    --------
    >>> from klayer.nn.gradients import ArrayGradient
    >>> W, lr = np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([[0.5], [0.25]])
    >>> g = ArrayGradient(np.ones((2, 2)))
    >>> sgd(W, g, {}, Numbers(lr, -lr, None, None, {}), Workspace())()
    >>> W.tolist()
    [[0.5, 0.5], [0.75, 0.75]]
    """
    return partial(gradient.add_to, param, numbers.keep, numbers.minus_lr)


def _accelerate(param: Array, g: Array, v: Array, numbers: Numbers, ws: Workspace) -> None:
    """Make ``v`` what it becomes, ``m v + g + 2 lambda W``."""
    np.multiply(v, numbers.more["momentum"], out=v)
    np.add(v, g, out=v)
    if numbers.slope is not None:
        slope = ws.array("optimiser", g.shape, g.dtype)
        np.multiply(param, numbers.slope, out=slope)
        np.add(v, slope, out=v)


def momentum(
    param: Array, g: Array, slots: Mapping[str, Array], numbers: Numbers, ws: Workspace
) -> None:
    """Heavy ball: ``v = m v + g + 2 lambda W``, ``W -= lr v``, with ``m`` the setting ``momentum``.

    The penalty's gradient goes into the velocity ``v``, as it does in PyTorch's ``weight_decay`` (which
    is ``2 lambda``). Source: Polyak 1964; Sutskever et al. 2013.

    Examples
    --------
    >>> W, v, lr = np.array([[1.0]]), np.array([[2.0]]), np.array([[0.5]])
    >>> numbers = Numbers(lr, -lr, None, None, {"momentum": np.array([[0.5]])})
    >>> momentum(W, np.array([[1.0]]), {"velocity": v}, numbers, Workspace())
    >>> v.tolist(), W.tolist()
    ([[2.0]], [[0.0]])
    """
    v = slots["velocity"]
    _accelerate(param, g, v, numbers, ws)
    np.multiply(v, numbers.minus_lr, out=g)
    np.add(param, g, out=param)


def nesterov(
    param: Array, g: Array, slots: Mapping[str, Array], numbers: Numbers, ws: Workspace
) -> None:
    """Nesterov's momentum: ``d = g + 2 lambda W``, ``v = m v + d``, ``W -= lr (d + m v)``.

    The form of PyTorch's ``SGD(nesterov=True)``: the gradient is that at ``W``, and the look-ahead is in
    the step. Source: Nesterov 1983; Sutskever et al. 2013.

    Examples
    --------
    >>> W, v, lr = np.array([[1.0]]), np.array([[2.0]]), np.array([[0.5]])
    >>> numbers = Numbers(lr, -lr, None, None, {"momentum": np.array([[0.5]])})
    >>> nesterov(W, np.array([[1.0]]), {"velocity": v}, numbers, Workspace())
    >>> v.tolist(), W.tolist()
    ([[2.0]], [[0.0]])
    """
    v, m = slots["velocity"], numbers.more["momentum"]
    step = ws.array("optimiser", g.shape, g.dtype)
    if numbers.slope is not None:
        np.multiply(param, numbers.slope, out=step)
        np.add(g, step, out=g)
    np.multiply(v, m, out=v)
    np.add(v, g, out=v)
    np.multiply(v, m, out=step)
    np.add(g, step, out=g)
    np.multiply(g, numbers.minus_lr, out=g)
    np.add(param, g, out=param)
