"""Where data sets are looked for: a folder given, `KLAYER_DATA`, the user's cache folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from klayer.errors import KlayerError
from klayer.files import cache_folder

__all__ = ["Location", "cache_folder", "existing", "locations", "not_found"]


@dataclass(frozen=True)
class Location:
    """A folder to look into, and the setting that named it."""

    origin: str
    path: Path

    def __str__(self) -> str:
        return f"{self.path} ({self.origin})"


def locations(data_dir: str | Path | None) -> list[Location]:
    """List the folders to look into, in order.

    A `data_dir` is the only one: who names a folder wants no other. Otherwise they are the folder
    named by the environment variable ``KLAYER_DATA``, then the user's cache folder.

    Parameters
    ----------
    data_dir : str or Path, optional

    Returns
    -------
    list of Location

    Raises
    ------
    KlayerError
        If `data_dir` is not a folder.

    Examples
    --------
    >>> locations("no/such/folder")
    Traceback (most recent call last):
    klayer.errors.KlayerError: --data-dir must be an existing folder, but got no/such/folder.
    """
    if data_dir is not None:
        path = Path(data_dir).expanduser()
        if not existing(path, folder=True):
            hint = ": name the folder that holds it" if existing(path) else ""
            raise KlayerError(f"--data-dir must be an existing folder, but got {data_dir}{hint}.")
        return [Location("--data-dir", path)]
    found = []
    if named := os.environ.get("KLAYER_DATA"):
        found.append(Location("KLAYER_DATA", Path(named).expanduser()))
    found.append(Location("cache folder", cache_folder()))
    return found


def existing(path: Path, *, folder: bool = False) -> bool:
    """Say whether a file (or a folder) is there; a place that can't be read holds nothing."""
    try:
        return path.is_dir() if folder else path.is_file()
    except OSError:
        return False


def not_found(
    title: str, looked_in: list[Location], looked_for: list[str], remedy: str
) -> KlayerError:
    """Build the error for a data set that no place holds: what was looked for, and what to do.

    Examples
    --------
    >>> print(not_found("Tiny", [Location("--data-dir", Path("d"))], ["tiny/", "tiny.gz"], "Buy it."))
    Tiny was not found. Looked in d (--data-dir) for: tiny/, tiny.gz. Buy it.
    """
    return KlayerError(
        f"{title} was not found. Looked in {', '.join(map(str, looked_in))} for: "
        f"{', '.join(looked_for)}. {remedy}"
    )
