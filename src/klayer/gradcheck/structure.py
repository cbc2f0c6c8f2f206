"""Parameters as people keep them: a mapping, nested mappings and lists, one array; and gradients.

The checker works on named arrays. Nested ones are named by their path, ``layers.0.W``; the function
gets its own structure back, and its gradients are matched to the names: by the same structure, by
names such as ``dW1`` or ``W1_grad``, or by their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from klayer.errors import KlayerError, unknown_name

__all__ = ["ONE_ARRAY", "Structure", "flatten", "is_container", "joined"]

# The name of an array that stands alone.
ONE_ARRAY = "params"

_PREFIXES = ("d_", "d", "grad_", "grad", "g_", "g", "delta_", "∂")
_SUFFIXES = ("_grad", ".grad", "_gradient", "_g")


def is_container(value: object) -> bool:
    """Whether a value holds arrays, and is none itself: a list of numbers is one.

    Examples
    --------
    >>> is_container({"W": 1.0}), is_container([np.ones(2)]), is_container([[1.0, 2.0]])
    (True, True, False)
    """
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list | tuple) and any(
        hasattr(one, "shape") or one is None or is_container(one) for one in value
    )


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    else:
        names = getattr(value, "_fields", range(len(value)))
        yield from zip(names, value, strict=True)


def joined(path: str, key: Any) -> str:
    """Return the path of an entry; a key may be a number, or several: ``("W", 1)`` is ``W1``."""
    if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], int):
        key = f"{key[0]}{key[1]}"
    parts = key if isinstance(key, tuple) else (key,)
    return ".".join([*([path] if path else []), *map(str, parts)])


def flatten(value: Any, what: str = "params", path: str = "") -> dict[str, Any]:
    """Return the leaves of a structure by their path.

    Examples
    --------
    >>> list(flatten({"layers": [{"W": np.ones(2), "b": 0.5}], "scale": 1.0}))
    ['layers.0.W', 'layers.0.b', 'scale']

    Raises
    ------
    KlayerError
        For two leaves of one name.
    """
    if not is_container(value):
        return {path or ONE_ARRAY: value}
    leaves: dict[str, Any] = {}
    for key, one in _items(value):
        for name, leaf in flatten(one, what, joined(path, key)).items():
            if name in leaves:
                raise KlayerError(f"`{what}` holds two arrays called {name!r}: rename one.")
            leaves[name] = leaf
    return leaves


class Structure:
    """What a set of parameters looks like: rebuilds it from named arrays, and reads gradients.

    Examples
    --------
    >>> layers = Structure([{"W": np.ones((2, 2))}, {"W": np.ones(2)}])
    >>> layers.names
    ['0.W', '1.W']
    >>> layers.build({"0.W": 1, "1.W": 2})
    [{'W': 1}, {'W': 2}]
    >>> layers.gradients([{"dW": 3}, {"dW": 4}], dict.fromkeys(layers.names, ()))
    {'0.W': 3, '1.W': 4}
    """

    def __init__(self, params: Any) -> None:
        self._like = params
        self.names = list(flatten(params))

    def build(self, arrays: Mapping[str, Any]) -> Any:
        """Return the structure with other leaves."""
        return self._build(self._like, arrays, "")

    def _build(self, like: Any, arrays: Mapping[str, Any], path: str) -> Any:
        if not is_container(like):
            return arrays[path or ONE_ARRAY]
        parts = {key: self._build(one, arrays, joined(path, key)) for key, one in _items(like)}
        if isinstance(like, Mapping):
            return parts
        if hasattr(like, "_fields"):  # a named tuple
            return type(like)(**parts)
        return tuple(parts.values()) if isinstance(like, tuple) else list(parts.values())

    def gradients(self, grads: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return gradients by the names of their parameters.

        Raises
        ------
        KlayerError
            If they can't be matched.
        """
        if not (is_container(grads) or (self.names == [ONE_ARRAY] and grads is not None)):
            raise KlayerError(
                "the gradients must be a mapping keyed as `params`, but got "
                f"{type(grads).__name__}: lists and nested ones will do where `params` is one."
            )
        found = flatten(grads, "grads")
        if not set(self.names) <= found.keys():
            found = self._renamed(found) or self._ordered(found, shapes, grads) or found
        for name in found:
            if name not in self.names:
                raise unknown_name("gradient", name, self.names)
        for name in self.names:
            if name not in found:
                raise KlayerError(
                    f"the gradients lack {name!r}: a gradient must have exactly its parameter's "
                    f"key. Got: {', '.join(map(str, found)) or 'none'}."
                )
        return {name: found[name] for name in self.names}

    def _renamed(self, found: dict[str, Any]) -> dict[str, Any] | None:
        """Gradients called ``dW1`` or ``W1_grad``; others of that kind, as ``dZ1``, are left out."""
        for rule in _rules():
            named = {rule(key): value for key, value in found.items()}
            if set(self.names) <= named.keys():
                return {name: named[name] for name in self.names}
        return None

    def _ordered(
        self, found: dict[str, Any], shapes: Mapping[str, tuple[int, ...]], grads: Any
    ) -> dict[str, Any] | None:
        """Gradients in a list, in the order of their parameters."""
        if isinstance(grads, Mapping) or len(found) != len(self.names):
            return None
        paired = dict(zip(self.names, found.values(), strict=True))
        fits = all(np.size(value) == np.prod(shapes[key]) for key, value in paired.items())
        return paired if fits else None


def _rules() -> Sequence[Callable[[str], str | None]]:
    def prefix(start: str) -> Callable[[str], str | None]:
        def rule(key: str) -> str | None:
            head, dot, last = key.rpartition(".")
            return f"{head}{dot}{last.removeprefix(start)}" if last.startswith(start) else None

        return rule

    def suffix(end: str) -> Callable[[str], str | None]:
        return lambda key: key.removesuffix(end) if key.endswith(end) else None

    return [*map(prefix, _PREFIXES), *map(suffix, _SUFFIXES)]
