"""One door to every source: names and paths in, a `Dataset` out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from klayer.data.dataset import Dataset
from klayer.data.download import Progress
from klayer.data.from_arrays import from_arrays
from klayer.data.options import OPTIONS, DataOptions
from klayer.data.source import Request, Source
from klayer.data.sources import (
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    folder,
    mapped,
    mnist,
    npz,
    synthetic,
    table,
)
from klayer.data.splitting import check_seed
from klayer.data.tables.overview import ColumnOverview
from klayer.errors import KlayerError, unknown_name

__all__ = [
    "SOURCES",
    "SourceInfo",
    "anchored_data",
    "available",
    "can_download",
    "columns",
    "fetch",
    "load",
    "source_names",
]

_LONGEST, _LONGEST_PATH = 255, 4000  # bytes of a name, characters of a path

# A new source is a module and a row.
SOURCES: tuple[Source, ...] = (
    cifar10.SOURCE,
    cifar100.SOURCE,
    mnist.MNIST_SOURCE,
    mnist.EMNIST_SOURCE,
    fashion_mnist.SOURCE,
    digits.SOURCE,
    synthetic.SOURCE,
    npz.SOURCE,
    mapped.SOURCE,
    table.SOURCE,
    mnist.FOLDER_SOURCE,
    folder.SOURCE,
)


@dataclass(frozen=True)
class SourceInfo:
    """What `available` says about a source.

    Parameters
    ----------
    name : str
        What to pass to `load`.
    shape : str
        Of a sample: ``"3 x 32 x 32"``.
    n_classes : int or None
        K; None where it depends.
    sizes : (int, int, int) or None
        Samples to train, validate, test; None where it depends.
    found : str or None
        Where the data are; None if they are missing.
    description : str
    """

    name: str
    shape: str
    n_classes: int | None
    sizes: tuple[int, int, int] | None
    found: str | None
    description: str

    def as_dict(self) -> dict[str, object]:
        """The same as plain values, for JSON."""
        return {
            "classes" if key == "n_classes" else key: value for key, value in asdict(self).items()
        }


def available(data_dir: str | Path | None = None) -> list[SourceInfo]:
    """List the sources, and where their data are on this machine.

    Parameters
    ----------
    data_dir : str or Path, optional
        Look here and nowhere else.

    Returns
    -------
    list of SourceInfo

    Examples
    --------
    >>> [source.name for source in available()]
    ['cifar10', 'cifar100', 'mnist', 'emnist', 'fashion_mnist', 'digits', 'synthetic', ...
    """
    return [
        SourceInfo(
            one.name, one.shape, one.n_classes, one.sizes, one.find(data_dir), one.description
        )
        for one in SOURCES
    ]


def load(
    name_or_path: Any,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    may_download: bool = True,
    progress: Progress | None = None,
    **said: Any,
) -> Dataset:
    """Load a data set by name, from a file or folder, or from a frame.

    Parameters
    ----------
    name_or_path : str, Path or frame
        ``"cifar10"``, ``"fashion_mnist"``, ``"digits"``, ``"synthetic"`` (also with options:
        ``"synthetic:features=50,classes=3,samples=1000,seed=1"``), the path of a .npz file, of a
        folder of .npy or Parquet files, of a table (CSV, TSV, Parquet, Feather, ARFF, LibSVM) or of a
        folder of images, with
        ``:size=HEIGHTxWIDTH`` behind it to resize them. A name goes before a path: write
        ``./digits`` for a folder. Also a frame of pandas, polars or pyarrow.
    data_dir : str or Path, optional
        Look for `cifar10` and `fashion_mnist` here and nowhere else, and download nothing.
    seed : int
        Of the split of a file or folder without splits of its own, and of `synthetic`.
    may_download : bool
        Whether `cifar10` may be downloaded if it is found nowhere.
    progress : callable, optional
        Called as ``progress(bytes_so_far, bytes_expected)`` during a download.
    **said
        Of a table, the fields of `DataOptions`: ``target="price"``, ``task="regression"``,
        ``missing="mean"``, ``group_by="patient"``, ...

    Returns
    -------
    Dataset

    Raises
    ------
    KlayerError
        If the name is unknown, or the data are missing or wrong.

    Examples
    --------
    >>> load("synthetic:features=50,classes=3,samples=1000").n_features
    50
    >>> load("digit")
    Traceback (most recent call last):
    klayer.errors.KlayerError: unknown data set 'digit': did you mean 'digits'? Known: \
cifar10, cifar100, mnist, emnist, fashion_mnist, digits, synthetic, or the path of a .npz file, ...
    """
    check_seed(seed)
    given = {name: value for name, value in said.items() if value is not None}
    if not isinstance(name_or_path, str | Path):
        return from_arrays(name_or_path, name="table", seed=seed, **given)
    source, request = _request(name_or_path, given)
    return source.load(
        replace(
            request,
            data_dir=data_dir,
            seed=seed,
            may_download=may_download,
            progress=progress,
        )
    )


def columns(name_or_path: str | Path, **said: Any) -> list[ColumnOverview]:
    """Say what the columns of a table hold, before anything is decided; of other data nothing.

    Parameters
    ----------
    name_or_path : str or Path
    **said
        As in :func:`load`.

    Examples
    --------
    >>> columns("digits")
    []
    """
    given = {name: value for name, value in said.items() if value is not None}
    source, request = _request(name_or_path, given)
    return [] if source.columns is None else source.columns(request)


def _request(name_or_path: str | Path, given: Mapping[str, Any]) -> tuple[Source, Request]:
    text = str(name_or_path)
    source, path, options = _named(text) or _of_path(text)
    if options is not None and not source.has_options:
        name = text.rpartition(":")[0] if source.recognises else source.name
        raise KlayerError(f"{name} has no options, but got {text!r}: write {name}.")
    unused = [name for name in given if name in OPTIONS and name not in source.takes]
    if unused:
        takes = f"only {', '.join(source.takes)}" if source.takes else "none of these options"
        raise KlayerError(
            f"{text} takes {takes}, but got {unused[0]}={given[unused[0]]!r}: leave it out."
        )
    wanted = DataOptions.from_values(given)
    return source, Request(path, options, said=wanted)


def fetch(
    name: str, *, data_dir: str | Path | None = None, progress: Progress | None = None
) -> str:
    """Make sure that a named data set is on this machine; only `cifar10` is ever downloaded.

    Parameters
    ----------
    name : str
    data_dir : str or Path, optional
        Look here and download to here; by default look everywhere, download to the cache folder.
    progress : callable, optional
        Called as ``progress(bytes_so_far, bytes_expected)``.

    Returns
    -------
    str
        Where it is.

    Raises
    ------
    KlayerError
        If the name is unknown, the download fails, or data that can't be downloaded are missing or
        wrong.

    Examples
    --------
    >>> fetch("digits")
    'bundled with scikit-learn'
    """
    named = _named(name)
    if named is None:
        raise unknown_name("data set", name, source_names())
    source = named[0]
    if source.fetch is not None:
        return source.fetch(data_dir, progress)
    # Says how to get it, or what is wrong with it.
    source.load(Request(options=named[2], data_dir=data_dir))
    return str(source.find(data_dir))


def can_download(name: str) -> bool:
    """Say whether `load` and `fetch` download this data set where it is missing.

    Examples
    --------
    >>> can_download("CIFAR-10"), can_download("digits"), can_download("birds.npz")
    (True, False, False)
    """
    named = _named(name)
    return named is not None and named[0].fetch is not None


def anchored_data(name_or_path: str, folder: Path) -> str:
    """Return what `load` takes, with a path read from a folder; a name stays what it is.

    Examples
    --------
    >>> anchored_data("digits", Path("/data")), anchored_data("mine/birds.npz", Path("/data"))
    ('digits', '/data/mine/birds.npz')
    """
    if not name_or_path.strip() or _named(name_or_path):
        return name_or_path
    path = _path(name_or_path)
    if path.is_absolute():
        return name_or_path
    place = folder.absolute() / path
    if len(path.parts) == 1 and not place.exists() and not path.suffix and ":" not in name_or_path:
        return name_or_path  # a name with a mistake in it, to be answered as one
    return str(place)


def source_names() -> list[str]:
    """Return the names of the data sets that have one."""
    return [source.name for source in SOURCES if source.recognises is None]


def _path(text: str) -> Path:
    """Make a path of a text that may be one: no part too long, no byte that no name has."""
    try:
        longest = max(len(os.fsencode(part)) for part in text.split("/"))
        if longest > _LONGEST or len(text) > _LONGEST_PATH or "\0" in text:
            raise ValueError("too long, or not a name")
        return Path(text).expanduser()
    except (ValueError, RuntimeError) as error:  # RuntimeError: the home of an unknown user
        raise KlayerError(
            f"a data set must be a name or a path that can be, but got {text!r:.80} ({error!s:.80})."
        ) from None


def _plain(name: str) -> str:
    """CIFAR-10 and fashion-mnist are read as the names they mean."""
    return re.sub("[ _-]", "", name.lower())


def _named(text: str) -> tuple[Source, Path, str | None] | None:
    """Read ``name`` or ``name:options``."""
    head, colon, options = text.partition(":")
    for source in SOURCES:
        if source.recognises is None and _plain(source.name) == _plain(head):
            return source, Path(), options if colon else None
    return None


def _of_path(text: str) -> tuple[Source, Path, str | None]:
    """Read ``path`` or ``path:options``."""
    path = _path(text)
    head, colon, behind = text.rpartition(":")
    readings: list[tuple[Path, str | None]] = [(path, None)]
    if colon and not path.exists():
        readings.append((Path(head).expanduser(), behind))
    for place, options in readings:
        for source in SOURCES:
            if source.recognises is not None and source.recognises(place):
                return source, place, options
    kinds = [source.kind for source in SOURCES if source.recognises is not None]
    either = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
    if path.exists():
        raise KlayerError(
            f"{path}: a data set must be {either}: convert it, for example with `numpy.savez`."
        )
    if len(path.parts) > 1:
        raise KlayerError(f"{path}: no such file or folder.")
    *known, last = source_names()
    raise unknown_name("data set", path, [*known, f"{last}, or the path of {either}"])
