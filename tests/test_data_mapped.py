"""Rows on disk: read as arrays are, in any layout, with the bits of rows in memory."""

from __future__ import annotations

import os
import pickle
import re
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import klayer as kl
from klayer.data import Standardiser, load, read_rows
from klayer.data.measure import measure
from klayer.data.npy_rows import npy_rows
from klayer.data.stored_rows import StoredRows, joined_rows
from klayer.errors import KlayerError
from klayer.study import Run, Study
from klayer.study.launch import run_study

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (90, 6), dtype=np.uint8)
Y = np.arange(90) % 3
BRIEF = {"hidden": (4,), "cycles": 1, "half_cycle": "1 epoch", "batch_size": 8}


def refuses(message):
    return pytest.raises(KlayerError, match=re.escape(message))


def shards(folder, cuts=(0, 20, 50, 90), x=X, y=Y, name="X", label="y"):
    folder.mkdir(exist_ok=True)
    for number, (first, last) in enumerate(pairwise(cuts)):
        np.save(folder / f"{name}-{number:03d}.npy", x[first:last])
        np.save(folder / f"{label}-{number:03d}.npy", y[first:last])
    return folder


@pytest.fixture
def stored(tmp_path):
    folder = shards(tmp_path / "rows")
    return StoredRows([npy_rows(path)[0] for path in sorted(folder.glob("X-*.npy"))])


# Reading.


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        np.int64(55),
        slice(None),
        slice(15, 60),
        slice(60, 15),
        slice(None, None, 7),
        slice(None, None, -1),
        [3, 1, 2],
        [89, 0, 0, 45],
        [0, 0, 2],
        [],
        np.arange(90)[::-1],
        RNG.integers(0, 90, 200),
        X[:, 0] > 100,
        (slice(None), 2),
        (slice(10, 30), [0, 5]),
        (7, 3),
        ([4, 60], 1),
    ],
    ids=lambda key: str(key)[:20],
)
def test_rows_on_disk_are_read_as_those_of_an_array(stored, key):
    np.testing.assert_array_equal(
        stored[key], X[np.array(key, int) if isinstance(key, list) else key]
    )


@pytest.mark.parametrize("gap", [0, 1 << 14])
@pytest.mark.parametrize("piece", [1, 20, 1 << 23])
def test_what_is_read_does_not_depend_on_what_is_read_along(stored, monkeypatch, gap, piece):
    monkeypatch.setattr("klayer.data.stored_rows.GAP_BYTES", gap)
    monkeypatch.setattr("klayer.data.stored_rows.PIECE_BYTES", piece)
    for seed in range(5):
        rows = np.random.default_rng(seed).integers(0, 90, 30)
        np.testing.assert_array_equal(stored[rows], X[rows])
        np.testing.assert_array_equal(stored[np.sort(rows)], X[np.sort(rows)])


def test_chosen_and_joined_rows_stay_on_disk(stored):
    odd, first = stored.select(np.arange(1, 90, 2)), stored.select(np.arange(10))
    np.testing.assert_array_equal(odd.select(np.array([3, 0]))[:], X[[7, 1]])
    both = joined_rows(odd, first)
    assert isinstance(both, StoredRows)
    np.testing.assert_array_equal(both[40:50], np.concatenate([X[1::2], X[:10]])[40:50])


def test_rows_on_disk_travel_as_their_place(stored):
    pickled = pickle.dumps(stored)
    assert len(pickled) < 3000
    np.testing.assert_array_equal(pickle.loads(pickled)[:], X)


def test_a_row_that_is_not_there_is_an_index_error(stored):
    with pytest.raises(IndexError, match="row 90 of 90"):
        stored[90]


