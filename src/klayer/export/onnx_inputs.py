"""The inputs of a graph of ONNX: one for rows of numbers, or one for each column of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Encoder
from klayer.data.column_code import ColumnCode
from klayer.data.from_arrays import rows_of, table_of
from klayer.data.standardiser import Standardiser
from klayer.data.tables.table import DataTable
from klayer.export.exported import Exported
from klayer.export.onnx_graph import Graph, written

if TYPE_CHECKING:
    from klayer.data.tables.columns import DataColumn

__all__ = ["ROWS", "Input", "features", "feed", "inputs_of"]

ROWS = "X"
OUTPUTS = ("label", "probabilities", "values")
# What rounding of raw numbers to float32 may move standardised ones by.
_HARMLESS = 2.0**-20
_WORDS = {
    "number": "a number",
    "boolean": "1 for yes, 0 for no",
    "date": "days since 1970-01-01, UTC, with the time of day as a fraction",
    "category": "a text",
}


@dataclass(frozen=True)
class Input:
    """An input of the graph.

    Attributes
    ----------
    name : str
    dtype : dtype
        float32 or float64; object for texts.
    width : int
        Its columns.
    doc : str
    """

    name: str
    dtype: np.dtype[Any]
    width: int
    doc: str


def inputs_of(what: Exported, dtype: np.dtype[Any]) -> list[Input]:
    """Return the inputs of networks that calculate in ``dtype``."""
    if what.encoder is None:
        serves = all(_float32_serves(model.standardiser) for model in what.models)
        given = dtype if serves else np.dtype(np.float64)
        shape = (what.about.get("data") or {}).get("image_shape")
        images = f", images of shape {tuple(shape)} flattened" if shape else ""
        doc = f"raw rows, as the data set has them{images}: they are standardised inside"
        return [Input(ROWS, given, what.first.network.n_features, doc)]
    return [
        Input(
            name,
            np.dtype(object if code.kind == "category" else np.float64),
            1,
            _WORDS[code.kind] + _gap(code),
        )
        for name, code in zip(_names(what.encoder), what.encoder.codes, strict=True)
    ]


def _gap(code: ColumnCode) -> str:
    if code.fill is None:
        return ""
    return f"; {'an empty text' if code.kind == 'category' else 'NaN'} where it is missing"


def _float32_serves(standardiser: Standardiser) -> bool:
    mean, scale, room = np.abs(standardiser.mean), standardiser.scale, np.finfo(np.float32)
    # Rounding a number of the size of the mean, in deviations; and numbers that float32 doesn't have.
    told = (mean * 2.0**-24 <= _HARMLESS * scale) & (scale >= room.tiny)
    return bool((told & (mean + scale / _HARMLESS <= float(room.max))).all())


def _names(encoder: Encoder) -> list[str]:
    """The columns' names, made different from each other and from those of the outputs."""
    found: list[str] = []
    for column in encoder.columns:
        name = written(column) or "column"
        while name in found or name in OUTPUTS:
            name += "_in"
        found.append(name)
    return found


def features(graph: Graph, what: Exported, inputs: list[Input]) -> str:
    """Add what makes features (N, D) of the inputs; return their name."""
    if what.encoder is None:
        return inputs[0].name
    parts = [
        part
        for one, code in zip(inputs, what.encoder.codes, strict=True)
        for part in _encoded(graph, one.name, code)
    ]
    return graph.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _encoded(graph: Graph, x: str, code: ColumnCode) -> list[str]:
    """Add the columns of numbers of one column, as :meth:`ColumnCode.put` has them."""
    if code.kind == "category":
        return [_one_hot(graph, x, code)]
    missing = None
    if code.fill is not None:
        missing = graph.op("IsNaN", x)
        x = graph.op("Where", missing, graph.constant("fill", np.float64(code.fill)), x)
    parts = [x]
    if code.kind == "date":
        parts = [graph.op("Sub", x, graph.constant("origin", np.float64(code.origin)))]
        for cycle in code.cycles:
            angle = graph.op("Mul", x, graph.constant("turn", np.float64(2 * math.pi / cycle)))
            parts += [graph.op("Sin", angle), graph.op("Cos", angle)]
    if code.marks_gaps and missing is not None:
        parts.append(graph.cast(missing, np.float64))
    return parts


