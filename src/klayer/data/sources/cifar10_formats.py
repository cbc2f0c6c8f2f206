"""The three published layouts of CIFAR-10: binary, Python and Matlab batches, folder or archive.

Whatever the layout, a batch is 10,000 labels and 10,000 rows of 3,072 bytes: 32 x 32 red values by
rows, then green, then blue.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.unpickle import read_byte_pickle
from klayer.errors import KlayerError

__all__ = ["LAYOUTS", "Layout", "read_archive", "read_folder"]

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
FEATURES = 3 * 32 * 32
CLASSES = 10
ROWS_PER_BATCH = 10_000

_AGAIN = (
    "The file is damaged or not CIFAR-10: get it anew (`klayer data fetch cifar10 --data-dir DIR` "
    "downloads into DIR)."
)


def _read_binary(data: bytes, where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A batch of the binary version: per row one label byte and 3,072 pixel bytes."""
    row = 1 + FEATURES
    if len(data) % row:
        raise KlayerError(
            f"{where}: the size must be a multiple of {row:,} bytes (a label and 3 x 32 x 32 "
            f"pixels), but got {len(data):,}: row {len(data) // row:,} is cut. {_AGAIN}"
        )
    table = np.frombuffer(data, np.uint8).reshape(-1, row)
    return table[:, 1:], table[:, 0]


def _read_python(data: bytes, where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A batch of the Python version: a pickled dict."""
    return _of_dict(read_byte_pickle(data, where), where)


def _read_matlab(data: bytes, where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A batch of the Matlab version: a .mat file of format 5."""
    from scipy.io import loadmat

    try:
        content = loadmat(io.BytesIO(data), variable_names=["data", "labels"])
    except Exception as error:  # a damaged file can fail in any way
        raise KlayerError(
            f"{where}: not a readable Matlab file ({type(error).__name__}: {error}). {_AGAIN}"
        ) from None
    return _of_dict(content, where)


def _of_dict(content: dict[str, object], where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Take images and labels out of a dict, whatever it holds."""
    missing = {"data", "labels"} - set(content)
    if missing:
        raise KlayerError(
            f"{where}: a batch must hold 'data' and 'labels', but {sorted(missing)[0]!r} is "
            f"missing. {_AGAIN}"
        )
    images = content["data"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2:
        raise KlayerError(f"{where}: 'data' must be a matrix of bytes. {_AGAIN}")
    if images.shape[1] != FEATURES:
        raise KlayerError(
            f"{where}: 'data' must have rows of {FEATURES:,} bytes, but got {images.shape[1]:,}. "
            f"{_AGAIN}"
        )
    try:
        labels = np.asarray(content["labels"]).ravel()
    except ValueError:
        labels = np.empty(0, object)
    if labels.dtype.kind not in "iu":
        raise KlayerError(f"{where}: 'labels' must be a list of whole numbers. {_AGAIN}")
    return images, labels


@dataclass(frozen=True)
class Layout:
    """One published form of the data set.

    Parameters
    ----------
    kind : str
        ``"binary"``, ``"Python"`` or ``"Matlab"``.
    folder, archive : str
        The published names.
    suffix : str
        What the names of the batch files end in.
    read : callable
        ``read(content, where) -> (images (N, 3072), labels (N,))``.
    """

    kind: str
    folder: str
    archive: str
    suffix: str
    read: Callable[[bytes, str], tuple[NDArray[Any], NDArray[Any]]]

    @property
    def files(self) -> tuple[str, ...]:
        """The six batch files, the test batch last."""
        return tuple(name + self.suffix for name in BATCHES)


LAYOUTS = (
    Layout("binary", "cifar-10-batches-bin", "cifar-10-binary.tar.gz", ".bin", _read_binary),
    Layout("Python", "cifar-10-batches-py", "cifar-10-python.tar.gz", "", _read_python),
    Layout("Matlab", "cifar-10-batches-mat", "cifar-10-matlab.tar.gz", ".mat", _read_matlab),
)


def read_folder(path: Path, layout: Layout) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read the six batch files of a folder.

    Returns
    -------
    images : array, shape (60000, 3072), uint8
        In published order, the test batch last.
    labels : array, shape (60000,), int64
    """
    return _collect(str(path), layout, _folder_files(path, layout))


def read_archive(path: Path, layout: Layout) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read the six batch files out of a .tar.gz, in one pass and without unpacking it to disk.

    Returns
    -------
    images : array, shape (60000, 3072), uint8
        In published order, the test batch last.
    labels : array, shape (60000,), int64
    """
    return _collect(str(path), layout, _archive_files(path, layout))


def _folder_files(path: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    for name in layout.files:
        try:
            yield name, (path / name).read_bytes()
        except FileNotFoundError:
            continue  # _collect names every file that is missing
        except OSError as error:
            raise KlayerError(f"{path / name}: can't be read ({error.strerror}).") from None


def _archive_files(path: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    largest = 2 * ROWS_PER_BATCH * (1 + FEATURES)
    try:
        with gzip.open(path) as unzipped:
            with tarfile.open(fileobj=unzipped, mode="r|") as archive:
                for member in archive:
                    name = member.name.rpartition("/")[2]
                    if name not in layout.files or not (file := archive.extractfile(member)):
                        continue
                    if member.size > largest:
                        raise KlayerError(
                            f"{path}: {name} must have less than {largest:,} bytes, "
                            f"but has {member.size:,}. {_AGAIN}"
                        )
                    yield name, file.read()
            while unzipped.read(1 << 20):  # to the end, where gzip keeps its checksum
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise KlayerError(f"{path}: the archive is cut or damaged ({error}). {_AGAIN}") from None


def _collect(
    where: str, layout: Layout, files: Iterator[tuple[str, bytes]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check each batch and put it into its place, whatever the order of the files."""
    images = np.empty((len(BATCHES), ROWS_PER_BATCH, FEATURES), np.uint8)
    labels = np.empty((len(BATCHES), ROWS_PER_BATCH), np.int64)
    missing = list(layout.files)
    for name, data in files:
        batch, batch_labels = layout.read(data, f"{where}, {name}")
        _check(f"{where}, {name}", batch, batch_labels)
        index = layout.files.index(name)
        images[index], labels[index] = batch, batch_labels
        if name in missing:
            missing.remove(name)
    if missing:
        raise KlayerError(
            f"{where}: all six batches must be there, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Add what is missing, or get the "
            "archive anew (`klayer data fetch cifar10 --data-dir DIR` downloads into DIR)."
        )
    return images.reshape(-1, FEATURES), labels.reshape(-1)


def _check(where: str, images: NDArray[Any], labels: NDArray[Any]) -> None:
    for kind, count in (("rows", len(images)), ("labels", len(labels))):
        if count != ROWS_PER_BATCH:
            raise KlayerError(
                f"{where}: a batch must have exactly {ROWS_PER_BATCH:,} {kind}, "
                f"but got {count:,}. {_AGAIN}"
            )
    wrong = (labels < 0) | (labels >= CLASSES)
    if wrong.any():
        row = int(wrong.argmax())
        raise KlayerError(
            f"{where}, row {row}: a label must be 0 to {CLASSES - 1}, but got {labels[row]}. "
            f"{_AGAIN}"
        )