# Measuring.


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, bool, ">f8"])
@pytest.mark.parametrize("offset", [0, 1e5])
def test_one_pass_measures_what_two_passes_do(monkeypatch, dtype, offset):
    monkeypatch.setattr("klayer.data.row_blocks.BLOCK", 35)  # 7 rows of 5 at once
    rows = np.random.default_rng(1).normal(100, 30, (400, 5)).cumsum(axis=0) % 200
    rows = (rows + (offset if np.dtype(dtype).kind == "f" else 0)).astype(dtype)
    exact = rows.astype(np.longdouble)
    found = measure(rows)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0).astype(float), rtol=1e-12)
    variance = ((exact - exact.mean(axis=0)) ** 2).mean(axis=0)
    np.testing.assert_allclose(found.variance, variance.astype(float), rtol=1e-12)
    np.testing.assert_array_equal(found.low, rows.min(axis=0))
    np.testing.assert_array_equal(found.high, rows.max(axis=0))


def test_bytes_are_measured_exactly_in_any_order(monkeypatch):
    monkeypatch.setattr("klayer.data.row_blocks.BLOCK", 12)
    expected, shuffled = measure(X), measure(X[RNG.permutation(90)])
    assert (expected.variance == shuffled.variance).all()


def test_rows_on_disk_have_the_standardiser_of_rows_in_memory(stored):
    on_disk, in_memory = Standardiser.fit(stored), Standardiser.fit(X)
    assert (on_disk.mean == in_memory.mean).all()
    assert (on_disk.scale == in_memory.scale).all()


# Layouts.


def layouts():
    def folder(path):
        return shards(path)

    def whole(path):
        path.mkdir()
        np.save(path / "images.npy", X)
        np.save(path / "labels.npy", Y)
        return path

    def file(path):
        return whole(path) / "images.npy"

    def shard(path):
        return shards(path) / "X-001.npy"

    def one_file_of_labels(path):
        shards(path)
        for old in path.glob("y-*.npy"):
            old.unlink()
        np.save(path / "y.npy", Y[:, None])
        return path

    def counted(path):
        path.mkdir()
        for number in range(3):
            rows = slice(30 * number, 30 * number + 30)
            np.save(path / f"data-{number + 1:05d}-of-00003.npy", X[rows])
            np.save(path / f"target-{number + 1:05d}-of-00003.npy", Y[rows])
        return path

    return [folder, whole, file, shard, one_file_of_labels, counted]


@pytest.mark.parametrize("layout", layouts(), ids=lambda one: one.__name__)
def test_every_layout_gives_the_same_data_on_disk_and_in_memory(tmp_path, layout):
    path = layout(tmp_path / "mine")
    np.savez(tmp_path / "mine.npz", X=X, y=Y)
    expected = load(tmp_path / "mine.npz", seed=3)
    for keep in ("auto", "memory", "disk"):
        data = load(path, seed=3, keep=keep)
        assert data.fingerprint == expected.fingerprint
        assert isinstance(data.splits["test"].features, StoredRows) == (keep == "disk")
    assert "stay on disk" in " ".join(data.notes)


@pytest.mark.parametrize("inside", [True, False])
def test_splits_have_files_or_folders_of_their_own(tmp_path, inside):
    for split, rows in (("train", slice(0, 60)), ("test", slice(60, 90))):
        if inside:
            shards(tmp_path / split, (0, 10, 30), X[rows], Y[rows])
        else:
            shards(tmp_path, (0, 10, 30), X[rows], Y[rows], f"X_{split}", f"{split}-labels")
    data = load(tmp_path, keep="disk")
    # Of each class 10 rows, of which round(0.15 * 10) validate.
    assert {name: len(part) for name, part in data.splits.items()} == {
        "train": 24,
        "validation": 6,
        "test": 30,
    }
    np.testing.assert_array_equal(data.splits["test"].features[:], X[60:90])


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_become_rows_channel_by_channel(tmp_path, channels_last):
    images = RNG.integers(0, 256, (30, 3, 6, 5), dtype=np.uint8)
    np.save(tmp_path / "X.npy", images.transpose(0, 2, 3, 1) if channels_last else images)
    np.save(tmp_path / "y.npy", np.arange(30) % 2)
    data = load(tmp_path, keep="disk")
    assert data.image_shape == (3, 6, 5)
    own = data.splits["train"].features
    np.testing.assert_array_equal(own[:], images.reshape(30, -1)[own.index])