def _one_hot(graph: Graph, x: str, code: ColumnCode) -> str:
    width = len(code.feature_names)
    places = {written(level): place for level, place in code.places.items()}
    nowhere = width
    places.setdefault("", width - 1 if code.marks_gaps else nowhere)
    place = graph.op(
        "LabelEncoder",
        x,
        keys_strings=list(places),
        values_int64s=list(places.values()),
        default_int64=len(code.levels) if code.other else nowhere,
    )
    column = graph.constant("places", np.arange(width, dtype=np.int64))
    return graph.cast(graph.op("Equal", place, column), np.float64)  # (N, 1) == (width,)


def feed(
    encoder: Encoder | None, n_features: int, dtypes: Mapping[str, np.dtype[Any]], X: Any
) -> dict[str, NDArray[Any]]:
    """Return what a graph is given for raw rows: whatever :meth:`klayer.Model.predict` takes.

    Parameters
    ----------
    encoder : Encoder or None
    n_features : int
        D, of rows that are arrays.
    dtypes : mapping of str to dtype
        Of the inputs, in their order.
    X : array, frame, sparse matrix or DataTable
    """
    if encoder is None:
        [(name, dtype)] = dtypes.items()
        with np.errstate(over="ignore"):  # the answer to such a row is not finite
            return {name: rows_of(X, n_features)[:].astype(dtype)}
    if isinstance(X, np.ndarray) and X.dtype.kind in "buif" and X.shape[1:] == (n_features,):
        rows = rows_of(X, n_features, encoder)[:].astype(np.float64)
        ends = np.cumsum([len(code.feature_names) for code in encoder.codes])
        blocks = np.split(rows, ends[:-1], axis=1)
        return {
            name: _decoded(code, block)[:, None]
            for name, code, block in zip(dtypes, encoder.codes, blocks, strict=True)
        }
    table = X if isinstance(X, DataTable) else table_of(X, "X")[0]
    return {
        name: _fed(code, column)[:, None]
        for name, (code, column) in zip(dtypes, encoder.columns_of(table), strict=True)
    }


def _decoded(code: ColumnCode, block: NDArray[np.float64]) -> NDArray[Any]:
    """Return a column that has these features, (N, width) -> (N,)."""
    missing = block[:, -1] > 0.5 if code.marks_gaps else np.zeros(len(block), bool)
    if code.kind != "category":
        values = _days(code, block) if code.kind == "date" else block[:, 0]
        return np.where(missing, np.nan, values)
    texts = np.array([*map(written, code.levels), _unseen(code)], object)
    levels = block[:, : len(code.levels)]
    found = texts[np.where(levels.any(axis=1), levels.argmax(axis=1), len(code.levels))]
    found[missing] = ""
    return np.asarray(found)


def _days(code: ColumnCode, block: NDArray[np.float64]) -> NDArray[Any]:
    days = block[:, 0] + code.origin
    if not code.clock:
        return days
    # Features in float32 have the time of day in its sine and cosine alone.
    time = np.arctan2(block[:, 5], block[:, 6]) / (2 * math.pi)
    return np.asarray(np.round(days - time) + time)


def _unseen(code: ColumnCode) -> str:
    """Return a text that is none of the levels."""
    text = "?"
    while text in code.places:
        text += "?"
    return text


def _fed(code: ColumnCode, column: DataColumn) -> NDArray[Any]:
    missing = column.missing
    if missing is not None and code.fill is None:
        column.require_whole("fill the gaps: training had none")
    if code.kind != "category":
        column.require_finite()
        values = np.array(column.values, np.float64)
        if missing is not None:
            values[missing] = np.nan
        return values
    # A level that another format writes otherwise, 7.0 for 7, goes by the name of training.
    texts = np.array([_known(code, level) for level in column.levels] or [""], object)
    found = texts[column.values]
    if missing is not None:
        found[missing] = ""
    return np.asarray(found)


def _known(code: ColumnCode, level: str) -> str:
    place = code.place(level)
    return written(code.levels[place] if 0 <= place < len(code.levels) else level)
