"""A folder of images, one subfolder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from klayer.data.dataset import Dataset, Split
from klayer.data.image_files import (
    BACKGROUNDS,
    ENDINGS,
    Header,
    check_background,
    conversions,
    probe,
    read_image,
)
from klayer.data.source import Request, Source, always
from klayer.data.sources.npz_keys import split_of
from klayer.data.splitting import split_rows, with_validation
from klayer.errors import KlayerError, unknown_name

__all__ = ["SOURCE", "load"]

# Left by file managers and archives, as are names with a leading dot.
_IGNORED = ("thumbs.db", "desktop.ini", "__macosx")
_LARGEST_SIDE = 4096  # pixels of `size=`
_DEEPEST = 3  # folders around the folder that was meant


def load(
    folder: str | Path,
    *,
    seed: int = 0,
    image_size: tuple[int, int] | None = None,
    background: str = "white",
) -> Dataset:
    """Load a folder with one subfolder of images per class.

    The subfolders' names, sorted, are the classes, and the images are split about 70 / 15 / 15 by
    class and seed. If the subfolders are instead ``train`` and, as far as there are any,
    ``validation`` (or ``val``, ``valid``, ``dev``) and ``test``, in any case, each holds the
    subfolders of the classes, and the splits are these; with train and test only, images to
    validate are cut from train. If every image is grey there is one channel, else three. A folder
    that holds nothing but one folder of such folders stands for it.

    Parameters
    ----------
    folder : str or Path
    seed : int
        Of the split.
    image_size : (height, width), optional
        Resize every image. By default all must have the same size.
    background : {"white", "black"}
        Behind transparent pixels.

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
    check_background(background)
    inner = _inner(folder)
    groups = {path.name: path for path in _subfolders(inner)}
    if any(split_of(name) == "train" for name in groups) and all(map(split_of, groups)):
        parts: dict[str, dict[str, list[Path]]] = {}
        places: dict[str, str] = {}
        for name, path in groups.items():
            split = str(split_of(name))
            if split in parts:
                raise KlayerError(
                    f"{inner}: each split must be in one folder, but {split} is in {places[split]}/ "
                    f"and {name}/: put them together."
                )
            places[split], parts[split] = name, _listing(path)
    else:
        parts = {"": _listing(inner)}
    class_names = list(next(iter(parts.values()))) if "" in parts else list(parts["train"])
    for listing in parts.values():
        strange = sorted(set(listing) - set(class_names))
        if strange:
            raise KlayerError(
                f"{listing[strange[0]][0].parent}: every split must have the classes of train/, "
                f"{', '.join(class_names)}."
            )
    paths = [path for part in parts.values() for path in _paths(part)]
    headers = [probe(path) for path in paths]
    shape = _common_shape(paths, headers, image_size)
    notes = conversions(headers, background)
    splits = {
        name: _read(listing, class_names, shape, background) for name, listing in parts.items()
    }
    if "" in splits:
        whole = splits[""]
        splits = split_rows(str(inner), whole.features, whole.labels, class_names, seed=seed)
    else:
        splits, note = with_validation(str(inner), splits, class_names, seed=seed)
        notes += filter(None, [note])
    name = folder.resolve().name
    return Dataset(
        name,
        splits,
        tuple(class_names),
        shape,
        source=f"image folder {name}",
        notes=tuple(notes),
        background=background,
    )


def _inner(folder: Path) -> Path:
    """The folder that was meant, where archives were unpacked into a folder of their own."""
    for _ in range(_DEEPEST):
        inside = [entry for entry in _entries(folder) if entry.is_dir()]
        if len(inside) != 1 or not any(entry.is_dir() for entry in _entries(inside[0])):
            break
        if split_of(inside[0].name):
            break
        folder = inside[0]
    return folder


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


def _common_shape(
    paths: list[Path], headers: list[Header], image_size: tuple[int, int] | None
) -> tuple[int, int, int]:
    """Find (channels, height, width) from the headers alone, before any image is decoded."""
    width, height = headers[0].width, headers[0].height
    if image_size is not None:
        height, width = image_size
        if min(height, width) < 1:
            raise KlayerError(f"size=HEIGHTxWIDTH must be at least 1x1, but got {height}x{width}.")
        if max(height, width) > _LARGEST_SIDE:
            raise KlayerError(
                f"size=HEIGHTxWIDTH must be at most {_LARGEST_SIDE}x{_LARGEST_SIDE}, but got "
                f"{height}x{width}."
            )
    for path, one in zip(paths, headers, strict=True):
        if image_size is None and (one.width, one.height) != (width, height):
            raise KlayerError(
                f"{path}: all images must have the same size, {width} x {height} like {paths[0]}, "
                f"but this one has {one.width} x {one.height}: resize it, or all of them with "
                "FOLDER:size=HEIGHTxWIDTH."
            )
    return 1 if all(one.grey for one in headers) else 3, height, width


def _read(
    listing: dict[str, list[Path]],
    class_names: list[str],
    shape: tuple[int, int, int],
    background: str,
) -> Split:
    channels, height, width = shape
    rows, columns = len(_paths(listing)), channels * height * width
    try:
        features = np.empty((rows, columns), np.uint8)
    except MemoryError:
        raise KlayerError(
            f"{rows:,} images of {height} x {width} pixels don't fit into memory: make them smaller "
            "with FOLDER:size=HEIGHTxWIDTH."
        ) from None
    labels = [class_names.index(name) for name, files in listing.items() for _ in files]
    for row, path in enumerate(_paths(listing)):
        features[row] = read_image(path, shape, background)
    return Split(features, np.array(labels))


def _options(path: Path, text: str) -> dict[str, str]:
    """Read what stands behind the colon: ``size=32x32,background=black``."""
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = (part.strip() for part in item.partition("="))
        if key not in ("size", "background"):
            raise KlayerError(
                f"{path}: an image folder has the options size=HEIGHTxWIDTH and "
                f"background={'|'.join(BACKGROUNDS)}, but got {item!r}: write for example "
                f"{path}:size=32x32,background=black."
            )
        if key in found:
            raise KlayerError(f"{path}: `{key}` must be given once, but is given twice.")
        found[key] = value
    return found


def _size(path: Path, text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and len(side) < 10 for side in sides):
        raise KlayerError(
            f"{path}: size must be HEIGHTxWIDTH in pixels, as in size=32x32, but got {text!r:.60}."
        )
    return int(sides[0]), int(sides[1])


def _load(request: Request) -> Dataset:
    given = _options(request.path, request.options or "")
    size = _size(request.path, given["size"]) if "size" in given else None
    background = given.get("background", request.said.background)
    if background not in BACKGROUNDS:
        raise unknown_name(f"background of {request.path}", background, BACKGROUNDS)
    return load(request.path, seed=request.seed, image_size=size, background=background)


SOURCE = Source(
    name="FOLDER",
    description="images, one subfolder per class",
    load=_load,
    find=always("a path"),
    has_options=True,
    takes=("background",),
    recognises=Path.is_dir,
    kind="an image folder",
)
