"""One meaning of predicting and of raw rows, whatever the door; and a hint where rows are not raw."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import klayer as kl
from klayer.cli.app import app
from klayer.data.rawness import unlike_training

BRIEF = {"hidden": (30,), "cycles": 1, "half_cycle": "2 epochs", "batch_size": 20}


@pytest.fixture(scope="module")
def population():
    return kl.fit("digits", **BRIEF)


@pytest.fixture(scope="module")
def run(population, tmp_path_factory):
    return kl.run_of(population, tmp_path_factory.mktemp("meaning") / "run")


@pytest.fixture(scope="module")
def rows(population):
    return population.feed.dataset.splits["test"].features[:40]


def predicted(*args):
    result = CliRunner().invoke(app, ["predict", *map(str, args)])
    if result.exception:
        raise result.exception
    return result


def test_every_door_gives_the_same_answers_for_the_same_raw_rows(population, run, rows, tmp_path):
    model = population.model()
    wanted = model.predict(rows)
    assert np.array_equal(run.model().predict(rows), wanted)
    assert np.array_equal(model.predict_probs(rows), wanted)
    assert np.array_equal(model.predict_labels(rows), wanted.argmax(axis=-1))
    names = np.array(model.class_names)[wanted.argmax(axis=-1)]
    assert np.array_equal(model.predict_names(rows), names)
    again = kl.load_population(population.save(tmp_path / "mine"))
    assert np.array_equal(again.model().predict(rows), wanted)
    np.save(tmp_path / "rows.npy", rows)
    found = json.loads(predicted(run.path, tmp_path / "rows.npy", "--json").stdout)
    assert [one["class"] for one in found] == names[0].tolist()
    told = [list(one["probabilities"].values()) for one in found]
    assert np.allclose(told, wanted[0], atol=1e-7)
    # The scores of an evaluation are those of the predictions.
    split = population.feed.dataset.splits["test"]
    right = (model.predict_labels(split.features)[0] == split.labels).mean()
    assert right == pytest.approx(population.evaluate("test")["accuracy"][0])


def test_raw_rows_give_no_hint(population):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for split in population.feed.dataset.splits.values():
            population.model().predict(split.features)
            population.model().predict(split.features[:1])


@pytest.mark.parametrize(
    ("spoil", "hint"),
    [
        (lambda X, s: s.transform(X, np.float64), "they look standardised already"),
        (lambda X, s: X / 255, "were they divided by something"),
        (lambda X, s: X * 100.0, "in other units, or light and dark the other way round"),
    ],
)
def test_rows_that_are_not_raw_are_noticed(spoil, hint):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6)) * [1, 5, 20, 100, 3, 40] + [9, 50, -80, 1000, 20, 0]
    population = kl.fit(X, (X[:, 0] > 9).astype(int), **BRIEF)
    model = population.model()
    with pytest.warns(UserWarning, match=f"`X` must be raw rows.*{hint}"):
        model.predict(spoil(X, model.standardiser))


@pytest.mark.parametrize("seed", range(5))
def test_odd_rows_of_the_same_kind_give_no_hint(seed):
    rng = np.random.default_rng(seed)
    X = rng.lognormal(size=(300, 5)) * 10.0 ** rng.integers(-3, 4, 5)
    fitted = kl.fit(X, rng.integers(0, 2, 300), hidden=(3,), cycles=1, half_cycle=1)
    standardiser = fitted.model().standardiser
    for some in (X, X[:1], X[:20], np.repeat(X[:1], 50, axis=0), X[X[:, 0].argsort()[-30:]]):
        assert unlike_training(some, standardiser) == ""


def test_rows_of_training_that_are_standardised_are_raw():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    model = kl.fit(X, (X[:, 0] > 0).astype(int), hidden=(3,), cycles=1, half_cycle=1).model()
    assert unlike_training(X, model.standardiser) == ""


def picture(path, size, mode="L", invert=False, index=3):
    digit = kl.load("digits").splits["test"].features[index].reshape(8, 8) * 15
    image = Image.fromarray((255 - digit if invert else digit).astype(np.uint8))
    image.convert(mode).resize(size).save(path)
    return path


def test_a_picture_of_another_kind_is_read_and_said(run, tmp_path):
    for name, size, mode, words in (
        ("same.png", (8, 8), "L", []),
        ("large.png", (32, 32), "L", ["not 8 x 8 pixels as in training but, for example, 32 x 32"]),
        ("wide.png", (32, 8), "L", ["32 x 8: they are resized, and become wider or narrower"]),
        ("colour.png", (8, 8), "RGB", ["1 of 1 images are in colour: they are made grey"]),
        ("clear.png", (8, 8), "LA", ["have transparency: they are put on white"]),
    ):
        result = predicted(run.path, picture(tmp_path / name, size, mode))
        for word in words:
            assert word in result.stderr
        assert bool(result.stderr) == bool(words), name
        assert result.stdout.startswith(str(tmp_path / name))


def test_a_picture_with_light_and_dark_the_other_way_round_is_noticed(run, tmp_path):
    result = predicted(run.path, picture(tmp_path / "ink.png", (8, 8), invert=True))
    assert "light and dark the other way round?" in result.stderr
