"""Which layers of a network have a piece: by a word, or by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from klayer.errors import KlayerError, unknown_name

__all__ = ["BATCH_NORM", "BN_PLACES", "LAYER_NORM", "SKIP", "layers_or_word"]

BATCH_NORM = ("none", "hidden", "all")
BN_PLACES = ("before", "after")
LAYER_NORM = ("none", "hidden")
SKIP = ("none", "equal")


def layers_or_word(name: str, value: Any, words: Sequence[str], last: int | None = None) -> Any:
    """Return a word as it is, or yes or no where there are no words; numbers of layers ascending.

    Parameters
    ----------
    name : str
        What they are chosen for, in a message.
    value : str, bool or sequence of int
    words : sequence of str
        What may stand in their place; where there are none, yes or no.
    last : int, optional
        The greatest number, if it is known.

    Raises
    ------
    KlayerError
        For another word, for no number, and for a number that no layer has, or twice.

    Examples
    --------
    >>> layers_or_word("batch_norm", [3, 1], BATCH_NORM), layers_or_word("batch_norm", "all", BATCH_NORM)
    ((1, 3), 'all')
    """
    if isinstance(value, bool) and not words:
        return value
    if isinstance(value, str) and words:
        if value not in words:
            raise unknown_name(name, value, [*words, "or numbers of layers with commas, as in 1,3"])
        return value
    several = list(value) if isinstance(value, list | tuple) else [value]
    layers = [one for one in several if isinstance(one, int) and not isinstance(one, bool)]
    highest = len(several) + max(layers, default=0) if last is None else last
    if len(layers) < len(several) or not layers or not 1 <= min(layers) <= max(layers) <= highest:
        limit = "from 1 on, as in 1,3" if last is None else f"from 1 to {last}"
        limit = "of which there are none here" if last == 0 else limit
        known = ", ".join(repr(word) for word in words) or "True, False"
        raise KlayerError(
            f"`{name}` must be {known} or numbers of layers, {limit}, but got {_written(value)}."
        )
    if len(set(layers)) < len(layers):
        raise KlayerError(f"`{name}` must name each layer once, but got {_written(value)}.")
    return tuple(sorted(layers))


def _written(value: Any) -> str:
    """Write a value as it was given: numbers with commas."""
    whole = isinstance(value, list | tuple) and value and all(type(one) is int for one in value)
    return ",".join(map(str, value)) if whole else f"{value!r:.80}"
