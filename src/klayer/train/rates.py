"""The numbers of some networks of a population, update by update."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.train.optimisers import OPTIMISERS, Numbers
from klayer.train.population import Population

__all__ = ["Rates"]

Array = NDArray[Any]


class Rates:
    """The numbers of some networks, update by update.

    Parameters
    ----------
    population : Population
    lanes : slice

    Attributes
    ----------
    lr, l2 : array, shape (P,)
        In the parameters' dtype; ``lr`` is that of the update at hand.
    slope : array, shape (P,)
        ``2 lambda``.
    values : dict of array, shape (P,)
        All settings that are a number per network, in the parameters' dtype.
    """

    def __init__(self, population: Population, lanes: slice) -> None:
        self._population, self._lanes, self.dtype = population, lanes, population.dtype
        self.values = {
            name: value[lanes].astype(self.dtype) for name, value in population.numbers.items()
        }
        self.l2, self.clip_norm = self.values["l2"], self.values["clip_norm"]
        self.slope = population.network.penalty_slope(self.l2)
        self._optimiser = OPTIMISERS[population.settings.optimiser]
        names = list(self.of(range(1)))
        self._all = np.empty((len(names), len(self.l2)), self.dtype)
        self._now = dict(zip(names, self._all, strict=True))
        self.lr = self._now["lr"]

    def of(self, updates: range) -> dict[str, Array]:
        """Return what differs from update to update, each of shape (T, P)."""
        population, lanes, dtype = self._population, self._lanes, self.dtype
        t = np.array(updates)
        lr = population.learning_rates(t, lanes)
        more = {name: value[lanes] for name, value in population.numbers.items()}
        found = self._optimiser.rates(lr, more, t[:, None] + 1.0)
        minus = -lr.astype(dtype)
        return {
            "lr": -minus,
            "minus_lr": minus,
            "keep": 1 + minus * self.slope,
            **{name: value.astype(dtype) for name, value in found.items()},
        }

    def prepare(self, updates: range) -> None:
        """Look ahead: compute the rates of some updates."""
        self._soon = np.stack(list(self.of(updates).values()), axis=1)  # (T, names, P)

    def use(self, i: int) -> None:
        """Make those of the i-th of the updates the ones that :meth:`numbers` shows."""
        np.copyto(self._all, self._soon[i])

    def numbers(self, ndim: int, penalised: bool) -> Numbers:
        """Return views for a parameter with so many axes; they follow :meth:`use`."""

        def fit(values: Array) -> Array:
            return values.reshape(-1, *(1,) * (ndim - 1))

        now = self._now
        return Numbers(
            fit(now["lr"]),
            fit(now["minus_lr"]),
            fit(self.slope) if penalised else None,
            fit(now["keep"]) if penalised else None,
            {name: fit(value) for name, value in {**self.values, **now}.items()},
        )
