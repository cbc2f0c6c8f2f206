"""Tables become data sets: columns, targets, splits; frames of every library; arrays."""

from __future__ import annotations

import datetime
import decimal
import json
import re

import numpy as np
import pytest
import scipy.sparse

from klayer.data import Dataset, Encoder, from_arrays, load
from klayer.data.redraw import redrawn
from klayer.data.tables.table import DataTable
from klayer.errors import KlayerError

pl = pytest.importorskip("polars")
pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


ROWS = 60
DAY = datetime.date(2020, 1, 1)


def columns():
    """A table with a column of every kind."""
    rng = np.random.default_rng(5)
    return {
        "size": rng.normal(size=ROWS),
        "rooms": rng.integers(1, 9, ROWS),
        "town": [("Ur", "Uruk", "Kish")[i % 3] for i in range(ROWS)],
        "garden": [i % 4 == 0 for i in range(ROWS)],
        "built": [DAY + datetime.timedelta(days=3 * i) for i in range(ROWS)],
        "price": rng.normal(size=ROWS),
    }


FRAMES = {
    "polars": pl.DataFrame,
    "polars, lazy": lambda one: pl.DataFrame(one).lazy(),
    "pyarrow": pa.table,
    "pandas": lambda one: pd.DataFrame(one).assign(built=lambda x: pd.to_datetime(x["built"])),
    "pandas, objects": lambda one: pd.DataFrame(one).astype(object),
    "pandas, its own kinds": lambda one: pd.DataFrame(one).convert_dtypes(),
    "pandas over pyarrow": lambda one: pa.table(one).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, categories": lambda one: pd.DataFrame(one).astype({"town": "category"}),
    "polars, categories": lambda one: pl.DataFrame(one).cast({"town": pl.Categorical}),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_is_the_same_data_whatever_library_it_comes_from(kind):
    first = load(FRAMES["polars"](columns()), target="price")
    data = load(FRAMES[kind](columns()), target="price")
    assert data.encoder.feature_names == first.encoder.feature_names
    assert data.encoder.feature_names[:6] == (
        "size",
        "rooms",
        "town=Kish",
        "town=Ur",
        "town=Uruk",
        "garden",
    )
    assert data.fingerprint == first.fingerprint


def test_a_frame_and_the_file_that_it_is_written_to_are_the_same_data(tmp_path):
    frame = pl.DataFrame(columns())
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    digests = [
        load(one, target="price").fingerprint
        for one in (frame, tmp_path / "t.csv", tmp_path / "t.parquet")
    ]
    assert digests[0] == digests[1] == digests[2]


# columns become features


def encoded(column, new=None, **how):
    """Fit on a column, and encode it or another one."""
    table = DataTable("t", {"x": np.asarray(column, dtype=how.pop("dtype", None))})
    encoder = Encoder.fit(table, ["x"], np.arange(len(table)), **how)
    again = Encoder.from_plain(json.loads(json.dumps(encoder.as_plain())))
    assert again == encoder
    other = DataTable("new", {"x": np.asarray(column if new is None else new)})
    return encoder, again.transform(other)


def test_numbers_stay_and_booleans_are_0_and_1():
    assert encoded([1.5, -2.0])[1].tolist() == [[1.5], [-2.0]]
    assert encoded([True, False])[1].tolist() == [[1], [0]]
    assert encoded([True, False], [0, 1, 1])[1].tolist() == [[0], [1], [1]]


def test_a_category_is_one_hot_and_an_unseen_level_is_none_of_them():
    encoder, rows = encoded(["b", "a", "b"], ["a", "c", "b"])
    assert encoder.feature_names == ("x=a", "x=b")
    assert rows.tolist() == [[1, 0], [0, 0], [0, 1]]


def test_the_rarest_levels_share_a_column_with_unseen_ones():
    encoder, rows = encoded(list("aabbcd"), list("adz"), max_levels=2)
    assert encoder.feature_names == ("x=a", "x=b", "x: other")
    assert rows.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]


def test_numbers_may_be_names():
    encoder, rows = encoded([10, 2, 10], np.array([2.0, 7.0, 10.0]), category=["x"])
    assert encoder.feature_names == ("x=2", "x=10")
    assert rows.tolist() == [[1, 0], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["7", "12", "a"], ["7.0", "12.0", "a"]),
        (["007", "12", "a"], ["7", "12", "a"]),
        (["True", "False", "?!"], ["true", "FALSE", "?!"]),
        (["7.50", "1e3", "x"], ["7.5", "1000", "x"]),
    ],
)
def test_levels_are_known_again_as_another_format_writes_them(old, new):
    assert encoded(old, new)[1].tolist() == encoded(old)[1].tolist()


