"""A picture of a data set: a few images of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset
from klayer.errors import KlayerError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["contact_sheet"]

_SIDE = 40  # pixels: smaller images are enlarged by a whole factor to about this
_GAP = 4
_FONT_SIZE = 14
_LABEL_CHARACTERS = 24


def contact_sheet(
    dataset: Dataset, *, rows_per_class: int = 1, columns: int = 12, split: str = "train"
) -> Image:
    """Draw the first images of each class, a row per class with its name.

    Values from the lowest (or 0) to the highest of the training split run from black to white.

    Parameters
    ----------
    dataset : Dataset
        Of images with 1 or 3 channels.
    rows_per_class : int
        Rows of images for each class, at least 1.
    columns : int
        Images in a row, at least 1; a class with fewer images leaves the rest of its row blank.
    split : str
        Of `Dataset.splits`.

    Returns
    -------
    PIL.Image.Image
        In mode RGB; ``sheet.save("sheet.png")`` writes it.

    Raises
    ------
    KlayerError
        If the data set has no images, or no such split.

    Examples
    --------
    >>> from klayer.data import load
    >>> contact_sheet(load("digits"), columns=5).size
    (240, 444)
    """
    from PIL import Image, ImageDraw, ImageFont

    if dataset.image_shape is None:
        raise KlayerError(
            f"data set {dataset.name!r}: a contact sheet needs images, but its rows have no "
            "`image_shape`."
        )
    part = dataset.splits[split]
    for rule, value in (("rows_per_class", rows_per_class), ("columns", columns)):
        if value < 1:
            raise KlayerError(f"`{rule}` must be at least 1, but got {value}.")
    channels, height, width = dataset.image_shape
    if channels not in (1, 3):
        raise KlayerError(
            f"data set {dataset.name!r}: a contact sheet needs images of 1 or 3 channels, "
            f"but got {channels}."
        )
    factor = max(1, round(_SIDE / max(height, width)))
    cell_height, cell_width = factor * height + _GAP, factor * width + _GAP
    font = ImageFont.load_default()
    if hasattr(font, "font_variant"):  # a scalable font, where Pillow was built with FreeType
        font = font.font_variant(size=_FONT_SIZE)
    names = [_shortened(name) for name in dataset.class_names]
    margin = max(int(font.getlength(name)) for name in names) + 3 * _GAP
    sheet = Image.new(
        "RGB",
        (
            margin + columns * cell_width,
            _GAP + dataset.n_classes * rows_per_class * cell_height,
        ),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    for index, name in enumerate(names):
        top = _GAP + index * rows_per_class * cell_height
        draw.text((_GAP, top + (cell_height - _GAP) / 2), name, "black", font, anchor="lm")
        rows = np.flatnonzero(part.labels == index)[: rows_per_class * columns]
        for position, pixels in enumerate(
            _pixels(part.features[rows], dataset.value_range, dataset.image_shape)
        ):
            line, column = divmod(position, columns)
            picture = Image.fromarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1))
            sheet.paste(picture, (margin + column * cell_width, top + line * cell_height))
    return sheet


def _shortened(name: str) -> str:
    name = " ".join(name.split())  # one line
    return name if len(name) <= _LABEL_CHARACTERS else f"{name[: _LABEL_CHARACTERS - 3]}..."


def _pixels(
    rows: NDArray[Any], value_range: tuple[float, float], image_shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Images (N, H, W, 3) in bytes."""
    low, high = min(value_range[0], 0.0), value_range[1]
    images = rows.astype(np.float64)
    images = np.clip((images - low) / ((high - low) or 1.0), 0, 1) * 255
    channels, height, width = image_shape
    pixels = images.round().astype(np.uint8).reshape(-1, channels, height, width)
    return np.broadcast_to(pixels.transpose(0, 2, 3, 1), (len(rows), height, width, 3))
