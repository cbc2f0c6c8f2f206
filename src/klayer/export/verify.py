"""What is to be written is asked first: its answers must be those of the networks, on real rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.options import OPTIONS, DataOptions
from klayer.data.sources.table import files_of
from klayer.data.tables.columns import DataColumn
from klayer.data.tables.read_table import read_table
from klayer.data.tables.table import DataTable
from klayer.errors import KlayerError
from klayer.export.exported import Exported

if TYPE_CHECKING:
    from klayer.data import Dataset
    from klayer.data.column_code import ColumnCode
    from klayer.study import Run

__all__ = [
    "ROWS",
    "TOLERANCE",
    "RowsToVerify",
    "Verified",
    "differences",
    "drawn_rows",
    "features_of",
    "given_rows",
    "rows_of_run",
    "wanted_answers",
]

Array = NDArray[Any]

# Rows that are asked about, at the most, and how many are drawn where there are none.
ROWS, DRAWN = 10_000, 1_000
TOLERANCE = 1e-5


@dataclass(frozen=True)
class RowsToVerify:
    """Raw rows.

    Attributes
    ----------
    rows : array (N, D) or DataTable
    what : str
        What they are, to be told.
    """

    rows: Any
    what: str

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Verified:
    """What verifying found.

    Attributes
    ----------
    difference : float
        The largest: of a probability; of a target in its standard deviations (or, of a value further
        out, as a share of its distance from the mean).
    rows : int
    what : str
        What the rows are.
    """

    difference: float
    rows: int
    what: str
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether it is within the tolerance."""
        return self.difference <= self.tolerance

    @property
    def shown(self) -> str:
        """The difference as text."""
        return f"{self.difference:.1e}" if self.difference else "0"

    def in_words(self) -> str:
        """Say it."""
        return f"largest difference {self.shown} on {self.rows:,} {self.what}"


def differences(what: Exported, found: Array, wanted: Array) -> Array:
    """Return how far answers lie apart, (N, outputs)."""
    apart = np.abs(np.asarray(found, np.float64) - wanted)
    targets = what.first.targets
    if targets is None:
        return apart
    each = max(1, len(what.first.network.quantiles))
    mean, scale = (np.repeat(one, each) for one in (targets.mean, targets.scale))
    return np.asarray(apart / (scale * np.maximum(1, np.abs(wanted - mean) / scale)))


def wanted_answers(what: Exported, rows: Any) -> Array:
    """Return what the networks themselves answer, without hints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return what.ensemble.predict(rows)


def rows_of_run(run: Run, dataset: Dataset | None) -> RowsToVerify | None:
    """Return raw rows of a run's data, of the test split first; None if they are not there."""
    if dataset is None:
        return None
    encoder = run.encoder
    if encoder is None or encoder.plain:
        return features_of(dataset)
    config = run.info["config"]
    said = {option: config[option] for option in OPTIONS if option in config}
    try:
        options = DataOptions.from_values(said)
        files = files_of(Path(config.get("data", "")).expanduser(), options)
        path = files.get("test") or files["train"]
        table = read_table(path, heading=options.heading, texts=encoder.texts)
        start = {name: values[:ROWS] for name, values in table.raw.items()}
        return RowsToVerify(replace(table, raw=start), f"rows of {path.name}")
    except (KlayerError, OSError, LookupError):  # it was a frame
        return features_of(dataset)


def given_rows(X: Any) -> RowsToVerify:
    """Return rows that a user gave: an array, a frame or a sparse matrix."""
    from klayer.data.from_arrays import table_of

    table = table_of(X, "X")[0] if hasattr(X, "columns") or hasattr(X, "tocsr") else None
    if table is None:
        if np.ndim(X) < 2:
            raise KlayerError(
                f"`X` must hold rows to verify by, (N, D), but got {np.ndim(X)} dimensions "
                f"({type(X).__name__}): pass samples as rows."
            )
        return RowsToVerify(np.asarray(X)[:ROWS], "rows that were given")
    start = {name: values[:ROWS] for name, values in table.raw.items()}
    return RowsToVerify(replace(table, raw=start), "rows that were given")


def features_of(dataset: Dataset) -> RowsToVerify:
    """Return raw features of a data set, of the test split first."""
    parts: list[Array] = []
    room = ROWS
    for name in ("test", "validation", "train"):
        if name in dataset.splits and room:
            parts.append(np.asarray(dataset.splits[name].features[:room]))
            room -= len(parts[-1])
    return RowsToVerify(np.concatenate(parts), f"rows of {dataset.name}")


def drawn_rows(what: Exported) -> RowsToVerify:
    """Draw rows like those of training: of every level, of none, with gaps where they are allowed."""
    random = np.random.default_rng(0)
    mean, scale = what.first.standardiser.mean, what.first.standardiser.scale
    encoder = what.encoder
    if encoder is None or encoder.plain:
        rows = mean + scale * random.standard_normal((DRAWN, len(mean)))
        return RowsToVerify(rows, "drawn rows")
    columns, start = {}, 0
    for code in encoder.codes:
        columns[code.name] = _drawn_column(code, mean[start], scale[start], random)
        start += len(code.feature_names)
    return RowsToVerify(DataTable("drawn rows", dict(columns)), "drawn rows")


def _drawn_column(
    code: ColumnCode, mean: float, scale: float, random: np.random.Generator
) -> DataColumn:
    missing = None if code.fill is None else random.random(DRAWN) < 0.1
    levels: tuple[str, ...] = ()
    if code.kind == "category":
        levels = (*code.levels, "a level that training never saw")
        values: Array = random.integers(0, len(levels), DRAWN)
    elif code.kind == "boolean":
        values = random.integers(0, 2, DRAWN)
    else:
        values = code.origin + mean + scale * random.standard_normal(DRAWN)
    return DataColumn(code.name, code.kind, values, missing, levels, code.clock)