def test_levels_that_are_written_apart_stay_apart():
    _, rows = encoded(["7", "007"], ["7", "007", "7.0"], category=["x"])
    assert rows.tolist() == [[0, 1], [1, 0], [0, 1]]  # 7.0 is 7, not 007


def test_a_date_is_days_and_cycles():
    days = np.array(["2020-03-01", "2020-03-02"], "datetime64[D]")
    encoder, rows = encoded(days, np.array(["2020-03-08"], "datetime64[D]"))
    assert encoder.feature_names[0] == "x: days"
    assert len(encoder.feature_names) == 5
    assert rows[0, 0] == 7
    week = 2 * np.pi * (18_329 % 7) / 7  # days from 1970-01-01 to 2020-03-08, by hand
    np.testing.assert_allclose(rows[0, 3:], [np.sin(week), np.cos(week)], atol=1e-9)
    clock = np.array(["2020-03-01T06:00", "2020-03-02T12:00"], "datetime64[m]")
    encoder, rows = encoded(clock)
    assert encoder.feature_names[-1] == "x: day cos"
    np.testing.assert_allclose(rows[0, -2:], [1, 0], atol=1e-9)


GAPS = {
    "numbers": ([1.0, np.nan, 4.0, 1.0], [[1, 0], [2, 1], [4, 0], [1, 0]]),
    "booleans": ([True, None, False, False], [[1, 0], [1 / 3, 1], [0, 0], [0, 0]]),
    "category": (["a", None, "b", " "], [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]]),
}


@pytest.mark.parametrize("kind", GAPS)
def test_gaps_are_refused_or_filled_with_the_mean_and_marked(kind):
    values, wanted = GAPS[kind]
    with refuses("t, column 'x', row 1: a value must be there, but"):
        encoded(values)
    encoder, rows = encoded(values, missing="mean")
    np.testing.assert_allclose(rows, wanted)
    assert encoder.feature_names[-1] == "x: missing"


def test_what_is_put_into_gaps_is_decided_in_training_alone():
    table = DataTable(
        "t", {"x": np.array([1.0, 3.0, np.nan, 100.0]), "z": np.array([1, 2, np.nan, 4])}
    )
    encoder = Encoder.fit(table, ["x", "z"], np.array([0, 1]), missing="mean")
    assert encoder.feature_names == ("x", "z")  # training has no gaps to be marked
    assert encoder.transform(table).tolist() == [[1, 1], [3, 2], [2, 1.5], [100, 4]]


def test_a_gap_that_training_did_not_allow_is_refused_in_prediction():
    with refuses(
        "new, column 'x', row 1: a value must be there, but 1 of 2 are missing: fill the gaps"
    ):
        encoded([1.0, 2.0], [1.0, np.nan])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ([1.0, 2.0], ["3", "x"], "row 1: must be a number as in training, but got 'x'"),
        ([True, False], [1, 2], "row 1: must be true or false as in training, but got '2'"),
        (
            [True, False],
            ["true", "maybe"],
            "row 1: must be true or false as in training, but got 'maybe'",
        ),
        (
            np.array(["2020-01-01"], "M8[D]"),
            ["2020-01-02", "soon"],
            "row 1: must be a date such as",
        ),
        (np.array(["2020-01-01"], "M8[D]"), [3.5], "row 0: must be a date such as 2026-11-26"),
        ([1.0, 2.0], [1.0, np.inf], "row 1: must be finite, but got inf"),
    ],
)
def test_a_value_of_another_kind_is_named(old, new, message):
    with refuses(f"new, column 'x', {message}"):
        encoded(old, new)


def test_texts_that_say_numbers_dates_or_booleans_are_taken_as_such():
    assert encoded([1.0, 2.0], ["3", "4.5"])[1].tolist() == [[3], [4.5]]
    assert encoded([True, False], ["true", "False", "1"])[1].tolist() == [[1], [0], [1]]
    dates = np.array(["2020-01-01"], "M8[D]")
    assert encoded(dates, ["2020-01-05"])[1][0, 0] == 4


def test_columns_go_by_name_in_any_order_and_others_may_be_there():
    data = load(pl.DataFrame(columns()), target="price")
    frame = pl.DataFrame(columns()).select(
        "town", "built", "size", "garden", "rooms", more=pl.lit(1)
    )
    table = DataTable("new", {name: frame[name].to_numpy() for name in frame.columns})
    rows = data.encoder.transform(table)
    assert rows.shape == (ROWS, data.n_features)
    short = DataTable("new", {"sise": np.zeros(2), "rooms": np.zeros(2)})
    with refuses(
        "new: the columns of training must be there, but 'size' and 3 more are missing: did you "
        "mean 'sise'?"
    ):
        data.encoder.transform(short)


