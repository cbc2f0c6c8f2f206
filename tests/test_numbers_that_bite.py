"""Numbers that bite: far-off features, networks without an answer, chance, lone rows, bounds."""

from __future__ import annotations

import json
import math
import re
import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

import klayer as kl
from klayer.data import Dataset, Split, from_arrays
from klayer.errors import KlayerError
from klayer.files import json_text
from klayer.study import Run, Study
from klayer.study.chance import least_learnt, uneven
from klayer.study.launch import run_study
from klayer.train import Feed, Member, Population, Settings
from klayer.train.batches import Batches
from klayer.train.memory import require_memory
from klayer.train.metrics import METRICS
from klayer.train.seeds import seeds_of

BRIEF = {"hidden": [5], "cycles": 1, "half_cycle": "1 epoch", "batch_size": 10}


def refuses(message):
    return pytest.raises(KlayerError, match=re.escape(message))


def table(rows=60, columns=3, classes=2, seed=0, share=None):
    rng = np.random.default_rng(seed)
    labels = (
        np.arange(rows) % classes if share is None else (np.arange(rows) < share * rows).astype(int)
    )
    features = rng.normal(size=(rows, columns))
    features[:, 0] += 4 * labels
    return features, labels


def dataset(change=None, split="test", **more):
    parts = {
        name: [array.copy() for array in table(seed=k, **more)]
        for k, name in enumerate(("train", "validation", "test"))
    }
    if change:
        change(parts[split][0])
    names = [str(k) for k in range(int(parts["train"][1].max()) + 1)]
    return Dataset("mine", {name: Split(*part) for name, part in parts.items()}, names)


def put(value, row=7, column=1):
    def change(features):
        features[row, column] = value

    return change


# far-off features


@pytest.mark.parametrize("value", [1e39, -1e39, 1e40, 3e38, 1e300, -1.7e308])
@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_feature_that_overflows_is_refused_with_split_row_and_column(split, value):
    with refuses(
        f"split {split!r}, row 7, column 1: a feature must be near enough to those of training"
    ):
        kl.fit(dataset(put(value), split), Settings(**BRIEF))


def test_a_column_that_is_constant_in_training_and_overflows_in_test_is_refused():
    data = dataset()
    for name, split in data.splits.items():
        split.features[:, 1] = 1e39 if name == "test" else 0.0
    data = Dataset("mine", data.splits, ["0", "1"])
    with refuses("split 'test', row 0, column 1"):
        kl.fit(data, Settings(**BRIEF))


def test_a_study_says_so_before_it_trains_and_leaves_nothing_behind(tmp_path):
    data = dataset(put(1e40))
    arrays = {f"{key}_{name}": array for name, split in data.splits.items()
              for key, array in (("X", split.features), ("y", split.labels))}  # fmt: skip
    np.savez(tmp_path / "a.npz", **arrays)
    study = Study.from_values({"data": str(tmp_path / "a.npz"), "settings": BRIEF})
    with refuses("split 'test', row 7, column 1"):
        run_study(study, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_float64_can_calculate_with_is_trained_in_float64():
    data = dataset(put(1e39))
    found = kl.fit(data, Settings(**BRIEF, dtype="float64"))
    assert np.isfinite(found.evaluate("test")["accuracy"]).all()


@pytest.mark.parametrize("value", [1e39, -1e200])
def test_a_row_to_be_labelled_that_overflows_is_refused(value):
    model = kl.fit(dataset(), Settings(**BRIEF)).model()
    X = table()[0]
    X[3, 2] = value
    with refuses("`X`, row 3, column 2: must be near enough to the rows of training"):
        model.predict(X)


@pytest.mark.parametrize("unit", [1e-170, 1e-30, 1.0, 1e30, 1e150])
def test_tiny_and_huge_units_give_the_same_networks(unit):
    accuracies = []
    for scale in (1.0, unit):
        data = dataset()
        for split in data.splits.values():
            split.features[...] *= scale
        accuracies.append(
            kl.fit(Dataset("m", data.splits, ["0", "1"]), Settings(**BRIEF)).evaluate("test")[
                "accuracy"
            ]
        )
    np.testing.assert_allclose(*accuracies, atol=0.02)


# networks without an answer


def broken(data, value=3e38):
    population = kl.fit(data, Settings(**BRIEF), seeds=2)
    for name in ("W1", "W2"):
        population.state.params[name][1] = value
    return population


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32(3e38)])
def test_a_network_whose_outputs_are_not_finite_has_no_score(value):
    population = broken(dataset(), value)
    for split in ("train", "validation", "test"):
        scores = population.evaluate(split)
        for name in ("accuracy", "balanced_accuracy", "macro_f1"):
            assert np.isfinite(scores[name][0])
            assert np.isnan(scores[name][1])