@pytest.mark.parametrize("keep", ["disk", "memory"])
@pytest.mark.parametrize("piece", [1, 100, 1 << 23])
@pytest.mark.parametrize(
    "shape", [(90, 6), (90, 2, 3), (90, 3, 2, 2), (90, 2, 2, 3), (90, 1), (90, 6, 1, 1)]
)
def test_rows_that_are_saved_by_columns_are_the_same_rows(
    tmp_path, monkeypatch, shape, piece, keep
):
    monkeypatch.setattr("klayer.data.npy_rows.PIECE_BYTES", piece)
    rows = RNG.normal(size=shape)
    prints = {}
    for order in "CF":
        folder = tmp_path / order
        shards(folder, x=rows)
        for path in folder.glob("X-*.npy"):
            np.save(path, np.array(np.load(path), order=order))
        data = load(folder, keep=keep)
        features = data.splits["train"].features
        prints[order] = data.fingerprint, data.image_shape, features[::-1][:7].tobytes()
    assert prints["C"] == prints["F"]


def test_rows_by_columns_train_in_another_process(tmp_path):
    shards(tmp_path / "rows")
    for path in (tmp_path / "rows").glob("X-*.npy"):
        np.save(path, np.asfortranarray(np.load(path)))
    study = {"data": str(tmp_path / "rows"), "keep": "disk", "seeds": 2}
    study["settings"] = {**BRIEF, "hidden": [4]}
    one, other = (
        run_study(Study.from_values(study), out=tmp_path / scheduler[:5], scheduler=scheduler)
        for scheduler in ("local", "processes:2")
    )
    assert [net.scores for net in one.networks] == [net.scores for net in other.networks]


@pytest.mark.parametrize("cuts", [(0, 0, 40, 90), (0, 40, 40, 90), (0, 40, 90, 90)])
@pytest.mark.parametrize("label", [Y, np.array(["a", "b", "c"])[Y]])
def test_an_empty_shard_is_passed_over(tmp_path, cuts, label):
    shards(tmp_path / "whole", cuts=(0, 40, 90), y=label)
    shards(tmp_path / "odd", cuts=cuts, y=label)
    empty = next(path for path in (tmp_path / "odd").glob("X-*.npy") if not len(np.load(path)))
    for nothing in (X[:0], np.array([])):  # also as those make it who gather rows in a list
        np.save(empty, nothing)
        np.save(empty.with_name(empty.name.replace("X", "y")), np.array([]))
        for keep in ("disk", "memory"):
            whole, odd = (load(tmp_path / name, keep=keep) for name in ("whole", "odd"))
            assert odd.fingerprint == whole.fingerprint


def test_shards_that_are_all_empty_are_refused(tmp_path):
    shards(tmp_path, cuts=(0, 0, 0))
    with refuses("with at least one row and one column, but got (0, 6)"):
        load(tmp_path)


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_other_tasks_are_learnt_from_disk(tmp_path, task):
    labels = RNG.normal(size=(90, 2)) if task == "regression" else RNG.integers(0, 2, (90, 2))
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    np.save(tmp_path / "y.npy", labels)
    data = load(tmp_path, keep="disk", task=task)
    population = kl.fit(data, kl.Settings(**BRIEF))
    again = kl.fit(load(tmp_path, keep="memory", task=task), kl.Settings(**BRIEF))
    for key, value in population.state.params.items():
        np.testing.assert_array_equal(value, again.state.params[key])


# Mistakes.


