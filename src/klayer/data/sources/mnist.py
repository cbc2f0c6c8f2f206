"""MNIST (LeCun 1998), EMNIST (Cohen 2017, arXiv:1702.05373), and any folder of IDX files."""

from __future__ import annotations

import string
from pathlib import Path

from klayer.data.dataset import Dataset
from klayer.data.idx_files import find_idx
from klayer.data.source import Request, Source, always
from klayer.data.sources import idx_set
from klayer.data.sources.idx_set import IdxSet
from klayer.errors import unknown_name

__all__ = ["EMNIST_PARTS", "EMNIST_SOURCE", "FOLDER_SOURCE", "MNIST_SOURCE"]

_AGAIN = "The file is damaged or another one: get it anew."
_REMEDY = (
    "klayer doesn't download it: put the four IDX files into a folder and name it with --data-dir or "
    "KLAYER_DATA, or use the bundled data set `digits`."
)

MNIST = IdxSet(
    "mnist",
    "MNIST",
    ("mnist", "MNIST/raw", "MNIST", "."),
    string.digits,
    _REMEDY,
    _AGAIN,
    train_rows=60_000,
    test_rows=10_000,
    validation_rows=5_000,
)

# The classes of each part, in the order of its labels.
EMNIST_PARTS = {
    "balanced": string.digits + string.ascii_uppercase + "abdefghnqrt",
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": string.digits + string.ascii_uppercase + "abdefghnqrt",
    "digits": string.digits,
    "letters": string.ascii_lowercase,
    "mnist": string.digits,
}


def _emnist(part: str) -> IdxSet:
    return IdxSet(
        "emnist",
        f"EMNIST ({part})",
        ("emnist", "EMNIST/raw", "EMNIST", "gzip", "emnist/gzip", "."),
        EMNIST_PARTS[part],
        _REMEDY,
        _AGAIN,
        train=(f"emnist-{part}-train",),
        test=(f"emnist-{part}-test",),
        first_label=1 if part == "letters" else 0,
        turned=True,
    )


def _load_emnist(request: Request) -> Dataset:
    part = request.options or "balanced"
    if part not in EMNIST_PARTS:
        raise unknown_name("part of emnist", part, EMNIST_PARTS)
    return idx_set.load(_emnist(part), request.data_dir, f"EMNIST, part {part}, IDX files")


def _load_folder(request: Request) -> Dataset:
    name = request.path.resolve().name
    one = IdxSet(name, name, (".",), (), "", _AGAIN, side=None)
    return idx_set.load_folder(one, request.path, f"IDX files in {name}")


def _find_mnist(data_dir: str | Path | None) -> str | None:
    folder = idx_set.find(MNIST, data_dir)
    return None if folder is None else str(folder)


def _find_emnist(data_dir: str | Path | None) -> str | None:
    found = [folder for part in EMNIST_PARTS if (folder := idx_set.find(_emnist(part), data_dir))]
    return str(found[0]) if found else None


MNIST_SOURCE = Source(
    name="mnist",
    description="grey handwritten digits",
    load=lambda request: idx_set.load(MNIST, request.data_dir, "MNIST, IDX files"),
    find=_find_mnist,
    shape="1 x 28 x 28",
    n_classes=10,
    sizes=(55_000, 5_000, 10_000),
)
EMNIST_SOURCE = Source(
    name="emnist",
    description=f"handwritten characters; emnist:PART, one of {', '.join(EMNIST_PARTS)}",
    load=_load_emnist,
    find=_find_emnist,
    shape="1 x 28 x 28",
    has_options=True,
)
FOLDER_SOURCE = Source(
    name="IDX_FOLDER",
    description="four IDX files, train and t10k",
    load=_load_folder,
    find=always("a path"),
    recognises=lambda path: path.is_dir() and find_idx(path, ("train",), "images") is not None,
    kind="a folder of IDX files",
)