def test_a_network_without_an_answer_gives_none():
    model = broken(dataset()).model()
    with refuses("network 1 gives outputs that are not finite for row"):
        model.predict_labels(table()[0])


@pytest.mark.parametrize(
    "value", [float("nan"), np.float32("inf"), -np.inf, np.array([1.0, np.nan])]
)
def test_json_never_holds_what_is_not_a_number(value):
    text = json_text({"a": value, "b": [value]})
    assert json.loads(text, parse_constant=lambda word: pytest.fail(word))["b"] != []


# chance


@pytest.mark.parametrize(
    ("accuracy", "share", "rows", "state"),
    [
        (1.0, 0.98, 1259, "trained"),  # all right beside a majority of 98 %
        (0.9805, 0.98, 1259, "at chance"),
        (0.0127, 1 / 300, 6000, "trained"),  # nearly four times as good as guessing
        (0.0040, 1 / 300, 6000, "at chance"),
        (0.52, 0.5, 1000, "at chance"),
        (0.54, 0.5, 1000, "trained"),
        (0.5, 0.5, 4, "at chance"),
        (1.0, 0.5, 4, "trained"),
        (1.0, 0.98, 50, "trained"),
    ],
)
def test_chance_is_the_majority_and_its_sampling_error(accuracy, share, rows, state):
    assert ("trained" if accuracy > least_learnt(share, rows) else "at chance") == state


@pytest.mark.parametrize(("rate", "state"), [(0.3, "trained"), (1e-12, "at chance")])
def test_weighted_classes_are_not_judged_by_the_accuracy_that_they_give_away(tmp_path, rate, state):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [270, 15, 15])
    data = from_arrays(rng.normal(size=(300, 2)) + 1.2 * y[:, None], y, name="uneven")
    settings = {"hidden": [8], "batch_size": 20, "cycles": 1, "half_cycle": "20 epochs",
                "lr_max": rate, "lr_min": 0, "class_weights": "balanced"}  # fmt: skip
    study = Study.from_values({"seeds": 3, "settings": settings})
    found = run_study(study, data, out=tmp_path / "run", workers=1).networks
    assert {one.state for one in found} == {state}
    if state == "trained":
        assert all(one.score("train") < 0.93 for one in found)


def states(tmp_path, data, **settings):
    arrays = {f"{key}_{name}": array for name, split in data.splits.items()
              for key, array in (("X", split.features), ("y", split.labels))}  # fmt: skip
    np.savez(tmp_path / "a.npz", **arrays)
    study = Study.from_values(
        {"data": str(tmp_path / "a.npz"), "settings": {**BRIEF, **settings}, "seeds": 5}
    )
    run = run_study(study, out=tmp_path / "run")
    return [record.state for record in run.networks], run


def test_networks_that_are_never_moved_are_at_chance(tmp_path):
    found, _ = states(tmp_path, dataset(rows=300), lr_min=0.0, lr_max=0.0, l2=0.0)
    assert set(found) == {"at chance"}


