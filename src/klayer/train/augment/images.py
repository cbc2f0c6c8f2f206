"""Changes of images: raw ones (N, C, H, W) in, new ones of the same dtype out.

Every image has a draw of its own. Images of bytes are rounded where numbers are computed, and held
within 0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["crop", "cutout", "jitter", "mirror", "rotate"]

Array = NDArray[Any]
Rng = np.random.Generator


def mirror(images: Array, amount: float, rng: Rng, fill: Array) -> Array:  # noqa: ARG001
    """Turn half of the images, left to right.

    Examples
    --------
    >>> image = np.array([[[[1, 2, 3]]]], np.uint8)
    >>> both = {mirror(image, 0, np.random.default_rng(s), image[0]).tobytes() for s in range(9)}
    >>> sorted(list(one) for one in both)
    [[1, 2, 3], [3, 2, 1]]
    """
    turned = rng.random(len(images)) < 0.5
    images = images.copy()
    images[turned] = images[turned][..., ::-1]
    return images


def crop(images: Array, amount: float, rng: Rng, fill: Array) -> Array:  # noqa: ARG001
    """Shift by up to ``amount`` pixels in both directions; what comes in is what lies there, reflected.

    Examples
    --------
    >>> image = np.array([[[[1, 2, 3]] * 2]], np.uint8)
    >>> found = [crop(image, 1, np.random.default_rng(s), image[0])[0, 0, 0] for s in range(30)]
    >>> sorted({tuple(one.tolist()) for one in found})
    [(1, 2, 3), (2, 1, 2), (2, 3, 2)]
    """
    pixels = int(amount)
    shifts = rng.integers(-pixels, pixels + 1, size=(2, len(images)))
    images = _shifted(images, shifts[0], lambda part, index: part[:, :, index])
    return _shifted(images, shifts[1], lambda part, index: part[:, :, :, index])


def _shifted(images: Array, shifts: Array, take: Callable[[Array, Array], Array]) -> Array:
    """Shift images along one axis, those of one shift together."""
    size = take(images[:1, :1], np.arange(1)).shape
    length = images.shape[2] if size[2] == 1 else images.shape[3]
    found = np.empty_like(images)
    for shift in np.unique(shifts):
        chosen = shifts == shift
        index = np.abs(np.arange(length) + shift)
        index = np.minimum(index, 2 * (length - 1) - index)
        found[chosen] = take(images[chosen], index)
    return found


def rotate(images: Array, amount: float, rng: Rng, fill: Array) -> Array:
    """Turn about the centre by up to ``amount`` degrees, bilinear; corners are filled with the mean.

    Examples
    --------
    >>> image = np.zeros((1, 1, 9, 9), np.uint8)
    >>> image[..., 4, :] = 200
    >>> turned = rotate(image, 45.0, np.random.default_rng(0), np.zeros((1, 9, 9)))
    >>> int(turned[0, 0, 4, 4]), bool((turned != image).any())
    (200, True)
    """
    N, C, H, W = images.shape
    angles = np.deg2rad(rng.uniform(-amount, amount, size=(N, 1))).astype(np.float32)
    y, x = (one.ravel().astype(np.float32) for one in np.mgrid[:H, :W])
    y, x = y - np.float32((H - 1) / 2), x - np.float32((W - 1) / 2)
    from_y = np.cos(angles) * y - np.sin(angles) * x + np.float32((H - 1) / 2)  # (N, H W)
    from_x = np.sin(angles) * y + np.cos(angles) * x + np.float32((W - 1) / 2)
    outside = (from_y < -0.5) | (from_y > H - 0.5) | (from_x < -0.5) | (from_x > W - 0.5)
    from_y, from_x = np.clip(from_y, 0, H - 1), np.clip(from_x, 0, W - 1)
    top = np.minimum(from_y.astype(np.intp), max(H - 2, 0))
    left = np.minimum(from_x.astype(np.intp), max(W - 2, 0))
    down, right = (from_y - top)[:, None], (from_x - left)[:, None]
    flat = images.reshape(N, C, H * W)

    def at(rows: Array, columns: Array) -> Array:
        index = (np.minimum(rows, H - 1) * W + np.minimum(columns, W - 1))[:, None]
        return np.take_along_axis(flat, index, axis=2).astype(np.float32)

    found = (1 - down) * ((1 - right) * at(top, left) + right * at(top, left + 1))
    found += down * ((1 - right) * at(top + 1, left) + right * at(top + 1, left + 1))
    mean = fill.reshape(1, C, H * W).astype(np.float32)
    found = np.where(outside[:, None], mean, found)
    return _as_before(found.reshape(images.shape), images)


def jitter(images: Array, amount: float, rng: Rng, fill: Array) -> Array:
    """Change contrast by a factor ``1 + u``, brightness by ``v`` of the mean image's spread.

    ``u`` and ``v`` are uniform in ``-amount ... amount``; contrast is about the image's own mean.

    Examples
    --------
    >>> image = np.full((1, 1, 2, 2), 100, np.uint8)
    >>> image[0, 0, 0, 0] = 200
    >>> brighter = jitter(image, 0.5, np.random.default_rng(1), image[0].astype(float))
    >>> brighter.dtype == image.dtype, bool((brighter != image).any())
    (True, True)
    """
    N = len(images)
    contrast, brightness = rng.uniform(-amount, amount, size=(2, N, 1, 1, 1)).astype(np.float32)
    pixels = images.astype(np.float32)
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    top = 255.0 if images.dtype == np.uint8 else float(np.abs(fill).max()) or 1.0
    pixels += (pixels - mean) * contrast + brightness * np.float32(top / 2)
    return _as_before(pixels, images)


def cutout(images: Array, amount: float, rng: Rng, fill: Array) -> Array:
    """Cover a square of ``amount`` pixels with the mean image; it may reach over the edge.

    Source: DeVries & Taylor 2017, arXiv:1708.04552.

    Examples
    --------
    >>> images = np.full((50, 1, 8, 8), 9, np.uint8)
    >>> found = cutout(images, 3, np.random.default_rng(0), np.zeros((1, 8, 8)))
    >>> covered = (found == 0).sum(axis=(1, 2, 3))
    >>> int(covered.max()), bool((covered > 0).all())
    (9, True)
    """
    N, _, H, W = images.shape
    size = int(amount)
    top = rng.integers(0, H, size=(N, 1)) - size // 2
    left = rng.integers(0, W, size=(N, 1)) - size // 2
    rows, columns = np.arange(H), np.arange(W)
    in_rows = (rows >= top) & (rows < top + size)
    in_columns = (columns >= left) & (columns < left + size)
    covered = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    return np.where(covered, _as_before(fill[None].astype(np.float32), images), images)


def _as_before(pixels: Array, images: Array) -> Array:
    """Return computed pixels in the dtype that the images had."""
    if images.dtype.kind in "ui":
        limits = np.iinfo(images.dtype)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    return pixels.astype(images.dtype)
