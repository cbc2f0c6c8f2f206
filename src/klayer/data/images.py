"""Image files as rows of bytes, and folders of them as a data set."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from klayer.data.dataset import Dataset, Split
from klayer.data.splitting import split_rows
from klayer.errors import KlayerError

__all__ = ["ENDINGS", "load", "probe", "read_image"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

_GREY_MODES = ("1", "L", "LA")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: the camera was held upright
_SPLIT_NAMES = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_IGNORED = ("thumbs.db", "desktop.ini")  # left by file managers, as are names with a leading dot


@contextmanager
def _opened(path: Path) -> Iterator:
    """Open an image; whatever goes wrong becomes an error with the file's name."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.mode.startswith(("I", "F")):
                    raise KlayerError(
                        f"{path}: an image must have 8 bits per channel, but got mode "
                        f"{image.mode}: convert it."
                    )
                yield image
    except KlayerError:
        raise
    except FileNotFoundError:
        raise KlayerError(f"{path}: no such file.") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise KlayerError(f"{path}: the image has too many pixels to be a sample.") from None
    except Exception as error:  # a damaged image can fail in any way
        reason = "no image format known" if "cannot identify" in str(error) else str(error)
        raise KlayerError(f"{path}: not a readable image ({reason}).") from None


def probe(path: Path) -> tuple[int, int, bool]:
    """Read an image's header: width, height (as displayed), and whether it is grey."""
    with _opened(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        return width, height, image.mode in _GREY_MODES


def read_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read an image as one row of bytes, resized and converted as needed.

    Parameters
    ----------
    path : Path
    shape : (channels, height, width)
        1 channel makes the image grey, 3 make it red, green, blue. Another size is reached by
        bilinear interpolation, averaging where the image shrinks; proportions are not kept.

    Returns
    -------
    array, shape (channels * height * width,), uint8

    Raises
    ------
    KlayerError
        Naming the file, if it is no readable image of 8 bits per channel.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    if channels not in (1, 3):
        raise KlayerError(f"{path}: images can be read into 1 or 3 channels, not {channels}.")
    with _opened(path) as image:
        image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.uint8).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1).ravel()


def load(
    folder: str | Path, *, seed: int = 0, image_size: tuple[int, int] | None = None
) -> Dataset:
    """Load a folder with one subfolder of images per class.

    The subfolders' names, sorted, are the classes. If the subfolders are instead ``train``,
    ``validation`` (or ``val``) and ``test``, each holds the subfolders of the classes; otherwise
    the images are split about 70 / 15 / 15 by class and seed. If every image is grey there is one
    channel, else three.

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
        parts = {_SPLIT_NAMES[name]: _listing(path) for name, path in groups.items()}
        missing = [name for name in ("validation", "test") if name not in parts]
        if missing:
            raise KlayerError(
                f"{folder}: beside train/ there must be validation/ and test/, but "
                f"{missing[0]}/ is missing: add it, or put the class folders straight into the "
                "folder to have them split."
            )
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
    grey = True
    first = None
    for path in paths:
        width, height, is_grey = probe(path)
        grey = grey and is_grey
        first = first or (width, height)
        if image_size is None and (width, height) != first:
            raise KlayerError(
                f"{path}: all images must have the same size, {first[0]} x {first[1]} like "
                f"{paths[0]}, but this one has {width} x {height}: resize it, or all of them with "
                "FOLDER:size=HEIGHTxWIDTH."
            )
    if image_size is None:
        width, height = first
    else:
        height, width = image_size
        if min(height, width) < 1:
            raise KlayerError(f"size=HEIGHTxWIDTH must be at least 1x1, but got {height}x{width}.")
    return 1 if grey else 3, height, width


def _read(
    listing: dict[str, list[Path]], class_names: list[str], shape: tuple[int, int, int]
) -> Split:
    features = np.empty((len(_paths(listing)), int(np.prod(shape))), np.uint8)
    labels = [class_names.index(name) for name, files in listing.items() for _ in files]
    for row, path in enumerate(_paths(listing)):
        features[row] = read_image(path, shape)
    return Split(features, np.array(labels))
