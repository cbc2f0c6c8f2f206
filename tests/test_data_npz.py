"""Any .npz file: its keys, its labels, its images, its mistakes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from klayer.data import load
from klayer.data.array_files import read_npy
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


@pytest.mark.parametrize("parts", [["train"], ["train", "validation"]])
def test_splits_that_are_not_there_are_not_made_up(tmp_path, parts):
    arrays = {key: value for key, value in splits().items() if key[2:] in parts}
    data = load(save(tmp_path, **arrays))
    assert list(data.splits) == parts
    np.testing.assert_array_equal(data.splits["train"].features, X[:4])


def test_rows_to_validate_are_cut_from_train_where_there_are_rows_to_test_alone(tmp_path):
    arrays = {"X_train": X, "y_train": Y, "X_test": X[:4], "y_test": Y[:4]}
    data = load(save(tmp_path, **arrays))
    train, validation = data.splits["train"].features, data.splits["validation"].features
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 16,
        "validation": 4,
        "test": 4,
    }
    together = np.vstack([train, validation])
    np.testing.assert_array_equal(together[np.argsort(together[:, 0])], X)
    assert data.notes == ("validation: 4 of the 20 training rows, cut by class with seed 0",)


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


def test_truth_values_are_two_classes(tmp_path):
    data = load(save(tmp_path, X=X, y=Y == 1))
    assert data.class_names == ("False", "True")
    assert data.notes == ("the labels False, True became the classes 0 to 1",)


SPELLINGS = {
    "upper case": ("X_TRAIN", "Y_TRAIN", "X_TEST", "Y_TEST"),
    "capitals": ("X_Train", "Y_Train", "X_Test", "Y_Test"),
    "no mark": ("xtrain", "ytrain", "xtest", "ytest"),
    "camel case": ("trainX", "trainY", "testX", "testY"),
    "hyphens": ("x-train", "y-train", "x-test", "y-test"),
    "split first": ("train_x", "train_y", "test_x", "test_y"),
    "images": ("train_images", "train_labels", "test_images", "test_labels"),
    "data": ("train_data", "train_target", "test_data", "test_target"),
    "folders": ("train/features", "train/labels", "test/features", "test/labels"),
    "long words": ("training_inputs", "training_targets", "testing_inputs", "testing_targets"),
    "no names": ("arr_0", "arr_1", "arr_2", "arr_3"),
    "no names, features first": ("arr_0", "arr_2", "arr_1", "arr_3"),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_splits_are_found_in_any_spelling(tmp_path, case):
    arrays = (X, Y, X[:4], Y[:4])
    data = load(save(tmp_path, **dict(zip(SPELLINGS[case], arrays, strict=True))))
    np.testing.assert_array_equal(data.splits["test"].features, X[:4])
    np.testing.assert_array_equal(data.splits["test"].labels, Y[:4])
    assert len(data.splits["train"]) + len(data.splits["validation"]) == 20


@pytest.mark.parametrize("word", ["val", "VAL", "valid", "Valid", "validation", "dev", "Dev"])
def test_the_validation_split_is_found_in_any_spelling(tmp_path, word):
    arrays = {"x_train": X, "y_train": Y, f"x_{word}": X[4:9], f"y_{word}": Y[4:9]}
    data = load(save(tmp_path, **arrays))
    np.testing.assert_array_equal(data.splits["validation"].features, X[4:9])


@pytest.mark.parametrize(
    "keys",
    [
        ("data", "target"),
        ("data", "labels"),
        ("Data", "Target"),
        ("features", "label"),
        ("images", "labels"),
        ("inputs", "targets"),
        ("arr_0", "arr_1"),
        ("arr_1", "arr_0"),
        ("X", "Y"),
    ],
)
def test_one_table_is_found_in_any_spelling(tmp_path, keys):
    data = load(save(tmp_path, **dict(zip(keys, (X, Y), strict=True))))
    assert [len(part) for part in data.splits.values()] == [12, 4, 4]
    assert data.n_features == 4


def test_what_is_not_used_is_said(tmp_path):
    data = load(save(tmp_path, X=X, y=Y, ids=np.arange(20), feature_names=["a", "b", "c", "d"]))
    assert data.notes == ("not used: ids, feature_names",)


LABELS = {
    "column": (Y[:, None], ("0", "1"), None),
    "one-hot": (np.eye(2, dtype=int)[Y], ("0", "1"), "one-hot labels of 2 columns"),
    "one-hot floats": (np.eye(2, dtype=np.float32)[Y], ("0", "1"), "one-hot labels of 2 columns"),
    "whole floats": (Y.astype(float), ("0", "1"), None),
    "signs": (Y * 2 - 1, ("-1", "1"), "the labels -1, 1 became the classes 0 to 1"),
    "from 1": (Y + 1, ("1", "2"), "the labels 1, 2 became the classes 0 to 1"),
    "gaps": (Y * 7, ("0", "7"), "the labels 0, 7 became the classes 0 to 1"),
    "wild": (Y * 10**9, ("0", "1000000000"), "the labels 0, 1000000000 became the classes"),
    "small unsigned": ((Y + 254).astype(np.uint8), ("254", "255"), "the labels 254, 255 became"),
    "big unsigned": (Y.astype(np.uint64), ("0", "1"), None),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_many_forms_become_classes_and_it_is_said(tmp_path, case):
    labels, names, note = LABELS[case]
    arrays = {"X_train": X, "y_train": labels, "X_validation": X, "y_validation": labels}
    data = load(save(tmp_path, **arrays))
    assert data.class_names == names
    np.testing.assert_array_equal(data.splits["train"].labels, Y)
    assert data.notes == () if note is None else data.notes[0].startswith(note)


def test_class_names_name_numbers_that_are_not_indices_in_their_order(tmp_path):
    data = load(save(tmp_path, X=X, y=Y + 1, class_names=["no", "yes"]))
    assert data.class_names == ("no", "yes")
    assert data.notes == ("the labels 1, 2 became the classes 0 to 1, named 'no', 'yes'",)


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((20, 4, 4, 3), (3, 4, 4)),
        ((20, 4, 4, 4), (4, 4, 4)),
        ((20, 5, 4, 4), (4, 5, 4)),
        ((20, 6, 6, 1), (1, 6, 6)),
        ((20, 3, 3, 1), (1, 3, 3)),
        ((20, 3, 8, 8), (3, 8, 8)),
        ((20, 16, 8, 8), (16, 8, 8)),
    ],
)
def test_channels_are_first_or_last(tmp_path, shape, image_shape):
    images = np.arange(np.prod(shape)).reshape(shape)
    data = load(save(tmp_path, X=images, y=Y))
    assert data.image_shape == image_shape
    channels_first = images if shape[1:] == image_shape else images.transpose(0, 3, 1, 2)
    rows = np.vstack([split.features for split in data.splits.values()])
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], channels_first.reshape(20, -1))


def test_an_image_shape_says_where_the_channels_are(tmp_path):
    images = np.zeros((20, 4, 3, 4))
    assert load(save(tmp_path, X=images, y=Y, image_shape=(4, 4, 3))).image_shape == (4, 4, 3)
    assert load(save(tmp_path, X=images, y=Y, image_shape=(4, 3, 4))).image_shape == (4, 3, 4)
    wide = np.zeros((20, 32, 32, 4))
    assert load(save(tmp_path, X=wide, y=Y, image_shape=(32, 32, 4))).image_shape == (4, 32, 32)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 6), (6, 4), (24,)),
        ((4, 6), (24,), (24,)),
        ((24,), (24,), (4, 6)),
        ((3, 2, 4), (4, 2, 3), (24,)),
    ],
)
def test_splits_whose_shapes_disagree_are_refused_not_reshaped(tmp_path, shapes):
    arrays = {}
    for part, shape in zip(("train", "val", "test"), shapes, strict=True):
        arrays |= {f"X_{part}": np.zeros((20, *shape)), f"y_{part}": Y}
    with pytest.raises(KlayerError, match="every split must have samples of one shape"):
        load(save(tmp_path, **arrays))


def test_rows_that_an_image_shape_with_channels_last_would_turn_are_refused(tmp_path):
    path = save(tmp_path, X=np.zeros((20, 192)), y=Y, image_shape=(8, 8, 3))
    with refuses(f"{path}, image_shape: must be (channels, height, width), but got [8, 8, 3]"):
        load(path)


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("klayer.data.array_files._ALWAYS_ALLOWED", 2**16)
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, X=np.zeros((2**10, 2**10)), y=Y)
    with refuses(f"{path}: {path.stat().st_size:,} bytes would become "):
        load(path)


def test_a_header_that_promises_more_than_the_file_holds_takes_no_memory(tmp_path):
    path = tmp_path / "mine.npy"
    np.save(path, X)
    content = path.read_bytes()
    promise = content.replace(b"(20, 4), }   ", b"(2000000, 40)}")[: len(content)]
    assert promise != content
    path.write_bytes(promise)
    with refuses(
        f"{path}: an array of shape (2000000, 40) and dtype float64 must have 640,000,000"
    ):
        read_npy(path)


NAN = X.copy()
NAN[17, 2] = np.nan
KEYS = (
    "`X` and `y`, or `X_train` and `y_train` and, as far as there are any, `X_validation`, "
    "`y_validation`, `X_test` and `y_test`"
)
MISTAKES = {
    "no y": ({"X": X}, f": must hold {KEYS}, but 'y' is missing. Found: X."),
    "other keys": (
        {"pictures": X},
        f": must hold {KEYS}, but 'X', 'y' are missing. Found: pictures.",
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
        ": 'X_validation' must be there once, but is there twice, as 'X_validation' and 'X_val'.",
    ),
    "whole and split": (
        splits(X=X, y=Y),
        f": must hold {KEYS}, but holds both 'X' and 'X_train'.",
    ),
    "objects": (
        {"X": X, "y": np.array([{}] * 20)},
        ", y: must hold arrays of numbers or texts, but holds Python objects, which are never "
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
    "fractions": (
        {"X": X, "y": Y / 2},
        ", y, row 1: a class label must be a whole number, but got 0.5. If they are numbers to be "
        "predicted, the task is regression (--task regression).",
    ),
    "missing labels": (
        {"X": X, "y": np.where(np.arange(20) == 7, np.nan, Y)},
        ", y, row 7: a class label must not be missing or infinite, but got nan",
    ),
    "several labels in a row": (
        {"X": X, "y": np.ones((20, 2), int)},
        ", y, row 0: labels of shape (20, 2) must be one-hot",
    ),
    "complex": ({"X": X, "y": Y * 1j}, ", y: labels must be whole numbers, booleans or texts"),
    "empty text": (
        {"X": X, "y": np.array(["a", "", *["b"] * 18])},
        ", y, row 1: a class label must not be empty",
    ),
    "no labels": (
        {"X": X[:0], "y": Y[:0]},
        ", y: labels must have shape (N,), (N, 1) or, one-hot, (N, K), with",
    ),
    "more than class_names": (
        {"X": X, "y": np.arange(20) % 3, "class_names": ["a", "b"]},
        ", y, row 2: a label must be 0 to 1 (2 classes), but got 2.",
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
        ", y_train: labels must be of one kind in every split, all numbers or all texts, but got ",
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


@pytest.mark.parametrize("parts", [("",), ("_train", "_val", "_test"), ("_train", "_test")])
@pytest.mark.parametrize(
    ("task", "y", "names"),
    [
        ("regression", Y * 1.5 + 0.25, ("target",)),
        ("regression", np.stack([Y * 1.5, -Y], axis=1), ("target_1", "target_2")),
        ("multilabel", np.stack([Y, 1 - Y], axis=1), ("target_1", "target_2")),
        ("multilabel", np.stack([Y > 0, Y >= 0], axis=1), ("target_1", "target_2")),
    ],
)
def test_numbers_and_several_labels_are_learnt_where_the_task_says_so(
    tmp_path, parts, task, y, names
):
    arrays = {f"X{part}": X for part in parts} | {f"y{part}": y for part in parts}
    data = load(save(tmp_path, **arrays), task=task)
    assert (data.task, data.class_names, set(data.splits)) == (
        task,
        names,
        {"train", "validation", "test"},
    )
    for split in data.splits.values():
        rows = (split.features[:, 0] / 4).astype(int)
        np.testing.assert_array_equal(split.labels, y.reshape(20, -1)[rows])


def test_a_target_that_the_task_can_not_have_is_refused_by_file_and_row(tmp_path):
    path = save(tmp_path, X=X, y=np.where(Y > 0, np.nan, 1.5))
    with refuses(f"{path}, X, column 'target', row 1: a value must be there"):
        load(path, task="regression")
    path = save(tmp_path, images=np.zeros((20, 2, 3, 3)), y=Y * 0.5, class_names=np.array(["a"]))
    data = load(path, task="regression")
    assert data.image_shape == (2, 3, 3)
    assert "not used: class_names" in data.notes
