"""What a file is that klayer did not write, by its first bytes."""

from __future__ import annotations

__all__ = ["foreign_kind"]

# What files of other programs begin with.
BEGINNINGS = (
    (b"PK\x03\x04", "a zip archive, as .npz and .pt files are"),
    (b"\x93NUMPY", "a .npy file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x80", "a pickle"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"%PDF", "a PDF"),
)


def foreign_kind(content: bytes) -> str:
    """Say what a file is that surely isn't one of klayer's networks; nothing if it may be one.

    Examples
    --------
    >>> foreign_kind(b"PK\\x03\\x04 and so on"), foreign_kind(b"")
    ('a zip archive, as .npz and .pt files are', 'an empty file')
    """
    if not content:
        return "an empty file"
    if len(content) <= 8:
        return ""
    if content[8:9] == b"{":  # the length of a header, and the header
        header = content[8 : 8 + int.from_bytes(content[:8], "little")]
        whole = header.endswith((b"}", b" "))
        return (
            "a .safetensors file of another program" if whole and b'"klayer"' not in header else ""
        )
    return next((kind for beginning, kind in BEGINNINGS if content.startswith(beginning)), "")
