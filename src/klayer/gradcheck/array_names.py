"""What a parameter's name says: its layer, its kind, and where the layer stands in the network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from klayer.gradcheck.objective import Array

__all__ = ["ArrayName", "listed", "order_of_layers", "parse_name"]

_NUMBERED = re.compile(r"^(?P<kind>[^\W\d]+?)_?(?P<layer>\d+)$")
_PATH = re.compile(r"^(?P<layer>.+)[./](?P<kind>[^./]+)$")

# Other libraries' words for the four kinds; a weight with one axis is a normalisation's scale.
_KINDS = {"w": "W", "weight": "W", "weights": "W", "kernel": "W", "b": "b", "bias": "b"}

# The same for layers that are pairs (W, b), or (W, b, gamma, beta).
_IN_LISTS = {"0": "W", "1": "b", "2": "gamma", "3": "beta"}


@dataclass(frozen=True)
class ArrayName:
    """Layer and kind of a parameter array."""

    name: str  # the key in the user's mapping
    layer: str  # "2" for W2, "encoder.0" for encoder.0.weight, "" where none is named
    kind: str  # W, b, gamma, beta, or the user's own word


def parse_name(name: str, ndim: int = 2) -> ArrayName:
    """Split a name such as ``W2``, ``gamma_1``, ``layers.0.weight`` or ``dense/kernel``.

    ``ndim`` is the number of axes of the array: a ``weight`` with one scales a normalisation.

    Examples
    --------
    >>> parse_name("gamma2")
    ArrayName(name='gamma2', layer='2', kind='gamma')
    >>> parse_name("layers.0.weight").layer, parse_name("layers.0.weight").kind
    ('layers.0', 'W')
    >>> parse_name("norm.weight", ndim=1).kind
    'gamma'
    """
    if name.isdigit():  # a list of arrays: a matrix is a weight
        return ArrayName(name, name, "W" if ndim == 2 else "b")
    match = _NUMBERED.match(name) or _PATH.match(name)
    layer, kind = (match["layer"], match["kind"]) if match else ("", name)
    kind = _KINDS.get(kind.lower(), kind)
    kind = _IN_LISTS.get(kind, kind)
    if kind == "W" and ndim == 1 and match and match.re is _PATH:
        kind = "gamma"
    return ArrayName(name, layer, kind)


def order_of_layers(params: Mapping[str, Array]) -> tuple[list[str], dict[str, ArrayName]]:
    """Return the layers from input to output, and the parsed name of each array.

    Numbered layers stand in the order of their numbers, others in the order in which the mapping
    names them.

    Examples
    --------
    >>> import numpy as np
    >>> order_of_layers({"W10": np.zeros((2, 2)), "W9": np.zeros((2, 2))})[0]
    ['9', '10']
    """
    names = {name: parse_name(name, value.ndim) for name, value in params.items()}
    layers = list(dict.fromkeys(parsed.layer for parsed in names.values()))
    if all(layer.isdigit() for layer in layers):
        layers.sort(key=int)
    return layers, names


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them.

    Examples
    --------
    >>> listed(["W1"]), listed(["W1", "b1", "W2"])
    ('W1', 'W1, b1 and W2')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
