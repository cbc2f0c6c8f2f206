"""A population in a file: the same bits again, with its data or without."""

import json

import numpy as np
import pytest

import klayer as kl
from klayer.data import Standardiser
from klayer.data.fingerprint import standardiser_digest
from klayer.files import Damaged, read_arrays, write_arrays

BRIEF = {"hidden": (4,), "cycles": 1, "half_cycle": 6, "batch_size": 20}


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(120, 3))
    return X, np.where(X[:, 0] > 0, "yes", "no")


@pytest.fixture
def population(rows):
    return kl.fit(*rows, [kl.Settings(l2=l2, **BRIEF) for l2 in (0.1, 0.01)], seeds=2)


def bits(population):
    return {key: value.tobytes() for key, value in population.state.packed()[0].items()}


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_what_was_saved_comes_back_bit_for_bit(rows, tmp_path, task):
    X, y = rows
    labels = {"classification": y, "regression": X[:, 0], "multilabel": (X[:, :2] > 0).astype(int)}
    population = kl.fit(X, labels[task], seeds=3, batch_norm="hidden", **BRIEF)
    again = kl.load_population(population.save(tmp_path / "mine"), X, labels[task])
    assert bits(again) == bits(population)
    assert [(one.settings, one.seed) for one in again.members] == [
        (one.settings, one.seed) for one in population.members
    ]
    for split in population.feed.splits:
        for name, values in population.evaluate(split).items():
            assert np.array_equal(again.evaluate(split)[name], values)


def test_training_goes_on_as_if_nothing_had_happened(rows, tmp_path):
    feed = kl.Feed(kl.fit(*rows, **BRIEF).feed.dataset)
    members = [kl.Member(kl.Settings(optimiser="momentum", **BRIEF), seed) for seed in (0, 1)]
    whole, half = kl.Population(feed, members), kl.Population(feed, members)
    kl.Trainer(whole).train()
    kl.Trainer(half).train(until=5)
    again = kl.load_population(half.save(tmp_path / "half"), *rows)
    kl.Trainer(again).train()
    assert bits(again) == bits(whole)


def test_without_its_data_it_still_answers_and_shows_itself(population, rows, tmp_path):
    again = kl.load_population(population.save(tmp_path / "mine.safetensors"))
    assert np.array_equal(again.model().predict(rows[0]), population.model().predict(rows[0]))
    assert again.model().class_names == ("no", "yes")
    for name, column in population.curves().items():
        assert np.array_equal(again.curves()[name], column)
    assert repr(again) == repr(population)
    for ask in (lambda: again.evaluate("test"), lambda: again.report(tmp_path / "run")):
        with pytest.raises(kl.KlayerError, match=r"load_population\(path, data\)"):
            ask()


def test_a_named_data_set_is_read_again(tmp_path):
    population = kl.fit("digits", **BRIEF)
    again = kl.load_population(population.save(tmp_path / "mine"))
    assert np.array_equal(again.evaluate("test")["loss"], population.evaluate("test")["loss"])


def test_a_frame_with_names_comes_back_with_its_encoder(tmp_path):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"n": rng.normal(size=90), "c": rng.choice(list("abc"), 90)})
    frame["t"] = np.where(frame["c"] == "a", 1, 0)
    population = kl.fit(frame, target="t", **BRIEF)
    again = kl.load_population(population.save(tmp_path / "mine"), frame, target="t")
    assert again.feed.dataset.encoder == population.feed.dataset.encoder
    bare = kl.load_population(tmp_path / "mine.safetensors")
    assert bare.feed.dataset.encoder == population.feed.dataset.encoder


