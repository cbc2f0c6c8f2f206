"""Data sets of four IDX files: grey images and labels, to train and to test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset, Split
from klayer.data.idx_files import IMAGES, LABELS, find_idx, read_idx
from klayer.data.locations import Location, locations, not_found
from klayer.errors import KlayerError

__all__ = ["IdxSet", "find", "load", "load_folder"]

# How the labels of the training files begin: the file names of these sets are the same.
_BEGINNINGS = {
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    "fashion_mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
}


@dataclass(frozen=True)
class IdxSet:
    """A data set of four IDX files.

    Parameters
    ----------
    name, title : str
    folders : sequence of str
        Where the files may be, below the folders that are looked into.
    class_names : sequence of str
        K names; empty: as many as there are labels, by their numbers.
    remedy : str
        How to get the data.
    again : str
        What to do about a damaged file.
    train, test : sequence of str
        What the names of the files begin with.
    train_rows, test_rows : int, optional
        Their numbers of images; by default as the files say.
    validation_rows : int, optional
        The last training images that validate; by default as many as are tested, a sixth at most.
    side : int, optional
        Height and width; by default as the files say.
    first_label : int
        What the lowest class is called in the files.
    turned : bool
        Whether height and width are swapped in the files.
    places : sequence of Location
        To be looked into last.
    """

    name: str
    title: str
    folders: Sequence[str]
    class_names: Sequence[str]
    remedy: str
    again: str
    train: Sequence[str] = ("train",)
    test: Sequence[str] = ("t10k", "test")
    train_rows: int | None = None
    test_rows: int | None = None
    validation_rows: int | None = None
    side: int | None = 28
    first_label: int = 0
    turned: bool = False
    places: Sequence[Location] = ()

    def looked_in(self, data_dir: str | Path | None) -> list[Location]:
        """The folders that are looked into, in order."""
        return locations(data_dir) + ([] if data_dir is not None else list(self.places))


def find(one: IdxSet, data_dir: str | Path | None) -> Path | None:
    """Look for the folder with the four files; nothing is read yet."""
    for location in one.looked_in(data_dir):
        for name in one.folders:
            folder = location.path / name if name != "." else location.path
            if find_idx(folder, one.train, "images") is not None:
                return folder
    return None


def load(one: IdxSet, data_dir: str | Path | None, source: str) -> Dataset:
    """Load a data set from where it is found.

    Raises
    ------
    KlayerError
        If no copy is found, or a file is damaged.
    """
    folder = find(one, data_dir)
    if folder is None:
        inner = [name for name in one.folders if name != "."]
        raise not_found(
            one.title,
            one.looked_in(data_dir),
            [f"{one.train[0]}-images-idx3-ubyte[.gz]", f"the same in {', '.join(inner)}"],
            one.remedy,
        )
    return load_folder(one, folder, source)


def load_folder(one: IdxSet, folder: Path, source: str) -> Dataset:
    """Load the four files of a folder."""
    images, labels = _read_pair(one, folder, one.train, one.train_rows)
    test_images, test_labels = _read_pair(one, folder, one.test, one.test_rows)
    if images.shape[1:] != test_images.shape[1:]:
        raise KlayerError(
            f"{folder}: images to train and to test must be of one size, but got "
            f"{images.shape[1:]} and {test_images.shape[1:]}."
        )
    _not_another(one, folder, labels)
    names = tuple(one.class_names)
    if not names:
        names = tuple(str(k) for k in range(int(max(labels.max(), test_labels.max())) + 1))
    for words, found in (("train", labels), ("test", test_labels)):
        wrong = (found < one.first_label) | (found >= one.first_label + len(names))
        if wrong.any():
            row = int(wrong.argmax())
            place = find_idx(folder, getattr(one, words), "labels")
            raise KlayerError(
                f"{folder}, {place.name if place else words}, row {row}: a label must be "
                f"{one.first_label} to {one.first_label + len(names) - 1}, but got {found[row]}. "
                f"{one.again}"
            )
    if one.validation_rows is None:
        held_out = max(1, min(len(test_images), len(images) // 6))
    else:
        held_out = one.validation_rows
    train = len(images) - held_out
    height, width = images.shape[1:]
    rows, test_rows = images.reshape(len(images), -1), test_images.reshape(len(test_images), -1)
    y, test_y = (found.astype(np.int64) - one.first_label for found in (labels, test_labels))
    return Dataset(
        one.name,
        {
            "train": Split(rows[:train], y[:train]),
            "validation": Split(rows[train:], y[train:]),
            "test": Split(test_rows, test_y),
        },
        names,
        (1, height, width),
        source=source,
        notes=(f"validation: the last {held_out:,} of the {len(images):,} training images",)
        if one.validation_rows is None
        else (),
    )


def _read_pair(
    one: IdxSet, folder: Path, prefixes: Sequence[str], rows: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    parts: list[NDArray[np.uint8]] = []
    for part, magic in (("images", IMAGES), ("labels", LABELS)):
        path = find_idx(folder, prefixes, part)
        if path is None:
            name = f"{prefixes[0]}-{part}-idx{3 if part == 'images' else 1}-ubyte"
            raise KlayerError(
                f"{folder}: all four IDX files must be there, but {name}[.gz] is missing. Add it. "
                f"{one.again}"
            )
        shape = (rows, one.side, one.side) if part == "images" else (rows,)
        parts.append(read_idx(path, magic, shape, one.again))
    images, labels = parts
    if len(images) != len(labels):
        raise KlayerError(
            f"{folder}: there must be one label per image, but {prefixes[0]} has {len(images):,} "
            f"images and {len(labels):,} labels. {one.again}"
        )
    return images.transpose(0, 2, 1) if one.turned else images, labels


def _not_another(one: IdxSet, folder: Path, labels: NDArray[np.uint8]) -> None:
    beginning = tuple(labels[:10].tolist())
    for name, its in _BEGINNINGS.items():
        if one.name in _BEGINNINGS and name != one.name and beginning == its:
            raise KlayerError(
                f"{folder}: holds {name}, not {one.name}, under the same file names: ask for "
                f"`{name}`, or name another folder."
            )
