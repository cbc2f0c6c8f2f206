"""What a source of data is: how to recognise it, find it, download it and load it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from klayer.data.dataset import Dataset
from klayer.data.download import Progress
from klayer.data.options import DataOptions
from klayer.data.tables.overview import ColumnOverview

__all__ = ["Request", "Source", "always"]


@dataclass(frozen=True)
class Request:
    """What the user asked for, as `klayer.data.load` has read it.

    Parameters
    ----------
    path : Path
        The file or folder, of a source of paths.
    options : str, optional
        What was written behind a colon; None without a colon.
    data_dir : str or Path, optional
        Look here and nowhere else, and download nothing.
    seed : int
        Of a split, or of made-up data.
    may_download : bool
    progress : callable, optional
        Called as ``progress(bytes_so_far, bytes_expected)`` during a download.
    said : DataOptions
        What was said beside the name.
    """

    path: Path = Path()
    options: str | None = None
    data_dir: str | Path | None = None
    seed: int = 0
    may_download: bool = True
    progress: Progress | None = None
    said: DataOptions = field(default_factory=DataOptions)


@dataclass(frozen=True)
class Source:
    """A source of data, one row of `klayer.data.catalogue.SOURCES`.

    Parameters
    ----------
    name : str
        What to pass to `klayer.data.load`; of a source of paths their pattern, ``"FILE.npz"``.
    description : str
        For `klayer data list`.
    load : callable
        ``load(request) -> Dataset``; raises `KlayerError`, which says how to get data that are
        missing, or what is wrong with them.
    find : callable
        ``find(data_dir) -> str``: where the data are on this machine, None if they are missing;
        nothing is read yet.
    fetch : callable, optional
        ``fetch(data_dir, progress) -> str``: find or download the data, and say where they are.
        Without it, klayer downloads nothing.
    shape : str
        Of a sample: ``"3 x 32 x 32"``.
    n_classes : int or None
        K; None where it depends.
    sizes : (int, int, int) or None
        Samples to train, validate, test; None where it depends.
    has_options : bool
        Whether something may follow the name and a colon.
    recognises : callable, optional
        Makes this a source of paths: ``recognises(path) -> bool``.
    kind : str
        What such a path is, for messages: ``"a .npz file"``.
    takes : tuple of str
        The options that it heeds, rows of `klayer.data.options.OPTIONS`; others are refused.
    columns : callable, optional
        ``columns(request)``: what the columns of a table hold, before anything is decided.
    """

    name: str
    description: str
    load: Callable[[Request], Dataset]
    find: Callable[[str | Path | None], str | None]
    fetch: Callable[[str | Path | None, Progress | None], str] | None = None
    shape: str = "any"
    n_classes: int | None = None
    sizes: tuple[int, int, int] | None = None
    has_options: bool = False
    recognises: Callable[[Path], bool] | None = None
    kind: str = ""
    takes: tuple[str, ...] = ()
    columns: Callable[[Request], list[ColumnOverview]] | None = None


def always(what: str) -> Callable[[str | Path | None], str]:
    """Make the `find` of a source that needs no looking for: it always answers `what`.

    Examples
    --------
    >>> always("made when asked for")("any/folder")
    'made when asked for'
    """
    return lambda _: what
