"""Made-up clouds: deterministic, of any shape, learnable but not trivial."""

from __future__ import annotations

import re

import numpy as np
import pytest

from klayer.data import load
from klayer.data.sources import synthetic
from klayer.errors import KlayerError


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def test_by_default_the_shape_is_cifar10s():
    data = load("synthetic")
    assert (data.n_features, data.n_classes, data.image_shape) == (3072, 10, (3, 32, 32))
    assert [len(split) for split in data.splits.values()] == [5000, 1000, 1000]
    assert data.splits["train"].features.dtype == np.float32


def test_options_set_every_size():
    text = "synthetic:features=7, classes=3, samples=31, validation=5, test=4, seed=2"
    data = load(text)
    assert (data.n_features, data.n_classes, data.image_shape) == (7, 3, None)
    assert [len(split) for split in data.splits.values()] == [31, 5, 4]
    assert np.bincount(data.splits["train"].labels).tolist() == [11, 10, 10]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    first, again, other = (load("synthetic:features=9", seed=seed) for seed in (3, 3, 4))
    for name, split in first.splits.items():
        assert split.features.tobytes() == again.splits[name].features.tobytes()
        assert split.labels.tobytes() == again.splits[name].labels.tobytes()
        assert split.features.tobytes() != other.splits[name].features.tobytes()


def test_a_seed_in_the_name_goes_before_the_argument():
    named, plain = load("synthetic:features=9,seed=3", seed=8), load("synthetic:features=9", seed=3)
    np.testing.assert_array_equal(named.splits["test"].features, plain.splits["test"].features)


def test_the_task_can_be_learned_but_not_by_planes_alone():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    data = load("synthetic:features=20,classes=10,samples=2000")
    train, test = data.splits["train"], data.splits["test"]
    planes = LogisticRegression(max_iter=500).fit(train.features, train.labels)
    near = KNeighborsClassifier(9).fit(train.features, train.labels)
    assert 0.5 < planes.score(test.features, test.labels) < 0.93
    assert near.score(test.features, test.labels) > planes.score(test.features, test.labels) + 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("feature=3", "unknown option of `synthetic` 'feature': did you mean 'features'?"),
        (
            "features=x",
            "an option of `synthetic` must be a whole number, but got 'features=x': write for "
            "example features=50.",
        ),
        ("features", "an option of `synthetic` must be a whole number, but got 'features'"),
        ("seed=-1", "an option of `synthetic` must be a whole number, but got 'seed=-1'"),
        ("seed=1,seed=2", "options of `synthetic` must be given once, but seed comes twice."),
        ("features=0", "synthetic: features must be at least 1, but got 0."),
        ("classes=1", "synthetic: classes must be at least 2, but got 1."),
        ("samples=4", "synthetic: samples must be at least 10, one per class, but got 4."),
        ("test=0", "synthetic: test must be at least 1, but got 0."),
    ],
)
def test_wrong_options_are_refused(options, message):
    with refuses(message):
        load(f"synthetic:{options}")


def test_more_than_the_memory_holds_is_refused(monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(synthetic, "_draw", full)
    with refuses("synthetic: 7,000 samples of 3,072 features don't fit into memory"):
        load("synthetic")
