"""Image files as rows of bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ENDINGS", "probe", "read_image"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

_GREY_MODES = ("1", "L", "LA")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: the camera was held upright


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
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


def read_image(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
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
