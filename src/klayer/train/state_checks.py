"""What a population refuses: a state of other networks, early stopping by what its data don't have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klayer.errors import KlayerError
from klayer.train.metrics import measures
from klayer.train.optimisers import OPTIMISERS
from klayer.train.state import TrainingState

if TYPE_CHECKING:
    from klayer.train.population import Population

__all__ = ["require_calibration", "require_fitting", "require_measure"]


def require_measure(population: Population) -> None:
    """Refuse early stopping by what these data don't have."""
    name, known = population.settings.early_stopping, measures(population.network.task, curves=True)
    if name != "none" and "validation" not in population.feed.splits:
        raise KlayerError(
            f"`early_stopping={name!r}` needs a validation split, but the data have none: add one, "
            "or set early_stopping='none'."
        )
    if name not in ("none", *known):
        raise KlayerError(
            f"`early_stopping={name!r}` is no measure of a {population.network.task}: choose one of "
            f"{', '.join(known)}."
        )


def require_calibration(population: Population) -> None:
    """Refuse calibration where there are no probabilities, or no rows to do it by."""
    if population.settings.calibration == "none":
        return
    if population.network.task == "regression":
        raise KlayerError(
            "`calibration` is for probabilities of classes and labels, but this is a regression: set "
            "calibration='none'."
        )
    if "validation" not in population.feed.splits:
        raise KlayerError(
            "`calibration` needs a validation split, but the data have none: add one, or set "
            "calibration='none'."
        )


def require_fitting(population: Population, state: TrainingState) -> None:
    """Refuse a state that is not that of such a population."""
    # For no network: only the names are wanted, in the network's order.
    order = [key for key in population.network.shapes() if key in state.params]
    none = {key: state.params[key][:0] for key in order}
    slots = OPTIMISERS[population.settings.optimiser].init(none)
    shapes = population.network.shapes()
    groups = [
        ("params", population.network.shapes(), state.params),
        ("running", population.network.running_shapes(), state.running),
        *(
            (name, {key: shapes[key] for key in slot}, state.slots.get(name, {}))
            for name, slot in slots.items()
        ),
    ]
    both = {**population.network.shapes(), **population.network.running_shapes()}
    if state.update < population.total_updates:
        if population.settings.early_stopping != "none":
            groups.append(("best copies", both, state.copies.get("best", {})))
        if population.settings.average != "none" and state.update > population.average_from:
            groups.append(("average copies", both, state.copies.get("average", {})))
    for name, shapes, arrays in groups:
        wanted = {key: (len(population), *shape) for key, shape in shapes.items()}
        have = {key: value.shape for key, value in arrays.items()}
        if have != wanted:
            key = next(k for k in [*wanted, *have] if wanted.get(k) != have.get(k))
            raise KlayerError(
                f"a state must be that of the population's networks, but its {name} have "
                f"{key} of shape {have.get(key, 'none')} instead of {wanted.get(key, 'none')}: go on "
                "with the data and settings that it was trained with, or begin anew."
            )
        for key, value in arrays.items():
            if value.dtype != population.dtype:
                raise KlayerError(
                    f"a state must have the population's dtype, {population.dtype}, but its {key} is "
                    f"{value.dtype}."
                )
