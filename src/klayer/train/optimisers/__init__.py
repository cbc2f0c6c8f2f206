"""What gradients do to parameters: one row each in a table.

An optimiser is a pair ``(init, prepare)``: ``init`` makes the *slots*, arrays beside the parameters in
the training state with the same leading axis P; ``prepare`` makes the plan of one parameter's updates,
whose numbers, gradient and scratch memory are at hand by then. The gradient is that of the data term, as
the backward pass has just left it. The penalty comes apart, as a number: an optimiser with a memory of
gradients meets ``2 lambda W`` where it says so, and never by accident.
"""

from __future__ import annotations

from klayer.train.optimisers.adaptive import (
    adam,
    adam_rates,
    adamw,
    adamw_rates,
    rmsprop,
    rmsprop_rates,
)
from klayer.train.optimisers.descent import momentum, nesterov, sgd
from klayer.train.optimisers.muon import muon, muon_rates, muon_slots
from klayer.train.optimisers.row import Numbers, Optimiser, Slots, by_parts, slots_of

__all__ = ["OPTIMISERS", "Numbers", "Optimiser", "Slots"]

OPTIMISERS: dict[str, Optimiser] = {
    "sgd": Optimiser(slots_of(), sgd, by_products=True),
    "momentum": Optimiser(slots_of("velocity"), by_parts(momentum)),
    "nesterov": Optimiser(slots_of("velocity"), by_parts(nesterov)),
    "adam": Optimiser(slots_of("mean", "square"), by_parts(adam), adam_rates, greatest_rate=0.05),
    "adamw": Optimiser(
        slots_of("mean", "square"), by_parts(adamw), adamw_rates, greatest_rate=0.05
    ),
    "rmsprop": Optimiser(slots_of("square"), by_parts(rmsprop), rmsprop_rates, greatest_rate=0.05),
    "muon": Optimiser(muon_slots, by_parts(muon, whole=True), muon_rates, greatest_rate=0.1),
}
