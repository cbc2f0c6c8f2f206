"""Other people's layouts of a network's parameters, as klayer keeps them: names, axes, shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from klayer.gradcheck.array_names import order_of_layers
from klayer.gradcheck.objective import Params
from klayer.nn import Network

__all__ = ["ForeignLayout", "layouts"]


@dataclass(frozen=True)
class ForeignLayout:
    """How parameters are those of a network: the network's name -> theirs; weights as (out, in)."""

    names: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    transposed: bool

    def aligned(self, params: Params) -> Params:
        """Return parameters, or gradients, under the network's names, in its shapes."""
        found = {}
        for key, theirs in self.names.items():
            value = params[theirs]
            if self.transposed and len(self.shapes[key]) == 2:
                value = value.T
            found[key] = value.reshape(self.shapes[key])
        return found


def layouts(network: Network, params: Params) -> Iterator[ForeignLayout]:
    """Yield the ways in which parameters may be those of a network.

    Their names are the network's, or in the order of its layers of the same kinds (W, b, gamma, beta);
    weights are (in, out) or (out, in), vectors (n,), (1, n) or (n, 1).

    Examples
    --------
    >>> import numpy as np
    >>> theirs = {"layers.0.weight": np.zeros((4, 3)), "layers.0.bias": np.zeros((4, 1))}
    >>> [(layout.names, layout.transposed) for layout in layouts(Network(3, (), 4), theirs)]
    [({'W1': 'layers.0.weight', 'b1': 'layers.0.bias'}, True)]
    """
    shapes = network.shapes()
    names = (
        {key: key for key in shapes}
        if params.keys() == shapes.keys()
        else _by_order(network, params)
    )
    if names is None:
        return
    for transposed in (False, True):
        fits = all(
            _fits(params[names[key]].shape, shape, transposed) for key, shape in shapes.items()
        )
        if fits:
            yield ForeignLayout(names, shapes, transposed)


def _fits(theirs: tuple[int, ...], shape: tuple[int, ...], transposed: bool) -> bool:
    if len(shape) == 2:
        return theirs == (shape[::-1] if transposed else shape)
    return theirs in (shape, (1, *shape), (*shape, 1))


def _by_order(network: Network, params: Params) -> dict[str, str] | None:
    """Match names by layer and kind: the first layer's W is W1, whatever they are called."""
    layers, parsed = order_of_layers(params)
    found = {}
    for number, layer in enumerate(layers, 1):
        for name, one in parsed.items():
            if one.layer == layer:
                found[f"{one.kind}{number}"] = name
    complete = found.keys() == network.shapes().keys() and len(found) == len(params)
    return {key: found[key] for key in network.shapes()} if complete else None
