"""Fingerprints: every byte counts, and the first difference says what is different."""

from __future__ import annotations

import re

import numpy as np
import pytest

from klayer.data import Dataset, Split

PARTS = ("features", "labels", "split", "standardiser")
X = np.random.default_rng(0).integers(0, 256, (30, 5), dtype=np.uint8)
Y = np.arange(30) % 3


def made(x=X, y=Y, test=20, **changes):
    splits = {"train": Split(x[:test], y[:test]), "test": Split(x[test:], y[test:])}
    return Dataset("toy", splits, ("a", "b", "c"), **changes).fingerprint


def different(other):
    return [part for part in PARTS if made()[part] != other[part]]


def test_a_fingerprint_is_four_short_texts():
    assert tuple(made()) == PARTS
    assert all(re.fullmatch("[0-9a-f]{16}", text) for text in made().values())
    assert len(set(made().values())) == 4


def test_equal_data_have_equal_fingerprints_wherever_they_come_from():
    assert different(made(np.asfortranarray(X), Y.astype(np.uint8), source="elsewhere")) == []


@pytest.mark.parametrize("row", [0, 19, 20, 29])
@pytest.mark.parametrize("column", [0, 4])
def test_every_feature_counts(row, column):
    x = X.copy()
    x[row, column] ^= 1
    expected = ["features", "labels", "split", "standardiser"]
    assert different(made(x)) == (expected if row < 20 else expected[:-1])


@pytest.mark.parametrize("row", [0, 29])
def test_every_label_counts_and_is_told_from_features(row):
    y = Y.copy()
    y[row] = (y[row] + 1) % 3
    assert different(made(y=y)) == ["labels"]


def test_the_same_samples_split_elsewhere_differ_by_the_split():
    assert different(made(test=21)) == ["split", "standardiser"]


def test_the_order_of_rows_is_part_of_the_split():
    order = np.r_[1, 0, 2:30]
    assert different(made(X[order], Y[order])) == ["split"]


def test_the_name_of_a_split_counts():
    splits = {"train": Split(X[:20], Y[:20]), "validation": Split(X[20:], Y[20:])}
    assert different(Dataset("toy", splits, ("a", "b", "c")).fingerprint) == ["split"]


def test_the_dtype_counts():
    assert "features" in different(made(X.astype(np.float32)))
    assert "features" in different(made(X.view(np.int8)))


def test_rows_are_told_apart_over_all_blocks(monkeypatch):
    expected = made()
    monkeypatch.setattr("klayer.data.row_blocks.BLOCK", 15)  # 3 rows at once
    assert made() == expected


@pytest.mark.parametrize("dtype", [bool, ">f8", "<f2", np.int64])
def test_numbers_of_every_kind_are_digested(dtype):
    x = (X > 100).astype(dtype)
    changed = x.copy()
    changed[29, 4] = not changed[29, 4]
    assert made(x)["features"] != made(changed)["features"]


def test_a_fingerprint_is_taken_once():
    data = Dataset("toy", {"train": Split(X, Y)}, ("a", "b", "c"))
    assert data.fingerprint is data.fingerprint