def test_shards_must_agree(tmp_path):
    shards(tmp_path)
    np.save(tmp_path / "X-001.npy", X[20:50, :5])
    with refuses("X-001.npy: every file must have as many columns of "):
        load(tmp_path)
    np.save(tmp_path / "X-001.npy", X[20:50].astype(np.int16))
    with refuses("uint8, but this one has int16."):
        load(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    (shards(tmp_path) / "X-001.npy").unlink()
    with refuses("shards must be numbered without a gap, but X-001.npy is missing"):
        load(tmp_path)


def test_a_missing_last_shard_is_named_where_the_names_say_how_many_there_are(tmp_path):
    np.save(tmp_path / "X-00000-of-00002.npy", X)
    np.save(tmp_path / "y-00000-of-00002.npy", Y)
    with refuses("X-00001-of-00002.npy is missing"):
        load(tmp_path)


def test_a_shard_without_labels_is_named(tmp_path):
    (shards(tmp_path) / "X-002.npy").unlink()
    with refuses("each shard of rows must have its labels, but y-002.npy has no partner."):
        load(tmp_path)


def test_labels_of_another_number_are_named_with_their_shard(tmp_path):
    shards(tmp_path)
    np.save(tmp_path / "y-001.npy", Y[:29])
    with refuses(
        "y-001.npy: there must be one label per row, but X-001.npy has 30 rows and this has"
    ):
        load(tmp_path)


def test_a_nan_is_named_with_its_file_and_row(tmp_path):
    rows = X.astype(np.float32)
    rows[25, 4] = np.nan
    shards(tmp_path, x=rows)
    with refuses("X-001.npy, row 5, column 4: features must be finite, but got nan"):
        load(tmp_path, keep="disk")


def test_an_array_is_in_one_file_or_in_numbered_ones(tmp_path):
    np.save(shards(tmp_path) / "X.npy", X)
    with refuses("each array must be in one file or in numbered ones, but there are "):
        load(tmp_path)


@pytest.mark.parametrize("what", ["cut", "written", "gone"])
def test_a_file_that_changes_stops_the_training(tmp_path, what):
    data = load(shards(tmp_path), keep="disk")
    path = tmp_path / "X-001.npy"
    if what == "cut":
        os.truncate(path, path.stat().st_size - 8)
    elif what == "written":
        np.save(path, X[20:50][::-1])
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    words = "No such file" if what == "gone" else "data must stay as they are while networks train"
    with refuses(words):
        kl.fit(data, kl.Settings(**BRIEF))


def test_a_file_that_changes_within_an_epoch_stops_the_training(tmp_path):
    data = load(shards(tmp_path), keep="disk")
    feed = kl.Feed(data)
    population = kl.Population(feed, [kl.Member(kl.Settings(**BRIEF), 0)])
    kl.Trainer(population).train(until=2)
    os.utime(tmp_path / "X-002.npy", ns=(1, 1))
    with refuses("X-002.npy: data must stay as they are while networks train on them"):
        kl.Trainer(population).train()


def test_options_that_files_of_arrays_do_not_have_are_refused(tmp_path):
    with refuses("takes only task, keep, but got target='y': leave it out"):
        load(shards(tmp_path), target="y")


def test_of_tables_only_parquet_stays_on_disk(tmp_path):
    (tmp_path / "a.csv").write_text("a,target\n1,0\n")
    with refuses("of tables only Parquet can stay on disk (keep=disk)"):
        load(tmp_path / "a.csv", keep="disk")


def test_files_that_systems_lay_beside_others_are_passed_by(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "._X.npy").write_bytes(b"a Mac was here")
    assert load(tmp_path).n_features == X.shape[1]


def test_labels_without_rows_are_refused(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", np.array(3))
    with refuses("X.npy has 90 rows and this has the shape ()"):
        load(tmp_path)


# Parquet.


def parquet(path, x=X, y=Y, group=7):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {f"f{i}": x[:, i] for i in range(x.shape[1])}
    pq.write_table(pa.table({**columns, "label": y}), path, row_group_size=group)
    return path


def test_parquet_is_read_by_groups_of_rows(tmp_path):
    on_disk = load(parquet(tmp_path / "a.parquet"), keep="disk", target="label")
    own = on_disk.splits["train"].features
    assert isinstance(own, StoredRows)
    np.testing.assert_array_equal(own[:], X[own.index])
    np.testing.assert_array_equal(on_disk.splits["train"].labels, Y[own.index])
    assert on_disk.encoder.columns == tuple(f"f{i}" for i in range(6))


def test_a_folder_of_parquet_files_is_one_table(tmp_path):
    for number in range(3):
        rows = slice(30 * number, 30 * number + 30)
        parquet(tmp_path / f"part-{number}.parquet", X[rows], Y[rows])
    data = load(tmp_path, keep="disk")
    own = data.splits["validation"].features
    np.testing.assert_array_equal(own[:], X[own.index])
    assert load(tmp_path).fingerprint == data.fingerprint


def test_lists_of_numbers_are_columns_of_parquet(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 6)
    table = pa.table({"pixels": pixels, "word": np.array(["a", "b", "c"])[Y]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=20)
    data = load(tmp_path / "a.parquet", keep="disk", target="word")
    own = data.splits["train"].features
    np.testing.assert_array_equal(own[:], X[own.index])
    assert data.class_names == ("a", "b", "c")
    assert load(tmp_path / "a.parquet", target="word").fingerprint == data.fingerprint


def test_parquet_on_disk_trains_as_in_memory(tmp_path):
    parquet(tmp_path / "a.parquet", group=13)
    settings = kl.Settings(shuffle="block:32", **BRIEF)
    disk, memory = (
        kl.fit(load(tmp_path / "a.parquet", keep="disk", target="label"), settings),
        kl.fit(load(tmp_path, target="label"), settings),
    )
    for key, value in disk.state.params.items():
        np.testing.assert_array_equal(value, memory.state.params[key])


def test_a_gap_and_a_text_in_parquet_are_refused(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    gap = pa.array([1.0, None, 3.0] * 4)
    pq.write_table(pa.table({"f": gap, "label": [0, 1, 2] * 4}), tmp_path / "a.parquet")
    with refuses("a.parquet, row 1: column 'f' has a gap"):
        load(tmp_path / "a.parquet", keep="disk")
    pq.write_table(pa.table({"f": ["a", "b"] * 4, "label": [0, 1] * 4}), tmp_path / "b.parquet")
    with refuses("of one length of them, to stay on disk, but 'f' is not"):
        load(tmp_path / "b.parquet", keep="disk")


@pytest.mark.parametrize(
    "said", [{"weights": "f5"}, {"split": "f5"}, {"category": "f5"}, {"missing": "mean"}]
)
def test_what_parquet_on_disk_does_not_heed_is_refused(tmp_path, said):
    (name,) = said
    with refuses(f"only task, target, drop, keep can be said, but got --{name}"):
        load(parquet(tmp_path / "a.parquet"), keep="disk", target="label", **said)


def test_the_index_of_a_frame_is_no_feature_wherever_the_rows_are(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"f": np.float32(X[:, 0]), "label": Y, "__index_level_0__": np.arange(len(Y))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    disk, memory = (load(tmp_path / "a.parquet", keep=keep) for keep in ("disk", "memory"))
    assert disk.n_features == memory.n_features == 1
    assert disk.fingerprint == memory.fingerprint


def test_parquet_without_rows_is_refused(tmp_path):
    with refuses("a.parquet: must hold rows, but holds none"):
        load(parquet(tmp_path / "a.parquet", X[:0], Y[:0]), keep="disk", target="label")


def parquet_of(path, group=17, **columns):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def same_both_ways(path, **said):
    """Load on disk and in memory; return the data set in memory if both are the same."""
    disk, memory = (load(path, keep=keep, **said) for keep in ("disk", "memory"))
    assert isinstance(disk.splits["train"].features, StoredRows)
    assert isinstance(memory.splits["train"].features, np.ndarray)
    assert disk.fingerprint == memory.fingerprint
    assert disk.encoder == memory.encoder
    assert (disk.name, disk.source) == (memory.name, memory.source)
    return memory


REAL, WHOLE, SIGN = RNG.normal(size=90), RNG.integers(0, 9, 90), RNG.random(90) < 0.5
TYPES = {
    "real, whole, yes and no": ({"a": REAL, "b": WHOLE, "c": SIGN}, np.float32),
    "whole beyond 2**53": ({"a": RNG.integers(2**53, 2**60, 90), "b": WHOLE}, np.float32),
    "whole, near one another": ({"a": 2**60 + WHOLE * 2**10, "b": WHOLE}, np.float64),
    "without a sign": ({"a": np.uint64(2) ** 63 + RNG.integers(0, 2**60, 90, np.uint64)}, None),
    "whole, within a byte": ({"a": WHOLE, "b": np.int8(WHOLE)}, np.uint8),
    "bytes, yes and no": ({"a": np.uint8(WHOLE), "b": SIGN}, np.float32),
    "constant": ({"a": np.full(90, 0.1), "b": REAL}, np.float32),
    "far from 0": ({"a": REAL + 1e9, "b": WHOLE}, np.float64),
    "tiny and huge": ({"a": REAL * 1e-200, "b": REAL * 1e200}, np.float64),
    "short": ({"a": np.float32(REAL), "b": np.int16(WHOLE) * 1000}, np.float32),
    "at the bound": ({"a": np.where(SIGN, 254.0, 256.0), "b": REAL}, None),
}


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("group", [7, 90])
def test_numbers_have_the_same_type_wherever_the_rows_are(tmp_path, types, group):
    columns, dtype = TYPES[types]
    path = parquet_of(tmp_path / "a.parquet", group=group, **columns, label=Y)
    features = same_both_ways(path, target="label").splits["train"].features
    assert dtype is None or features.dtype == dtype


def list_columns():
    pa = pytest.importorskip("pyarrow")
    rows = RNG.normal(size=(90, 4))
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 4)
    return {
        "fixed": fixed,
        "of one length": pa.array(rows.tolist()),
        "large": pa.array(rows.tolist(), pa.large_list(pa.float64())),
        "bytes": pa.array(X[:, :4].tolist(), pa.list_(pa.uint8())),
        "whole": pa.array((np.int64(X[:, :4]) * 300).tolist()),
        "yes and no": pa.array((X[:, :4] > 99).tolist()),
    }


@pytest.mark.parametrize(
    "kind", ["fixed", "of one length", "large", "bytes", "whole", "yes and no"]
)
def test_lists_are_columns_wherever_the_rows_are_and_in_prediction(tmp_path, kind):
    path = parquet_of(tmp_path / "a.parquet", x=list_columns()[kind], b=REAL, label=Y)
    data = same_both_ways(path)
    assert data.encoder.columns == ("x[0]", "x[1]", "x[2]", "x[3]", "b")
    rows, _ = read_rows([path], n_features=5, encoder=data.encoder)
    index = load(path, keep="disk").splits["test"].features.index
    np.testing.assert_array_equal(np.float32(rows[index]), data.splits["test"].features)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"drop": "x"}, ("b",)),
        ({"drop": ["x[1]", "b"]}, ("x[0]", "x[2]", "x[3]")),
        ({"target": 3}, ("x[0]", "x[1]", "x[2]", "x[3]", "b")),  # as the file counts
        ({"target": "x"}, ("b", "label")),
        ({"target": "x[1]", "drop": "x[0]"}, ("x[2]", "x[3]", "b", "label")),
    ],
)
def test_a_list_is_named_as_one_column_or_number_by_number(tmp_path, said, names):
    path = parquet_of(tmp_path / "a.parquet", x=list_columns()["fixed"], b=REAL, label=Y)
    assert same_both_ways(path, **said).encoder.columns == names


