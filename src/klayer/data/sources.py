"""One door to every source: names and paths in, a `Dataset` out."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from klayer.data import cifar10, digits, fashion_mnist, images, npz, synthetic
from klayer.data.dataset import Dataset
from klayer.data.download import Progress
from klayer.data.splitting import check_seed
from klayer.errors import KlayerError, unknown_name

__all__ = ["Source", "available", "fetch", "load"]

NAMES = ("cifar10", "fashion_mnist", "digits", "synthetic")


@dataclass(frozen=True)
class Source:
    """What `available` says about a source.

    Parameters
    ----------
    name : str
        What to pass to `load`.
    shape : str
        Of a sample: ``"3 x 32 x 32"``.
    classes : int or None
        K; None where it depends.
    sizes : (int, int, int) or None
        Samples to train, validate, test; None where it depends.
    found : str or None
        Where the data are; None if they are missing.
    description : str
    """

    name: str
    shape: str
    classes: int | None
    sizes: tuple[int, int, int] | None
    found: str | None
    description: str

    def as_dict(self) -> dict[str, object]:
        """The same as plain values, for JSON."""
        return asdict(self)


def available(data_dir: str | Path | None = None) -> list[Source]:
    """List the sources, and where their data are on this machine.

    Parameters
    ----------
    data_dir : str or Path, optional
        Look here and nowhere else.

    Returns
    -------
    list of Source

    Examples
    --------
    >>> [source.name for source in available()]
    ['cifar10', 'fashion_mnist', 'digits', 'synthetic', 'FILE.npz', 'FOLDER']
    """
    cifar = cifar10.find(data_dir)
    fashion = fashion_mnist.find(data_dir)
    return [
        Source(
            "cifar10",
            "3 x 32 x 32",
            10,
            (45_000, 5_000, 10_000),
            None if cifar is None else str(cifar.path),
            "small photographs of animals and vehicles",
        ),
        Source(
            "fashion_mnist",
            "1 x 28 x 28",
            10,
            (55_000, 5_000, 10_000),
            None if fashion is None else str(fashion),
            "grey pictures of clothes",
        ),
        Source(
            "digits",
            "1 x 8 x 8",
            10,
            (1_259, 269, 269),
            "bundled with scikit-learn",
            "handwritten digits, real and small",
        ),
        Source(
            "synthetic",
            "3 x 32 x 32",
            10,
            (5_000, 1_000, 1_000),
            "made when asked for",
            "Gaussian clouds; any shape: synthetic:features=50,classes=3,samples=1000,seed=1",
        ),
        Source("FILE.npz", "any", None, None, "a path", "X and y, or the three splits"),
        Source(
            "FOLDER",
            "any",
            None,
            None,
            "a path",
            "images, one subfolder per class",
        ),
    ]


def load(
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    may_download: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """Load a data set by name, or from a file or folder.

    Parameters
    ----------
    name_or_path : str or Path
        ``"cifar10"``, ``"fashion_mnist"``, ``"digits"``, ``"synthetic"`` (also with options:
        ``"synthetic:features=50,classes=3,samples=1000,seed=1"``), the path of a .npz file, or the
        path of a folder of images, with ``:size=HEIGHTxWIDTH`` behind it to resize them. A name
        goes before a path: write ``./digits`` for a folder.
    data_dir : str or Path, optional
        Look for `cifar10` and `fashion_mnist` here and nowhere else, and download nothing.
    seed : int
        Of the split of a file or folder without splits of its own, and of `synthetic`.
    may_download : bool
        Whether `cifar10` may be downloaded if it is found nowhere.
    progress : callable, optional
        Called as ``progress(bytes_so_far, bytes_expected)`` during a download.

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
cifar10, fashion_mnist, digits, synthetic, or the path of a .npz file or an image folder.
    """
    check_seed(seed)
    text = str(name_or_path)
    name, options = _recognise(text)
    if name is None:
        return _load_path(text, seed)
    if options is not None and name != "synthetic":
        raise KlayerError(f"{name} has no options, but got {text!r}: write {name}.")
    if name == "cifar10":
        return cifar10.load(data_dir, may_download=may_download, progress=progress)
    if name == "fashion_mnist":
        return fashion_mnist.load(data_dir)
    if name == "digits":
        return digits.load()
    return synthetic.load(**{"seed": seed, **synthetic.parse_options(options or "")})


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

    Examples
    --------
    >>> fetch("digits")
    'bundled with scikit-learn'
    """
    known, _ = _recognise(name)
    if known is None:
        raise unknown_name("data set", name, NAMES)
    if known == "cifar10":
        return str(cifar10.fetch(data_dir, progress=progress))
    if known == "fashion_mnist":
        fashion_mnist.load(data_dir)  # says how to install it, or what is wrong with it
        return str(fashion_mnist.find(data_dir))
    return {"digits": "bundled with scikit-learn", "synthetic": "made when asked for"}[known]


def _recognise(text: str) -> tuple[str | None, str | None]:
    """Split "name:options"; CIFAR-10 and fashion-mnist are read as the names they mean."""
    head, colon, options = text.partition(":")
    plain = re.sub("[ _-]", "", head.lower())
    name = next((name for name in NAMES if name.replace("_", "") == plain), None)
    return name, options if name and colon else None


def _load_path(text: str, seed: int) -> Dataset:
    path = Path(text).expanduser()
    head, colon, options = text.rpartition(":")
    if colon and not path.exists() and (folder := Path(head).expanduser()).is_dir():
        size = re.fullmatch(r"size=(\d+)x(\d+)", options)
        if size is None:
            raise KlayerError(
                f"{folder}: an image folder has the one option size=HEIGHTxWIDTH, "
                f"but got {options!r}: write for example {folder}:size=32x32."
            )
        return images.load(folder, seed=seed, image_size=(int(size[1]), int(size[2])))
    if path.is_dir():
        return images.load(path, seed=seed)
    if path.suffix.lower() == ".npz":
        return npz.load(path, seed=seed)
    if path.exists():
        raise KlayerError(
            f"{path}: a data set must be a .npz file or a folder of images: convert it with "
            "`numpy.savez`."
        )
    if len(path.parts) > 1:
        raise KlayerError(f"{path}: no such file or folder.")
    known = [*NAMES[:-1], f"{NAMES[-1]}, or the path of a .npz file or an image folder"]
    raise unknown_name("data set", path, known)
