"""A first layer whose updates are carried out several at a time: what it must equal."""

import gc
import weakref

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from klayer.nn import DelayedWeights, Workspace, first_layer
from klayer.nn.first_layer import best_at_once, can_delay, in_column_order, lay_out

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
        np.testing.assert_allclose(multiplied(block, i), expected, rtol=1e-9, atol=1e-9)
        block.descend(i, gs[i], lrs[i])
    np.testing.assert_array_equal(moving, W)
    block.settle()
    np.testing.assert_allclose(moving, after, rtol=1e-10, atol=1e-10)


def multiplied(block, i):
    product = np.empty((len(block.W), len(block.overlaps[i]), H), block.W.dtype)
    block.multiply(i, out=product)
    return product


def a_block(W, x, g, threads=1, spread=None, blas_threads=1):
    """Do two updates at once; return what they multiplied to, and the weights."""
    moving = lay_out(W)
    half = len(x) // 2
    overlaps = [x[:half] @ x[:0].T, x[half:] @ x[:half].T]
    l2, lr = np.full(len(W), 0.1, W.dtype), np.full(len(W), 0.05, W.dtype)
    block = DelayedWeights(moving, x, overlaps, l2, Workspace(), threads, spread, blas_threads)
    products = []
    for i in range(2):
        products.append(multiplied(block, i))
        block.descend(i, g[:, i * half : (i + 1) * half], lr)
    block.settle()
    return *products, moving


def in_threads(function, shares):
    for share in reversed(shares):
        function(share, Workspace())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("trusted", [True, False], ids=["as tried", "as if the trial had failed"])
def test_a_network_has_the_bits_that_it_has_alone(rng, dtype, trusted, monkeypatch):
    if not trusted:
        monkeypatch.setattr(first_layer, "_same_bits", lambda *_: False)
    x = rng.standard_normal((60, D)).astype(dtype)
    W, g = weights(rng, dtype, 5), rng.standard_normal((5, 60, H)).astype(dtype)
    with threadpool_limits(limits=1, user_api="blas"):  # as in the engine
        together = a_block(W, x, g)
        for p in range(5):
            for threads in (1, 2, 3):
                alone = a_block(W[p : p + 1], x, g[p : p + 1], threads, in_threads)
                for one, other in zip(alone, together, strict=True):
                    assert one[0].tobytes() == other[p].tobytes()


def test_the_trial_counts_for_the_number_of_threads_that_it_was_made_on(monkeypatch):
    made = []
    monkeypatch.setattr(first_layer, "_same_bits", lambda *a: bool(made.append(a[-1])) or True)
    for blas_threads in (1, 2):
        first_layer._shares(lay_out(np.zeros((2, D, H))), 30, 1, blas_threads)
    assert made == [1, 2]


def test_without_a_known_number_of_threads_each_network_has_its_own_products():
    assert len(first_layer._shares(lay_out(np.zeros((3, D, H))), 30, 1, None)) == 3


def test_the_trial_finds_a_product_with_other_bits(monkeypatch):
    first_layer._same_bits.cache_clear()
    shape = (2, (0, 30), (0, D), (30, D, H), np.dtype(np.float32), 1)
    multiply = first_layer._multiply

    def other_bits_side_by_side(x, W, s):
        multiply(x, W, s)
        if len(W) > 1:
            s[-1, -1, -1] = np.nextafter(s[-1, -1, -1], np.float32(np.inf))

    monkeypatch.setattr(first_layer, "_multiply", other_bits_side_by_side)
    assert not first_layer._same_bits(*shape)
    first_layer._same_bits.cache_clear()


def test_delay_is_for_large_weights_small_batches_and_many_networks():
    large, small = np.zeros((8, 3072, 50), np.float32), np.zeros((8, 64, 50), np.float32)
    assert can_delay(large)
    assert not can_delay(small)
    assert [best_at_once(large[:P], 100) for P in (1, 6, 7)] == [1, 1, 2]
    # A product between larger mini-batches costs more, wider layers save more.
    assert [best_at_once(large, batch) for batch in (20, 110, 150)] == [2, 2, 1]
    wide = np.zeros((3, 3072, 200), np.float32)
    assert [best_at_once(wide, batch) for batch in (100, 300)] == [2, 1]
    assert best_at_once(small, 100) == 1


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
