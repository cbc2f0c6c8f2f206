"""An export on its way to the disk: verified, then put in its place, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klayer.errors import KlayerError, require_kind
from klayer.export.card import card
from klayer.export.exported import Exported
from klayer.export.formats import Files, Format, format_of
from klayer.export.verify import RowsToVerify, Verified, differences, drawn_rows, wanted_answers
from klayer.files import flush_folder, make_folder, move, require_name, write_bytes
from klayer.study.run_folder import refuse_own

__all__ = ["CARD", "Written", "write_export"]

CARD = "README.md"


@dataclass(frozen=True)
class Written:
    """What was exported.

    Attributes
    ----------
    files : list of Path
        The card is the last.
    format : str
    verified : Verified
        How far the answers of the files are from those of the networks.
    """

    files: list[Path]
    format: str
    verified: Verified


@dataclass(frozen=True)
class _Place:
    """Where an export goes: a folder of its own, or a file in a folder of the user's."""

    folder: Path
    names: Mapping[str, str]  # of the format's files, where they are to have others
    card: str
    own: bool

    @classmethod
    def of(cls, path: Path, form: Format) -> _Place:
        if form.file is not None and path.suffix.lower() == form.ending:
            return cls(path.parent, {form.file: path.name}, f"{path.name}.md", False)
        return cls(path, {}, CARD, True)


def write_export(
    what: Exported,
    path: str | Path,
    to: str | None = None,
    rows: RowsToVerify | None = None,
    *,
    force: bool = False,
) -> Written:
    """Write an export and its card.

    Parameters
    ----------
    what : Exported
    path : path
        A file with the ending of the format, whose card lies beside it (``mine.onnx.md``); or a folder,
        which is made if need be and whose card is ``README.md``.
    to : str, optional
        A format, of :data:`EXPORTS`; needed if ``path`` is a folder.
    rows : RowsToVerify, optional
        Raw rows that the files must answer as the networks do; drawn if there are none.
    force : bool
        Whether files that are there may be replaced.

    Raises
    ------
    KlayerError
        If files are there already, or the place is a run's own; if what would be written doesn't answer
        as the networks do, to :data:`TOLERANCE`; if packages are missing. Nothing is written then.
    NotWritten
        If the system refuses.
    """
    require_kind(path, (str, Path), "path", "a path")
    path = Path(path).expanduser()
    require_name(path)
    form = format_of(to, path)
    place = _Place.of(path, form)
    refuse_own(path)
    _require_room(place, form, force)
    files, verified = _verified(what, form, rows or drawn_rows(what))
    named = {place.names.get(name, name): content for name, content in files.items()}
    text = card(what, form, next(iter(named)), verified)
    named[place.card] = text.encode("utf-8", "backslashreplace")
    _require_free(place.folder, named, force)
    return Written(_put(place, named), form.name, verified)


def _verified(what: Exported, form: Format, rows: RowsToVerify) -> tuple[Files, Verified]:
    """Return the first content that answers as the networks do."""
    wanted = wanted_answers(what, rows.rows)
    found = None
    for files in form.pack(what):
        apart = differences(what, form.answers(files, what, rows.rows), wanted)
        found = Verified(float(apart.max(initial=0)), len(wanted), rows.what)
        if found.holds:
            return files, found
    assert found is not None
    raise KlayerError(
        f"what is exported must answer as the networks do, to {found.tolerance:g}, but the "
        f"{form.name} file would not: {found.in_words()}. Nothing was written: export it to another "
        "format, or train with dtype='float64'."
    )


def _require_room(place: _Place, form: Format, force: bool) -> None:
    """Refuse early what can't be written."""
    if place.own and place.folder.exists() and not place.folder.is_dir():
        either = f", or end in {form.ending}," if form.ending else ""
        raise KlayerError(
            f"{place.folder} must be a folder{either or ','} but is a file: name another."
        )
    if not place.own and not place.folder.is_dir():
        raise KlayerError(
            f"{place.folder / next(iter(place.names.values()))} can't be written: there is no folder "
            f"{place.folder}."
        )
    likely = [*place.names.values(), place.card]
    if place.own and form.file:
        likely.append(form.file)
    _require_free(place.folder, likely, force)


def _require_free(folder: Path, names: Any, force: bool) -> None:
    there = [folder / name for name in names if os.path.lexists(folder / name)]
    for path in there:
        if path.is_dir():
            raise KlayerError(f"{path} must be a file, but a folder is there: move it.")
    if there and not force:
        raise KlayerError(
            f"{there[0]} is there already: choose another place, or say that it may be replaced "
            "(--force, in Python force=True)."
        )


def _put(place: _Place, files: Files) -> list[Path]:
    """Write files, each whole or not at all, the card last; a new folder appears with all of them."""
    folder = place.folder
    written = [folder / name for name in files]
    if folder.exists():
        for path, content in zip(written, files.values(), strict=True):
            make_folder(path.parent)
            write_bytes(path, content)
        return written
    make_folder(folder.parent)
    stage = folder.with_name(f".{folder.name[:60]}.unfinished")
    shutil.rmtree(stage, ignore_errors=True)  # of an export that was killed
    try:
        for name, content in files.items():
            make_folder((stage / name).parent)
            write_bytes(stage / name, content)
        move(stage, folder)
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return written
