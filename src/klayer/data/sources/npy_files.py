"""Which .npy files of a folder are what: rows and labels, their splits, their shards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from klayer.data.sources.npz_keys import placed, split_of
from klayer.errors import KlayerError

__all__ = ["Shards", "is_folder_of_rows", "npy_files", "visible"]

_NUMBERED = re.compile(r"(?P<key>.+?)[-_.](?P<number>\d+)(?:[-_.]of[-_.](?P<count>\d+))?")


@dataclass
class Shards:
    """The files of one array, by their number; -1 for a file without one."""

    files: dict[int, Path] = field(default_factory=dict)
    count: int | None = None

    @property
    def paths(self) -> list[Path]:
        """The files in the order of their numbers."""
        return [self.files[number] for number in sorted(self.files)]

    def require_whole(self) -> None:
        """Refuse shards of which one is missing."""
        numbers = sorted(self.files)
        first = min(numbers[0], 1)
        end = numbers[-1] + 1 if self.count is None else first + self.count
        missing = sorted(set(range(first, end)) - set(numbers))
        if missing:
            some = self.paths[0]
            name = _numbered(some, missing[0])
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise KlayerError(
                f"{some.parent}: shards must be numbered without a gap, but {name} is missing{more}: "
                f"there {'is' if len(numbers) == 1 else 'are'} {len(numbers)}, {some.name} to "
                f"{self.paths[-1].name}."
            )


def _numbered(path: Path, number: int) -> str:
    """Return the name of a shard's neighbour."""
    found = _NUMBERED.fullmatch(path.stem)
    assert found
    start, end = found.span("number")
    return f"{path.stem[:start]}{number:0{end - start}d}{path.stem[end:]}{path.suffix}"


def npy_files(folder: Path) -> dict[str, Shards]:
    """Return the arrays that a folder holds, by name: ``X-000.npy`` and ``X-001.npy`` are ``X``.

    The arrays of subfolders that are named after splits are called after both: ``train_X``.

    Raises
    ------
    KlayerError
        If two files are the same shard, or one is missing.
    """
    arrays: dict[str, Shards] = {}
    own = visible(folder.glob("*.npy"))
    inside = [] if own else [one for one in sorted(folder.iterdir()) if _is_split(one)]
    pairs = [(path, "") for path in own]
    pairs += [(path, f"{one.name}_") for one in inside for path in visible(one.glob("*.npy"))]
    for path, before in pairs:
        numbered = _NUMBERED.fullmatch(path.stem)
        key, number, count = (
            (numbered["key"], int(numbered["number"]), numbered["count"])
            if numbered
            else (path.stem, -1, None)
        )
        shards = arrays.setdefault(before + key, Shards())
        mixed = bool(shards.files) and (number == -1) != (-1 in shards.files)
        if number in shards.files or mixed:
            other = next(iter(shards.files.values()))
            raise KlayerError(
                f"{path.parent}: each array must be in one file or in numbered ones, but there are "
                f"{other.name} and {path.name}."
            )
        shards.files[number] = path
        shards.count = int(count) if count else shards.count
    for shards in arrays.values():
        if -1 not in shards.files:
            shards.require_whole()
    return arrays


def visible(paths: Iterable[Path]) -> list[Path]:
    """Return files in the order of their names, without hidden ones, which systems lay beside them."""
    return sorted(path for path in paths if not path.name.startswith("."))


def _is_split(path: Path) -> bool:
    return path.is_dir() and split_of(path.name) is not None


def is_folder_of_rows(folder: Path) -> bool:
    """Say whether a folder holds .npy files of which one at least is named like rows."""
    try:
        inside = [one for one in folder.iterdir() if _is_split(one)]
        names = {path.stem for one in (folder, *inside) for path in visible(one.glob("*.npy"))}
    except OSError:
        return False
    keys = {found["key"] if (found := _NUMBERED.fullmatch(name)) else name for name in names}
    return any((place := placed(key)) is not None and place[0] == "X" for key in keys)