def test_lists_in_frames_are_columns_too(tmp_path):
    pl, pd = pytest.importorskip("polars"), pytest.importorskip("pandas")
    rows = RNG.normal(size=(90, 4))
    for frame in (
        pl.DataFrame({"x": rows, "y": Y}),
        pl.DataFrame({"x": rows.tolist(), "y": Y}),
        pd.DataFrame({"x": list(rows), "y": Y}),
        pd.DataFrame({"x": rows.tolist(), "y": Y}),
    ):
        assert load(frame).encoder.columns == ("x[0]", "x[1]", "x[2]", "x[3]")


@pytest.mark.parametrize("keep", ["disk", "memory"])
def test_lists_that_are_no_columns_are_refused_and_may_be_left_out(tmp_path, keep):
    pa = pytest.importorskip("pyarrow")
    ragged = [[1.0, 2.0]] * 70 + [[1.0]] + [[1.0, 2.0]] * 19
    path = parquet_of(tmp_path / "a.parquet", x=pa.array(ragged), b=REAL, label=Y)
    with refuses(
        "a.parquet, column 'x', row 70: lists must all have one length, but this one has 1 and the "
        "first 2"
    ):
        load(path, keep=keep)
    assert load(path, keep=keep, drop="x").n_features == 1
    for odd in ([["a"]] * 90, pa.array([[]] * 90, pa.list_(pa.float64()))):
        path = parquet_of(tmp_path / "b.parquet", x=odd, b=REAL, label=Y)
        with refuses("'x'"):
            load(path, keep=keep)
        assert load(path, keep=keep, drop="x").n_features == 1
    path = parquet_of(tmp_path / "c.parquet", **{"x": [[1, 2]] * 90, "x[1]": REAL, "label": Y})
    with refuses("columns must have different names, but there are two 'x[1]'"):
        load(path, keep=keep)


