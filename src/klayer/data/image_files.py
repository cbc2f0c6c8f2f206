"""Image files as rows of bytes: formats, transparency, depth, size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.regular_file import require_file
from klayer.errors import KlayerError, unknown_name

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "BACKGROUNDS",
    "ENDINGS",
    "Header",
    "check_background",
    "conversions",
    "probe",
    "read_image",
    "unlike_shape",
]

# What Pillow may read, by Pillow's names: no format that starts another program, or is a document.
_FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "TGA": (".tga",),
    "PCX": (".pcx",),
    "ICO": (".ico",),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "AVIF": (".avif",),
    "QOI": (".qoi",),
    "SGI": (".sgi",),
    "XBM": (".xbm",),
}
ENDINGS = tuple(ending for endings in _FORMATS.values() for ending in endings)
BACKGROUNDS = {"white": 255, "black": 0}

_GREY_MODES = ("1", "L", "LA", "La", "F")
_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: the camera was held upright
_16_BITS = 257  # 65,535 is 255 times as much


@dataclass(frozen=True)
class Header:
    """What an image says about itself before it is decoded.

    Attributes
    ----------
    width, height : int, in pixels, as displayed
    grey : bool
    transparent : bool
        Whether pixels may be transparent.
    deep : bool
        Whether it has more than 8 bits a channel.
    frames : int
        Pictures in the file.
    """

    width: int
    height: int
    grey: bool
    transparent: bool
    deep: bool
    frames: int


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # older Pillows lack some


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Open an image; whatever goes wrong becomes an error with the file's name."""
    from PIL import Image

    require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_formats()) as image:
                yield image
    except KlayerError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise KlayerError(f"{path}: the image has too many pixels to be a sample.") from None
    except Exception as error:  # a damaged image can fail in any way
        reason = "no image format known" if "cannot identify" in str(error) else f"{error!s:.200}"
        raise KlayerError(f"{path}: not a readable image ({reason}).") from None


def check_background(name: object) -> str:
    """Return the name of a background that transparent images are put on.

    Raises
    ------
    KlayerError
        If it is not one of `BACKGROUNDS`.
    """
    if name not in BACKGROUNDS:
        raise unknown_name("background", name, BACKGROUNDS)
    return str(name)


def probe(path: Path) -> Header:
    """Read an image's header.

    Raises
    ------
    KlayerError
        Naming the file, if it is no readable image.
    """
    with _opened(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        deep = image.mode.startswith(("I", "F"))
        return Header(
            width,
            height,
            deep or image.mode in _GREY_MODES,
            image.has_transparency_data,
            deep,
            getattr(image, "n_frames", 1),
        )


def conversions(headers: Sequence[Header], background: str) -> list[str]:
    """Say what reading images does to them beside resizing, a sentence each.

    Examples
    --------
    >>> conversions([Header(8, 8, True, True, False, 1)] * 3, "white")
    ['3 of 3 images have transparency: they are put on white (background=white)']
    """
    found = []
    for count, what in (
        (
            sum(one.transparent for one in headers),
            f"have transparency: they are put on {background} (background={background})",
        ),
        (sum(one.deep for one in headers), "have more than 8 bits a channel: they are scaled to 8"),
        (sum(one.frames > 1 for one in headers), "hold several pictures: the first is taken"),
    ):
        if count:
            found.append(f"{count:,} of {len(headers):,} images {what}")
    return found


def unlike_shape(headers: Sequence[Header], shape: tuple[int, int, int]) -> list[str]:
    """Say how images differ from those of training, and what is done about it, a sentence each.

    Examples
    --------
    >>> unlike_shape([Header(16, 8, False, False, False, 1)] * 2, (1, 8, 8))
    ['2 of 2 images are in colour: they are made grey, as in training', '2 of 2 images are not 8 x 8 \
pixels as in training but, for example, 16 x 8: they are resized, and become wider or narrower']
    """
    channels, height, width = shape
    n, found = f"{len(headers):,} images", []
    colour = sum(not one.grey for one in headers)
    if channels < 3 and colour:
        found.append(f"{colour:,} of {n} are in colour: they are made grey, as in training")
    if channels >= 3 and colour < len(headers):
        grey = len(headers) - colour
        found.append(f"{grey:,} of {n} are grey, but those of training are in colour")
    other = [one for one in headers if (one.width, one.height) != (width, height)]
    if other:
        text = (
            f"{len(other):,} of {n} are not {width} x {height} pixels as in training but, for example, "
            f"{other[0].width} x {other[0].height}: they are resized"
        )
        bent = any(abs(one.width * height - one.height * width) > 0.02 * one.width * height
                   for one in other)  # fmt: skip
        found.append(text + (", and become wider or narrower" if bent else ""))
    return found


def read_image(
    path: Path, shape: tuple[int, int, int], background: str = "white"
) -> NDArray[np.uint8]:
    """Read an image as one row of bytes, resized and converted as needed.

    Transparent pixels are put on the background, so that black ink on transparent paper stays
    visible. Values of 16 bits are divided by 257, floats must run from 0 to 1 and are multiplied by
    255, both rounded; a pixel of 1 bit is 0 or 255.

    Parameters
    ----------
    path : Path
    shape : (channels, height, width)
        1 channel makes the image grey, 3 make it red, green, blue; 2 and 4 keep the transparency as
        the last one. Another size is reached by bilinear interpolation, averaging where the image
        shrinks; proportions are not kept.
    background : {"white", "black"}
        Behind transparent pixels.

    Returns
    -------
    array, shape (channels * height * width,), uint8

    Raises
    ------
    KlayerError
        Naming the file, if it is no readable image, or holds numbers that are no brightness.
    """
    from PIL import Image, ImageOps

    check_background(background)
    channels, height, width = shape
    if channels not in _CHANNELS:
        raise KlayerError(f"{path}: images can be read into 1, 2, 3 or 4 channels, not {channels}.")
    with _opened(path) as image:
        image.load()
        if image.mode.startswith(("I", "F")):
            image = _eight_bits(path, image)
        image = ImageOps.exif_transpose(image)
        if channels in (1, 3) and image.has_transparency_data:
            paper = Image.new("RGBA", image.size, background)
            paper.alpha_composite(image.convert("RGBA"))
            image = paper.convert("RGB")
        elif channels in (2, 4):
            image = image.convert("RGBA")
        image = image.convert(_CHANNELS[channels])
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.uint8).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1).ravel()


def _eight_bits(path: Path, image: Image) -> Image:
    """An image of numbers as one of bytes, with its transparency."""
    from PIL import Image as Images

    values = np.asarray(image)
    floats = values.dtype.kind == "f"
    most, what = (1.0, "floats from 0 to 1") if floats else (65_535, "numbers from 0 to 65,535")
    inside = (values >= 0) & (values <= most)
    if not inside.all():
        row, column = np.argwhere(~inside)[0]
        raise KlayerError(
            f"{path}, row {row}, column {column}: an image of more than 8 bits must hold {what}, but "
            f"got {values[row, column]}: scale it."
        )
    scaled: NDArray[Any] = values * 255.0 if floats else values / _16_BITS
    grey = Images.fromarray(np.rint(scaled).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # one value of 16 bits stands for nothing
        grey.putalpha(Images.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    exif = image.getexif()
    if _ORIENTATION in exif:
        grey.getexif()[_ORIENTATION] = exif[_ORIENTATION]
    return grey
