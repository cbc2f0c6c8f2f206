"""Arrays as pictures: small PNG files that a page carries inside itself."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["data_uri", "picture", "weight_sheet"]

# Pixels of the longer side of a sample, and of a unit's weights, in a page.
MOST_SAMPLE, MOST_TILE = 128, 64


def _png(pixels: NDArray[Any]) -> bytes:
    """Encode bytes of shape (H, W) or (H, W, channels), 2 to 4 of them, as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _pixels(image: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Scale (C, H, W) to bytes of shape (H, W) or (H, W, 3)."""
    scaled = np.clip((image - low) / ((high - low) or 1.0), 0, 1) * 255
    pixels = np.round(scaled).astype(np.uint8).transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
    channels = pixels.shape[2]
    return pixels[..., :3] if channels in (3, 4) else pixels[..., 0]


def _small(image: NDArray[Any], most: int) -> NDArray[Any]:
    """Shrink (C, H, W) until its longer side has `most` pixels: a page holds many."""
    from PIL import Image

    _, height, width = image.shape
    factor = most / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    planes = [Image.fromarray(np.asarray(plane, np.float32)) for plane in image]
    return np.stack([np.asarray(one.resize(size, Image.Resampling.BOX), float) for one in planes])


def picture(row: NDArray[Any], shape: tuple[int, int, int], low: float, high: float) -> bytes:
    """Return one sample (D,) of a shape (C, H, W) as PNG, ``low`` as black and ``high`` as white."""
    return _png(_pixels(_small(row.reshape(shape).astype(float), MOST_SAMPLE), low, high))


def weight_sheet(
    W: NDArray[Any], shape: tuple[int, int, int], *, most: int = 60, columns: int = 10
) -> tuple[bytes, int]:
    """Draw the incoming weights (D, H) of first-layer units as images of a shape.

    Those with the largest norm come first, ``most`` of them at most. Zero is mid-grey; each unit is
    scaled by its own largest weight.

    Returns
    -------
    png : bytes
    shown : int
        Number of units in it.
    """
    order = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:most]
    _, height, width = _small(np.zeros(shape), MOST_TILE).shape
    gap = max(1, height // 16)
    columns = min(columns, len(order))
    lines = math.ceil(len(order) / columns)
    # Grey or colour, and opacity: the gaps show the page.
    depth = 4 if shape[0] in (3, 4) else 2
    sheet = np.zeros((lines * (height + gap) - gap, columns * (width + gap) - gap, depth), np.uint8)
    for position, unit in enumerate(order):
        image = _small(W[:, unit].reshape(shape).astype(float), MOST_TILE)
        top = np.abs(image).max() or 1.0
        line, column = divmod(position, columns)
        y, x = line * (height + gap), column * (width + gap)
        tile = sheet[y : y + height, x : x + width]
        tile[..., :-1] = _pixels(image, -top, top).reshape(height, width, depth - 1)
        tile[..., -1] = 255
    return _png(sheet), len(order)


def data_uri(png: bytes) -> str:
    """Return a PNG as an address that needs no file.

    Examples
    --------
    >>> data_uri(b"abc")
    'data:image/png;base64,YWJj'
    """
    return "data:image/png;base64," + base64.b64encode(png).decode()