@pytest.mark.parametrize(
    "damage",
    [
        [{"name": "x"}],
        [{"name": "x", "kind": "colour"}],
        [{"name": 3, "kind": "number"}],
        [{"name": "x", "kind": "number", "fill": "a"}],
        [{"name": "x", "kind": "number", "colour": 1}],
        ["x"],
    ],
)
def test_a_damaged_encoder_is_refused(damage):
    with refuses("the columns of a model are damaged ("):
        Encoder.from_plain(damage)


# what is left out


def notes(frame, **said):
    return load(pl.DataFrame(frame), target="price", **said).notes


def test_texts_that_name_rows_and_empty_columns_are_left_out_and_that_is_said():
    frame = {**columns(), "id": [f"k{i}" for i in range(ROWS)], "none": [None] * ROWS}
    said = notes(frame)
    assert any(note.startswith("left out: 'id', 42 different texts in 42 rows") for note in said)
    assert "left out: 'none', which has no value in training" in said
    kept = load(pl.DataFrame(frame), target="price", category="id")
    assert "id: other" in kept.encoder.feature_names


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_an_index_that_a_frame_was_saved_with_is_left_out(name):
    frame = pd.DataFrame({name: range(ROWS), **columns()})
    data = load(frame, target="price")
    assert data.n_features == load(pl.DataFrame(columns()), target="price").n_features
    assert f"left out: {name!r}, which only counts the rows" in data.notes


def test_columns_can_be_left_out_by_name_or_position():
    data = load(pl.DataFrame(columns()), target="price", drop=["town", 5])
    assert data.encoder.columns == ("size", "rooms", "garden")
    with refuses(
        "X: `drop` must be a column, but there is no 'tow': did you mean 'town'? Columns: 'size',"
    ):
        load(pl.DataFrame(columns()), target="price", drop="tow")
    with refuses("X: the target 'price' can't be left out."):
        load(pl.DataFrame(columns()), target="price", drop="price")
    with refuses("X: there must be a column of features, but none is left"):
        load(pl.DataFrame({"price": [1.5, 2.5] * 10}), target="price")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 255], np.uint8),
        ([-1, 1], np.float32),
        ([0, 2**24], np.float32),
        ([2**24 + 1, 0], np.float32),
        ([2020.25, 2020.5], np.float64),
        ([1e39, 0.0], np.float64),
        ([1e-40, 0.0], np.float64),
        ([0.5, 1e-12], np.float32),
    ],
)
def test_features_are_as_narrow_as_does_no_harm(values, dtype):
    frame = pl.DataFrame({"x": values * 20, "y": ["a", "b"] * 20})
    assert load(frame, target="y").splits["train"].features.dtype == dtype


# targets and tasks

TASKS = {
    "texts": (["no", "yes"] * 15, "classification", ("no", "yes")),
    "booleans": ([True, False] * 15, "classification", ("False", "True")),
    "few whole numbers": ([3, 1, 10] * 10, "classification", ("1", "3", "10")),
    "few whole floats": ([3.0, -1.0] * 15, "classification", ("-1", "3")),
    "fractions": ([0.5, 1.5] * 15, "regression", ("y",)),
    "many whole numbers": (list(range(30)), "regression", ("y",)),
    "whole numbers of few rows": (list(range(10)) * 3, "regression", ("y",)),
    "decimals": ([decimal.Decimal("1.5"), decimal.Decimal(2)] * 15, "regression", ("y",)),
}


@pytest.mark.parametrize("case", TASKS)
def test_the_task_follows_from_the_target_and_is_said(case):
    values, task, names = TASKS[case]
    data = load(pd.DataFrame({"x": np.arange(30) % 7, "y": values}), target="y")
    assert (data.task, data.class_names) == (task, names)
    assert data.notes[0].startswith(f"{task} of 'y': ")


def test_the_task_can_be_said():
    frame = pl.DataFrame({"x": range(60), "y": [1, 2, 3] * 20, "z": [0, 1] * 30})
    assert load(frame, target="y", task="regression").splits["train"].labels.shape[1] == 1
    assert load(frame, target=["y", "z"]).task == "regression"
    labels = load(frame.with_columns(y=pl.col("y") > 1), target=["y", "z"])
    assert (labels.task, labels.class_names) == ("multilabel", ("y", "z"))
    assert labels.splits["train"].labels.dtype == np.uint8
    with refuses("unknown task 'clasification': did you mean 'classification'?"):
        load(frame, target="y", task="clasification")


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (
            ["a", None],
            None,
            "row 1: a value must be there, but 15 of 30 are missing: what is to be",
        ),
        ([1.5, np.nan], None, "row 1: a value must be there, but 15 of 30 are missing"),
        ([1.5, np.inf], None, "row 1: a target must be finite, but got inf"),
        ([1.5, -2e154], None, "row 1: a target must lie from -1e+150 to 1e+150, but got -2e+154"),
        (
            [1.5, 1.0],
            "classification",
            "row 0: a class must be a whole number or a text, but got 1.5",
        ),
        (["a", "b"], "regression", "row 0: a regression must have numbers, but got 'a'"),
        (["2020-01-01", "2020-01-02"], None, None),
        (["a", "a"], None, None),
    ],
)
def test_a_target_that_a_task_can_not_have_is_refused(values, task, message):
    frame = pd.DataFrame({"x": np.arange(30) % 7, "y": values * 15})
    with refuses(f"X, column 'y', {message}" if message else "X, column 'y': "):
        load(frame, target="y", task=task)


