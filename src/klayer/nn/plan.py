"""A plan: pieces and a loss prepared for some networks and one size of batch, in a straight line.

What training calls and what the gradient check checks is one thing: :meth:`Plan.forward`, then
:meth:`Plan.backward`, which hands each gradient to its *user* as soon as nothing needs the parameter's
old value any more. In training the user moves the parameter; in the check it takes the gradient down.
"""

from __future__ import annotations

from cmath import isfinite
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import Gradient
from klayer.nn.losses import Loss
from klayer.nn.pieces import Activation, Pass, Piece, Site

__all__ = ["Plan", "Use"]

# Makes what is to be done with a parameter's gradient after each backward pass.
Use = Callable[[str, Gradient], Callable[[], None]]


class Plan:
    """Pieces at work, one after another; made once, run for each batch.

    Parameters
    ----------
    pieces : sequence of Piece
    loss : Loss
    site : Site
    use : callable ``(key, gradient)``, optional
        Called here once for each parameter; what it returns is called in each backward pass. Without it
        there is no backward pass.

    Attributes
    ----------
    batch : Batch
        To be filled before each pass, always with the same number of samples.
    passes : list of Pass
    logits : array, shape (P, N, K), after :meth:`forward`
    """

    def __init__(
        self, pieces: Sequence[Piece], loss: Loss, site: Site, use: Use | None = None
    ) -> None:
        self.batch, self.pieces = site.batch, pieces
        x = site.batch.x
        self.passes: list[Pass] = []
        for piece in pieces:
            self.passes.append(piece.prepare(site, x))
            x = self.passes[-1].y
        self.logits = x
        self._loss = loss.prepare(site, x)
        self._forward = [one.forward for one in self.passes]
        self._backward = [self._loss.backward]
        # Pieces on the way back: where in it they begin, and where the gradient then stands.
        self._below: list[tuple[int, int, NDArray[Any]]] = []
        if use is None:
            return
        g = self._loss.g
        last = min(index for index, piece in enumerate(pieces) if piece.params())
        for index in reversed(range(last, len(pieces))):  # further down nothing moves
            self._below.append((index, len(self._backward), g))
            g, gradients = self.passes[index].connect(g, below=index > last)
            self._backward.append(self.passes[index].backward)
            self._backward += [use(key, gradient) for key, gradient in gradients.items()]

    def forward(self) -> NDArray[Any]:
        """Map the batch's inputs to logits (equations 1 to 10), and return them: scratch memory."""
        self.passes[0].x = self.batch.x
        for step in self._forward:
            step()
        return self.logits

    def losses(self) -> NDArray[Any]:
        """Mean loss of each network for the logits at hand, shape (P,): scratch memory."""
        self._loss.forward()
        return self._loss.loss

    def backward(self) -> None:
        """Compute all gradients; each is used before the pieces below are reached."""
        for step in self._backward:
            step()

    def walk(self) -> Iterator[tuple[int, bool, NDArray[Any]]]:
        """Do both passes with a halt after each piece, for whoever wants to look at the numbers.

        Yields
        ------
        index : int
            Of the piece; the number of pieces stands for the loss.
        back : bool
            False on the way forward, True on the way back.
        value : array
            Forward, what the piece hands on: its output, or the loss (P,); on the way back, the gradient
            with respect to the piece's input. Scratch memory: copy it. The last piece on the way back
            hands nothing on, but its own output's gradient again.
        """
        self.passes[0].x = self.batch.x
        for index, step in enumerate(self._forward):
            step()
            yield index, False, self.passes[index].y
        yield len(self.pieces), False, self.losses()
        places, begins, given = zip(*self._below, strict=True)
        for step in self._backward[: begins[0]]:
            step()
        yield len(self.pieces), True, given[0]
        for index, begin, end, g in zip(
            places, begins, [*begins[1:], None], [*given[1:], given[-1]], strict=True
        ):
            for step in self._backward[begin:end]:
                step()
            yield index, True, g

    def update(self) -> bool:
        """Do a whole update; if the loss of any network is not finite, nothing moves.

        Returns
        -------
        done : bool
            False if a loss is not finite: the caller decides what becomes of that network.
        """
        self.forward()
        losses = self.losses()
        # The sum tells of most batches, by one small call, that every loss is finite.
        if not (isfinite(np.add.reduce(losses)) or np.isfinite(losses).all()):
            return False
        self.backward()
        return True

    @property
    def pre_activations(self) -> list[NDArray[Any]]:
        """What each activation decides on, (P, N, H), the hidden layers in order."""
        return [
            one.x
            for piece, one in zip(self.pieces, self.passes, strict=True)
            if isinstance(piece, Activation)
        ]

    def first_not_finite(self, p: int) -> int:
        """Return the first layer (1 ... k) where network ``p`` holds a value that is not finite."""
        layers = [*self.pre_activations, self.logits]
        bad = [not np.isfinite(z[p]).all() for z in layers]
        return bad.index(True) + 1 if any(bad) else len(layers)
