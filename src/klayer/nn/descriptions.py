"""An architecture as plain values, as it is written down beside stored weights, and read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, TypeVar

from klayer.errors import KlayerError, unknown_name
from klayer.nn.losses import LOSSES
from klayer.nn.pieces import KINDS

__all__ = ["read", "require_pieces", "written"]

Made = TypeVar("Made")

# Properties that older versions of a stored network don't have, and what they were then.
_LATER: dict[str, Any] = {
    "quantiles": (),
    "bn_place": "before",
    "layer_norm": "none",
    "skip": "none",
    "drops_hidden": False,
    "dropout_shares": (),
    "drops_inputs": False,
    "noisy_inputs": False,
}


def written(properties: Mapping[str, Any], pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the properties of a network, and its pieces beside them, ready for JSON.

    Examples
    --------
    >>> written({"hidden": (3, 2), "skip": "none"}, [])
    {'hidden': [3, 2], 'pieces': []}
    """
    # What older versions didn't have is left out where it is as it was then.
    old = [
        name for name, value in _LATER.items() if name in properties and properties[name] == value
    ]
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in properties.items()
        if name not in old
    }
    return {**plain, "pieces": list(pieces)}


def read(make: Callable[..., Made], description: Mapping[str, Any], known: Set[str]) -> Made:
    """Return what ``make`` makes of a description's properties, all of which must be ``known``.

    Raises
    ------
    KlayerError
        For a piece, a loss or a property that this version doesn't know, and for one that is missing.
    """
    for piece in description.get("pieces", ()):
        if piece.get("piece") not in KINDS:
            raise _from_later("piece", piece.get("piece"), KINDS)
    if description.get("loss") not in LOSSES:
        raise _from_later("loss", description.get("loss"), LOSSES)
    for name in description:
        if name not in known | {"pieces"}:
            raise _from_later("property", name, sorted(known))
    try:
        return make(**{name: description[name] for name in known - (_LATER.keys() - description)})
    except (KeyError, TypeError) as error:
        raise KlayerError(
            f"a stored network must have all of {', '.join(sorted(known - _LATER.keys()))}, each "
            "of its kind, "
            f"but: {error!r}. The file is damaged: train again."
        ) from None


def require_pieces(pieces: Sequence[Mapping[str, Any]], description: Mapping[str, Any]) -> None:
    """Raise an error if a description's pieces aren't those of the architecture that it gives."""
    if list(pieces) != list(description.get("pieces", ())):
        raise KlayerError(
            "the pieces of a stored network must be those of its architecture, but they differ: "
            "a later version of klayer made it, or the file is damaged."
        )


def _from_later(kind: str, name: object, known: Any) -> KlayerError:
    return KlayerError(
        f"a stored network: {unknown_name(kind, name, known)} A later version of klayer may have made "
        "it: upgrade klayer to read it."
    )
