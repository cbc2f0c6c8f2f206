"""Which array of a .npz file is what: the many spellings of features, labels and splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import SPLITS
from klayer.data.image_rows import ImageShape
from klayer.errors import KlayerError

__all__ = [
    "LAYOUT",
    "Keys",
    "find_features",
    "find_tables",
    "placed",
    "read_class_names",
    "read_image_shape",
    "split_of",
]

LAYOUT = (
    "`X` and `y`, or `X_train` and `y_train` and, as far as there are any, `X_validation`, "
    "`y_validation`, `X_test` and `y_test`"
)

_FEATURES = ("x", "data", "features", "feature", "images", "image", "inputs", "input", "samples")
_LABELS = ("y", "labels", "label", "target", "targets", "outputs", "output", "classes", "class")
_SPLITS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "tr": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "te": "test",
}
_NAMES = ("class_names", "label_names", "target_names", "classnames", "labelnames")
_SHAPES = ("image_shape", "imageshape")
_WORDS = re.compile("|".join(sorted({*_FEATURES, *_LABELS, *_SPLITS}, key=len, reverse=True)))
_UNNAMED = re.compile(r"arr_(\d+)")


@dataclass(frozen=True)
class Keys:
    """What a file's keys mean.

    Attributes
    ----------
    tables : dict of str to (str, str)
        Of each split, or of ``""`` for one table to be split, the keys of features and labels.
    class_names, image_shape : str or None
        Their keys.
    ignored : tuple of str
        Keys that mean nothing here.
    """

    tables: dict[str, tuple[str, str]]
    class_names: str | None
    image_shape: str | None
    ignored: tuple[str, ...]


def split_of(word: str) -> str | None:
    """Return the split that a word names, in any case; None if it names none.

    Examples
    --------
    >>> split_of("Valid"), split_of("dev"), split_of("cats")
    ('validation', 'validation', None)
    """
    return _SPLITS.get(word.lower())


def placed(key: str) -> tuple[str, str] | None:
    """Return what a key names, ``"X"`` or ``"y"``, and of which split; None if it names neither.

    Examples
    --------
    >>> placed("Train-Images"), placed("y"), placed("cats")
    (('X', 'train'), ('y', ''), None)
    """
    return _place(_plain(key))


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")


def find_tables(where: str, content: Mapping[str, Any]) -> Keys:
    """Find features and labels among the arrays of a file.

    Parameters
    ----------
    where : str
        How to name the file in a message.
    content : mapping of str to array
        Or to anything, if no key is like ``arr_0``.

    Raises
    ------
    KlayerError
        If something is there twice, or is missing.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.zeros((2, 2))
    >>> find_tables("f", {"train_images": one, "train_labels": one[0]}).tables
    {'train': ('train_images', 'train_labels')}
    """
    places: dict[tuple[str, str], str] = {}
    names: dict[str, str] = {}
    ignored = []
    unnamed = _unnamed(content)
    for key in content:
        plain = _plain(key)
        if plain in _NAMES or plain in _SHAPES:
            kind = "class_names" if plain in _NAMES else "image_shape"
            if kind in names:
                raise KlayerError(
                    f"{where}: {kind!r} must be there once, but is there twice, as "
                    f"{names[kind]!r} and {key!r}."
                )
            names[kind] = key
            continue
        place = unnamed.get(key) or _place(plain)
        if place is None:
            ignored.append(key)
        elif place in places:
            raise KlayerError(
                f"{where}: {_canonical(*place)!r} must be there once, but is there twice, as "
                f"{places[place]!r} and {key!r}."
            )
        else:
            places[place] = key
    whole = [key for (_, split), key in places.items() if not split]
    split = [key for (_, split), key in places.items() if split]
    if whole and split:
        raise KlayerError(
            f"{where}: must hold {LAYOUT}, but holds both {whole[0]!r} and {split[0]!r}."
        )
    given = {split for _, split in places}
    wanted = [part for part in SPLITS if part in given or part == "train"] if split else [""]
    missing = [
        _canonical(kind, part) for part in wanted for kind in "Xy" if (kind, part) not in places
    ]
    if missing:
        raise KlayerError(
            f"{where}: must hold {LAYOUT}, but {', '.join(map(repr, missing))} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Found: "
            f"{_listed(content) or 'nothing'}."
        )
    return Keys(
        {part: (places["X", part], places["y", part]) for part in wanted},
        names.get("class_names"),
        names.get("image_shape"),
        tuple(ignored),
    )


def find_features(where: str, content: dict[str, NDArray[Any]]) -> str:
    """Return the key of the rows to be labelled, in a file that may have labels too or not.

    Raises
    ------
    KlayerError
        If there is none, or several.

    Examples
    --------
    >>> import numpy as np
    >>> find_features("f", {"images": np.zeros((2, 2)), "target": np.zeros(2)})
    'images'
    """
    unnamed = _unnamed(content) or {key: ("X", "") for key in content if key == "arr_0"}
    found = [key for key in content if (unnamed.get(key) or placed(key)) == ("X", "")]
    if len(found) != 1:
        either = f"both {found[0]!r} and {found[1]!r}" if found else _listed(content) or "nothing"
        raise KlayerError(f"{where}: must hold the rows as `X`, but holds {either}.")
    return found[0]


def _canonical(kind: str, split: str) -> str:
    return f"{kind}_{split}" if split else kind


def _listed(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:20]) + (f", … ({len(keys)} in all)" if len(keys) > 20 else "")


def _place(plain: str) -> tuple[str, str] | None:
    """``x_val``, ``val_images``, ``trainX`` -> what it is, and of which split."""
    words: list[str] = []
    for part in plain.split("_"):
        if part in _SPLITS or part in _FEATURES or part in _LABELS:
            words.append(part)
            continue
        found = _WORDS.match(part)  # two words without a mark between them
        if not found or not _WORDS.fullmatch(part[found.end() :]):
            return None
        words += [found[0], part[found.end() :]]
    kinds = ["X" if word in _FEATURES else "y" for word in words if word not in _SPLITS]
    splits = [_SPLITS[word] for word in words if word in _SPLITS]
    if len(splits) > 1:
        return None
    if "y" in kinds and len(kinds) == 2:  # image_labels, data_target
        kinds = ["y"]
    return (kinds[0], *(splits or [""])) if len(kinds) == 1 else None  # type: ignore[return-value]


def _unnamed(content: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """``arr_0``, ``arr_1``, ...: features have more axes than labels; the order is the splits'."""
    keys = [key for key in content if _UNNAMED.fullmatch(key)]
    if len(keys) != len(content) or len(keys) not in (2, 4, 6):
        return {}
    keys.sort(key=lambda key: int(key[4:]))
    wide = [key for key in keys if content[key].ndim > 1 and content[key].shape[1] > 1]
    if len(wide) != len(keys) // 2:
        wide = keys[::2]
    narrow = [key for key in keys if key not in wide]
    parts = {1: ("",), 2: ("train", "test"), 3: SPLITS}[len(wide)]
    pairs = list(zip(parts, wide, narrow, strict=True))
    return {x: ("X", part) for part, x, _ in pairs} | {y: ("y", part) for part, _, y in pairs}


