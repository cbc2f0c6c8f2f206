"""Other rows to train on: a new draw, or fewer."""

import numpy as np
import pytest

from klayer.data import Dataset, Split
from klayer.data.redraw import redrawn
from klayer.errors import KlayerError
from klayer.study import Study
from klayer.study.launch import run_study
from klayer.train import Engine, Feed, Member, Population, Settings


def rows_of(dataset, *names):
    return {tuple(row) for name in names for row in dataset.splits[name].features}


@pytest.fixture
def toy(rng):
    """300 + 100 + 50 rows, no two alike, of three classes of unequal size."""

    def split(n):
        return Split(rng.normal(size=(n, 4)), rng.choice(3, n, p=[0.6, 0.3, 0.1]))

    splits = {"train": split(300), "validation": split(100), "test": split(50)}
    return Dataset("toy", splits, ("a", "b", "c"))


def test_a_new_draw_keeps_rows_sizes_shares_test_and_standardisation(toy):
    new = redrawn(toy, split_seed=3)
    assert {k: len(v) for k, v in new.splits.items()} == {k: len(v) for k, v in toy.splits.items()}
    assert rows_of(new, "train", "validation") == rows_of(toy, "train", "validation")
    assert rows_of(new, "validation") != rows_of(toy, "validation")
    assert np.array_equal(new.splits["test"].features, toy.splits["test"].features)
    assert new.standardiser is toy.standardiser
    pooled = np.concatenate([toy.splits[name].labels for name in ("train", "validation")])
    share = np.bincount(pooled) / len(pooled)
    assert np.abs(np.bincount(new.splits["validation"].labels) / 100 - share).max() <= 0.02


def test_a_draw_follows_from_its_seed(toy):
    assert rows_of(redrawn(toy, 1), "train") == rows_of(redrawn(toy, 1), "train")
    assert rows_of(redrawn(toy, 1), "train") != rows_of(redrawn(toy, 2), "train")


def test_fewer_rows_are_among_more_and_nothing_changes_without_need(toy):
    few, more = redrawn(toy, train_samples=30), redrawn(toy, train_samples=100)
    assert rows_of(few, "train") < rows_of(more, "train") < rows_of(toy, "train")
    assert redrawn(toy) is toy
    assert redrawn(toy, train_samples=300) is toy
    assert redrawn(toy, train_samples=10_000) is toy


def test_a_new_draw_needs_a_validation_split_and_every_class_a_row(toy):
    without = Dataset("toy", {"train": toy.splits["train"]}, toy.class_names)
    with pytest.raises(KlayerError, match="`split_seed` draws training and validation anew"):
        redrawn(without, 1)
    with pytest.raises(
        KlayerError, match=r"every class must have.*`train_samples` is 2, .*raise it"
    ):
        redrawn(toy, train_samples=2)


def test_a_population_trains_on_the_rows_that_its_settings_say(toy):
    settings = Settings(hidden=(4,), batch_size=10, train_samples=40, split_seed=2, cycles=1)
    population = Population(Feed(toy), [Member(settings, 0)])
    assert population.updates_per_epoch == 4
    wanted = redrawn(toy, 2, 40)
    assert np.array_equal(population.feed.dataset.splits["train"].features,
                          wanted.splits["train"].features)  # fmt: skip
    assert population.take([0]).feed is population.feed
    with Engine(1) as engine:
        assert population.evaluate("train", engine)["accuracy"].shape == (1,)


def test_networks_with_the_same_draw_have_the_same_bits_alone(toy, tmp_path):
    settings = {"hidden": [5], "batch_size": 20, "cycles": 1, "half_cycle": "1 epoch"}
    values = {"seeds": 3, "settings": settings, "vary": ["init", "split"]}
    run = run_study(Study.from_values(values), toy, out=tmp_path / "vary", workers=2)
    one = next(r for r in run.networks if r.arm.endswith(": split 2"))
    alone = {"seeds": [0], "settings": {**settings, "split_seed": 2}}
    again = run_study(Study.from_values(alone), toy, out=tmp_path / "alone", workers=1)
    assert again.networks[0].history == one.history
    assert again.networks[0].scores == one.scores


def test_a_study_refuses_what_the_data_cannot_give_before_anything_is_written(toy, tmp_path):
    without = Dataset("toy", {"train": toy.splits["train"]}, toy.class_names)
    with pytest.raises(KlayerError, match="`split_seed`"):
        run_study(Study.from_values({"vary": ["init", "split"]}), without, out=tmp_path / "run")
    study = Study.from_values({"settings": {"train_samples": 1}})
    with pytest.raises(KlayerError, match="`train_samples` is 1"):
        run_study(study, without, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
