"""`Dataset` and `Split`: what they promise and what they refuse."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from klayer.data import Dataset, Split
from klayer.errors import KlayerError


def make(train=None, *, class_names=("a", "b"), **changes):
    """A good data set of 2 classes and 4 features, apart from what the test changes."""
    rows = Split(np.arange(24.0).reshape(6, 4), np.array([0, 1, 0, 1, 0, 1]))
    splits = {"train": rows if train is None else train, "validation": rows, "test": rows}
    return Dataset("toy", splits, class_names, **changes)


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def test_a_data_set_knows_its_sizes():
    data = make(image_shape=(1, 2, 2))
    assert (data.n_features, data.n_classes, len(data.splits["test"])) == (4, 2, 6)
    assert list(data.splits) == ["train", "validation", "test"]
    assert data.value_range == (0.0, 23.0)


def test_labels_become_int64_and_byte_features_stay_bytes():
    split = Split(np.zeros((2, 3), np.uint8), np.array([0, 1], np.uint8))
    assert split.features.dtype == np.uint8
    assert split.labels.dtype == np.int64


def test_a_data_set_survives_pickling_for_other_processes():
    copy = pickle.loads(pickle.dumps(make()))
    np.testing.assert_array_equal(copy.standardised("test"), make().standardised("test"))


def test_all_splits_are_standardised_by_the_training_split_alone():
    train = Split(np.array([[0.0], [2.0]]), np.array([0, 1]))
    test = Split(np.array([[5.0], [101.0]]), np.array([0, 1]))
    data = Dataset("toy", {"train": train, "validation": test, "test": test}, ("a", "b"))
    np.testing.assert_array_equal(data.standardised("test"), [[4.0], [100.0]])
    assert data.standardiser is data.standardiser


def test_standardised_features_are_c_contiguous_of_the_dtype_asked_for():
    data = make(Split(np.asfortranarray(np.arange(8).reshape(2, 4)), np.array([0, 1])))
    assert data.standardised("train").dtype == np.float32
    for dtype in (np.float32, np.float64, np.complex128):
        result = data.standardised("train", dtype)
        assert result.dtype == dtype
        assert result.flags.c_contiguous


def test_an_unknown_split_is_refused_with_a_hint():
    with refuses("unknown split 'tests': did you mean 'test'? Known: train, validation, test."):
        make().standardised("tests")


@pytest.mark.parametrize("parts", [["train"], ["train", "test"], ["train", "validation"]])
def test_validation_and_test_may_be_missing_and_asking_names_those_there_are(parts):
    rows = make().splits["train"]
    data = Dataset("toy", dict.fromkeys(reversed(parts), rows), ("a", "b"))
    assert list(data.splits) == parts
    missing = "test" if parts[-1] != "test" else "validation"
    message = (
        f"data set 'toy': there is no split {missing!r}, only {', '.join(parts)}: name one of "
        "these, or add it to the data."
    )
    for one in (data, pickle.loads(pickle.dumps(data))):
        assert missing not in one.splits
        with refuses(message):
            one.splits[missing]
        with refuses(message):
            one.standardised(missing)


def test_rows_on_disk_stay_there(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).integers(0, 256, (50, 4), np.uint8))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    data = make(Split(rows, np.arange(50) % 2))
    assert np.shares_memory(data.splits["train"].features, rows)
    in_memory = make(Split(np.array(rows), np.arange(50) % 2))
    assert data.fingerprint == in_memory.fingerprint
    np.testing.assert_array_equal(data.standardised("train"), in_memory.standardised("train"))


# what a Dataset refuses


def test_a_data_set_without_training_rows_is_refused():
    with refuses(
        "data set 'x': the splits must be train and, if there are any, validation and test, but "
        "got test."
    ):
        Dataset("x", {"test": make().splits["train"]}, ("a", "b"))


def test_splits_of_other_names_are_refused():
    rows = make().splits["train"]
    with refuses(
        "data set 'x': the splits must be train and, if there are any, validation and test, but "
        "got train, dev."
    ):
        Dataset("x", {"train": rows, "dev": rows}, ("a", "b"))


@pytest.mark.parametrize("names", [("a",), ("a", "a")])
def test_fewer_than_two_different_classes_are_refused(names):
    with refuses("data set 'toy': there must be at least two classes with different names"):
        make(class_names=names)


def test_ragged_rows_are_refused():
    with refuses("`features` must be an array with equal rows"):
        Split([[1, 2], [3]], [0, 1])


BAD_ROWS = {
    "vector": (
        [1.0, 2.0],
        [0, 1],
        ": features must have shape (N, D) with at least one row and one column, but got (2,): "
        "pass samples as rows.",
    ),
    "no rows": (np.zeros((0, 4)), [], ": features must have shape (N, D) with at least one row"),
    "complex": (
        np.ones((2, 4), complex),
        [0, 1],
        ": features must be real numbers, but got dtype complex128",
    ),
    "texts": ([["a"], ["b"]], [0, 1], ": features must be real numbers, but got dtype <U1"),
    "lengths": (
        np.ones((2, 4)),
        [0, 1, 0],
        ": there must be one label per row, but got 2 rows and 3 labels.",
    ),
    "float labels": (
        np.ones((2, 4)),
        [0.0, 1.0],
        ": labels must be whole numbers of shape (N,), but got shape (2,), dtype float64",
    ),
    "one-hot labels": (
        np.ones((2, 4)),
        [[1, 0], [0, 1]],
        ": labels must be whole numbers of shape (N,), but got shape (2, 2), dtype int64",
    ),
    "label too high": (
        np.ones((3, 4)),
        [0, 1, 2],
        ", row 2: a label must be 0 to 1 (2 classes), but got 2.",
    ),
    "label below 0": (
        np.ones((2, 4)),
        [-1, 1],
        ", row 0: a label must be 0 to 1 (2 classes), but got -1.",
    ),
    "nan": (
        [[0, 0, 0, 0], [0, 0, np.nan, 0]],
        [0, 1],
        ", row 1, column 2: features must be finite, but got nan: remove the row or fill the gap.",
    ),
    "inf": (
        [[0, 0, 0, -np.inf], [0, 0, 0, 0]],
        [0, 1],
        ", row 0, column 3: features must be finite, but got -inf",
    ),
    "empty class": (
        np.ones((2, 4)),
        [0, 0],
        ": every class must have a sample, but class 1 ('b') has none",
    ),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_wrong_rows_are_refused_with_source_split_row_and_rule(case):
    features, labels, message = BAD_ROWS[case]
    with refuses(f"data set 'toy' (toy.bin), split 'train'{message}"):
        make(Split(features, labels), source="toy.bin")


def test_the_row_of_a_value_that_is_not_finite_is_counted_over_all_blocks(monkeypatch):
    monkeypatch.setattr("klayer.data.row_blocks.BLOCK", 8)
    features = np.zeros((9, 4))
    features[7, 1] = np.nan
    with refuses("data set 'toy', split 'train', row 7, column 1: features must be finite"):
        make(Split(features, np.arange(9) % 2))


def test_a_class_may_be_missing_outside_the_training_split():
    rows = Split(np.eye(2), np.array([0, 1]))
    only_a = Split(np.eye(2), np.array([0, 0]))
    data = Dataset("toy", {"train": rows, "validation": only_a, "test": only_a}, ("a", "b"))
    assert data.n_classes == 2


def test_splits_of_different_width_are_refused():
    rows, narrow = Split(np.eye(2), np.array([0, 1])), Split(np.ones((2, 1)), np.array([0, 1]))
    message = "every split must have as many features as 'train', 2, but got 1."
    with refuses(f"data set 'x', split 'test': {message}"):
        Dataset("x", {"train": rows, "validation": rows, "test": narrow}, ("a", "b"))


@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 2), (4, 1, 0)])
def test_an_image_shape_of_another_size_is_refused(shape):
    with refuses(
        "data set 'toy': `image_shape` must be (channels, height, width) with a product of 4, the "
        f"number of features, but got {shape}."
    ):
        make(image_shape=shape)


def test_importing_the_package_imports_no_heavy_library():
    heavy = "PIL pooch requests sklearn scipy rich typer"
    code = f"import sys, klayer.data; print(*(set(sys.modules) & set({heavy.split()})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
