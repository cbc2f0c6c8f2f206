"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): 70,000 grey pictures of clothes."""

from __future__ import annotations

from pathlib import Path

from klayer.data.dataset import Dataset
from klayer.data.locations import Location
from klayer.data.source import Source
from klayer.data.sources import idx_set
from klayer.data.sources.idx_set import IdxSet

__all__ = ["DEBIAN_FOLDER", "SOURCE", "find", "load"]

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


def _set() -> IdxSet:
    return IdxSet(
        "fashion_mnist",
        "Fashion-MNIST",
        FOLDERS,
        CLASS_NAMES,
        remedy="Install it (Debian and Ubuntu: `apt install dataset-fashion-mnist`), put the four "
        "IDX files into a folder and name it with --data-dir, or use the bundled data set `digits`.",
        again="The file is damaged or another one: get it anew (Debian: `apt install "
        "dataset-fashion-mnist`).",
        train_rows=TRAIN_ROWS,
        test_rows=TEST_ROWS,
        validation_rows=VALIDATION_ROWS,
        places=[Location("Debian package", DEBIAN_FOLDER)],
    )


def find(data_dir: str | Path | None = None) -> Path | None:
    """Look for the folder with the four IDX files; nothing is read yet.

    Looked into are the folders of `klayer.data.locations.locations`, then Debian's.
    """
    return idx_set.find(_set(), data_dir)


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
    debian = find(data_dir) == DEBIAN_FOLDER
    source = "Fashion-MNIST, IDX files"
    return idx_set.load(
        _set(),
        data_dir,
        source + (", Debian package dataset-fashion-mnist" if debian else ""),
    )


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
