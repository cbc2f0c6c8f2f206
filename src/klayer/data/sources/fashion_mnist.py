"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): 70,000 grey pictures of clothes."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset, Split
from klayer.data.locations import Location, existing, locations, not_found
from klayer.data.source import Source
from klayer.errors import KlayerError

__all__ = ["DEBIAN_FOLDER", "SOURCE", "find", "load", "read_idx"]

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FOLDERS = ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw", ".")
CLASS_NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
TRAIN_ROWS = 60_000
VALIDATION_ROWS = 5_000
TEST_ROWS = 10_000

_SIDE = 28
_IMAGES, _LABELS = 0x00000803, 0x00000801  # unsigned bytes, three dimensions and one
_AGAIN = (
    "The file is damaged or another one: get it anew (Debian: `apt install dataset-fashion-mnist`)."
)


def find(data_dir: str | Path | None = None) -> Path | None:
    """Look for the folder with the four IDX files; nothing is read yet.

    Looked into are the folders of `klayer.data.locations.locations`, then Debian's.
    """
    for location in _locations(data_dir):
        for name in FOLDERS:
            if _file(location.path / name, "train-images-idx3-ubyte") is not None:
                return location.path / name if name != "." else location.path
    return None


def load(data_dir: str | Path | None = None) -> Dataset:
    """Load Fashion-MNIST: 55,000 images to train, 5,000 to validate, 10,000 to test.

    The last 5,000 training images validate. The IDX files may be plain or gzipped.

    Parameters
    ----------
    data_dir : str or Path, optional
        Look here and nowhere else.

    Returns
    -------
    Dataset
        Features of D = 784 bytes, image shape (1, 28, 28).

    Raises
    ------
    KlayerError
        If no copy is found, or a file is damaged.
    """
    folder = find(data_dir)
    if folder is None:
        raise not_found(
            "Fashion-MNIST",
            _locations(data_dir),
            ["train-images-idx3-ubyte[.gz]", f"the same in {', '.join(FOLDERS[:-1])}"],
            "Install it (Debian and Ubuntu: `apt install dataset-fashion-mnist`), put the four IDX "
            "files into a folder and name it with --data-dir, or use the bundled data set "
            "`digits`.",
        )
    images, labels = _read_pair(folder, "train", TRAIN_ROWS)
    test_images, test_labels = _read_pair(folder, "t10k", TEST_ROWS)
    train = TRAIN_ROWS - VALIDATION_ROWS
    return Dataset(
        "fashion_mnist",
        {
            "train": Split(images[:train], labels[:train]),
            "validation": Split(images[train:], labels[train:]),
            "test": Split(test_images, test_labels),
        },
        CLASS_NAMES,
        (1, _SIDE, _SIDE),
        source="Fashion-MNIST, IDX files"
        + (", Debian package dataset-fashion-mnist" if folder == DEBIAN_FOLDER else ""),
    )


def read_idx(path: Path, magic: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped (by its ending).

    The format: a magic number, one size per dimension, each 4 bytes with the highest first, then
    the bytes themselves, the last dimension running fastest.

    Parameters
    ----------
    path : Path
    magic : int
        ``0x0801`` for a vector of bytes, ``0x0803`` for a stack of images.
    shape : tuple of int
        The sizes that the header must state.

    Returns
    -------
    array of uint8, of the given shape

    Raises
    ------
    KlayerError
        Naming the file and the part of the header, or the length, that is wrong.
    """
    header = 4 + 4 * len(shape)
    expected = header + prod(shape)
    opener = gzip.open if path.suffix == ".gz" else Path.open
    try:
        with opener(path, "rb") as file:
            data = file.read(expected + 1)  # one byte more shows a file that is too long
    except (OSError, EOFError, zlib.error) as error:
        raise KlayerError(f"{path}: can't be read ({error}). {_AGAIN}") from None
    if len(data) < header:
        raise KlayerError(
            f"{path}: an IDX header must have {header} bytes, but the file has {len(data)}. "
            f"{_AGAIN}"
        )
    found, *sizes = struct.unpack(f">{1 + len(shape)}I", data[:header])
    if found != magic:
        raise KlayerError(
            f"{path}: the IDX magic number must be {magic:#010x}, but got {found:#010x}. {_AGAIN}"
        )
    if tuple(sizes) != shape:
        raise KlayerError(
            f"{path}: the IDX header must state the shape {shape}, but got {tuple(sizes)}. {_AGAIN}"
        )
    if len(data) != expected:
        length = f"more than {expected:,}" if len(data) > expected else f"{len(data):,}"
        raise KlayerError(f"{path}: must have {expected:,} bytes, but got {length}. {_AGAIN}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _locations(data_dir: str | Path | None) -> list[Location]:
    debian = [Location("Debian package", DEBIAN_FOLDER)] if data_dir is None else []
    return locations(data_dir) + debian


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if existing(path)), None)


def _read_pair(folder: Path, prefix: str, rows: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    parts = []
    for name, magic, shape in (
        (f"{prefix}-images-idx3-ubyte", _IMAGES, (rows, _SIDE, _SIDE)),
        (f"{prefix}-labels-idx1-ubyte", _LABELS, (rows,)),
    ):
        path = _file(folder, name)
        if path is None:
            raise KlayerError(
                f"{folder}: all four IDX files must be there, but {name}[.gz] is missing. Add it "
                "(Debian: `apt install dataset-fashion-mnist`)."
            )
        parts.append(read_idx(path, magic, shape))
    images, labels = parts
    wrong = labels >= len(CLASS_NAMES)
    if wrong.any():
        row = int(wrong.argmax())
        raise KlayerError(
            f"{folder}, {prefix}-labels-idx1-ubyte, row {row}: a label must be 0 to "
            f"{len(CLASS_NAMES) - 1}, but got {labels[row]}. {_AGAIN}"
        )
    return images.reshape(rows, -1), labels


def _find(data_dir: str | Path | None) -> str | None:
    folder = find(data_dir)
    return None if folder is None else str(folder)


SOURCE = Source(
    name="fashion_mnist",
    description="grey pictures of clothes",
    load=lambda request: load(request.data_dir),
    find=_find,
    shape="1 x 28 x 28",
    n_classes=10,
    sizes=(55_000, 5_000, 10_000),
)