def test_a_target_that_nobody_named_is_asked_for_or_known_by_its_name():
    frame = pl.DataFrame({"x": range(30), "Label": ["a", "b"] * 15})
    assert "target: 'Label', by its name" in load(frame).notes
    with refuses("X: the column to predict must be named: --target COLUMN"):
        load(frame.with_columns(y=1))
    assert load(frame, target="-1").class_names == ("a", "b")
    assert load(frame, target=2).class_names == ("a", "b")
    with refuses("X: `target` must be a column, but there is no 'lable': did you mean 'Label'?"):
        load(frame, target="lable")


# splits


def split_frame():
    rng = np.random.default_rng(2)
    part = ["train"] * 40 + ["val"] * 12 + ["Test"] * 8
    return pl.DataFrame(
        {
            "x": np.arange(ROWS),
            "who": rng.integers(0, 12, ROWS),
            "when": [f"2020-{1 + i // 20:02d}-{1 + i % 20:02d}" for i in rng.permutation(ROWS)],
            "part": part,
            "y": ["a", "b"] * 30,
        }
    )


def members(data):
    """The rows of each split, by the column x that counts them."""
    return {name: part.features[:, 0].astype(int) for name, part in data.splits.items()}


def test_rows_are_cut_class_by_class_and_by_the_seed():
    data = load(split_frame(), target="y", drop=["part", "when"])
    rows = members(data)
    assert {name: len(one) for name, one in rows.items()} == {
        "train": 44,
        "validation": 8,
        "test": 8,
    }
    for part in data.splits.values():
        assert np.bincount(part.labels).tolist() == [len(part) // 2] * 2
    assert sorted(np.concatenate(list(rows.values()))) == list(range(ROWS))
    other = members(load(split_frame(), target="y", drop=["part", "when"], seed=1))
    assert rows["test"].tolist() != other["test"].tolist()


def test_a_class_of_few_rows_trains_only_and_that_is_said():
    frame = pl.DataFrame({"x": range(42), "y": ["a", "b"] * 20 + ["c", "c"]})
    data = load(frame, target="y")
    assert np.bincount(data.splits["train"].labels)[2] == 2
    assert "a class of 2 rows or fewer only trains" in " ".join(data.notes)


def test_groups_stay_together():
    frame = split_frame()
    rows = members(load(frame, target="y", group_by="who", drop=["part", "when"]))
    groups = [set(frame["who"].to_numpy()[one]) for one in rows.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert all(5 <= len(rows[name]) <= 18 for name in ("validation", "test"))
    with refuses(
        "X, column 'y': there must be at least 3 groups to be cut into train, validation, test"
    ):
        load(frame.with_columns(z=pl.col("x") % 2), target="z", group_by="y", drop="part")


def test_the_latest_rows_test():
    frame = split_frame()
    rows = members(load(frame, target="y", time="when", drop="part"))
    when = frame["when"].to_numpy()
    assert max(when[rows["train"]]) < min(when[rows["validation"]])
    assert max(when[rows["validation"]]) < min(when[rows["test"]])
    assert len(rows["test"]) == 9
    with refuses(
        "X, column 'part', row 0: a time must be a number or a date such as 2026-11-26, but"
    ):
        load(frame, target="y", time="part")


@pytest.mark.parametrize("rows", [(3, 1, 1), (10,) * 6, (1, 1, 50), (50, 1, 1), (2, 30, 2, 30)])
def test_times_that_rows_share_are_not_torn_and_fill_every_part(rows):
    when = np.repeat(np.arange(len(rows)) + 2000, rows)
    frame = pl.DataFrame({"when": when, "x": np.arange(len(when)), "y": 0.5 * np.arange(len(when))})
    parts = members(load(frame, target="y", time="when"))
    times = [set(when[parts[name]]) for name in ("train", "validation", "test")]
    assert all(times)
    assert max(times[0]) < min(times[1])
    assert max(times[1]) < min(times[2])


def test_a_target_of_texts_that_are_all_different_is_no_split_gone_empty():
    frame = pl.DataFrame({"x": np.arange(12), "y": [f"${i}.50" for i in range(12)]})
    with refuses(
        "X, a class must have at least 3 rows to be cut into train, validation, test, but none of the "
        "12 classes has: amounts are --task regression"
    ):
        load(frame, target="y")


def test_a_column_that_is_left_out_shows_what_is_in_it():
    frame = pl.DataFrame({"paid": [f"{i + 1} %" for i in range(40)], "x": np.arange(40)})
    data = load(frame.with_columns(y=0.5 * pl.col("x")), target="y", split="none")
    assert "left out: 'paid', 40 different texts in 40 rows, such as '1 %': more than" in " ".join(
        data.notes
    )


@pytest.mark.parametrize("wrong", ["2020-02-30", "01/02/2020", "soon", "2020-13-01", "20-01-02"])
def test_a_column_of_dates_with_a_mistake_is_refused_like_one_of_numbers(wrong):
    dates = [f"2020-01-{1 + i % 28:02}" for i in range(60)]
    dates[7] = wrong
    frame = pl.DataFrame({"d": dates, "x": np.arange(60), "y": 0.5 * np.arange(60)})
    with refuses(
        f"X, column 'd', row 7: must be a date like 98.3% of the column, but got '{wrong}'"
    ):
        load(frame, target="y")
    load(frame, target="y", category="d")


@pytest.mark.parametrize("moment", ["0001-01-01T00:{:02}:00+05:00", "9999-12-31T23:{:02}:00-05:00"])
def test_moments_beyond_the_calendar_are_texts(moment):
    frame = pl.DataFrame({"d": [moment.format(i) for i in range(60)], "x": np.arange(60)})
    data = load(frame.with_columns(y=0.5 * pl.col("x")), target="y")
    assert "left out: 'd', 42 different texts" in " ".join(data.notes)


def test_a_number_far_away_is_named_by_the_file_that_holds_it(tmp_path):
    frame = pl.DataFrame({"x": np.arange(20.0), "y": np.arange(20) % 2})
    frame.write_csv(tmp_path / "a.csv")
    far = pl.when(pl.col("x") == 9).then(1e39).otherwise(pl.col("x")).alias("x")
    frame.with_columns(far).write_csv(tmp_path / "b.csv")
    with refuses(
        f"{tmp_path / 'a.csv'}, column 'x', {tmp_path / 'b.csv'}, line 11: must be near enough"
    ):
        load(tmp_path / "a.csv", target="y", test_data=tmp_path / "b.csv")


@pytest.mark.parametrize("weight", [1e308, 1e30, 1e-30, 1e-308])
def test_weights_beyond_what_can_be_calculated_with_are_refused(weight):
    x = np.arange(40.0)
    frame = pl.DataFrame({"x": x, "y": x % 2, "w": np.full(40, weight)})
    with refuses(
        f"data set 'table' (polars.DataFrame, given in Python), split 'train', row 0: the largest "
        f"weight must be from 1e-15 to 1e+15, but is {weight:g}: divide all by one number."
    ):
        load(frame, target="y", weights="w")
    small = frame.with_columns(w=pl.when(pl.col("x") % 3 == 0).then(1e-200).otherwise(1.0))
    load(small, target="y", weights="w")  # beside others they count nothing


@pytest.mark.parametrize(
    ("mixed", "odd"),
    [
        ([1, "a"], "'a'"),
        ([True, "a"], "'a'"),
        (["a", 2.5], "2.5"),
        (["1", 1], "1"),
        (("a", 0), "0"),
    ],
)
def test_lists_of_mixed_kinds_are_refused_with_the_row(mixed, odd):
    X = np.arange(40.0).reshape(20, 2)
    one_kind = f"row 1: a column must hold values of one kind, but this one is {odd} among "
    with refuses(f"X, column 'target', {one_kind}"):
        from_arrays(X, type(mixed)(mixed * 10))
    with refuses(f"X, column 'column_1', {one_kind}"):
        from_arrays([[value, 1.5] for value in mixed * 10], [0, 1] * 10)
    data = from_arrays([["a", 1], ["b", 2]] * 10, ["u", "v"] * 10, split="none")
    assert data.encoder.feature_names == ("column_1=a", "column_1=b", "column_2")


def test_several_labels_may_be_sparse():
    labels = np.stack([np.arange(40) % 2, np.arange(40) % 3 == 0], axis=1).astype(int)
    data = from_arrays(np.arange(80.0).reshape(40, 2), scipy.sparse.csr_array(labels), split="none")
    np.testing.assert_array_equal(data.splits["train"].labels, labels)
    assert data.task == "multilabel"


def test_a_column_says_the_splits_in_any_spelling():
    rows = members(load(split_frame(), target="y", split="part", drop="when"))
    assert {name: len(one) for name, one in rows.items()} == {
        "train": 40,
        "validation": 12,
        "test": 8,
    }
    two = split_frame().with_columns(part=pl.col("part").replace("val", "TRAINING"))
    data = load(two, target="y", split="part", drop="when")
    assert {name: len(one) for name, one in data.splits.items()} == {
        "train": 44,
        "validation": 8,
        "test": 8,
    }
    assert any("of those to train 15 %" in note for note in data.notes)
    with refuses("X, column 'part', row 40: unknown split 'validaton': did you mean 'validation'?"):
        load(
            split_frame().with_columns(part=pl.col("part").replace("val", "validaton")),
            target="y",
            split="part",
        )


def test_all_rows_may_train():
    data = load(split_frame(), target="y", split="none", drop=["part", "when"])
    assert {name: len(one) for name, one in data.splits.items()} == {"train": ROWS}
    with refuses("one column decides about the splits, but got `group_by` and `time`"):
        load(split_frame(), target="y", group_by="who", time="when")
    with refuses("X: a column has one use, but 'y' is target and time."):
        load(split_frame(), target="y", time="y")


def test_splits_may_be_files_or_a_folder_of_files(tmp_path):
    frame = split_frame().drop("part", "when")
    frame[:40].write_csv(tmp_path / "train.csv")
    frame[40:].write_csv(tmp_path / "Test.csv")
    two = load(tmp_path / "train.csv", target="y", test_data=tmp_path / "Test.csv")
    assert {name: len(one) for name, one in two.splits.items()} == {
        "train": 34,
        "validation": 6,
        "test": 20,
    }
    assert load(tmp_path, target="y").fingerprint == two.fingerprint
    frame[50:].write_parquet(tmp_path / "dev.parquet")
    three = load(tmp_path, target="y")
    assert {name: len(one) for name, one in three.splits.items()} == {
        "train": 40,
        "validation": 10,
        "test": 20,
    }
    assert load(
        tmp_path / "train.csv", target="y", test_data=tmp_path / "Test.csv", split="none"
    ).splits.keys() == {
        "train",
        "test",
    }
    frame[50:].rename({"who": "whom"}).write_csv(tmp_path / "Test.csv")
    with refuses(
        f"{tmp_path / 'Test.csv'}: what train has must be a column, but there is no 'who': did you"
    ):
        load(tmp_path, target="y")


def test_a_class_that_only_a_test_file_has_is_refused(tmp_path):
    pl.DataFrame({"x": range(20), "y": ["a", "b"] * 10}).write_csv(tmp_path / "train.csv")
    pl.DataFrame({"x": range(4), "y": ["a", "c"] * 2}).write_csv(tmp_path / "test.csv")
    with pytest.raises(KlayerError, match="every class must have a sample, but class 2"):
        load(tmp_path, target="y")


def test_options_that_a_source_does_not_heed_are_refused():
    with refuses("digits takes none of these options, but got target='y': leave it out."):
        load("digits", target="y")
    with refuses("unknown option of the data 'tagret': did you mean 'target'?"):
        load(split_frame(), tagret="y")
    with refuses("`max_levels` must be a whole number >= 1, but got 0."):
        load(split_frame(), target="y", max_levels=0)
    with refuses("`max_levels` must be a whole number >= 1, but got True."):
        load(split_frame(), target="y", max_levels=True)


# arrays


def test_arrays_are_the_same_data_as_the_file_with_their_content(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)).astype(np.float32).astype(float), np.arange(40) % 3
    rows = np.column_stack([X, y])
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",", fmt="%.17g")
    of_file = load(tmp_path / "t.csv", target=-1)
    of_arrays = from_arrays(X, y)
    assert of_arrays.fingerprint == of_file.fingerprint
    assert isinstance(of_arrays, Dataset)


