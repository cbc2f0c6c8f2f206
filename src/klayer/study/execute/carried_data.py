"""A data set as files on the bench: whoever takes part maps them, once a process, and parses nothing.

Processes of one machine share what they map. Rows that lie in a file already, as those of a data set
larger than memory, stay there: only their place is written down, which everybody must see.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset, Encoder, Split, Standardiser
from klayer.data.measure import Measured
from klayer.data.stored_files import from_plain
from klayer.data.stored_rows import Features, StoredRows
from klayer.errors import KlayerError
from klayer.files import own_folder, read_json, write_bytes, write_json

__all__ = ["carried_bytes", "read_data", "write_data"]

FOLDER, ABOUT = "data", "about.json"
_PLAIN = ("name", "class_names", "image_shape", "source", "task", "notes", "background", "split_by",
          "every_class")  # fmt: skip
_FIELDS = ("features", "labels", "weights")


def write_data(bench: Path, dataset: Dataset, run_id: str) -> None:
    """Write a data set into the folder of a bench, unless it lies there; it is there once `about` is."""
    folder = own_folder(bench, FOLDER)
    if (folder / ABOUT).exists():
        return
    about: dict[str, Any] = {name: getattr(dataset, name) for name in _PLAIN}
    about |= {"run": run_id, "encoder": dataset.encoder and dataset.encoder.as_plain()}
    about["splits"] = {
        name: {
            field: _put(folder, f"{name}.{field}", getattr(split, field))
            for field in _FIELDS
            if getattr(split, field) is not None
        }
        for name, split in dataset.splits.items()
    }
    measured = {"inputs": dataset.standardiser, "targets": dataset.targets}
    about["measured"] = {
        name: {
            field: _put(folder, f"{name}.{field}", getattr(one, field))
            for field in ("mean", "scale")
        }
        for name, one in measured.items()
        if one is not None
    }
    write_json(folder / ABOUT, about)


def read_data(bench: Path) -> Dataset:
    """Return the data set that :func:`write_data` wrote; its rows are mapped, not read.

    Raises
    ------
    KlayerError
        If its files are not there, or not whole.
    """
    folder = bench / FOLDER
    try:
        about = read_json(folder / ABOUT, sealed=True)
    except FileNotFoundError:
        raise KlayerError(f"{bench} holds no data: is the run finished?") from None
    plain = {name: about[name] for name in _PLAIN}
    for name in ("class_names", "image_shape", "notes"):
        plain[name] = plain[name] if plain[name] is None else tuple(plain[name])
    encoder = None if about["encoder"] is None else Encoder.from_plain(about["encoder"])
    splits = {
        name: Split(**{field: _get(folder, place) for field, place in places.items()})
        for name, places in about["splits"].items()
    }
    measured = {
        name: Standardiser(**{field: np.array(_get(folder, at)) for field, at in places.items()})
        for name, places in about["measured"].items()
    }
    dataset = Dataset(splits=splits, encoder=encoder, **plain)
    return dataset.measured_as(measured["inputs"], measured.get("targets"))


def carried_bytes(dataset: Dataset) -> int:
    """Return how many bytes of data each worker holds; rows on disk stay there."""
    arrays = [getattr(one, field) for one in dataset.splits.values() for field in _FIELDS]
    return sum(
        array.nbytes for array in arrays if array is not None and not isinstance(array, StoredRows)
    )


def _put(folder: Path, name: str, array: Features) -> dict[str, Any]:
    """Write an array, unless it lies in a file; return its place."""
    if isinstance(array, StoredRows):
        found = vars(array.measured)
        return {
            "stored": [file.as_plain() for file in array.files],
            "index": None if array.index is None else _put(folder, f"{name}.index", array.index),
            "measured": {key: _put(folder, f"{name}.{key}", one) for key, one in found.items()},
        }
    mapped = _place(array)
    if mapped:
        return mapped
    head = io.BytesIO()
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    write_bytes(folder / f"{name}.npy", head.getvalue(), array.reshape(-1).view(np.uint8).data)
    return {"file": f"{name}.npy"}


def _place(array: NDArray[Any]) -> dict[str, Any] | None:
    """Return where a mapped array lies; None for one in memory."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or not root.filename or not array.flags.c_contiguous:
        return None
    ahead = array.ctypes.data - root.ctypes.data
    return {
        "file": str(Path(root.filename).resolve()),
        "offset": int(root.offset + ahead),
        "dtype": array.dtype.str,
        "shape": list(array.shape),
    }


def _get(folder: Path, place: dict[str, Any]) -> Any:
    if "stored" in place:
        index = place["index"] and np.array(_get(folder, place["index"]))
        rows = StoredRows([from_plain(file) for file in place["stored"]], index)
        parts = {key: np.array(_get(folder, one)) for key, one in place["measured"].items()}
        rows.__dict__["measured"] = Measured(**parts)  # where cached_property keeps what it found
        return rows
    path = folder / place["file"]  # an absolute one stays
    try:
        if "offset" not in place:
            found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            return found
        offset, shape = place["offset"], tuple(place["shape"])
        return np.memmap(path, np.dtype(place["dtype"]), "r", offset, shape)
    except (OSError, ValueError) as error:
        raise KlayerError(
            f"every worker must see the data of its run, but {path} can't be read: {error}."
        ) from None
