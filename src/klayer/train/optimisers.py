"""What a gradient does to a parameter.

An optimiser is called with the arrays of some networks of a population, as the backward pass emits
them, and changes the parameter in place. Whatever it must remember from update to update it keeps in
``slots``, arrays beside the parameters in the training state (plain SGD remembers nothing).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klayer.nn.layers import WeightGradient
from klayer.nn.workspace import Workspace

__all__ = ["sgd"]


def sgd(param: NDArray, grad: NDArray | WeightGradient, lr: NDArray, ws: Workspace) -> None:
    """Stochastic gradient descent, in place: ``param -= lr * grad``.

    Parameters
    ----------
    param : array, shape (P, ...)
    grad : array, shape (P, ...), overwritten; or a gradient of weights as its factors
    lr : array, shape (P,), learning rate of each network, in the parameter's dtype
    ws : Workspace

    Examples
    --------
    >>> param = np.array([[1.0, 1.0], [1.0, 1.0]])
    >>> sgd(param, np.ones((2, 2)), lr=np.array([0.5, 0.25]), ws=Workspace())
    >>> param.tolist()
    [[0.5, 0.5], [0.75, 0.75]]
    """
    if isinstance(grad, WeightGradient):
        grad.combine(param, 1.0, -lr, ws)
    else:
        np.multiply(grad, lr.reshape(-1, *(1,) * (grad.ndim - 1)), out=grad)
        np.subtract(param, grad, out=param)