def read_image_shape(
    path: Path, key: str | None, content: dict[str, NDArray[Any]]
) -> ImageShape | None:
    """Read what is said about the images' shape, (channels, height, width)."""
    if key is None:
        return None
    shape = content[key]
    if shape.shape != (3,) or shape.dtype.kind not in "iu" or shape.min() < 1:
        raise KlayerError(
            f"{path}, {key}: must be three whole numbers (channels, height, width), "
            f"but got {shape.tolist()!r:.80}."
        )
    first, second, third = map(int, shape)
    if first > 4 >= third:  # nobody has images of 32 channels that are 3 wide
        own = any(array.shape[1:] == (first, second, third) for array in content.values())
        if not own:
            raise KlayerError(
                f"{path}, {key}: must be (channels, height, width), but got {shape.tolist()}: write "
                f"{[third, first, second]}, and order the rows of features so."
            )
        return third, first, second
    return first, second, third


def read_class_names(
    path: Path, key: str | None, content: dict[str, NDArray[Any]]
) -> list[str] | None:
    """Read the names of the classes."""
    if key is None:
        return None
    given = content[key]
    if given.dtype.kind == "S":
        try:
            given = np.char.decode(given, "utf-8")
        except UnicodeDecodeError as error:
            raise KlayerError(f"{path}, {key}: texts must be UTF-8 ({error}).") from None
    if given.ndim != 1 or given.dtype.kind != "U":
        raise KlayerError(
            f"{path}, {key}: must be a list of texts, but got shape {given.shape}, "
            f"dtype {given.dtype}."
        )
    return [str(name) for name in given]