def test_networks_that_learn_beside_a_large_majority_are_trained_and_more_is_told(tmp_path):
    data = dataset(rows=600, share=0.04)
    found, run = states(tmp_path, data, cycles=4, lr_max=0.2, l2=0.0)
    assert "trained" in found
    line = run.result("summary.json")["networks"][0]
    assert {"test_accuracy", "test_balanced_accuracy", "test_macro_f1"} <= line.keys()
    assert run.info["data"]["class_counts"]["train"] == [576, 24]
    assert Run(run.path).networks[0].scores["test"].macro_f1 == line["test_macro_f1"]


def test_even_classes_are_told_by_accuracy_alone(tmp_path):
    _, run = states(tmp_path, dataset(rows=60))
    assert "test_macro_f1" not in run.result("summary.json")["networks"][0]
    assert not uneven([20, 22])


@pytest.mark.parametrize("seed", range(5))
def test_balanced_accuracy_and_macro_f1_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, size=50, p=[0.7, 0.2, 0.1, 0.0])
    outputs = rng.normal(size=(3, 50, 4))
    outputs[0, :, 1] += 99  # one network names one class alone
    for name, judge in (
        ("balanced_accuracy", balanced_accuracy_score),
        ("macro_f1", lambda y, z: f1_score(y, z, average="macro", zero_division=0)),
    ):
        metric = METRICS[name]
        total = sum(
            metric.block(outputs[:, rows], labels[rows]) for rows in (slice(20), slice(20, 50))
        )
        found = metric.result(total, labels, np.ones(1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            wanted = [judge(labels, one.argmax(axis=-1)) for one in outputs]
        np.testing.assert_allclose(found, wanted)


# mini-batches of one row


@pytest.mark.parametrize("where", ["hidden", "all"])
def test_a_mini_batch_of_one_row_is_refused_with_batch_normalisation(where):
    with refuses("batch normalisation needs at least two samples in a mini-batch"):
        Settings(batch_size=1, batch_norm=where)
    assert Settings(batch_size=1).batch_size == 1


def test_a_training_split_of_one_row_is_refused_with_batch_normalisation():
    with refuses("batch normalisation needs at least two training rows, but there is one"):
        Settings(batch_norm="all").batches(1)


@pytest.mark.parametrize(("samples", "sizes"), [(21, [10, 10]), (22, [10, 10, 2]), (20, [10, 10])])
def test_a_last_mini_batch_of_one_row_is_dropped_with_batch_normalisation(samples, sizes):
    batches = Settings(batch_size=10, batch_norm="all", last_batch="keep").batches(samples)
    assert [len(batches[t]) for t in range(batches.per_epoch)] == sizes
    assert batches.dropped == (1 if samples == 21 else 0)
    without = Settings(batch_size=10, last_batch="keep").batches(21)
    assert len(without[2]) == 1


def test_the_dropped_row_is_said_and_the_network_learns():
    study = Study.from_values({"settings": {**BRIEF, "batch_norm": "all", "last_batch": "keep"}})
    assert study.require_updates(61) == [
        "the last mini-batch of an epoch would have 1 row, which batch normalisation can't normalise: "
        "it is dropped, another row in each epoch."
    ]
    data = dataset(rows=61)
    settings = Settings(**{**BRIEF, "cycles": 4}, batch_norm="all", last_batch="keep", lr_max=0.2)
    assert kl.fit(data, settings).evaluate("test")["accuracy"][0] > 0.9


def test_every_row_has_its_turn_although_one_is_dropped():
    batches = Batches(21, 10, 0, "keep", least=2)
    seen = {int(row) for t in range(40) for row in batches[t]}
    assert seen == set(range(21))


# degenerate data


def test_what_is_odd_about_data_is_said():
    constant = Split(np.ones((6, 2)), [0, 1, 1, 1, 1, 1])
    lacking = Split(np.ones((2, 2)), [1, 1])
    notes = Dataset("d", {"train": constant, "test": lacking}, ["a", "b"]).notes
    assert notes == (
        "every column of split 'train' is constant (6 equal rows): there is nothing to learn from",
        "split 'train' has one sample only of class 'a'",
        "split 'test' has no sample of class 'a'",
    )


# bounds


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": [10**7]},
        {"hidden": [10**400]},
        {"hidden": [50] * 1000},
        {"cycles": 1e9},
        {"cycles": 10**400},
        {"half_cycle": 10**30},
        {"half_cycle": "1" * 100_000},
        {"half_cycle": f"{'1' * 30} epochs"},
        {"half_cycle": "1" * 100_000 + "x"},
        {"points_per_cycle": 10**9},
        {"points_per_cycle": 10_000, "cycles": 100},
        {"order_seed": 2**64},
        {"updates_at_once": 10**9},
        {"curve_samples": 10**30},
    ],
)
def test_absurd_settings_are_refused_at_once(change):
    with pytest.raises(KlayerError) as caught:
        Settings(**change)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "values",
    [
        {"seeds": 10**9},
        {"seeds": [2**64]},
        {"seeds": True},
        {"seeds": "3"},
        {"seeds": 2.0},
        {"gradcheck": 1},
        {"grid": {"l2": [k / 1000 for k in range(101)], "lr_max": [1.0 + k for k in range(101)]}},
        {
            "grid": {
                name: [1e-5 * k for k in range(1, 100)]
                for name in ("l2", "lr_min", "lr_max", "bn_eps")
            }
        },
        {"grid": {"l2": []}},
        {"search": {"stages": [{"l2": "1e-5:1e-1"}], "trials": 10**9}},
        {"search": {"stages": [{"l2": "1e-5:1e-1", "trials": 10**9}]}},
        {"search": {"stages": [{"l2": "1e-5:1e-1"}], "seeds": 10**6}},
        {"search": {"stages": [{"l2": "1e-5:1e-1"}], "auto": 10**6}},
        {"search": {"stages": [{"l2": "1e-5:1e-1"}], "finalists": {"cycles": 1e30}}},
        {"search": {"stages": [{"l2": "1e-5:1e-1"}], "published": [{"l2": 0.1, "test": 53}]}},
        {"search": {"stages": [{"l2": "1e-5:1e-1"}], "published": [{"l3": 0.1}]}},
        {"published": [{"where": {"l2": 0.7}, "source": "a", "test": 0.5}]},
        {"published": [{"where": {"init": "xaver"}, "source": "a", "test": 0.5}]},
        {"published": [{"where": {"init": "he"}, "source": "a", "test": 53}]},
        {"published": [{"where": {"init": "he"}, "source": "a", "test": True}]},
    ],
)
def test_a_study_is_checked_whole_before_anything_is_made(values):
    with pytest.raises(KlayerError) as caught:
        Study.from_values(values, "file")
    assert str(caught.value).startswith("file")
    assert len(str(caught.value)) < 1000


