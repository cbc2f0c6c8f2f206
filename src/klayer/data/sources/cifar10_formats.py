"""The three published layouts of CIFAR-10 and CIFAR-100: binary, Python, Matlab; folder or archive.

Whatever the layout, a batch is so many labels and rows of 3,072 bytes: 32 x 32 red values by rows, then
green, then blue. CIFAR-10 has batches of 10,000; CIFAR-100 has one of 50,000 and one of 10,000, and
two labels a row, of which the finer one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.locations import existing, locations
from klayer.data.matlab_files import read_matrices
from klayer.data.regular_file import require_file
from klayer.data.tar_files import tar_files
from klayer.data.unpickle import read_byte_pickle
from klayer.errors import KlayerError

__all__ = ["LAYOUTS", "LAYOUTS_100", "CifarSet", "Found", "Layout", "find_copy", "read_copy"]

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
FEATURES = 3 * 32 * 32
ROWS_PER_BATCH = 10_000

_SUBFOLDERS = 200  # looked into at most, where the folders themselves hold nothing


@dataclass(frozen=True)
class CifarSet:
    """A data set as it was published.

    Parameters
    ----------
    title : str
    batches : sequence of str
        Names of the batches, without what a layout adds; the last one tests.
    rows : callable
        ``rows() -> sequence of int``: of each batch.
    classes : int
    labels : int
        Label bytes before the pixels in the binary layout; the last of them counts.
    label_key : str
        What the labels are called in the other layouts.
    again : str
        What to do about a damaged file.
    telling : bool
        Whether a file of one of these names can be nothing else.
    """

    title: str
    batches: tuple[str, ...]
    rows: Callable[[], Sequence[int]]
    classes: int
    labels: int
    label_key: str
    again: str
    telling: bool

    @property
    def largest(self) -> int:
        """More bytes than any batch has, in any layout."""
        return 2 * max(self.rows()) * (self.labels + FEATURES)


CIFAR10 = CifarSet(
    "CIFAR-10",
    BATCHES,
    lambda: [ROWS_PER_BATCH] * 6,
    10,
    1,
    "labels",
    "The file is damaged or not CIFAR-10: get it anew (`klayer data fetch cifar10 --data-dir DIR` "
    "downloads into DIR).",
    True,
)
CIFAR100 = CifarSet(
    "CIFAR-100",
    ("train", "test"),
    lambda: [5 * ROWS_PER_BATCH, ROWS_PER_BATCH],
    100,
    2,
    "fine_labels",
    "The file is damaged or not CIFAR-100: get it anew.",
    False,
)


def _read_binary(data: bytes, where: str, about: CifarSet) -> tuple[NDArray[Any], NDArray[Any]]:
    """A batch of the binary version: per row one or two label bytes and 3,072 pixel bytes."""
    row = about.labels + FEATURES
    if len(data) % row:
        labels = "a label" if about.labels == 1 else f"{about.labels} labels"
        raise KlayerError(
            f"{where}: the size must be a multiple of {row:,} bytes ({labels} and 3 x 32 x 32 "
            f"pixels), but got {len(data):,}: row {len(data) // row:,} is cut. {about.again}"
        )
    table = np.frombuffer(data, np.uint8).reshape(-1, row)
    return table[:, about.labels :], table[:, about.labels - 1]


def _read_python(data: bytes, where: str, about: CifarSet) -> tuple[NDArray[Any], NDArray[Any]]:
    """A batch of the Python version: a pickled dict."""
    return _of_dict(read_byte_pickle(data, where), where, about)


def _read_matlab(data: bytes, where: str, about: CifarSet) -> tuple[NDArray[Any], NDArray[Any]]:
    """A batch of the Matlab version: a .mat file of format 5."""
    try:
        content = read_matrices(data, ["data", about.label_key], where, about.largest)
    except KlayerError as error:
        raise KlayerError(f"{error} {about.again}") from None
    return _of_dict(content, where, about)


def _of_dict(
    content: Mapping[str, object], where: str, about: CifarSet
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Take images and labels out of a dict, whatever it holds."""
    key = about.label_key
    missing = {"data", key} - set(content)
    if missing:
        raise KlayerError(
            f"{where}: a batch must hold 'data' and {key!r}, but {sorted(missing)[0]!r} is "
            f"missing. {about.again}"
        )
    images = content["data"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2:
        raise KlayerError(f"{where}: 'data' must be a matrix of bytes. {about.again}")
    if images.shape[1] != FEATURES:
        raise KlayerError(
            f"{where}: 'data' must have rows of {FEATURES:,} bytes, but got {images.shape[1]:,}. "
            f"{about.again}"
        )
    try:
        labels = np.asarray(content[key]).ravel()
    except ValueError:
        labels = np.empty(0, object)
    if labels.dtype.kind not in "iu":
        raise KlayerError(f"{where}: {key!r} must be a list of whole numbers. {about.again}")
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
        ``read(content, where, about) -> (images (N, 3072), labels (N,))``.
    about : CifarSet
    """

    kind: str
    folder: str
    archive: str
    suffix: str
    read: Callable[[bytes, str, CifarSet], tuple[NDArray[Any], NDArray[Any]]]
    about: CifarSet = CIFAR10

    @property
    def files(self) -> tuple[str, ...]:
        """The batch files, the test batch last."""
        return tuple(name + self.suffix for name in self.about.batches)

    @property
    def archives(self) -> tuple[str, ...]:
        """The names that the archive may have: as published, or packed otherwise."""
        stem = self.archive.removesuffix(".tar.gz")
        return self.archive, f"{stem}.tgz", f"{stem}.tar"

    def is_in(self, folder: Path, *, named: bool) -> bool:
        """Whether a folder holds its files; ``named``: whether the folder has the published name."""
        one = named or self.about.telling
        return (any if one else all)(existing(folder / name) for name in self.files)


LAYOUTS = (
    Layout("binary", "cifar-10-batches-bin", "cifar-10-binary.tar.gz", ".bin", _read_binary),
    Layout("Python", "cifar-10-batches-py", "cifar-10-python.tar.gz", "", _read_python),
    Layout("Matlab", "cifar-10-batches-mat", "cifar-10-matlab.tar.gz", ".mat", _read_matlab),
)
LAYOUTS_100 = tuple(
    Layout(kind, folder, f"{folder}.tar.gz", suffix, read, CIFAR100)
    for kind, folder, suffix, read in (
        ("binary", "cifar-100-binary", ".bin", _read_binary),
        ("Python", "cifar-100-python", "", _read_python),
        ("Matlab", "cifar-100-matlab", ".mat", _read_matlab),
    )
)


@dataclass(frozen=True)
class Found:
    """A copy of a data set on this machine."""

    path: Path
    layout: Layout
    origin: str

    @property
    def is_archive(self) -> bool:
        return self.path.is_file()


def find_copy(layouts: Sequence[Layout], data_dir: str | Path | None) -> Found | None:
    """Look for a copy of a data set, in any layout; nothing is read yet.

    In each folder of `klayer.data.locations.locations`: the published folders, the folder itself,
    the published archives, then the same in each of its subfolders; of each kind binary before
    Python before Matlab.
    """
    for location in locations(data_dir):
        for place in (location.path, *_subfolders(location.path)):
            for folder in (*(place / layout.folder for layout in layouts), place):
                for layout in layouts:
                    if layout.is_in(folder, named=folder.name == layout.folder):
                        return Found(folder, layout, location.origin)
            for layout in layouts:
                for name in layout.archives:
                    if existing(place / name):
                        return Found(place / name, layout, location.origin)
    return None


def _subfolders(folder: Path) -> Iterator[Path]:
    """The folders in a folder, where archives are often unpacked into one of their own."""
    try:
        entries = sorted(folder.iterdir())[:_SUBFOLDERS]
    except OSError:
        return
    yield from (entry for entry in entries if existing(entry, folder=True))


def read_copy(found: Found) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read the batch files of a folder, or out of an archive, in one pass and without unpacking it.

    Returns
    -------
    images : array, shape (60000, 3072), uint8
        In published order, the test batch last.
    labels : array, shape (60000,), int64
    """
    path, layout = found.path, found.layout
    if not found.is_archive:
        return _collect(str(path), layout, _folder_files(path, layout))
    about = layout.about
    files = tar_files(path, layout.files.__contains__, about.largest, about.again)
    return _collect(str(path), layout, files)


def _folder_files(path: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    about = layout.about
    for name in layout.files:
        place = path / name
        if not place.exists():
            continue  # _collect names every file that is missing
        size = require_file(place)
        if size > about.largest:
            raise KlayerError(
                f"{place}: must have less than {about.largest:,} bytes, but has {size:,}. "
                f"{about.again}"
            )
        try:
            yield name, place.read_bytes()
        except OSError as error:
            raise KlayerError(f"{place}: can't be read ({error.strerror}).") from None


def _collect(
    where: str, layout: Layout, files: Iterator[tuple[str, bytes]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check each batch and put it into its place, whatever the order of the files."""
    about, rows = layout.about, layout.about.rows()
    starts = np.cumsum([0, *rows])
    images = np.empty((int(starts[-1]), FEATURES), np.uint8)
    labels = np.empty(len(images), np.int64)
    missing = list(layout.files)
    for name, data in files:
        batch, batch_labels = layout.read(data, f"{where}, {name}", about)
        index = layout.files.index(name)
        _check(f"{where}, {name}", batch, batch_labels, rows[index], about)
        place = slice(starts[index], starts[index + 1])
        images[place], labels[place] = batch, batch_labels
        if name in missing:
            missing.remove(name)
    if missing:
        count = {2: "both", 6: "all six"}[len(layout.files)]
        how = (
            "Add what is missing, or get the archive anew (`klayer data fetch cifar10 --data-dir DIR` "
            "downloads into DIR)."
            if about is CIFAR10
            else "Add what is missing, or get the archive anew."
        )
        raise KlayerError(
            f"{where}: {count} batches must be there, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. {how}"
        )
    return images, labels


def _check(
    where: str, images: NDArray[Any], labels: NDArray[Any], rows: int, about: CifarSet
) -> None:
    for kind, count in (("rows", len(images)), ("labels", len(labels))):
        if count != rows:
            raise KlayerError(
                f"{where}: a batch must have exactly {rows:,} {kind}, "
                f"but got {count:,}. {about.again}"
            )
    wrong = (labels < 0) | (labels >= about.classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise KlayerError(
            f"{where}, row {row}: a label must be 0 to {about.classes - 1}, but got {labels[row]}. "
            f"{about.again}"
        )
