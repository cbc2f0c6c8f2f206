"""A folder of images, one subfolder per class."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from klayer.data.dataset import Dataset, Split
from klayer.data.image_files import ENDINGS, probe, read_image
from klayer.data.source import Request, Source, always
from klayer.data.splitting import split_rows
from klayer.errors import KlayerError

__all__ = ["SOURCE", "load"]

_SPLIT_NAMES = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_IGNORED = ("thumbs.db", "desktop.ini")  # left by file managers, as are names with a leading dot


def load(
    folder: str | Path, *, seed: int = 0, image_size: tuple[int, int] | None = None
) -> Dataset:
    """Load a folder with one subfolder of images per class.

    The subfolders' names, sorted, are the classes, and the images are split about 70 / 15 / 15 by
    class and seed. If the subfolders are instead ``train`` and, as far as there are any,
    ``validation`` (or ``val``) and ``test``, each holds the subfolders of the classes, and the
    splits are these. If every image is grey there is one channel, else three.

    Parameters
    ----------
    folder : str or Path
    seed : int
        Of the split.
    image_size : (height, width), optional
        Resize every image. By default all must have the same size.

    Returns
    -------
    Dataset
        Features in uint8.

    Raises
    ------
    KlayerError
        Naming the file or folder and the rule.
    """
    folder = Path(folder)
    groups = {path.name: path for path in _subfolders(folder)}
    if "train" in groups and set(groups) <= set(_SPLIT_NAMES):
        if {"val", "validation"} <= set(groups):
            raise KlayerError(
                f"{folder}: the images to validate must be in validation/ or val/, but there are "
                "both: put them together."
            )
        parts = {_SPLIT_NAMES[name]: _listing(path) for name, path in groups.items()}
    else:
        parts = {"": _listing(folder)}
    class_names = list(next(iter(parts.values()))) if "" in parts else list(parts["train"])
    for name, listing in parts.items():
        strange = sorted(set(listing) - set(class_names))
        if strange:
            raise KlayerError(
                f"{folder / name / strange[0]}: every split must have the classes of train/, "
                f"{', '.join(class_names)}."
            )
    shape = _common_shape([path for part in parts.values() for path in _paths(part)], image_size)
    splits = {name: _read(listing, class_names, shape) for name, listing in parts.items()}
    if "" in splits:
        whole = splits[""]
        splits = split_rows(str(folder), whole.features, whole.labels, class_names, seed=seed)
    name = folder.resolve().name
    return Dataset(name, splits, tuple(class_names), shape, source=f"image folder {name}")


def _entries(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise KlayerError(f"{folder}: can't be read ({error.strerror or error}).") from None
    return [
        entry
        for entry in entries
        if not entry.name.startswith(".") and entry.name.lower() not in _IGNORED
    ]


def _subfolders(folder: Path) -> list[Path]:
    found = [entry for entry in _entries(folder) if entry.is_dir()]
    if not found:
        raise KlayerError(
            f"{folder}: an image folder must have one subfolder per class, but has no subfolder. "
            "For a published data set give its name and this folder as --data-dir: "
            "`cifar10 --data-dir DIR`."
        )
    return found


def _listing(folder: Path) -> dict[str, list[Path]]:
    """The images of each class, sorted by name."""
    listing = {}
    for subfolder in _subfolders(folder):
        files = _entries(subfolder)
        for file in files:
            if file.is_dir() or file.suffix.lower() not in ENDINGS:
                raise KlayerError(
                    f"{file}: a class folder must hold images only ({', '.join(ENDINGS)}): move "
                    "anything else away."
                )
        if not files:
            raise KlayerError(f"{subfolder}: a class must have images, but the folder is empty.")
        listing[subfolder.name] = files
    return listing


def _paths(listing: dict[str, list[Path]]) -> list[Path]:
    return [path for files in listing.values() for path in files]


def _common_shape(paths: list[Path], image_size: tuple[int, int] | None) -> tuple[int, int, int]:
    """Find (channels, height, width) from the headers alone, before any image is decoded."""
    headers = [probe(path) for path in paths]
    width, height, _ = headers[0]
    if image_size is not None:
        height, width = image_size
        if min(height, width) < 1:
            raise KlayerError(f"size=HEIGHTxWIDTH must be at least 1x1, but got {height}x{width}.")
    for path, (*size, _) in zip(paths, headers, strict=True):
        if image_size is None and size != [width, height]:
            raise KlayerError(
                f"{path}: all images must have the same size, {width} x {height} like {paths[0]}, "
                f"but this one has {size[0]} x {size[1]}: resize it, or all of them with "
                "FOLDER:size=HEIGHTxWIDTH."
            )
    return 1 if all(grey for *_, grey in headers) else 3, height, width


def _read(
    listing: dict[str, list[Path]], class_names: list[str], shape: tuple[int, int, int]
) -> Split:
    features = np.empty((len(_paths(listing)), int(np.prod(shape))), np.uint8)
    labels = [class_names.index(name) for name, files in listing.items() for _ in files]
    for row, path in enumerate(_paths(listing)):
        features[row] = read_image(path, shape)
    return Split(features, np.array(labels))


def _load(request: Request) -> Dataset:
    if request.options is None:
        return load(request.path, seed=request.seed)
    size = re.fullmatch(r"size=(\d+)x(\d+)", request.options)
    if size is None:
        raise KlayerError(
            f"{request.path}: an image folder has the one option size=HEIGHTxWIDTH, "
            f"but got {request.options!r}: write for example {request.path}:size=32x32."
        )
    return load(request.path, seed=request.seed, image_size=(int(size[1]), int(size[2])))


SOURCE = Source(
    name="FOLDER",
    description="images, one subfolder per class",
    load=_load,
    find=always("a path"),
    has_options=True,
    recognises=Path.is_dir,
    kind="an image folder",
)
