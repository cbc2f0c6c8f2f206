"""A first layer whose updates are carried out several at a time: what it must equal."""

import gc
import weakref

import numpy as np
import pytest

from klayer.nn import DelayedWeights, Workspace, delayed
from klayer.nn.delayed import delay_pays, lay_out
from klayer.nn.layers import in_column_order

P, D, H = 3, 900, 40


def weights(rng, dtype=np.float64, networks=P):
    return rng.standard_normal((networks, D, H)).astype(dtype)


def one_by_one(W, xs, gs, lrs, l2):
    """Return ``x W`` before each update, and W after all, by the plain formula."""
    products = []
    for x, g, lr in zip(xs, gs, lrs, strict=True):
        products.append(x @ W)
        gradient = x.T @ g + 2 * l2[:, None, None] * W
        W = W - lr[:, None, None] * gradient
    return products, W


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("sizes", [(7,), (7, 7), (7, 5, 6)], ids=len)
@pytest.mark.parametrize("order", ["rows", "columns"])
def test_delayed_weights_equal_updates_one_by_one(rng, dtype, sizes, order):
    W, l2 = weights(rng, dtype), np.array([0.0, 0.1, 1.0], dtype)
    xs = [rng.standard_normal((n, D)).astype(dtype) for n in sizes]
    gs = [rng.standard_normal((P, n, H)).astype(dtype) for n in sizes]
    lrs = [rng.random(P).astype(dtype) for _ in sizes]
    products, after = one_by_one(W, xs, gs, lrs, l2)

    moving = lay_out(W) if order == "columns" else W.copy()
    assert in_column_order(moving) == (order == "columns")
    x = np.concatenate(xs)
    ends = np.cumsum((0, *sizes))
    overlaps = [one @ x[:end].T for one, end in zip(xs, ends, strict=False)]
    block = DelayedWeights(moving, x, overlaps, l2, Workspace())
    for i, expected in enumerate(products):
        np.testing.assert_allclose(block.multiply(i), expected, rtol=1e-9, atol=1e-9)
        block.descend(i, gs[i], lrs[i])
    np.testing.assert_array_equal(moving, W)
    block.settle()
    np.testing.assert_allclose(moving, after, rtol=1e-10, atol=1e-10)


def a_block(W, x, g, threads=1, run=None):
    """Do two updates at once; return what they multiplied to, and the weights."""
    moving = lay_out(W)
    half = len(x) // 2
    overlaps = [x[:half] @ x[:0].T, x[half:] @ x[:half].T]
    l2, lr = np.full(len(W), 0.1, W.dtype), np.full(len(W), 0.05, W.dtype)
    block = DelayedWeights(moving, x, overlaps, l2, Workspace(), threads, run)
    products = []
    for i in range(2):
        products.append(block.multiply(i).copy())
        block.descend(i, g[:, i * half : (i + 1) * half], lr)
    block.settle()
    return *products, moving


def in_threads(function, pieces):
    for piece in reversed(pieces):
        function(piece, Workspace())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("trusted", [True, False], ids=["as tried", "as if the trial had failed"])
def test_a_network_has_the_bits_that_it_has_alone(rng, dtype, trusted, monkeypatch):
    if not trusted:
        monkeypatch.setattr(delayed, "_same_bits", lambda *_: False)
    x = rng.standard_normal((60, D)).astype(dtype)
    W, g = weights(rng, dtype, 5), rng.standard_normal((5, 60, H)).astype(dtype)
    together = a_block(W, x, g)
    for p in range(5):
        for threads in (1, 2, 3):
            alone = a_block(W[p : p + 1], x, g[p : p + 1], threads, in_threads)
            for one, other in zip(alone, together, strict=True):
                assert one[0].tobytes() == other[p].tobytes()


def test_the_trial_finds_a_product_with_other_bits(monkeypatch):
    delayed._same_bits.cache_clear()
    shape = (2, (0, 30), (0, D), (30, D, H), np.dtype(np.float32))
    multiply = delayed._multiply

    def other_bits_side_by_side(x, W, s):
        multiply(x, W, s)
        if len(W) > 1:
            s[-1, -1, -1] = np.nextafter(s[-1, -1, -1], np.float32(np.inf))

    monkeypatch.setattr(delayed, "_multiply", other_bits_side_by_side)
    assert not delayed._same_bits(*shape)
    delayed._same_bits.cache_clear()


def test_delay_pays_for_large_weights_and_batches_that_are_not():
    large, small = np.zeros((2, 3072, 50), np.float32), np.zeros((2, 64, 50), np.float32)
    assert [delay_pays(large, batch) for batch in (50, 100, 101)] == [True, True, False]
    assert not delay_pays(small, 100)


def test_a_block_is_freed_as_soon_as_it_is_done(rng):
    # Nothing may wait for the garbage collector: a block holds the weights and the mini-batches.
    x = rng.standard_normal((60, D))
    block = DelayedWeights(lay_out(weights(rng)), x, [x @ x[:0].T], np.zeros(P), Workspace())
    gone = weakref.ref(block)
    gc.disable()
    try:
        del block
        assert gone() is None
    finally:
        gc.enable()
