"""Errors that klayer raises for mistakes that a user can mend, and "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["KlayerError", "invalid", "located", "unknown_name"]


class KlayerError(ValueError):
    """A mistake that the user can mend: the message names the rule, the value and the next step.

    The command prints the message alone, without a traceback, and exits with status 2.
    """


def unknown_name(kind: str, name: object, known: Iterable[str]) -> KlayerError:
    """Build the error for a name that is not among the known ones.

    Parameters
    ----------
    kind : str
        What the name is for, as a noun: ``"data set"``.
    name : object
        What the user wrote.
    known : iterable of str
        The names that would have been right.

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
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    hint = f" did you mean {close[0]!r}?" if close else ""
    return KlayerError(f"unknown {kind} {str(name)!r}:{hint} Known: {', '.join(known)}.")


def located(where: str, message: str) -> KlayerError:
    """Build an error that says where the mistake is: a file, a table, flags; nowhere if empty."""
    return KlayerError(f"{where}: {message}" if where else message)


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
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        return located(where, str(unknown_name("key", place, known)))
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, KlayerError):
        return located(where, str(cause))
    where = ", ".join(part for part in (where, f"`{place}`" if place else "") if part)
    return located(where, f"{problem['msg']}, but got {problem['input']!r}.")
