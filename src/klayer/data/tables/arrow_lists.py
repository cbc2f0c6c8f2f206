"""Columns of lists of numbers, all of one length: so many columns of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.tables.columns import Place, row_place, shown
from klayer.errors import KlayerError

__all__ = ["holds_lists", "holds_numbers", "names_in_list", "spread"]


def holds_numbers(kind: Any) -> bool:
    """Say whether a type of pyarrow is whole or real numbers, or yes and no."""
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def holds_lists(kind: Any) -> bool:
    """Say whether a type of pyarrow is lists of numbers, of a fixed size or not."""
    import pyarrow as pa

    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(one(kind) for one in lists) and holds_numbers(kind.value_type)


def names_in_list(name: str, width: int) -> tuple[str, ...]:
    """Return the names of the columns that a column of lists stands for.

    Examples
    --------
    >>> names_in_list("pixels", 3)
    ('pixels[0]', 'pixels[1]', 'pixels[2]')
    """
    return tuple(f"{name}[{place}]" for place in range(width))


def spread(
    name: str, lists: Any, width: int | None = None, place: Place = row_place
) -> NDArray[Any]:
    """Return the numbers of a column of lists, a row each; what is missing is NaN.

    Parameters
    ----------
    name : str
        The column's, for messages.
    lists : pyarrow.Array, N lists
    width : int, optional
        W, their length; by default that of the first.
    place : callable
        ``place(row) -> str``: how a row is named.

    Returns
    -------
    array, shape (N, W)

    Raises
    ------
    KlayerError
        If a list has another length, or none has a number.

    Examples
    --------
    >>> import pyarrow as pa
    >>> spread("pixels", pa.array([[1, 2], [3, 4]])).tolist()
    [[1, 2], [3, 4]]
    """
    import pyarrow as pa
    from pyarrow import compute

    lengths = compute.list_value_length(lists)
    there = lengths.is_valid().to_numpy(zero_copy_only=False)
    found = lengths.fill_null(-1).to_numpy(zero_copy_only=False)
    if width is None:
        width = int(found[there.argmax()]) if there.any() else 0
    wrong = there & (found != width)
    if wrong.any():
        row = int(wrong.argmax())
        raise KlayerError(
            f"column {shown(name)}, {place(row)}: lists must all have one length, but this one has "
            f"{found[row]:,} and the first {width:,}: mend it, or leave the column out (--drop)."
        )
    if not width:
        raise KlayerError(
            f"column {shown(name)}: lists must hold a number at least, but are empty: leave the column "
            "out (--drop)."
        )
    numbers = compute.list_flatten(lists)
    if numbers.null_count:
        numbers = numbers.cast(pa.float64())
    rows = np.asarray(numbers.to_numpy(zero_copy_only=False)).reshape(-1, width)
    if there.all():
        return rows
    whole = np.full((len(there), width), np.nan)
    whole[there] = rows
    return whole