ARRAYS = {
    "lists": (lambda X, y: (X.tolist(), y.tolist())),
    "float32": (lambda X, y: (X.astype(np.float32), y.astype(np.float32))),
    "columns first": (lambda X, y: (np.asfortranarray(X), y[:, None])),
    "objects": (lambda X, y: (X.astype(object), y.astype(object))),
    "sparse": (lambda X, y: (scipy.sparse.csr_matrix(X), y)),
    "sparse array": (lambda X, y: (scipy.sparse.coo_array(X), y)),
    "frame and series": (lambda X, y: (pd.DataFrame(X), pd.Series(y))),
    "polars": (lambda X, y: (pl.DataFrame(X), pl.Series(y))),
    "pyarrow": (lambda X, y: (pa.table(dict(zip("abc", X.T, strict=True))), pa.array(y))),
    "one-hot": (lambda X, y: (X, np.eye(3)[y])),
    "frame of one-hot booleans": (lambda X, y: (X, np.eye(3, dtype=bool)[y])),
    "a frame as y": (lambda X, y: (X, pd.DataFrame({"kind": y}))),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_every_kind_are_the_same_data(case):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 99, (40, 3)).astype(float), np.arange(40) % 3
    data = from_arrays(*ARRAYS[case](X, y))
    wanted = from_arrays(X, y)
    assert data.class_names == ("0", "1", "2")
    for name, part in wanted.splits.items():
        assert data.splits[name].features.tolist() == part.features.tolist()
        assert data.splits[name].labels.tolist() == part.labels.tolist()


