"""The digits bundled with scikit-learn: 1,797 handwritten digits of 8 x 8 pixels."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import Dataset
from klayer.data.source import Source, always
from klayer.data.splitting import split_rows
from klayer.errors import KlayerError

__all__ = ["SOURCE", "load"]


def load() -> Dataset:
    """Load the digits: 1,259 to train, 269 to validate, 269 to test; no download.

    The split is stratified and always the same one. Pixels run from 0 (paper) to 16 (ink).

    Returns
    -------
    Dataset
        Features of D = 64 bytes, image shape (1, 8, 8).

    References
    ----------
    Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998.

    Examples
    --------
    >>> digits = load()
    >>> {name: len(split) for name, split in digits.splits.items()}
    {'train': 1259, 'validation': 269, 'test': 269}
    """
    rows = _rows()
    names = [str(digit) for digit in range(10)]
    return Dataset(
        "digits",
        split_rows("digits", rows[:, :-1], rows[:, -1].astype(np.int64), names, seed=0),
        tuple(names),
        (1, 8, 8),
        source="UCI handwritten digits, bundled with scikit-learn",
    )


def _rows() -> NDArray[np.uint8]:
    """Return 64 pixels and the label of each digit, from the file that scikit-learn comes with.

    Read without importing scikit-learn, which takes longer than a training on these data.
    """
    package = find_spec("sklearn")
    path = Path(str(package and package.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            return np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except OSError as error:
        raise KlayerError(
            f"the digits come with scikit-learn, as {path}, but it can't be read: "
            f"{error.strerror}. Install scikit-learn again."
        ) from None


SOURCE = Source(
    name="digits",
    description="handwritten digits, real and small",
    load=lambda _: load(),
    find=always("bundled with scikit-learn"),
    shape="1 x 8 x 8",
    n_classes=10,
    sizes=(1_259, 269, 269),
)