def test_rows_that_were_drawn_anew_are_drawn_again(rows, tmp_path):
    population = kl.fit(*rows, split_seed=3, train_samples=40, seeds=2, **BRIEF)
    again = kl.load_population(population.save(tmp_path / "mine"), *rows)
    assert np.array_equal(again.evaluate("test")["loss"], population.evaluate("test")["loss"])
    assert len(again.feed["train"]) == 40
    run = kl.run_of(population, tmp_path / "run")
    assert [one.score("test") for one in run.networks] == population.evaluate("test")[
        "accuracy"
    ].tolist()
    bare = kl.load_population(tmp_path / "mine.safetensors")
    assert np.array_equal(bare.model().predict(rows[0]), population.model().predict(rows[0]))


def test_a_population_keeps_the_standardiser_of_the_version_that_made_it(
    population, rows, tmp_path
):
    arrays, about = read_arrays(population.save(tmp_path / "mine"))
    arrays["inputs/mean"] = np.nextafter(arrays["inputs/mean"], np.inf)
    own = Standardiser(arrays["inputs/mean"], arrays["inputs/scale"])
    about["data"]["fingerprint"]["standardiser"] = standardiser_digest(own)
    write_arrays(tmp_path / "older.safetensors", arrays, about)
    again = kl.load_population(tmp_path / "older.safetensors", *rows)
    assert np.array_equal(again.feed.dataset.standardiser.mean, own.mean)


def test_other_data_are_refused(population, rows, tmp_path):
    path = population.save(tmp_path / "mine")
    X, y = rows
    with pytest.raises(kl.KlayerError, match="was trained on other data: what differs .*features"):
        kl.load_population(path, X + 1, y)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, kl.KlayerError, "no such file"),
        (lambda path: path.write_bytes(b"not it"), Damaged, "must be a whole file"),
        (
            lambda path: write_arrays(path, {}, {"a": 1}),
            kl.KlayerError,
            "must be a population that",
        ),
    ],
)
def test_what_is_no_population_is_refused(tmp_path, make, error, message):
    path = tmp_path / "mine.safetensors"
    make(path)
    with pytest.raises(error, match=message):
        kl.load_population(path)


def test_a_file_that_lacks_a_part_is_refused(population, tmp_path):
    path = population.save(tmp_path / "mine")
    arrays, about = read_arrays(path)
    for gone in ("members", "state", "data"):
        rest = {key: value for key, value in about.items() if key != gone}
        write_arrays(path, arrays, rest)
        with pytest.raises(kl.KlayerError):
            kl.load_population(path)
    write_arrays(path, {k: v for k, v in arrays.items() if k != "params/W1"}, about)
    with pytest.raises(kl.KlayerError):
        kl.load_population(path)


def test_a_folder_that_is_not_there_is_named(population, tmp_path):
    with pytest.raises(kl.KlayerError, match="there is no folder"):
        population.save(tmp_path / "no" / "mine")


# A page.


def test_a_population_leaves_a_run_with_a_page(population, rows, tmp_path):
    page = population.report(tmp_path / "run", title="What λ buys")
    text = page.read_text(encoding="utf-8")
    assert "What λ buys" in text
    assert "can't be read here" not in text  # the data are at hand
    run = kl.Run(tmp_path / "run")
    assert (run.kind, run.state_in_words, len(run.networks)) == ("study", "finished", 4)
    scores = population.evaluate("test")["accuracy"]
    assert [one.score("test") for one in run.networks] == scores.tolist()
    assert [one.settings.l2 for one in run.networks] == [0.1, 0.1, 0.01, 0.01]
    best = run.best()
    p = [(m.settings.l2, m.seed) for m in population.members].index((best.settings.l2, best.seed))
    assert np.array_equal(
        run.model(best).predict(rows[0])[0], population.model().predict(rows[0])[p]
    )
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["seconds"] > 0


def test_what_can_not_be_a_run_is_refused(population, tmp_path):
    with pytest.raises(kl.KlayerError, match="a run crosses settings with seeds"):
        kl.run_of(population.take([0, 3]), tmp_path / "run")
    fresh = kl.Population(population.feed, population.members)
    with pytest.raises(kl.KlayerError, match="stands at update 0 of 12: train it to its end"):
        kl.run_of(fresh, tmp_path / "run")
    assert not (tmp_path / "run").exists()