def test_arrays_may_have_splits_of_their_own():
    X, y = np.arange(80.0).reshape(40, 2), np.array(["a", "b"] * 20)
    data = from_arrays(X[:20], y[:20], validation=(X[20:30], y[20:30]), test=(X[30:], y[30:]))
    assert [len(part) for part in data.splits.values()] == [20, 10, 10]
    assert from_arrays(X[:20], y[:20], test=(X[20:], y[20:])).splits.keys() == {
        "train",
        "validation",
        "test",
    }


def test_images_keep_their_shape_and_bytes():
    X = np.random.default_rng(0).integers(0, 256, (30, 4, 5), dtype=np.uint8)
    data = from_arrays(X, np.arange(30) % 2)
    assert data.image_shape == (1, 4, 5)
    assert data.splits["train"].features.dtype == np.uint8


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (
            np.zeros(3),
            [0, 1, 0],
            "`X` must have shape (N, D) with at least one row and one column, but got (3,)",
        ),
        (np.zeros((0, 3)), [], "`X` must have shape (N, D)"),
        ([[1], [2, 3]], [0, 1], "`X` must be an array with equal rows"),
        ("texts", [0], "`X` must be an array, a frame or a sparse matrix, but got str."),
        ({"a": [1]}, [0], "`X` must be an array, a frame or a sparse matrix, but got dict."),
        (np.zeros((3, 2)), [0, 1], "`X` and `y` must have as many rows, but have 3 and 2."),
        (
            np.zeros((2, 2)),
            np.zeros((2, 2, 2)),
            "`y` must have shape (N,) or (N, K), but got (2, 2, 2)",
        ),
        (np.array([[1, "a"], [None, 3]] * 10, object), [0, 1] * 10, "X, column 'column_2', row 1"),
        (np.array([[{}], [1]] * 10, object), [0, 1] * 10, "X, column 'column_1', row"),
        (
            np.ones((20, 2), complex),
            [0, 1] * 10,
            "X, column 'column_1': must hold numbers, yes or no",
        ),
    ],
)
def test_arrays_that_are_no_table_are_refused(X, y, message):
    with refuses(message):
        from_arrays(X, y)


