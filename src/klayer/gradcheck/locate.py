"""Where an error enters: backpropagation carries it down, so what is right bounds it from above."""

from __future__ import annotations

from collections.abc import Collection

from klayer.gradcheck.array_names import ArrayName, listed

__all__ = ["locate"]


def locate(
    layers: list[str],
    names: dict[str, ArrayName],
    wrong: set[str],
    right: set[str],
    unknown: Collection[str] = (),
) -> tuple[tuple[str, ...], str]:
    """Find the arrays where the error enters, and say what that leaves as the place.

    The gradient of a layer's output reaches all of the layer's arrays and everything below. So if
    one array of a layer is right, what arrived there was right; and the layers from the input up
    whose arrays are all wrong tell how far down the error has run.

    Parameters
    ----------
    layers : list of str
        From input to output.
    names : dict of name -> ArrayName
    wrong, right : set of str
        Arrays found wrong and right; those that are in neither don't count.
    unknown : collection of str
        Arrays that could not be decided.

    Returns
    -------
    origin : tuple of str
    text : str

    Examples
    --------
    >>> from klayer.gradcheck.array_names import parse_name
    >>> names = {key: parse_name(key) for key in ("W1", "b1", "W2", "b2", "W3", "b3")}
    >>> locate(["1", "2", "3"], names, {"W1", "b1", "W2", "b2"}, {"W3", "b3"})[0]
    ('W2', 'b2')
    >>> locate(["1", "2", "3"], names, {"W1", "W2", "W3"}, {"b1", "b2", "b3"})[0]
    ('W1', 'W2', 'W3')
    """
    origin, text = _located(layers, names, wrong, right)
    if unknown:
        # Then "all above is right" and "every array is wrong" say too much.
        known = f"wrong: {listed(origin)}"
        if right:
            known += f"; right: {listed([name for name in names if name in right])}"
        return origin, f"{known}; nothing is known of {listed(sorted(unknown))}."
    return origin, text


def _located(
    layers: list[str], names: dict[str, ArrayName], wrong: set[str], right: set[str]
) -> tuple[tuple[str, ...], str]:
    of_layer = {
        layer: [name for name, parsed in names.items() if parsed.layer == layer] for layer in layers
    }
    wrong_in = {layer: [one for one in of_layer[layer] if one in wrong] for layer in layers}
    flooded = 0  # how many layers, from the input up, are wrong through and through
    for layer in layers:
        known = [one for one in of_layer[layer] if one in wrong or one in right]
        if known and len(wrong_in[layer]) < len(known):
            break
        flooded += 1
    while flooded and not wrong_in[layers[flooded - 1]]:
        flooded -= 1  # layers of which nothing is known
    above = [name for layer in layers[flooded:] for name in wrong_in[layer]]
    kinds = {name: parsed.kind for name, parsed in names.items()}

    if not flooded:
        layer = names[above[0]].layer
        beside = [one for one in of_layer[layer] if one != above[0]]
        return tuple(above), _local(above, beside, kinds)
    top = layers[flooded - 1]
    if flooded < len(layers) and wrong_in[layers[flooded]]:
        # Part of the layer is right: the flood starts inside it, below what is right.
        layer = layers[flooded]
        beside = [one for one in of_layer[layer] if one not in wrong]
        text = f"{listed(beside)} right, {listed(wrong_in[layer])} and everything from "
        text += f"{_layer(top)} down wrong: "
        return tuple(above), text + _inside(
            layer, wrong_in[layer], beside, kinds, layer == layers[-1]
        )
    origin = (*wrong_in[top], *above)
    if above:
        return origin, (
            f"{listed(above)} is wrong by itself, and everything from {_layer(top)} down is wrong: "
            "two places, it seems."
        )
    if len(layers) == 1:
        every = "every array" if len(origin) > 1 else "the only array"
        return origin, f"{every} is wrong: {listed(origin)}."
    if flooded == len(layers):
        return origin, (
            "everything is wrong from the last layer on: look at the gradient of the loss with "
            "respect to the outputs (softmax, labels, division by n), or at a scale of the whole "
            "cost."
        )
    here, after = _layer(top), _layer(layers[flooded])
    return origin, (
        f"{after} and all above is right, everything from {here} down is wrong: the error enters "
        f"on the way back from {after} to {here} (the product with the transposed weights of "
        f"{after}, or the activation of {here}: its derivative, its mask)."
    )


def _inside(
    layer: str, wrong: list[str], right: list[str], kinds: dict[str, str], last: bool
) -> str:
    if {kinds[one] for one in wrong} == {"W"} and {"gamma", "beta"} & {kinds[one] for one in right}:
        return (
            f"the error lies in the gradient through the normalisation of {_layer(layer)} "
            "(its mean term, its variance term, eps inside the root, gamma)."
        )
    if last:
        return (
            "the gradient of the loss with respect to the outputs is wrong in a way that its sum "
            "over the samples doesn't show: labels in another order than the samples?"
        )
    return f"the error enters in {_layer(layer)}, on the way back."


def _local(wrong: list[str], beside: list[str], kinds: dict[str, str]) -> str:
    if len(wrong) > 1 or kinds[wrong[0]] != "W":
        return f"only {listed(wrong)} wrong, nothing below: the formula of the array itself."
    if {"gamma", "beta"} & {kinds[one] for one in beside}:
        return (
            f"only {wrong[0]} is wrong, {listed(beside)} right: its own formula (the layer's input "
            "times the gradient, or its L2 term), or the gradient through the normalisation."
        )
    return (
        f"only {wrong[0]} is wrong: its own formula, that is the layer's input times the gradient "
        "(is the input the right one, and fresh?), or its L2 term."
    )


def _layer(layer: str) -> str:
    return f"layer {layer}" if layer else "the layer"