@pytest.mark.parametrize("keep", ["disk", "memory"])
def test_what_is_wrong_in_parquet_is_named_by_its_column(tmp_path, keep):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for value in (np.nan, np.inf):
        odd = np.where(np.arange(90) == 5, value, REAL)
        path = parquet_of(tmp_path / "a.parquet", **{"a": REAL, "b c": odd, "label": Y})
        with pytest.raises(KlayerError, match=r"'b c', row 5|row 5, column 'b c'"):
            load(path, keep=keep)
    twice = pa.Table.from_arrays([pa.array(REAL), pa.array(REAL), pa.array(Y)], ["a", "a", "label"])
    pq.write_table(twice, tmp_path / "b.parquet")
    with refuses("b.parquet: columns must have different names, but there are two 'a'"):
        load(tmp_path / "b.parquet", keep=keep)


def test_folders_named_as_hive_does_are_columns(tmp_path):
    for year in (2025, 2026):
        for month in ("01", "02"):
            folder = tmp_path / "h" / f"year={year}" / f"month={month}"
            parquet_of(folder / "part-0.parquet", a=REAL + year, label=Y)
    data = same_both_ways(tmp_path / "h")
    assert data.encoder.columns == ("a", "year", "month")
    rows, names = read_rows([tmp_path / "h"], n_features=3, encoder=data.encoder)
    assert sorted(set(rows[:, 1])) == [2025, 2026]
    assert names[-1].endswith(str(Path("year=2026", "month=02", "part-0.parquet, row 89")))
    for town in ("Ur", "Kish%20x", "__HIVE_DEFAULT_PARTITION__"):
        parquet_of(tmp_path / "t" / f"town={town}" / "0.parquet", a=REAL, label=Y)
    texts = load(tmp_path / "t", missing="mean").encoder
    assert texts.feature_names == ("a", "town=Kish x", "town=Ur", "town: missing")
    with refuses("but 'town' is not: leave it out (--drop), or read the table into memory"):
        load(tmp_path / "t", keep="disk")
    assert load(tmp_path / "t", keep="disk", drop="town").n_features == 1


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("splits", [("train", "val", "test"), ("train", "test")])
def test_splits_of_parquet_are_folders_or_files(tmp_path, inside, splits):
    for split in splits:
        name = f"{split}/part-0.parquet" if inside else f"{split}.parquet"
        parquet_of(tmp_path / name, a=REAL, label=Y)
    data = same_both_ways(tmp_path)
    assert len(data.splits["test"]) == 90
    assert sum(map(len, data.splits.values())) == 90 * len(splits)


