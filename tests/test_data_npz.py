"""Any .npz file: its keys, its labels, its images, its mistakes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from klayer.data import load
from klayer.errors import KlayerError

X = np.arange(80.0).reshape(20, 4)
Y = np.arange(20) % 2


def save(folder, **arrays):
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


def splits(x="X", validation="validation", **changes):
    arrays = {}
    for part in ("train", validation, "test"):
        arrays |= {f"{x}_{part}": X[:4], f"y_{part}": Y[:4]}
    return arrays | changes


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def test_x_and_y_are_split_by_class_and_seed(tmp_path):
    path = save(tmp_path, X=X, y=Y)
    data, other = load(path, seed=1), load(str(path), seed=2)
    assert [len(part) for part in data.splits.values()] == [12, 4, 4]
    assert (data.name, data.source, data.class_names) == ("mine", "mine.npz", ("0", "1"))
    assert not np.array_equal(data.splits["train"].features, other.splits["train"].features)


@pytest.mark.parametrize("x", ["X", "x"])
@pytest.mark.parametrize("validation", ["validation", "val"])
def test_three_splits_stay_as_they_are(tmp_path, x, validation):
    changes = {f"{x}_{validation}": X[4:9], f"y_{validation}": Y[4:9]}
    data = load(save(tmp_path, **splits(x, validation, **changes)))
    np.testing.assert_array_equal(data.splits["validation"].features, X[4:9])
    np.testing.assert_array_equal(data.splits["validation"].labels, Y[4:9])
    np.testing.assert_array_equal(data.splits["train"].features, X[:4])


@pytest.mark.parametrize("parts", [["train"], ["train", "test"], ["train", "validation"]])
def test_splits_that_are_not_there_are_not_made_up(tmp_path, parts):
    arrays = {key: value for key, value in splits().items() if key[2:] in parts}
    data = load(save(tmp_path, **arrays))
    assert list(data.splits) == parts
    np.testing.assert_array_equal(data.splits["train"].features, X[:4])


@pytest.mark.parametrize("dtype", [np.str_, np.bytes_])
def test_texts_become_classes_in_sorted_order(tmp_path, dtype):
    data = load(save(tmp_path, X=X, y=np.array(["owl", "ant"] * 10, dtype)))
    assert data.class_names == ("ant", "owl")
    train = data.splits["train"]
    np.testing.assert_array_equal(train.labels, (train.features[:, 0] % 8 == 0).astype(int))


def test_class_names_set_the_order_of_texts_and_name_numbers(tmp_path):
    texts = load(save(tmp_path, X=X, y=np.array(["b", "a"] * 10), class_names=["b", "a"]))
    numbers = load(save(tmp_path, X=X, y=Y, class_names=["b", "a"]))
    assert texts.class_names == numbers.class_names == ("b", "a")
    np.testing.assert_array_equal(texts.splits["test"].labels, numbers.splits["test"].labels)


def test_truth_values_are_classes_0_and_1(tmp_path):
    assert load(save(tmp_path, X=X, y=Y == 1)).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("shape", "image_shape"), [((20, 2, 2), (1, 2, 2)), ((20, 1, 4, 1), (1, 4, 1))]
)
def test_images_become_rows_and_keep_their_shape(tmp_path, shape, image_shape):
    data = load(save(tmp_path, X=X.reshape(shape), y=Y))
    assert data.image_shape == image_shape
    assert data.n_features == 4


def test_an_image_shape_may_be_given_for_rows(tmp_path):
    assert load(save(tmp_path, X=X, y=Y, image_shape=(1, 4, 1))).image_shape == (1, 4, 1)


NAN = X.copy()
NAN[17, 2] = np.nan
KEYS = (
    "`X` and `y`, or `X_train` and `y_train` and, as far as there are any, `X_validation`, "
    "`y_validation`, `X_test` and `y_test`"
)
MISTAKES = {
    "no y": ({"X": X}, f": must hold {KEYS}, but 'y' is missing. Found: X."),
    "other keys": (
        {"images": X},
        f": must hold {KEYS}, but 'X', 'y' are missing. Found: images.",
    ),
    "no training split": (
        {key: value for key, value in splits().items() if "train" not in key},
        f": must hold {KEYS}, but 'X_train', 'y_train' are missing. Found: X_validation, ",
    ),
    "half a split": (
        {"X_train": X, "y_train": Y, "X_test": X},
        f": must hold {KEYS}, but 'y_test' is missing. Found: X_train, y_train, X_test.",
    ),
    "a key twice": (
        splits(X_val=X[:4]),
        ": 'X_validation' must be there once, but is there twice.",
    ),
    "whole and split": (
        splits(X=X, y=Y),
        f": must hold {KEYS}, but holds both 'X' and 'X_train'.",
    ),
    "objects": (
        {"X": X, "y": np.array([{}] * 20)},
        ": must hold arrays of numbers or texts, but holds Python objects, which are never "
        "unpickled: save the arrays with a plain dtype.",
    ),
    "nan": (
        {"X": NAN, "y": Y},
        ", X, y, row 17, column 2: features must be finite, but got nan",
    ),
    "lengths": (
        {"X": X, "y": Y[:19]},
        ", X, y: there must be one label per row, but got 20 rows and 19 labels.",
    ),
    "transposed": (
        {"X": X.T, "y": Y},
        ", X, y: there must be one label per row, but got 4 rows and 20 labels.",
    ),
    "float labels": (
        {"X": X, "y": Y.astype(float)},
        ", y: labels must be whole numbers or texts of shape (N,), but got shape (20,), dtype "
        "float64: give one class per row.",
    ),
    "one-hot labels": (
        {"X": X, "y": np.eye(2, dtype=int)[Y]},
        ", y: labels must be whole numbers or texts of shape (N,), but got shape (20, 2)",
    ),
    "no labels": ({"X": X[:0], "y": Y[:0]}, ", y: labels must be whole numbers or texts of shape"),
    "negative": (
        {"X": X, "y": Y - 1},
        ", X, y, row 0: a label must be 0 to 1 (2 classes), but got -1.",
    ),
    "wild": (
        {"X": X, "y": np.where(np.arange(20) == 5, 10**9, Y)},
        ": labels must be class indices from 0, but got 1000000000 among 20 rows",
    ),
    "more than class_names": (
        {"X": X, "y": np.arange(20) % 3, "class_names": ["a", "b"]},
        ", X, y, row 2: a label must be 0 to 1 (2 classes), but got 2.",
    ),
    "not in class_names": (
        {"X": X, "y": np.array(["a"] * 19 + ["q"]), "class_names": ["a", "b"]},
        ", y, row 19: a label must be one of class_names, but got 'q'.",
    ),
    "class_names of numbers": (
        {"X": X, "y": Y, "class_names": [1, 2]},
        ", class_names: must be a list of texts, but got shape (2,), dtype int64.",
    ),
    "not UTF-8": (
        {"X": X, "y": np.array([b"\xff"] * 20)},
        ", y: texts must be UTF-8 (",
    ),
    "texts and numbers": (
        splits(y_test=np.array(["a"] * 4)),
        ": labels must all be numbers or all be texts, but got both.",
    ),
    "channels last": (
        {"X": np.zeros((20, 8, 8, 3)), "y": Y},
        ", X: images must have shape (N, channels, height, width), but got (20, 8, 8, 3): use "
        "`X.transpose(0, 3, 1, 2)`.",
    ),
    "image_shape of a wrong form": (
        {"X": X, "y": Y, "image_shape": [2, 2]},
        ", image_shape: must be three whole numbers (channels, height, width), but got [2, 2].",
    ),
    "scalar": ({"X": np.float64(1), "y": Y}, ", X, y: features must have shape (N, D)"),
    "too few to split": (
        {"X": X, "y": (np.arange(20) == 3).astype(int)},
        ": a class needs at least 3 samples to be split into train, validation and test, but class "
        "1 ('1') has 1",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_refused_with_file_key_row_and_rule(tmp_path, case):
    arrays, message = MISTAKES[case]
    path = save(tmp_path, **arrays)
    with refuses(f"{path}{message}"):
        load(path)


def test_an_image_shape_of_another_size_is_refused(tmp_path):
    path = save(tmp_path, X=X, y=Y, image_shape=(1, 2, 3))
    with refuses(
        "data set 'mine' (mine.npz): `image_shape` must be (channels, height, width) with a "
        "product of 4, the number of features, but got (1, 2, 3)."
    ):
        load(path)


def test_a_class_without_training_samples_is_refused(tmp_path):
    path = save(tmp_path, **splits(y_test=np.array([0, 1, 2, 2])))
    with refuses("data set 'mine' (mine.npz), split 'train': every class must have a sample"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive at all"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with refuses(f"{path}: must be a .npz file, but is damaged or another kind."):
        load(path)


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, X=X, y=Y)
    content = bytearray(path.read_bytes())
    content[150] ^= 0xFF
    path.write_bytes(content)
    with refuses(f"{path}: not a readable .npz file ("):
        load(path)


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with refuses(f"{tmp_path / 'gone.npz'}: no such file."):
        load(tmp_path / "gone.npz")
