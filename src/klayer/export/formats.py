"""The formats that trained networks are exported to: a row each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.export import csv, onnx, safetensors
from klayer.export.exported import Exported

__all__ = ["EXPORTS", "Format", "format_of"]

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Format:
    """A row of :data:`EXPORTS`.

    Attributes
    ----------
    name : str
    file : str or None
        What its one file is called in a folder; its ending is that of the format. None if there are
        several files.
    words : str
        What it is for.
    pack : callable ``(exported)``
        Gives the content of each file by its name: once, or again with more digits if the first is too
        far from the networks.
    answers : callable ``(files, exported, rows)``
        What the content answers to raw rows, (N, outputs).
    """

    name: str
    file: str | None
    words: str
    pack: Callable[[Exported], Iterator[Files]]
    answers: Callable[[Files, Exported, Any], NDArray[Any]]

    @property
    def ending(self) -> str | None:
        """Of its one file."""
        return self.file and Path(self.file).suffix


EXPORTS: dict[str, Format] = {
    one.name: one
    for one in (
        Format(
            "safetensors",
            safetensors.FILE,
            "every array in one file, with all that klayer.load_model needs",
            safetensors.pack,
            safetensors.answers,
        ),
        Format(
            "onnx",
            onnx.FILE,
            "one graph, raw rows in and answers out, for any runtime of ONNX",
            onnx.pack,
            onnx.answers,
        ),
        Format("csv", None, "every array a table, for people", csv.pack, csv.answers),
    )
}


def format_of(to: str | None, path: Path) -> Format:
    """Return the format that is named, or that the ending of a path says.

    Raises
    ------
    KlayerError
        If neither says one, or both say different ones.
    """
    endings = {one.ending: one for one in EXPORTS.values() if one.ending}
    meant = endings.get(path.suffix.lower())
    if to is None:
        if meant is None:
            raise KlayerError(
                f"the format must be said, by `to` ({', '.join(EXPORTS)}) or by the ending of the path "
                f"({', '.join(endings)}), but got {str(path)!r}."
            )
        return meant
    if to not in EXPORTS:
        raise unknown_name("format", to, EXPORTS)
    if meant is not None and meant.name != to:
        raise KlayerError(
            f"the ending of the path must be that of the format, but got {str(path)!r} for {to!r}: name "
            "a folder, or leave the format out."
        )
    return EXPORTS[to]