def test_files_of_a_parquet_folder_agree_by_name_and_empty_ones_are_passed_over(tmp_path):
    folder = tmp_path / "as-spark-does.parquet"
    parquet_of(folder / "part-0.parquet", a=REAL, b=WHOLE, label=Y)
    parquet_of(folder / "part-1.parquet", a=REAL[:0], b=WHOLE[:0], label=Y[:0])
    parquet_of(folder / "part-2.parquet", b=WHOLE, label=Y, a=WHOLE)
    (folder / "_SUCCESS").touch()
    assert same_both_ways(folder).encoder.columns == ("a", "b")
    parquet_of(folder / "part-3.parquet", a=REAL, label=Y)
    for keep in ("disk", "memory"):
        with refuses("part-3.parquet: every file must have the columns of"):
            load(folder, keep=keep)


def test_a_folder_of_parquet_in_memory_is_a_table_like_any(tmp_path):
    for part in range(2):
        gap = np.where(np.arange(90) == 3, np.nan, REAL)
        texts = np.array(["Ur", "Kish"])[Y % 2]
        parquet_of(tmp_path / f"{part}.parquet", a=gap, town=texts, w=WHOLE, label=Y)
    with refuses("column 'a', 0.parquet, row 3: a value must be there"):
        load(tmp_path)
    data = load(tmp_path, missing="mean", weights="w")
    assert data.encoder.feature_names == ("a", "a: missing", "town=Kish", "town=Ur")


