"""The order of the rows: every row once an epoch, from the seed alone, as mixed as it is said to be."""

from __future__ import annotations

import re

import numpy as np
import pytest

import klayer as kl
from klayer.data import Dataset, Split
from klayer.errors import KlayerError
from klayer.train.batches import Batches
from klayer.train.shuffling import PLACES, Shuffling, read_shuffle

SIZES = [(1000, 256), (1001, 256), (1003, 300), (777, 2), (500, 5000), (128, 128), (7, 3), (1, 2)]
SIZES += [(300, 10**17)]  # no more memory than the rows take


@pytest.mark.parametrize(("samples", "window"), SIZES)
def test_an_epoch_has_every_row_once(samples, window):
    order = Shuffling(samples, seed=3, window=window)
    for epoch in range(3):
        rows = order.rows(epoch, 0, samples)
        assert sorted(rows.tolist()) == list(range(samples))


@pytest.mark.parametrize(("samples", "window"), SIZES)
def test_any_part_of_an_epoch_is_that_part_of_the_whole(samples, window):
    whole = Shuffling(samples, 0, window).rows(1, 0, samples)
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, last = np.sort(rng.choice(samples + 1, 2, replace=False))
        part = Shuffling(samples, 0, window).rows(1, first, last)
        np.testing.assert_array_equal(part, whole[first:last])


def test_the_order_follows_from_seed_epoch_and_window_alone():
    def order(seed=0, epoch=0, window=256):
        return Shuffling(2000, seed, window).rows(epoch, 0, 2000).tolist()

    assert order() == order()
    assert len({tuple(order(*key)) for key in ((), (1,), (0, 1), (0, 0, 512))}) == 4


def test_full_shuffling_is_one_permutation_of_seed_and_epoch():
    expected = np.random.default_rng(np.random.SeedSequence([5, 2])).permutation(100)
    np.testing.assert_array_equal(Shuffling(100, 5).rows(2, 0, 100), expected)


def test_a_window_comes_from_many_places_and_reads_runs():
    order = Shuffling(100_000, 0, 1280)
    rows = np.sort(order.window_rows(0, 3))
    runs = np.flatnonzero(np.diff(rows) > 1).size + 1
    assert order.run == 10
    assert PLACES * 0.9 < runs <= PLACES
    assert rows[-1] - rows[0] > 90_000


@pytest.mark.parametrize("window", [1280, 12_800])
def test_mini_batches_are_as_mixed_as_the_formula_says(window):
    n, samples = 100, 100_000
    labels = np.repeat(np.arange(10), samples // 10)  # sorted by class: the worst file
    order = Shuffling(samples, 0, window)
    shares = []
    for epoch in range(4):
        batches = labels[order.rows(epoch, 0, samples)].reshape(-1, n)
        shares.append((batches[:, :, None] == np.arange(10)).mean(axis=1))
    variance = np.concatenate(shares).var(axis=0).mean()
    f = (1 - window / samples) / PLACES
    expected = 0.1 * 0.9 / n * (1 + (n - 1) * f)
    assert variance == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("shuffle", ["full", "block:64"])
def test_training_goes_on_from_any_update(shuffle):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    data = Dataset("toy", {"train": Split(X, (X[:, 0] > 0).astype(int))}, ("a", "b"))
    settings = kl.Settings(
        hidden=(4,), batch_size=16, cycles=1, half_cycle="2 epochs", shuffle=shuffle
    )
    whole, parts = (
        kl.Population(kl.Feed(data), [kl.Member(settings, s) for s in (0, 1)]) for _ in range(2)
    )
    kl.Trainer(whole).train()
    for until in (1, 7, 19, 40, None):
        kl.Trainer(parts).train(until)
    for key, value in whole.state.params.items():
        np.testing.assert_array_equal(value, parts.state.params[key])


def test_windows_of_updates_are_those_that_their_rows_come_from():
    batches = Batches(1003, 10, 0, window=256)
    for first in range(0, 3 * batches.per_epoch, 7):
        updates = range(first, first + 5)
        *wanted, _ = batches.windows(updates)
        there = np.concatenate([batches.shuffling.window_rows(*key) for key in wanted])
        assert set(batches.of(updates)[0].tolist()) <= set(there.tolist())


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("full", "full"),
        (" Full ", "full"),
        ("block:16384", "block:16384"),
        ("BLOCK : 16_384", "block:16384"),
    ],
)
def test_a_way_to_shuffle_has_one_form(value, form):
    assert read_shuffle(value) == form


@pytest.mark.parametrize(
    "value",
    [
        "block",
        "block:",
        "block:1",
        "block:-5",
        "block:1e4",
        "none",
        7,
        False,
        None,
        f"block:1{'0' * 20}",
    ],
)
def test_another_way_to_shuffle_is_refused(value):
    message = (
        "`shuffle` must be full or block:ROWS with ROWS >= 2, as in block:16384, but got shuffle="
    )
    with pytest.raises(KlayerError, match=f"^{re.escape(message)}"):
        kl.Settings(shuffle=value)