def test_numbers_of_numpy_are_numbers_and_booleans_are_none():
    study = Study.from_values(
        {
            "seeds": np.int64(2),
            "settings": {
                "hidden": np.array([4, 3]),
                "l2": np.float32(0.5),
                "batch_size": np.int8(7),
            },
            "grid": {"lr_max": np.array([0.1, 0.2])},
            "published": [{"where": {"l2": 0.5}, "source": "a", "test": np.float64(0.5)}],
        }
    )
    assert (study.seeds, len(study.arms)) == ((0, 1), 2)
    assert study.arms[0].settings.hidden == (4, 3)
    assert Settings(half_cycle=np.int64(7)).half_cycle_updates(10) == 7
    assert seeds_of(np.int32(2)) == (0, 1)
    for change in (
        {"batch_size": True},
        {"l2": np.bool_(True)},
        {"hidden": [True]},
        {"half_cycle": True},
    ):
        with pytest.raises(KlayerError):
            Settings(**change)


def test_a_misspelt_setting_is_a_mistake_with_did_you_mean():
    with refuses("unknown setting 'batchnorm': did you mean 'batch_norm'?"):
        Settings(batchnorm="all")
    with refuses("unknown setting 'colour'"):
        Settings(colour=1)


def test_endless_seeds_are_refused():
    import itertools

    for seeds in (itertools.count(), range(10**12), 10**30):
        with pytest.raises(KlayerError, match="must be at most 100,000"):
            seeds_of(seeds)