def test_a_column_may_say_how_much_each_row_counts():
    frame = pl.DataFrame({"x": range(40), "w": [0.5, 2.0] * 20, "y": ["a", "b"] * 20})
    data = load(frame, target="y", weights="w")
    assert data.n_features == 1
    part = data.splits["train"]
    assert part.weights.tolist() == [2.0 if label else 0.5 for label in part.labels]
    with refuses("X, column 'w', row 1: a weight must be >= 0, but got -1."):
        load(
            frame.with_columns(w=pl.when(pl.col("x") == 1).then(-1.0).otherwise(1.0)),
            target="y",
            weights="w",
        )
    with refuses("X, column 'w', row 0: a value must be there"):
        load(frame.with_columns(w=pl.lit(None, pl.Float64)), target="y", weights="w")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([[1, 2, "a"]] * 4, columns=["a", "a", "y"]),
        pd.DataFrame({"a": [], "y": []}),
        pd.DataFrame({"a": pd.Series([10**400, 1] * 20, dtype=object), "y": ["p", "q"] * 20}),
        pd.DataFrame({"a": pd.period_range("2020", periods=40, freq="M"), "y": ["p", "q"] * 20}),
        pl.DataFrame({"a": [datetime.time(1)] * 40, "y": ["p", "q"] * 20}),
        pl.DataFrame({"a": pl.Series([object()] * 40, dtype=pl.Object), "y": ["p", "q"] * 20}),
        pl.DataFrame({"a": [b"x"] * 40, "y": ["p", "q"] * 20}),
    ],
    ids=["two names alike", "no rows", "1e400", "periods", "times of day", "objects", "bytes"],
)
def test_a_frame_that_is_no_table_is_refused(frame):
    with refuses("X"):
        load(frame, target="y")


def test_a_column_of_an_array_that_is_left_out_is_left_out_in_prediction_too():
    X = np.column_stack([np.arange(40.0), np.full(40, np.nan), np.arange(40) % 3])
    data = from_arrays(X, np.arange(40) % 2)
    assert data.n_features == 2
    assert data.encoder.columns == ("column_1", "column_3")
    with refuses("X of train: without"):
        from_arrays(X, np.arange(40) % 2, test=(X[:, :2], np.arange(40) % 2))


