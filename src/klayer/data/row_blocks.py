"""Passes over the rows of an array that may be larger than the cache, or than the memory."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["row_blocks"]

# Numbers worked on at once: 2**18 float64 are 2 MB and fit into the cache.
BLOCK = 2**18


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Cut `rows` rows of `columns` numbers into slices that fit into the cache.

    Examples
    --------
    >>> list(row_blocks(5, 2**17))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, BLOCK // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
