import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import klayer as kl
from klayer.train import Batches
from klayer.train.blocks import HELD, Blocks, spans
from klayer.train.feed import Rows

X, LABELS = np.arange(60.0).reshape(20, 3), np.arange(20) % 4


def some_blocks(last_batch="drop", augment=None):
    batches = Batches(20, 6, order_seed=1, last_batch=last_batch)
    return Blocks(Rows(X, LABELS, X.dtype), batches, overlaps=True, augment=augment)


def test_a_block_holds_the_batches_of_its_updates():
    blocks = some_blocks("keep")
    block = blocks.get((2, 5))  # the second one is what an epoch of 20 leaves over: 2 samples
    assert [len(labels) for _, labels, *_ in block.batches] == [6, 2, 6]
    start = 0
    for (x, labels, *_), overlap, t in zip(block.batches, block.overlaps, range(2, 5), strict=True):
        rows = blocks.batches[t]
        np.testing.assert_array_equal(x, X[rows])
        np.testing.assert_array_equal(labels, LABELS[rows])
        np.testing.assert_array_equal(overlap, X[rows] @ block.x[:start].T)
        start += len(rows)


def test_a_block_is_gathered_once_for_all_threads(monkeypatch):
    blocks, gathered, at_the_start = some_blocks(), [], threading.Barrier(4)
    gather = blocks._gather

    def counted(span):
        gathered.append(span)
        return gather(span)

    monkeypatch.setattr(blocks, "_gather", counted)

    def ask(_):
        at_the_start.wait(60)
        return [blocks.get((t, t + 2)) for t in range(0, 2 * HELD, 2)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert sorted(gathered) == sorted(set(gathered))
    assert all(one is other for some in found for one, other in zip(some, found[0], strict=True))


def test_a_block_that_was_let_go_is_gathered_again():
    blocks = some_blocks()
    first = blocks.get((0, 2))
    for t in range(2, 2 + 2 * HELD, 2):
        blocks.get((t, t + 2))
    again = blocks.get((0, 2))
    assert again is not first
    np.testing.assert_array_equal(again.x, first.x)


def test_an_error_while_gathering_reaches_everybody_who_asks():
    blocks = Blocks(Rows(X, LABELS[:3], X.dtype), Batches(20, 6, order_seed=1), overlaps=True)
    for _ in range(2):
        with pytest.raises(IndexError):
            blocks.get((0, 2))


def test_blocks_are_cut_on_a_grid_that_counts_from_the_first_update():
    whole = spans(0, 50, 7)
    assert whole[0] == (0, 7)
    assert whole[-1] == (49, 50)
    for start in range(50):
        ends = {stop for _, stop in spans(start, 50, 7)}
        assert ends == {stop for _, stop in whole if stop > start}
    assert spans(5, 5, 7) == []


def test_augmentation_sees_the_rows_and_the_update():
    seen = []

    class Raw:
        def transform(self, features, dtype):
            return features.astype(dtype) / 2

    def augment(rows, *, update):
        seen.append(update)
        return rows + update

    batches = Batches(20, 6, order_seed=1)
    blocks = Blocks(Rows(X, LABELS, X.dtype, Raw()), batches, overlaps=False, augment=augment)
    block = blocks.get((1, 3))
    assert seen == [1, 2]
    for (x, *_), t in zip(block.batches, (1, 2), strict=True):
        np.testing.assert_array_equal(x, (X[batches[t]] + t) / 2)


def test_many_rows_of_8_bits_stay_what_they_are(monkeypatch):
    feed = kl.Feed(kl.load("digits"))
    assert feed.ready("train").stored.dtype == np.float32
    monkeypatch.setattr("klayer.train.feed.MOST_READY", 1000)
    bytes_feed = kl.Feed(kl.load("digits"))
    rows = bytes_feed.ready("train")
    assert rows.stored.dtype == np.uint8
    np.testing.assert_array_equal(rows.X, feed.ready("train").X)
