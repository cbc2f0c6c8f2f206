"""Tell data sets apart without keeping them: a few short digests, over every byte."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data.row_blocks import row_blocks
from klayer.data.standardiser import Standardiser
from klayer.data.stored_rows import Features

__all__ = ["differing", "fingerprint", "standardiser_digest"]

_LENGTH = 8  # bytes of a digest: among a million data sets two agree by chance once in 40 million


def fingerprint(
    tables: Mapping[str, tuple[Features, NDArray[Any]]],
    standardiser: Standardiser,
    weights: Mapping[str, NDArray[Any] | None] | None = None,
) -> dict[str, str]:
    """Digest what training, prediction and report rest on.

    Each row is digested by itself (BLAKE2b), so that the first entry that differs says why: other
    rows, other labels, the same samples split or ordered otherwise, another mean or scale.

    Parameters
    ----------
    tables : mapping of str to (features, labels)
        Of each split, shapes (N, D) and (N,) or (N, K).
    standardiser : Standardiser
    weights : mapping of str to array, shape (N,), or None; optional
        Of each split, where its rows have any.

    Returns
    -------
    dict of str to str
        16 hexadecimal digits for each of

        - ``"features"``: dtype, number of features and all rows, whatever their order and split;
        - ``"labels"``: the label of each of these rows;
        - ``"split"``: which row is where in which split;
        - ``"standardiser"``: mean and scale;
        - ``"weights"``: which row weighs how much, if rows have weights.

    Examples
    --------
    >>> from klayer.data import load
    >>> first, other = (load(f"synthetic:features=2,seed={seed}").fingerprint for seed in (0, 1))
    >>> len(first["features"]), first["features"] == other["features"]
    (16, False)
    """
    dtypes = sorted({features.dtype.str for features, _ in tables.values()})
    parts = {name: row_keys(features) for name, (features, _) in tables.items()}
    keys = np.concatenate(list(parts.values()))
    labels = np.concatenate([labels for _, labels in tables.values()])
    # How rows came to be in this order is the split's business.
    order = np.lexsort((*labels.reshape(len(labels), -1).T, keys))
    weighed = [(name, one) for name, one in (weights or {}).items() if one is not None]
    return {
        "features": _digest(*dtypes, keys[order]),
        "labels": _digest(keys[order], labels[order]),
        "split": _digest(*(one for part in parts.items() for one in part)),
        "standardiser": standardiser_digest(standardiser),
    } | ({"weights": _digest(*(part for one in weighed for part in one))} if weighed else {})


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return which parts of the data differ between two fingerprints, but for mean and scale.

    These follow from the rows of training: a version of klayer that sums them up in another order finds
    others in the last bits.

    Examples
    --------
    >>> differing({"features": "a", "standardiser": "b"}, {"features": "a", "standardiser": "c"})
    []
    """
    return [part for part in then if part != "standardiser" and then[part] != now.get(part)]


def standardiser_digest(standardiser: Standardiser) -> str:
    """Digest mean and scale, as in :func:`fingerprint`."""
    return _digest(standardiser.mean, standardiser.scale)


def row_keys(features: Features) -> NDArray[np.uint64]:
    """Digest each row of an (N, D) array by itself.

    Returns
    -------
    array, shape (N,), uint64

    Examples
    --------
    >>> first, second, third = row_keys(np.array([[1, 2], [3, 4], [1, 2]]))
    >>> bool(first == third), bool(first == second)
    (True, False)
    """
    keys = bytearray()
    for block in row_blocks(*features.shape):
        rows = np.ascontiguousarray(features[block])
        data, length = rows.reshape(-1).view(np.uint8).data, rows.itemsize * rows.shape[1]
        for start in range(0, len(data), length):
            keys += blake2b(data[start : start + length], digest_size=_LENGTH).digest()
    return np.frombuffer(keys, np.dtype("<u8"))


def _digest(*parts: str | NDArray[Any]) -> str:
    state = blake2b(digest_size=_LENGTH)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part.tobytes()
        state.update(b"%d:" % len(data))  # where one part ends and the next begins
        state.update(data)
    return state.hexdigest()
