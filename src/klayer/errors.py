"""Errors that klayer raises for mistakes that a user can mend, and "did you mean"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["KlayerError", "broken_rule", "invalid", "located", "require_kind", "unknown_name"]


class KlayerError(ValueError):
    """A mistake that the user can mend: the message names the rule, the value and the next step.

    The command prints the message alone, without a traceback, and exits with status 2. A message that
    ends with another library's words, which may have a full stop of their own, still ends with one.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(re.sub(r"(?<!\.)\.\.$", ".", message))


def unknown_name(
    kind: str, name: object, known: Iterable[str], meant: str | None = None
) -> KlayerError:
    """Build the error for a name that is not among the known ones.

    Parameters
    ----------
    kind : str
        What the name is for, as a noun: ``"data set"``.
    name : object
        What the user wrote.
    known : iterable of str
        The names that would have been right.
    meant : str, optional
        The hint, where more is known than that names are alike.

    Returns
    -------
    KlayerError
        To be raised by the caller.

    Examples
    --------
    >>> print(unknown_name("data set", "cifar", ["cifar10", "digits"]))
    unknown data set 'cifar': did you mean 'cifar10'? Known: cifar10, digits.
    """
    known = list(known)
    alike = {one.lower(): one for one in reversed(known)}
    close = difflib.get_close_matches(str(name).lower(), alike, n=1, cutoff=0.6)
    hint = f" did you mean {alike[close[0]]!r}?" if close else ""
    hint = f" {meant}" if meant else hint
    return KlayerError(f"unknown {kind} {str(name)!r}:{hint} Known: {', '.join(known)}.")


def require_kind(
    value: object, kinds: type | tuple[type, ...], name: str, wanted: str, hint: str = ""
) -> None:
    """Refuse a value of another kind than is needed.

    Parameters
    ----------
    value : object
    kinds : type or tuple of type
    name : str
        Of the argument.
    wanted : str
        The kinds in words.
    hint : str
        The next step.

    Raises
    ------
    KlayerError

    Examples
    --------
    >>> require_kind(3, str, "path", "a path", "name a file")
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: `path` must be a path, but got 3 (int): name a file.
    """
    if not isinstance(value, kinds):
        said = f"`{name}` must be {wanted}, but got {value!r:.60} ({type(value).__name__})"
        raise KlayerError(f"{said}: {hint}." if hint else f"{said}.")


def located(where: str, message: str) -> KlayerError:
    """Build an error that says where the mistake is: a file, a table, flags; nowhere if empty."""
    said = not where or message.startswith(f"{where}: ")
    return KlayerError(message if said else f"{where}: {message}")


def invalid(error: ValidationError, where: str, known: Iterable[str]) -> KlayerError:
    """Build the error for values that pydantic refused: where, the place, the rule, the value.

    Parameters
    ----------
    error : pydantic.ValidationError
    where : str
        The file or table that holds the values.
    known : iterable of str
        The names that would have been right.
    """
    problem = _first(error)
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        return located(where, str(unknown_name("key", place, known)))
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, KlayerError):
        return located(where, str(cause))
    where = ", ".join(part for part in (where, f"`{place}`" if place else "") if part)
    if problem["type"] == "missing":
        return located(where, "must be given, but isn't there.")
    return located(where, f"{broken_rule(error)}.")


def broken_rule(error: ValidationError) -> str:
    """Return the first rule that was broken, in words, and the value: ``must be >= 1, but got 0``."""
    problem = _first(error)
    return f"{_rule(problem)}, but got {problem['input']!r:.80}"


# Rules in the words of a file's author, by pydantic's name of what was broken.
_RULES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a text, in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list, as in [1, 2]",
    "dict_type": "must be a table, as in {{ name = value }}",
    "model_type": "must be a table, as in {{ name = value }}",
    "model_attributes_type": "must be a table, as in {{ name = value }}",
    "greater_than_equal": "must be >= {ge}",
    "greater_than": "must be > {gt}",
    "less_than_equal": "must be <= {le}",
    "less_than": "must be < {lt}",
    "too_short": "must have at least {min_length} of what it lists",
    "literal_error": "must be {expected}",
    "extra_forbidden": "is a name that isn't known here",
}


def _first(error: ValidationError) -> dict[str, Any]:
    """Return the first mistake; those of the alternatives of one key as one, which names them all."""
    found: list[dict[str, Any]] = [dict(one) for one in error.errors()]
    first = found[0]
    # An alternative stands behind its key: ("seeds", "int") and ("seeds", "list[int]", 0).
    key = first["loc"][:-1]
    mine = [one["loc"] for one in found if key and one["loc"][: len(key)] == key]
    tags = dict.fromkeys(loc[len(key)] for loc in mine)
    if len(tags) > 1 and tags.keys() <= _KINDS.keys():
        either = " or ".join(_KINDS[tag] for tag in tags)
        first |= {"loc": key, "type": "", "msg": f"must be {either}"}
    return first


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text, in quotes",
    "bool": "true or false",
    "list[int]": "a list of whole numbers, as in [10, 20]",
    "list[float]": "a list of numbers, as in [0.1, 0.2]",
    "list[str]": 'a list of texts, as in ["a", "b"]',
}


def _rule(problem: dict[str, Any]) -> str:
    rule: str = _RULES.get(problem["type"], problem["msg"])
    return rule.format(**problem.get("ctx", {})) if problem["type"] in _RULES else rule