def test_masked_values_are_gaps():
    X = np.ma.masked_equal(np.arange(80).reshape(40, 2) % 7, 3)
    with refuses("X, column 'column_1', row 5: a value must be there"):
        from_arrays(X, np.arange(40) % 2)
    assert from_arrays(X, np.arange(40) % 2, missing="mean").n_features == 4


def test_splits_by_groups_or_time_are_not_drawn_anew():
    said = [{"group_by": "who"}, {"time": "when"}]
    for one in said:
        data = load(split_frame(), target="y", drop="part", **one)
        with refuses("`split_seed` draws training and validation anew by chance, but 'wh"):
            redrawn(data, split_seed=1, train_samples="all")
    data = load(split_frame(), target="y", drop="part")
    assert redrawn(data, split_seed=1, train_samples="all").encoder == data.encoder


def test_more_features_than_fit_into_memory_are_refused(monkeypatch):
    frame = pl.DataFrame({"id": [f"k{i}" for i in range(600)], "y": ["a", "b"] * 300})
    said = {"target": "y", "category": "id", "max_levels": 600}
    assert load(frame, **said).n_features == 420
    monkeypatch.setattr("klayer.data.tables.packed.memory_bound", lambda: 10**6)
    with refuses(
        "X: features must fit into half of the memory, but these 420 take 1,008,000 bytes"
    ):
        load(frame, **said)


def test_a_test_file_without_the_target_is_for_predict(tmp_path):
    frame = split_frame().drop("part", "when")
    frame.write_csv(tmp_path / "train.csv")
    frame.drop("y").write_csv(tmp_path / "test.csv")
    with refuses(
        f"{tmp_path / 'test.csv'}: rows to test by must have the target, but there is no column 'y'"
    ):
        load(tmp_path, target="y")


WRITTEN = {
    "texts": lambda X: X.astype(str),
    "bytes": lambda X: X.astype(bytes),
    "objects": lambda X: X.astype(object),
    "texts as objects": lambda X: X.astype(str).astype(object),
    "lists, as the csv module reads them": lambda X: X.astype(str).tolist(),
    "pandas": lambda X: pd.DataFrame(X.astype(str)),
    "polars": lambda X: pl.DataFrame({f"c{i}": x for i, x in enumerate(X.T.astype(str).tolist())}),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_texts_that_say_numbers_are_these_numbers(kind):
    rng = np.random.default_rng(3)
    X = np.round(rng.normal(size=(60, 3)), 2)
    y = X[:, 0] > 0
    wanted, found = from_arrays(X, y), from_arrays(WRITTEN[kind](X), y)
    for split, rows in wanted.splits.items():
        np.testing.assert_array_equal(found.splits[split].features, rows.features)


@pytest.mark.parametrize("kind", list(WRITTEN)[:5])
def test_a_model_takes_what_fit_takes(kind):
    import klayer as kl

    X = np.round(np.random.default_rng(3).normal(size=(60, 3)), 2)
    given = WRITTEN[kind](X)
    short = {"hidden": (3,), "batch_size": 10, "cycles": 1, "half_cycle": "1 epoch"}
    model = kl.fit(given, X[:, 0] > 0, **short).model()
    np.testing.assert_array_equal(model.predict_probs(given), model.predict_probs(X))


@pytest.mark.parametrize(
    ("texts", "dtype"),
    [(["1.5", "-2"], np.float32), (["1", "200"], np.float32), (["1e39", "0"], np.float64)],
)
def test_texts_that_say_numbers_are_these_numbers_and_not_the_places_of_levels(texts, dtype):
    data = load(pd.DataFrame({"x": texts * 20, "y": ["a", "b"] * 20}), target="y")
    rows = np.concatenate([part.features[:, 0] for part in data.splits.values()])
    assert rows.dtype == dtype
    assert set(rows.tolist()) == set(np.array(texts, float).astype(dtype).tolist())


@pytest.mark.parametrize("role", ["group_by", "time", "weights", "split"])
def test_a_column_that_can_not_be_read_is_named_once_whatever_it_is_for(role):
    frame = pl.DataFrame({"x": range(20), "y": [0, 1] * 10, "odd": [{"k": 1}] * 20})
    with refuses("X, column 'odd': must hold numbers, yes or no, dates or texts, but holds Struct"):
        load(frame, target="y", **{role: "odd"})
    lists = frame.with_columns(odd=pl.Series([[1, 2]] * 20))
    with refuses(f"X: `{role}` must be one column, but 'odd' holds lists of 2 numbers: name one"):
        load(lists, target="y", **{role: "odd"})