def test_networks_that_would_not_fit_are_refused_before_memory_is_taken():
    network = kl.Network(10, (200_000, 200_000), 2)
    with refuses("1 network with 40,002,800,002 parameters would need about "):
        require_memory(network, 1, 100, 4)
    feed = Feed(dataset())
    settings = Settings(**{**BRIEF, "hidden": [900_000, 900_000]})
    with refuses("ask for fewer networks, or for fewer or narrower layers."):
        Population(feed, [Member(settings, 0)])
    require_memory(kl.Network(3072, (50, 50), 10), 30, 100, 4)


TOML = {
    "a key of very many parts": "a" + ".a" * 100_000 + " = 1",
    "a table of very many parts": "[" + "a." * 5_000 + "a]",
    "very many parts in quotes": '"a b"' + ' . "a b"' * 5_000 + " = 1",
    "many parts inside": "x = {" + "a." * 5_000 + "a = 1}",
    "arrays in arrays": "x = " + "[" * 100_000,
    "tables in tables": "x = " + "{a=" * 100_000,
    "a number of many digits": "seeds = " + "1" * 100_000,
    "no end": 'name = "' + "a" * 100_000,
    "a large file": "# " + "a" * 3_000_000,
}


@pytest.mark.parametrize("case", TOML)
def test_a_toml_file_that_would_fill_the_memory_is_refused(tmp_path, case):
    from klayer.study.study import read_study

    path = tmp_path / "a.toml"
    path.write_text(TOML[case])
    with pytest.raises(KlayerError) as caught:
        read_study(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_toml_file_may_begin_with_a_byte_order_mark_and_hold_dots(tmp_path):
    from klayer.study.toml_values import read_toml

    path = tmp_path / "a.toml"
    path.write_text('title = "' + "a.b. " * 200 + '" # ' + "a." * 200, encoding="utf-8-sig")
    assert len(read_toml(path)["title"]) == 1000


@pytest.mark.parametrize("text", ["0^-1:1", "0^0:1", "-2^0.5:1", "10^400:1", "1e400:2"])
def test_a_range_of_no_number_is_refused(text):
    from klayer.study.search.space import Range

    with pytest.raises(KlayerError, match="a range must"):
        Range.parse(text)


@pytest.mark.parametrize(
    "name", ["x" * 300, "a/" * 3000, "a\0b", "~nobody-by-this-name/x", "\ud800"]
)
def test_a_name_that_no_file_can_have_is_refused(name, tmp_path):
    from klayer.study.study import read_study

    with pytest.raises(KlayerError):
        kl.load(name)
    path = tmp_path / "a.toml"
    path.write_text('data = "' + "".join(f"\\U{ord(c):08x}" for c in name if c != "\ud800") + 'z"')
    if name[0] == "x":
        with pytest.raises(KlayerError, match="a data set must be a name or a path"):
            read_study(path)


def test_a_pipe_is_no_study(tmp_path):
    import os

    from klayer.study.study import read_study

    os.mkfifo(tmp_path / "a.toml")
    with refuses(f"{tmp_path / 'a.toml'}: must be a file, but is a named pipe"):
        read_study(tmp_path / "a.toml")


def test_a_large_image_makes_no_large_page():
    from klayer.report.png import picture, weight_sheet

    rng = np.random.default_rng(0)
    shape = (3, 400, 300)
    W = rng.normal(size=(math.prod(shape), 60))
    sheet, shown = weight_sheet(W, shape)
    assert shown == 60
    assert len(sheet) < 1_500_000
    assert len(picture(rng.integers(0, 256, math.prod(shape)), shape, 0, 255)) < 60_000


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_channels_are_drawn(channels):
    from klayer.report.png import picture, weight_sheet

    shape = (channels, 5, 4)
    assert picture(np.arange(math.prod(shape)), shape, 0, 80)
    assert weight_sheet(np.ones((math.prod(shape), 3)), shape)[1] == 3
