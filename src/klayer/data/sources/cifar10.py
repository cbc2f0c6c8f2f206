"""CIFAR-10 (Krizhevsky 2009): 60,000 colour photographs of 32 x 32 pixels in ten classes."""

from __future__ import annotations

import os
from pathlib import Path

from klayer.data.dataset import Dataset, Split
from klayer.data.download import Progress, download
from klayer.data.locations import Location, cache_folder, locations, not_found
from klayer.data.source import Source
from klayer.data.sources import cifar10_formats
from klayer.data.sources.cifar10_formats import LAYOUTS, Found, find_copy, read_copy
from klayer.errors import KlayerError

__all__ = ["ARCHIVE_SHA256", "ARCHIVE_SIZE", "ARCHIVE_URL", "SOURCE", "fetch", "find", "load"]

ARCHIVE_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_SIZE = 170_052_171
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
IMAGE_SHAPE = (3, 32, 32)
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_REMEDY = (
    "Nothing was left behind. Try again later or set KLAYER_CIFAR10_URL to a mirror of the same "
    "file; if you have the data already, name their folder with --data-dir or KLAYER_DATA; or use "
    "the bundled data set `digits`."
)


def find(data_dir: str | Path | None = None) -> Found | None:
    """Look for a copy of CIFAR-10, in any layout; nothing is read yet.

    Parameters
    ----------
    data_dir : str or Path, optional
        Look here and nowhere else.

    Returns
    -------
    Found or None
    """
    return find_copy(LAYOUTS, data_dir)


def load(
    data_dir: str | Path | None = None,
    *,
    may_download: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """Load CIFAR-10: 45,000 images to train, 5,000 to validate, 10,000 to test.

    The last 5,000 images of batch 5 validate. Without a copy on this machine, and unless `data_dir`
    names the place, the binary archive is downloaded into the user's cache folder.

    Parameters
    ----------
    data_dir : str or Path, optional
        Look here and nowhere else, and download nothing.
    may_download : bool
    progress : callable, optional
        Called as ``progress(bytes_so_far, bytes_expected)`` during a download.

    Returns
    -------
    Dataset
        Features of D = 3,072 bytes, image shape (3, 32, 32).

    Raises
    ------
    KlayerError
        If no copy is found, the copy is damaged, or the download fails.
    """
    found = find(data_dir)
    if found is None:
        if data_dir is not None or not may_download:
            raise _missing(locations(data_dir))
        path = fetch(progress=progress)
        found = Found(path, LAYOUTS[0], "cache folder")
    images, labels = read_copy(found)
    held_out = cifar10_formats.ROWS_PER_BATCH // 2
    test = len(images) - cifar10_formats.ROWS_PER_BATCH
    parts = {
        "train": slice(0, test - held_out),
        "validation": slice(test - held_out, test),
        "test": slice(test, None),
    }
    kind = "archive" if found.is_archive else "folder"
    return Dataset(
        "cifar10",
        {name: Split(images[rows], labels[rows]) for name, rows in parts.items()},
        CLASS_NAMES,
        IMAGE_SHAPE,
        source=f"CIFAR-10, {found.layout.kind} batches, {kind} {found.path.name}",
    )


def fetch(
    data_dir: str | Path | None = None,
    *,
    progress: Progress | None = None,
    size: int = ARCHIVE_SIZE,
    sha256: str = ARCHIVE_SHA256,
    stall_seconds: float = 30.0,
) -> Path:
    """Make sure that CIFAR-10 is on this machine: find it, or download the binary archive.

    Parameters
    ----------
    data_dir : str or Path, optional
        Look into this folder and download to it; by default look everywhere and download to the
        user's cache folder.
    progress : callable, optional
        Called as ``progress(bytes_so_far, bytes_expected)``.
    size, sha256 : int, str
        Of the archive.
    stall_seconds : float
        How long the server may be silent.

    Returns
    -------
    Path
        The folder or archive found or downloaded.
    """
    folder = cache_folder() if data_dir is None else Path(data_dir).expanduser()
    if data_dir is None or folder.exists():  # a folder that doesn't exist yet is made for the file
        found = find(data_dir)
        if found is not None:
            return found.path
    return download(
        os.environ.get("KLAYER_CIFAR10_URL") or ARCHIVE_URL,
        folder / LAYOUTS[0].archive,
        size=size,
        sha256=sha256,
        title="CIFAR-10",
        remedy=_REMEDY,
        progress=progress,
        stall_seconds=stall_seconds,
    )


def _missing(looked_in: list[Location]) -> KlayerError:
    names = [f"{layout.folder}/" for layout in LAYOUTS] + [layout.archive for layout in LAYOUTS]
    return not_found(
        "CIFAR-10",
        looked_in,
        [*names, "batch files in the folder itself"],
        "Name the folder that holds one of these, download it (`klayer data fetch cifar10`), or "
        "use the bundled data set `digits`.",
    )


def _find(data_dir: str | Path | None) -> str | None:
    found = find(data_dir)
    return None if found is None else str(found.path)


SOURCE = Source(
    name="cifar10",
    description="small photographs of animals and vehicles",
    load=lambda request: load(
        request.data_dir, may_download=request.may_download, progress=request.progress
    ),
    find=_find,
    fetch=lambda data_dir, progress: str(fetch(data_dir, progress=progress)),
    shape="3 x 32 x 32",
    n_classes=10,
    sizes=(45_000, 5_000, 10_000),
)
