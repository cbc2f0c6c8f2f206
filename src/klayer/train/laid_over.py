"""Settings said in two places, of which the later is meant: a preset and a flag, a step and the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klayer.errors import KlayerError
from klayer.train.settings import SETTINGS, has_effect

__all__ = ["laid_over"]


def laid_over(before: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with others over them: those of a file and a flag's, of steps and the next one's.

    What was there before is left out where it has no effect beside the new values, and where a layer
    would have two normalisations: the new one is meant.

    Examples
    --------
    >>> laid_over({"optimiser": "nesterov", "momentum": 0.8, "l2": 0.1}, {"optimiser": "sgd"})
    {'optimiser': 'sgd', 'l2': 0.1}
    >>> laid_over({"batch_norm": "hidden"}, {"layer_norm": "hidden"})
    {'layer_norm': 'hidden'}
    """
    values = {**before, **own}
    for name, other in (("layer_norm", "batch_norm"), ("batch_norm", "layer_norm")):
        if name in own and other not in own and _share_a_layer(values, name, other):
            del values[other]
    idle = {one for one in before if has_effect(one, before) and not has_effect(one, values)}
    return {one: value for one, value in values.items() if one in own or one not in idle}


def _share_a_layer(values: Mapping[str, Any], name: str, other: str) -> bool:
    """Whether two normalisations are asked for of one layer; False for what can't be."""
    if other not in values:
        return False
    try:
        found = [SETTINGS[one].check(values[one]) for one in (name, other)]
    except KlayerError:
        return False
    if all(isinstance(one, tuple) for one in found):
        return not set(found[0]).isdisjoint(found[1])
    return "none" not in found
