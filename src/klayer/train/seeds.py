"""Which seeds: a number of them, counting up, or a list; the same words in every command and call."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from klayer.errors import KlayerError

__all__ = ["parse_seeds", "seeds_of"]

MOST_SEEDS = 100_000
_MOST = 2**63 - 1  # a stored seed is a whole number of 64 bits
_RULE = "must be a number >= 1, or a list of different whole numbers >= 0"


def seeds_of(seeds: Any = 1, seed: Any = None, name: str = "seeds") -> tuple[int, ...]:
    """Return the seeds that were asked for.

    Parameters
    ----------
    seeds : int or iterable of int
        How many, >= 1: they count up from ``seed``. Or the seeds themselves, each >= 0 and none twice.
    seed : int, >= 0, optional
        The first one, for a number of seeds; by default 0.
    name : str
        What the number was called, for messages.

    Raises
    ------
    KlayerError
        If it is neither.

    Examples
    --------
    >>> seeds_of(3), seeds_of(2, seed=5), seeds_of([7, 3]), seeds_of(range(2))
    ((0, 1, 2), (5, 6), (7, 3), (0, 1))
    """
    if seed is not None and not _whole(seed, 0):
        raise KlayerError(f"`seed` must be a whole number >= 0, but got {seed!r}.")
    if _whole(seeds, 1):
        if seeds > MOST_SEEDS or (seed or 0) + int(seeds) > _MOST:
            raise KlayerError(
                f"`{name}` must be at most {MOST_SEEDS:,}, each at most {_MOST:,}, but got "
                f"{seeds!s:.40} from {seed or 0!s:.40}."
            )
        return tuple(range(seed or 0, (seed or 0) + int(seeds)))
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Iterable):
        raise KlayerError(f"`{name}` {_RULE}, but got {seeds!r:.80}.")
    several = list(itertools.islice(seeds, MOST_SEEDS + 1))
    if len(several) > MOST_SEEDS:
        raise KlayerError(f"`{name}` must be at most {MOST_SEEDS:,}, but got more.")
    if not several or not all(_whole(one, 0) for one in several):
        raise KlayerError(f"`{name}` {_RULE}, but got {several!r:.80}.")
    found = tuple(int(one) for one in several)
    if max(found) > _MOST:
        raise KlayerError(
            f"each of `{name}` must be at most {_MOST:,}, but got {max(found)!s:.40}."
        )
    if len(set(found)) < len(found):
        raise KlayerError(f"`{name}` {_RULE}, but got {several!r:.80}.")
    if seed is not None:
        raise KlayerError(
            f"`seed` is the first of a number of seeds, but got seed={seed} beside a list, "
            f"{name}={list(found)!r:.80}: give one of the two."
        )
    return found


def parse_seeds(text: str) -> int | list[int]:
    """Read what stands behind ``--seeds``: a number of seeds, or the seeds with commas.

    Examples
    --------
    >>> parse_seeds("5"), parse_seeds("3,7,9")
    (5, [3, 7, 9])
    """
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [int(part) for part in parts]
    except ValueError:  # also a number of too many digits
        raise KlayerError(
            f"`--seeds` must be a number of seeds, or several with commas, as in 3,7,9, but got "
            f"{text!r:.80}."
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


def _whole(value: Any, least: int) -> bool:
    return (
        isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least
    )
