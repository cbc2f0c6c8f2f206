"""The stratified split of one table, and the digits that come through it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from klayer.data import load
from klayer.data.splitting import check_seed, split_rows
from klayer.errors import KlayerError

LABELS = np.repeat([0, 1, 2], [100, 20, 3])
ROWS = np.arange(len(LABELS), dtype=float)[:, np.newaxis]
NAMES = ["many", "some", "few"]


def split(seed=0):
    return split_rows("toy", ROWS, LABELS, NAMES, seed=seed)


def test_every_class_keeps_its_share_in_every_split():
    counts = {name: np.bincount(part.labels).tolist() for name, part in split().items()}
    assert counts == {"train": [70, 14, 1], "validation": [15, 3, 1], "test": [15, 3, 1]}


def test_every_row_lands_in_exactly_one_split_beside_its_label():
    parts = split().values()
    rows = np.concatenate([part.features[:, 0] for part in parts]).astype(int)
    labels = np.concatenate([part.labels for part in parts])
    assert sorted(rows) == list(range(len(LABELS)))
    np.testing.assert_array_equal(labels, LABELS[rows])


def test_the_seed_alone_decides_the_split():
    chosen = [split(seed)["test"].features[:, 0].tolist() for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_class_too_small_for_three_splits_is_refused():
    with pytest.raises(
        KlayerError,
        match=re.escape(
            "toy: a class needs at least 3 samples to be split into train, validation and test, "
            "but class 1 ('rare') has 2: add samples, or give the splits yourself."
        ),
    ):
        split_rows("toy", np.ones((8, 1)), np.array([0] * 6 + [1] * 2), ["a", "rare"], seed=0)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", True, None])
def test_a_seed_that_is_no_whole_number_from_0_is_refused(seed):
    message = f"`seed` must be a whole number from 0, but got {seed!r}."
    with pytest.raises(KlayerError, match=re.escape(message)):
        check_seed(seed)


def test_the_digits_are_split_the_same_way_whatever_the_seed():
    from sklearn.datasets import load_digits

    first, other = load("digits"), load("digits", seed=7)
    for name, part in first.splits.items():
        np.testing.assert_array_equal(part.features, other.splits[name].features)
    features = np.concatenate([part.features for part in first.splits.values()])
    assert features.dtype == np.uint8
    assert sorted(map(bytes, features)) == sorted(
        bytes(row) for row in load_digits().data.astype(np.uint8)
    )
    assert first.image_shape == (1, 8, 8)
    assert first.value_range == (0, 16)