# Memory, and the rest of the house.


def test_no_more_than_blocks_of_rows_are_in_memory(tmp_path):
    rows = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.uint8, (40_000, 1000))
    rows[:] = np.arange(40_000, dtype=np.uint8)[:, None]
    del rows
    np.save(tmp_path / "y.npy", np.arange(40_000) % 2)
    tracemalloc.start()
    data = load(tmp_path, keep="disk")
    settings = kl.Settings(**{**BRIEF, "batch_size": 100}, shuffle="block:1024", curve_samples=500)
    population = kl.fit(data, settings)
    population.evaluate("train")
    assert data.fingerprint
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # of 40 MB


def test_large_files_are_predicted_in_blocks(tmp_path, monkeypatch):
    data = load(shards(tmp_path / "rows"), keep="memory")
    model = kl.fit(data, kl.Settings(**BRIEF)).model()
    np.save(tmp_path / "new.npy", X)
    monkeypatch.setattr("klayer.data.stored_rows.memory_bound", lambda: 100)
    rows, names = read_rows([tmp_path / "new.npy"], n_features=6)
    assert isinstance(rows, StoredRows)
    assert len(names) == 90
    np.testing.assert_array_equal(model.predict(rows), model.predict(X))


@pytest.mark.parametrize("scheduler", ["local", "processes:2"])
def test_a_study_of_rows_on_disk_is_that_of_rows_in_memory(tmp_path, scheduler):
    shards(tmp_path / "rows")
    study = {
        "data": str(tmp_path / "rows"),
        "seeds": 2,
        "settings": {**BRIEF, "hidden": [4], "shuffle": "block:32"},
    }
    disk = run_study(
        Study.from_values({**study, "keep": "disk"}), out=tmp_path / "disk", scheduler=scheduler
    )
    memory = run_study(Study.from_values({**study, "keep": "memory"}), out=tmp_path / "memory")
    assert [one.scores for one in disk.networks] == [one.scores for one in memory.networks]
    for one in disk.networks:
        weights, expected = disk.model(one).params, memory.model(memory.find(one.key)).params
        for key, value in weights.items():
            np.testing.assert_array_equal(value, expected[key])
    assert Run(tmp_path / "disk").load_data().splits["train"].features.shape[1] == 6


def test_parquet_is_read_by_another_process(tmp_path):
    parquet(tmp_path / "a.parquet", group=13)
    study = {"data": str(tmp_path / "a.parquet"), "target": "label", "keep": "disk", "seeds": 2}
    study["settings"] = {**BRIEF, "hidden": [4]}
    one, other = (
        run_study(Study.from_values(study), out=tmp_path / scheduler[:5], scheduler=scheduler)
        for scheduler in ("local", "processes:2")
    )
    assert [net.scores for net in one.networks] == [net.scores for net in other.networks]
