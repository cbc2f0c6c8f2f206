"""What a row of the table of optimisers is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Workspace
from klayer.nn.gradients import Gradient

__all__ = ["Numbers", "Optimiser", "Prepare", "Slots", "Update", "by_parts", "no_rates", "slots_of"]

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
        All other settings that are a number per network, by name, as ``momentum``; and what the
        optimiser's ``rates`` made of them for this update.
    """

    lr: Array
    minus_lr: Array
    slope: Array | None
    keep: Array | None
    more: Mapping[str, Array]

    def of(self, lanes: slice) -> Numbers:
        """Return those of some networks."""
        return Numbers(
            self.lr[lanes],
            self.minus_lr[lanes],
            None if self.slope is None else self.slope[lanes],
            None if self.keep is None else self.keep[lanes],
            {name: value[lanes] for name, value in self.more.items()},
        )


# Makes the plan of a parameter's updates, of the parameter, its gradient, its slots, its numbers.
Prepare = Callable[[Array, Gradient, Mapping[str, Array], Numbers, Workspace], Callable[[], None]]
# Moves a part of a parameter in place: parameter, gradient (to be overwritten), slots, numbers, memory.
Update = Callable[[Array, Array, Mapping[str, Array], Numbers, Workspace], None]
# Numbers of many updates at once: learning rates (T, P), the settings (P,), updates from 1 (T, 1).
MakeRates = Callable[[Array, Mapping[str, Array], Array], dict[str, Array]]


def no_rates(lr: Array, more: Mapping[str, Array], t: Array) -> dict[str, Array]:  # noqa: ARG001
    """Make nothing of the numbers."""
    return {}


@dataclass(frozen=True)
class Optimiser:
    """A row of :data:`klayer.train.optimisers.OPTIMISERS`.

    Attributes
    ----------
    init : callable ``(params) -> slots``
        A slot need not have all parameters.
    prepare : callable ``(param, gradient, slots, numbers, workspace) -> update``
        ``slots`` are those of this parameter, by slot; ``update()`` is called after each backward pass.
    rates : callable ``(lr, more, t) -> numbers``
        What follows from the settings for many updates at once, each of shape (T, P), float64; ``t``,
        (T, 1), counts updates from 1. An update finds them in :attr:`Numbers.more`.
    by_products : bool
        Whether weights move by ``keep W + c x^T g`` alone, so that updates of a large first layer may be
        carried out several at a time.
    greatest_rate : float
        A learning rate above that is rarely meant.
    """

    init: Callable[[Mapping[str, Array]], Slots]
    prepare: Prepare
    rates: MakeRates = no_rates
    by_products: bool = False
    greatest_rate: float = math.inf


def slots_of(*names: str) -> Callable[[Mapping[str, Array]], Slots]:
    """Return an ``init`` for slots of all parameters, which start at 0."""

    def init(params: Mapping[str, Array]) -> Slots:
        return {name: {key: np.zeros_like(one) for key, one in params.items()} for name in names}

    return init


def by_parts(update: Update, whole: bool = False) -> Prepare:
    """Return a ``prepare`` for an update that any part of a parameter can be given to.

    Parameters
    ----------
    update : callable
    whole : bool
        Whether a part must hold whole matrices; else it may be some of their rows.
    """

    def prepare(
        param: Array,
        gradient: Gradient,
        slots: Mapping[str, Array],
        numbers: Numbers,
        ws: Workspace,
    ) -> Callable[[], None]:
        views = [
            (param[part], {name: slot[part] for name, slot in slots.items()}, numbers.of(part[0]))
            for part in gradient.parts(whole)
        ]

        def use(i: int, g: Array, ws: Workspace) -> None:
            here, its_slots, its_numbers = views[i]
            update(here, g, its_slots, its_numbers, ws)

        return partial(gradient.each, use, ws, whole)

    return prepare
