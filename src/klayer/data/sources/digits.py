"""The digits bundled with scikit-learn: 1,797 handwritten digits of 8 x 8 pixels."""

from __future__ import annotations

import numpy as np

from klayer.data.dataset import Dataset
from klayer.data.source import Source, always
from klayer.data.splitting import split_rows

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
    from sklearn.datasets import load_digits

    bunch = load_digits()
    names = [str(digit) for digit in bunch.target_names]
    features = bunch.data.astype(np.uint8)  # whole numbers already, kept as floats there
    return Dataset(
        "digits",
        split_rows("digits", features, bunch.target, names, seed=0),
        tuple(names),
        (1, 8, 8),
        source="UCI handwritten digits, bundled with scikit-learn",
    )


SOURCE = Source(
    name="digits",
    description="handwritten digits, real and small",
    load=lambda _: load(),
    find=always("bundled with scikit-learn"),
    shape="1 x 8 x 8",
    n_classes=10,
    sizes=(1_259, 269, 269),
)
