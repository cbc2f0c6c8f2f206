"""Names that other people chose, made fit to be printed, drawn and written: nothing in them acts."""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

# What turns the direction of the text around it, or is not to be seen at all.
_INVISIBLE = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"


def printable(text: object, keep: str = "") -> str:
    r"""Write what a terminal, a chart or a page would act on as an escape.

    These are control characters (escape sequences, line ends, the byte 0), line and paragraph
    separators, marks that turn the direction of text, byte-order marks, and what stands for the bytes
    of a file name that is not UTF-8. All else stays, right-to-left letters and pictures too.

    Parameters
    ----------
    text : object
        Anything that has a text.
    keep : str
        Characters that stay: ``"\n"`` in a message of several lines.

    Examples
    --------
    >>> for text in "red \x1b[31m", "two\nlines", b"\xff".decode("utf-8", "surrogateescape"):
    ...     print(printable(text))
    red \x1b[31m
    two\nlines
    \xff
    >>> printable("שלום [b] <i>")
    'שלום [b] <i>'
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one in keep else _shown(one) for one in text)


def _shown(one: str) -> str:
    kind = unicodedata.category(one)
    if kind == "Cs":
        byte = ord(one) - 0xDC00
        return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else f"\\u{ord(one):04x}"
    if kind in ("Cc", "Zl", "Zp") or one in _INVISIBLE:
        return one.encode("unicode_escape").decode("ascii")
    return one
