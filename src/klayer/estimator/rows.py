"""What stands in the rows: a column that holds no numbers is named, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from klayer.errors import KlayerError

__all__ = ["numbers_alone"]

_TIMES = ("datetime", "timedelta", "date", "duration", "time", "period")
_HOW = (
    "make numbers of it by a step of a pipeline before, as ColumnTransformer and OneHotEncoder do, or "
    "train by kl.fit(X, y), which encodes the columns of a frame itself"
)


@contextmanager
def numbers_alone(X: Any) -> Iterator[None]:
    """Refuse dates and spans of time among rows, which would be read as numbers; say what texts need.

    Raises
    ------
    KlayerError
        Naming the column of a frame.
    """
    for name, dtype in _columns(X):
        if str(dtype).lower().removeprefix("<").startswith((*_TIMES, "m8")):
            raise KlayerError(f"`X` must hold numbers, but {name} holds {dtype}: {_HOW}.")
    try:
        yield
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise KlayerError(f"`X` must hold numbers, but: {error}: {_HOW}.") from error


def _columns(X: Any) -> Iterator[tuple[str, Any]]:
    """Yield the columns that have a type each, by their names; of an array what all hold."""
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        for name, dtype in zip(X.columns, X.dtypes, strict=True):
            yield f"column {name!r}", dtype
    elif hasattr(X, "schema") and hasattr(X, "column_names"):
        for name, dtype in zip(X.column_names, X.schema.types, strict=True):
            yield f"column {name!r}", dtype
    elif hasattr(X, "dtype"):
        yield "it", X.dtype
