"""LibSVM (SVMlight) files: a label and the features that are not zero, a line a row."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from klayer.data.tables.packed import memory_bound, read_all
from klayer.data.tables.table import DataTable
from klayer.errors import KlayerError

__all__ = ["looks_like_libsvm", "read_libsvm", "table_of_sparse"]

_FEATURE = re.compile(rb"(?:\d+|qid):[^\s:]+")
_INDEX = re.compile(rb"\s(\d+):")
_SEVERAL = re.compile(rb"[^\s:,]*,")


def looks_like_libsvm(head: bytes) -> bool:
    """Say whether a file begins like LibSVM: ``1 3:0.5 7:2``."""
    lines = (line.strip() for line in head.splitlines()[:-1] or head.splitlines())
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    label, *features = first.partition(b"#")[0].split() or [b""]
    if not features or not all(map(_FEATURE.fullmatch, features)):
        return False
    try:
        return all(math.isfinite(float(one)) for one in label.split(b","))
    except ValueError:
        return False


def read_libsvm(path: Path) -> DataTable:
    """Read a LibSVM file into columns ``feature_1``, ... as the file counts them, and ``label``.

    Several labels a row (``1,3 2:0.5``) become columns ``label_1``, ... of yes and no.

    Raises
    ------
    KlayerError
        If it isn't one, or its features would not fit into memory.
    """
    from sklearn.datasets import load_svmlight_file

    content = read_all(path)
    several = any(_SEVERAL.match(line) for line in content[: 2**16].splitlines())
    longest = max((len(found) for found in _INDEX.findall(content)), default=0)
    highest = (
        max((int(found) for found in _INDEX.findall(content)), default=0)
        if longest < 10
        else 10**10
    )
    rows = content.count(b"\n") + 1
    _require_fit(str(path), rows, highest + 1)
    try:
        zero = re.search(rb"\s0+:", content) is not None
        X, y = load_svmlight_file(
            io.BytesIO(content), zero_based=zero, multilabel=several, dtype=np.float64
        )
    except Exception as error:  # scikit-learn lets through whatever happens in its loop
        raise KlayerError(f"{path}: can't be read as LibSVM ({error}).") from None
    if not X.shape[0] or not X.shape[1]:
        raise KlayerError(f"{path}: must hold rows such as `1 3:0.5 7:2`, but holds none.")
    table = table_of_sparse(str(path), X, first=0 if zero else 1)
    if several:
        labels = sorted({label for row in y for label in row})
        for label in labels:
            name = f"label_{label:g}"
            table.raw[name] = np.array([label in row for row in y])
            table.target += (name,)
    else:
        table.raw["label"], table.target = y, ("label",)
    return table


def table_of_sparse(where: str, X: Any, first: int = 1) -> DataTable:
    """Make a table of a SciPy sparse matrix, with columns ``feature_FIRST``, ...

    Raises
    ------
    KlayerError
        If its features, zeros and all, would not fit into memory.
    """
    rows, columns = X.shape
    _require_fit(where, rows, columns)
    dense = np.asarray(X.toarray(order="F"))
    raw: dict[str, Any] = {f"feature_{first + i}": dense[:, i] for i in range(columns)}
    return DataTable(where, raw, named=False, zeros=True)


def _require_fit(where: str, rows: int, columns: int) -> None:
    if 8 * rows * columns > memory_bound():
        raise KlayerError(
            f"{where}: features must fit into half of the memory with their zeros, but {rows:,} rows "
            f"of {columns:,} do not: keep fewer features."
        )
