"""Arrays of images as rows: which axis holds the channels, and that all splits agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

__all__ = ["ImageShape", "flatten_images", "image_rows"]

ImageShape = tuple[int, int, int]

_CHANNELS = (1, 2, 3, 4)  # grey, with transparency; red, green, blue, with transparency


def flatten_images(
    where: str, values: NDArray[Any], image_shape: ImageShape | None = None
) -> tuple[NDArray[Any], ImageShape | None]:
    """Make rows of images; leave rows as they are.

    Four axes are (N, channels, height, width) or (N, height, width, channels), as
    `image_shape` says; without it the channels are last where only the last axis can hold them
    (it has 1 to 4 entries and the second has not), or where only then the images are square.

    Parameters
    ----------
    where : str
        How to name the array in a message.
    values : array, shape (N, D), (N, H, W), (N, C, H, W) or (N, H, W, C)
    image_shape : (channels, height, width), optional
        What the images must have.

    Returns
    -------
    rows : array, shape (N, D)
        Channel by channel.
    image_shape : (C, H, W), or None for an array that came as rows

    Raises
    ------
    KlayerError
        If the images are not of `image_shape`.

    Examples
    --------
    >>> rows, image_shape = flatten_images("X", np.zeros((5, 28, 28)))
    >>> rows.shape, image_shape
    ((5, 784), (1, 28, 28))
    >>> flatten_images("X", np.zeros((5, 32, 32, 4)))[1]
    (4, 32, 32)
    """
    if values.ndim not in (3, 4) or not values.size:
        return values, None
    if values.ndim == 3:
        values = values[:, np.newaxis]
        first, last = values.shape[1:], None
    else:
        first, last = values.shape[1:], (values.shape[3], *values.shape[1:3])
    if image_shape is not None:
        if image_shape not in (first, last):
            raise KlayerError(
                f"{where}: images must have the shape (channels, height, width) = {image_shape}, or "
                f"the same with the channels last, but got {values.shape}: images of another size or "
                "turned are not reshaped."
            )
        channels_last = image_shape != first
    else:
        channels_last = last is not None and _channels_are_last(first)
    if channels_last:
        values = values.transpose(0, 3, 1, 2)
    channels, height, width = values.shape[1:]
    return values.reshape(len(values), -1), (channels, height, width)


def _channels_are_last(shape: tuple[int, ...]) -> bool:
    a, b, c = shape
    if a in _CHANNELS and c in _CHANNELS:
        return a == b != c
    return c in _CHANNELS


def image_rows(
    tables: dict[str, NDArray[Any]], image_shape: ImageShape | None = None
) -> tuple[dict[str, NDArray[Any]], ImageShape | None]:
    """Make rows of all tables of one data set, and make sure that their rows mean the same.

    Parameters
    ----------
    tables : dict of str to array
        The key names a table in messages.
    image_shape : (channels, height, width), optional
        What is said elsewhere.

    Returns
    -------
    rows : dict of str to array, shape (N, D)
    image_shape : (C, H, W), or None for tables that came as rows

    Raises
    ------
    KlayerError
        If their shapes disagree, even where the products are the same.

    Examples
    --------
    >>> image_rows({"train": np.zeros((9, 4, 6)), "test": np.zeros((9, 6, 4))})
    Traceback (most recent call last):
    klayer.errors.KlayerError: every split must have samples of one shape, but train has (4, 6) and \
test has (6, 4): arrays are not reshaped to fit.
    """
    shapes = {where: values.shape[1:] for where, values in tables.items()}
    first = next(iter(shapes))
    for where, shape in shapes.items():
        if len(shape) > 0 and len(shapes[first]) > 0 and shape != shapes[first]:
            raise KlayerError(
                f"every split must have samples of one shape, but {first} has {shapes[first]} and "
                f"{where} has {shape}: arrays are not reshaped to fit."
            )
    rows, found = {}, image_shape
    for where, values in tables.items():
        rows[where], own = flatten_images(where, values, image_shape)
        found = found or own
    return rows, found
