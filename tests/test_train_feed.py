import threading

import numpy as np
import pytest

from klayer.train import Batches, Engine
from klayer.train.feed import HELD, Feed

X, LABELS = np.arange(60.0).reshape(20, 3), np.arange(20) % 4


def a_feed(last_batch="drop"):
    return Feed(X, LABELS, Batches(20, 6, order_seed=1, last_batch=last_batch))


def test_a_block_holds_the_batches_of_its_updates():
    feed = a_feed("keep")
    block = feed.block(2, 5)  # the second of them is what an epoch of 20 leaves over: 2 samples
    assert [len(labels) for labels in block.labels] == [6, 2, 6]
    for i, t in enumerate(range(2, 5)):
        rows = feed.batches[t]
        np.testing.assert_array_equal(block.x[block.rows[i]], X[rows])
        np.testing.assert_array_equal(block.labels[i], LABELS[rows])
        before = block.x[: block.rows[i].start]
        np.testing.assert_array_equal(block.overlaps[i], X[rows] @ before.T)


def test_a_block_is_gathered_once_for_all_threads(monkeypatch):
    feed, gathered, at_the_start = a_feed(), [], threading.Barrier(4)
    gather = feed.gather

    def counted(start, stop):
        gathered.append((start, stop))
        return gather(start, stop)

    monkeypatch.setattr(feed, "gather", counted)

    def ask(_, ws):
        at_the_start.wait()
        return [feed.block(t, t + 2) for t in range(0, 2 * HELD, 2)]

    with Engine(4) as engine:
        found = engine.map(ask, range(4))
    assert sorted(gathered) == sorted(set(gathered))
    assert all(
        one is other for blocks in found for one, other in zip(blocks, found[0], strict=True)
    )


def test_a_block_that_was_let_go_is_gathered_again():
    feed = a_feed()
    first = feed.block(0, 2)
    for t in range(2, 2 + 2 * HELD, 2):
        feed.block(t, t + 2)
    again = feed.block(0, 2)
    assert again is not first
    np.testing.assert_array_equal(again.x, first.x)


def test_an_error_while_gathering_reaches_everybody_who_asks():
    feed = Feed(X, LABELS[:3], Batches(20, 6, order_seed=1))
    for _ in range(2):
        with pytest.raises(IndexError):
            feed.block(0, 2)
