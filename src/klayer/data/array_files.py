"""NumPy's files, .npy and .npz, read without trusting what they say about themselves."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from klayer.data.regular_file import require_file
from klayer.errors import KlayerError

__all__ = ["NpyHeader", "npy_header", "read_npy", "read_npz"]

Found = TypeVar("Found")

# Arrays that pack better than this, and are large, are not data: 13 MB that want 3 GB.
_MOST_PACKED = 100
_ALWAYS_ALLOWED = 2**28  # bytes

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class NpyHeader:
    """What a .npy file says about its array, held against the file's size.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    fortran : bool
        Whether it lies in the file by columns.
    offset : int
        Where the numbers begin, in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int


def npy_header(path: str | Path) -> NpyHeader:
    """Read the header of a .npy file, and no number.

    Raises
    ------
    KlayerError
        If the file is not a .npy file, is cut, or holds objects.
    """
    return _opened(Path(path), _header)


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read every array of a .npz file; pickled objects are refused.

    Memory is taken for an array only once the archive is known to hold as many bytes.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to array

    Raises
    ------
    KlayerError
        If the file is not a .npz file, is damaged, holds objects, or would take far more memory
        than its size promises.
    """
    path = Path(path)
    size = require_file(path)
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise KlayerError(f"{path}: must be a .npz file, but is damaged or another kind.")
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
                total = sum(one.file_size for one in members)
                if total > max(_ALWAYS_ALLOWED, _MOST_PACKED * size):
                    raise KlayerError(
                        f"{path}: {size:,} bytes would become {total:,} bytes, more than "
                        f"{_MOST_PACKED} times as many: no data pack so well. If you trust the file, "
                        "save its arrays anew with `numpy.savez`."
                    )
                found = {}
                for one in members:
                    with archive.open(one) as member:
                        key = one.filename.removesuffix(".npy")
                        found[key] = _array(member, one.file_size, f"{path}, {key}")
                return found
    except KlayerError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        raise KlayerError(f"{path}: not a readable .npz file ({_short(error)}).") from None


def read_npy(path: str | Path) -> NDArray[Any]:
    """Read the array of a .npy file; pickled objects are refused.

    Raises
    ------
    KlayerError
        If the file is not a .npy file, is cut, or holds objects.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "x.npy", np.arange(3))
    ...     read_npy(Path(folder) / "x.npy")
    array([0, 1, 2])
    """
    return _opened(Path(path), _array)


def _opened(path: Path, read: Callable[[IO[bytes], int, str], Found]) -> Found:
    """Return what ``read(file, size, name)`` finds in a .npy file; whatever is wrong with it is said."""
    size = require_file(path)
    try:
        with path.open("rb") as file:
            return read(file, size, str(path))
    except KlayerError:
        raise
    except Exception as error:
        raise KlayerError(f"{path}: not a readable .npy file ({_short(error)}).") from None


def _header(file: IO[bytes], size: int, where: str) -> NpyHeader:
    """Read what comes before the numbers in a file of `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise KlayerError(
            f"{where}: must be an array of numbers or texts in NumPy's format 1.0 or 2.0, "
            f"but its format is {'.'.join(map(str, version))}."
        )
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise KlayerError(
            f"{where}: must hold arrays of numbers or texts, but holds Python objects, which "
            "are never unpickled: save the arrays with a plain dtype."
        )
    if dtype.kind not in "biufcSUmM" or dtype.itemsize == 0:
        raise KlayerError(
            f"{where}: must hold arrays of numbers or texts, but got dtype {dtype!s:.80}."
        )
    wanted, there = prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or wanted != there:
        raise KlayerError(
            f"{where}: an array of shape {shape!s:.80} and dtype {dtype} must have {wanted:,} bytes, "
            f"but the file holds {there:,}: it is cut or damaged."
        )
    return NpyHeader(shape, dtype, fortran, file.tell())


def _array(file: IO[bytes], size: int, where: str) -> NDArray[Any]:
    """Read an array from a file of `size` bytes, header included."""
    about = _header(file, size, where)
    wanted = prod(about.shape) * about.dtype.itemsize
    content = np.empty(wanted, np.uint8)
    view = content.data
    done = 0
    while done < wanted:
        part = file.readinto(view[done : done + (1 << 24)])  # type: ignore[attr-defined]
        if not part:
            raise KlayerError(f"{where}: cut after {done:,} of {wanted:,} bytes.")
        done += part
    file.read(1)  # to the end, where a zip archive checks its sum
    values = content.view(about.dtype)
    return values.reshape(about.shape[::-1]).T if about.fortran else values.reshape(about.shape)


def _short(error: Exception) -> str:
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"
