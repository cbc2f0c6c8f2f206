"""What a notebook or a prompt shows of the things that users hold."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import klayer as kl
from klayer.study.launch import run_study

BRIEF = {"hidden": (4,), "cycles": 1, "half_cycle": 3}


class Strict(HTMLParser):
    """Collects the text; every tag must be closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    parser = Strict()
    parser.feed(html)
    assert parser.open == []
    assert "<script" not in html
    return " ".join(" ".join(parser.text).split())


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(120, 3))
    return X, np.where(X[:, 0] > 0, "<b>right</b>", "left & wrong")


@pytest.fixture(scope="module")
def population(rows):
    return kl.fit(*rows, [kl.Settings(l2=l2, **BRIEF) for l2 in (0.25, 0.01)], seeds=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    study = kl.Study.from_values({"seeds": 2, "settings": BRIEF, "grid": {"l2": [0.5, 0.25]}})
    return run_study(study, out=tmp_path_factory.mktemp("told") / "run")


def test_a_population_shows_what_differs_and_how_good_it_is(population):
    text = read(population._repr_html_())
    assert "Population of 4 networks" in text
    for words in ("3-4-2", "arrays, classification", "half_cycle = 3", "update 6 of 6", "l2"):
        assert words in text
    final = population.curves()["validation_accuracy"].reshape(4, -1)[:, -1]
    for accuracy in final:
        assert f"{accuracy:.2%}" in text
    assert "test" not in text
    assert re.fullmatch(
        r"<Population of 4 networks 3-4-2 on arrays, at update 6 of 6, validation .*% \(.*\)>",
        repr(population),
    )


def test_a_population_that_is_not_trained_shows_itself_too(rows):
    untrained = kl.Population(kl.Feed(kl.load("digits")), [kl.Member(kl.Settings(**BRIEF), 0)])
    assert "update 0 of 6" in read(untrained._repr_html_())
    assert repr(untrained) == "<Population of 1 network 64-4-10 on digits, at update 0 of 6>"
    assert len(untrained.curves()["update"]) == 0


@pytest.mark.filterwarnings("ignore:all 1 networks diverged")
def test_a_diverged_network_is_shown_as_such(rows):
    population = kl.fit(*rows, lr_max=1e30, **BRIEF)
    assert "diverged: cost not finite at update" in read(population._repr_html_())
    assert "all networks diverged" in repr(population)


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_data_and_models_of_every_task_show_themselves(rows, task):
    X, y = rows
    labels = {"classification": y, "regression": X[:, 0], "multilabel": (X[:, :2] > 0).astype(int)}
    population = kl.fit(X, labels[task], **BRIEF)
    data, model = population.feed.dataset, population.model()
    text = read(data._repr_html_())
    assert f"task {task}" in text
    for name, split in data.splits.items():
        assert f"{name} {len(split)}" in text
    assert repr(data).startswith(f"<Dataset 'arrays': 3 features, {task}, {data.n_classes} ")
    assert task in read(model._repr_html_())
    for name in data.class_names:
        assert name in text
        assert name in read(model._repr_html_())
        assert name in repr(model)


def test_data_with_many_classes_show_some(rows):
    X = rows[0]
    data = kl.load("synthetic:classes=40,samples=1000,features=5")
    text = read(data._repr_html_())
    assert "the first 20 of 40" in text
    assert len(X)


def test_a_run_shows_its_arms(run):
    text = read(run._repr_html_())
    for words in ("Study on digits", "state finished", "networks 4", str(run.path)):
        assert words in text
    for label in ("λ = 0.5", "λ = 0.25"):
        assert label in text
    accuracies = [one.score("test") for one in run.networks[:2]]
    assert f"{100 * np.mean(accuracies):.2f} ± {np.std(accuracies, ddof=1):.2%}" in text
    assert repr(run) == f"<Run {str(run.path)!r}: study on digits, 4 networks, finished>"


def test_a_check_shows_itself():
    check = kl.check_gradients(lambda p: (p["w"] @ p["w"], {"w": 2 * p["w"]}), {"w": np.ones(3)})
    assert "The gradient is right." in read(check._repr_html_())


def test_curves_are_a_table_with_a_row_for_each_network_and_point(population):
    curves = population.curves()
    T = len(population.state.recorded)
    assert {len(column) for column in curves.values()} == {4 * T}
    assert curves["seed"].tolist() == [seed for seed in (0, 1, 0, 1) for _ in range(T)]
    assert curves["network"].reshape(4, T)[:, 0].tolist() == [0, 1, 2, 3]
    for name in ("train_loss", "train_cost", "train_accuracy", "validation_accuracy"):
        assert np.array_equal(curves[name].reshape(4, T), population.state.history[name])
    assert np.array_equal(
        curves["lr"].reshape(4, T), population.learning_rates(np.array(population.state.recorded)).T
    )


def test_curves_of_a_run_name_part_arm_and_seed(run):
    curves = run.curves()
    record = run.networks[-1]
    mine = (curves["arm"] == record.arm) & (curves["seed"] == record.seed)
    assert curves["part"][mine].tolist() == ["arms"] * mine.sum()
    assert curves["train_loss"][mine].tolist() == record.history["train_loss"]
    assert curves["update"][mine].tolist() == record.history["update"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_libraries_of_frames_take_the_table_as_it_is(population, run, library):
    frames = pytest.importorskip(library)
    for curves in (population.curves(), run.curves()):
        assert list(frames.DataFrame(curves).columns) == list(curves)
