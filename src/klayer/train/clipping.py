"""Gradients that are scaled down to a norm, each network's by its own.

The norm needs all gradients of an update before anything may move: they are put aside as the
backward pass leaves them, and used when it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Workspace
from klayer.nn.gradients import ArrayGradient, Gradient, Part, UsePart

__all__ = ["Clipping"]

Array = NDArray[Any]

# Added to the norm, as in PyTorch's `clip_grad_norm_`.
NORM_EPS = 1e-6


class ClippedGradient(ArrayGradient):
    """A gradient that was put aside, times a number for each network, (P,), which is known later."""

    def __init__(self, array: Array, factor: Array) -> None:
        super().__init__(array)
        self._factor = factor.reshape(-1, *(1,) * (array.ndim - 1))

    def value(self) -> Array:
        """Return the array, scaled."""
        np.multiply(self.array, self._factor, out=self.array)
        return self.array

    def add_to(self, param: Array, keep: Array | None, c: Array) -> None:
        """Replace ``param`` by ``keep param + c gradient``, in place."""
        self.value()
        super().add_to(param, keep, c)

    def each(self, use: UsePart, ws: Workspace, whole: bool = False) -> None:
        """Call ``use`` for each piece, scaled."""

        def scaled(i: int, g: Array, ws: Workspace) -> None:
            np.multiply(g, self._factor[parts[i][0]], out=g)
            use(i, g, ws)

        parts = self.parts(whole)
        super().each(scaled, ws, whole)


class Clipping:
    """All gradients of some networks' updates: put aside, measured, scaled, used.

    ``g *= min(1, clip_norm / (||g|| + 1e-6))`` with the norm over all parameters of a network together.
    Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063.

    Parameters
    ----------
    clip_norm : array, shape (P,)
    ws : Workspace

    Examples
    --------
    >>> W, ws = np.zeros((2, 2)), Workspace()
    >>> clipping = Clipping(np.array([1.0, 9.0]), ws)
    >>> collect, clipped = clipping.collect("b", ArrayGradient(np.array([[3.0, 4.0], [3.0, 4.0]])), W)
    >>> collect()
    >>> clipping.then(lambda: clipped.add_to(W, None, np.ones((2, 1))))
    >>> clipping.update()
    >>> W.round(5).tolist()
    [[0.6, 0.8], [3.0, 4.0]]
    """

    def __init__(self, clip_norm: Array, ws: Workspace) -> None:
        self.clip_norm, self.ws = clip_norm, ws
        self.factor = np.ones_like(clip_norm)
        self._squares: list[tuple[Sequence[Part], list[Array]]] = []
        self._updates: list[Callable[[], None]] = []

    def collect(
        self, key: str, gradient: Gradient, param: Array
    ) -> tuple[Callable[[], None], Gradient]:
        """Return what puts a parameter's gradient aside, and the gradient that will be used."""
        aside = self.ws.array(f"clipped {key}", param.shape, param.dtype)
        parts = gradient.parts()
        squares = [np.zeros(len(param[part]), param.dtype) for part in parts]
        self._squares.append((parts, squares))

        def use(i: int, g: Array, ws: Workspace) -> None:  # noqa: ARG001
            np.copyto(aside[parts[i]], g)
            np.multiply(g, g, out=g)
            np.sum(g.reshape(len(g), -1), axis=1, out=squares[i])

        return lambda: gradient.each(use, self.ws), ClippedGradient(aside, self.factor)

    def then(self, update: Callable[[], None]) -> None:
        """Have something called once the gradients are scaled."""
        self._updates.append(update)

    def update(self) -> None:
        """Measure what was put aside, and use it."""
        total = np.zeros_like(self.clip_norm)
        for parts, squares in self._squares:
            for part, square in zip(parts, squares, strict=True):
                total[part[0]] += square
        np.divide(self.clip_norm, np.sqrt(total) + NORM_EPS, out=self.factor)
        np.minimum(self.factor, 1, out=self.factor)
        for update in self._updates:
            update()
