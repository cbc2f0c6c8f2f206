"""Rows of a .npy file, read from where they lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from klayer.data.array_files import npy_header
from klayer.data.image_rows import ImageShape, flatten_images
from klayer.errors import KlayerError

__all__ = ["NpyRows", "Unchanged", "npy_rows"]

# Of a file that lies by columns so many bytes are read and turned at once.
PIECE_BYTES = 1 << 23


@dataclass(frozen=True)
class Unchanged:
    """What a file was when it was first looked at: whoever reads it later makes sure that it still is.

    Attributes
    ----------
    size : int
        In bytes.
    modified : int
        When it was last written, in nanoseconds.
    """

    size: int
    modified: int

    @classmethod
    def of(cls, about: os.stat_result) -> Unchanged:
        return cls(about.st_size, about.st_mtime_ns)

    def require(self, where: str, about: os.stat_result) -> None:
        """Refuse a file that was written to since."""
        if Unchanged.of(about) != self:
            raise KlayerError(
                f"{where}: data must stay as they are while networks train on them, but this file has "
                f"been written to since it was opened ({self.size:,} bytes then, {about.st_size:,} "
                "now): begin anew."
            )


@dataclass(frozen=True)
class NpyRows:
    """One .npy file as rows of features: a :class:`klayer.data.stored_rows.RowFile`.

    Attributes
    ----------
    path : Path
    rows, width : int
    dtype : dtype
    offset : int
        Where the first row begins, in bytes.
    was : Unchanged
    order : int array, shape (D,), optional
        Which number of the file's row each feature is: images whose channels come last.
    by_columns : bool
        Whether the file holds one column after another (Fortran order, as pandas gives it).
    """

    path: Path
    rows: int
    width: int
    dtype: np.dtype[Any]
    offset: int
    was: Unchanged
    order: NDArray[np.intp] | None = field(default=None, compare=False)
    by_columns: bool = False

    def as_plain(self) -> dict[str, Any]:
        """Return plain values, of which :meth:`from_plain` makes the same."""
        return {
            "kind": "npy",
            "path": str(self.path.resolve()),
            "rows": self.rows,
            "width": self.width,
            "dtype": self.dtype.str,
            "offset": self.offset,
            "was": [self.was.size, self.was.modified],
            "order": None if self.order is None else self.order.tolist(),
            "by_columns": self.by_columns,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> NpyRows:
        """Make what :meth:`as_plain` described."""
        order = plain["order"]
        return cls(
            Path(plain["path"]),
            plain["rows"],
            plain["width"],
            np.dtype(plain["dtype"]),
            plain["offset"],
            Unchanged(*plain["was"]),
            None if order is None else np.array(order, np.intp),
            plain["by_columns"],
        )

    @property
    def where(self) -> str:
        """The file."""
        return str(self.path)

    def read(self, first: int, out: NDArray[Any]) -> None:
        """Put the rows from ``first`` on into ``out``, shape (n, D), in C order."""
        found = out if self.order is None else np.empty_like(out)
        try:
            with self.path.open("rb", buffering=0) as file:
                self.was.require(self.where, os.fstat(file.fileno()))
                if self.by_columns:
                    self._read_columns(file, first, found)
                else:
                    self._read_numbers(file, first * self.width, found)
        except OSError as error:
            raise KlayerError(f"{self.path}: can't be read ({error.strerror or error}).") from None
        if self.order is not None:
            np.take(found, self.order, axis=1, out=out)

    def _read_columns(self, file: BinaryIO, first: int, out: NDArray[Any]) -> None:
        """Read a part of each column, for so many rows at once as a piece of memory holds."""
        step = max(1, PIECE_BYTES // (self.width * self.dtype.itemsize))
        for start in range(0, len(out), step):
            rows = out[start : start + step]
            columns = np.empty((self.width, len(rows)), self.dtype)
            for number, column in enumerate(columns):
                self._read_numbers(file, number * self.rows + first + start, column)
            rows[...] = columns.T

    def _read_numbers(self, file: BinaryIO, first: int, out: NDArray[Any]) -> None:
        """Read the numbers that lie in the file one after another from ``first`` on."""
        content = out.reshape(-1).view(np.uint8).data
        file.seek(self.offset + first * self.dtype.itemsize)
        done = 0
        while done < len(content):
            part = file.readinto(content[done:])  # type: ignore[attr-defined]
            if not part:
                raise KlayerError(f"{self.path}: cut while it was read.")
            done += part


def npy_rows(
    path: Path, image_shape: ImageShape | None = None
) -> tuple[NpyRows, ImageShape | None]:
    """Look at a .npy file of rows (N, D) or images (N, H, W), (N, C, H, W), (N, H, W, C).

    Parameters
    ----------
    path : Path
    image_shape : (C, H, W), optional
        What images must have.

    Returns
    -------
    rows : NpyRows
    image_shape : (C, H, W), or None for rows

    Raises
    ------
    KlayerError
        If it is damaged, or holds anything else.
    """
    about, was = npy_header(path), Unchanged.of(path.stat())
    shape = about.shape
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise KlayerError(
            f"{path}: features must have shape (N, D), or be images (N, H, W), (N, C, H, W) or "
            f"(N, H, W, C), with at least one row and one column, but got {shape}: pass samples as rows."
        )
    if about.dtype.kind not in "buif":
        raise KlayerError(
            f"{path}: features must be real numbers, but got dtype {about.dtype}: convert them, for "
            "example with `.astype(float)`."
        )
    width = int(np.prod(shape[1:]))
    # What becomes of the places of one row says what becomes of all.
    layout: Literal["C", "F"] = "F" if about.fortran else "C"
    inside = np.arange(width).reshape(shape[1:], order=layout)
    places, found = flatten_images(str(path), inside[np.newaxis], image_shape)
    order = None if (places[0] == np.arange(width)).all() else places[0].astype(np.intp)
    file = NpyRows(path, shape[0], width, about.dtype, about.offset, was, order, about.fortran)
    return file, found
