import numpy as np
import pytest

from klayer.nn import Workspace
from klayer.nn.pieces import Affine, Batch, Site
from klayer.nn.shares import cut

N, D, H = 7, 900, 60


def a_layer(rng, dtype=np.float64, networks=2, spread=None):
    W = rng.standard_normal((networks, D, H)).astype(dtype)
    x = rng.standard_normal((N, D)).astype(dtype)
    site = Site({"W1": W}, None, True, Batch(x, np.zeros(N, int)), Workspace(), spread)
    made = Affine(1, D, H, bias=False).prepare(site, x)
    g = rng.standard_normal((networks, N, H)).astype(dtype)
    _, gradients = made.connect(g, below=False)
    return x, W, g, made, gradients["W1"]


def test_shares_are_a_matter_of_the_shape_alone_and_cover_it():
    for shape in ((1, 900, 60), (5, 900, 60), (1, 3072, 50), (1, 30_000, 500), (1, 7, 100_000)):
        shares = cut(np.empty(shape, np.float32))
        rows = np.concatenate([np.arange(shape[1])[one] for one in shares])
        assert (rows == np.arange(shape[1])).all()
        assert shares == cut(np.empty((1, *shape[1:]), np.float32))
        assert 2 <= len(shares) <= 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_a_large_first_layer_equals_the_plain_formula(rng, dtype):
    x, W, g, made, gradient = a_layer(rng, dtype)
    assert gradient is made
    tolerance = 1e-3 if dtype == np.float32 else 1e-11
    made.forward()
    np.testing.assert_allclose(made.y, x @ W, rtol=tolerance, atol=tolerance)
    expected = np.swapaxes(x[None], 1, 2) @ g
    np.testing.assert_allclose(gradient.value(), expected, rtol=tolerance, atol=tolerance)
    keep, c = np.full((2, 1, 1), 0.9, dtype), np.full((2, 1, 1), -0.1, dtype)
    expected = keep * W + c * expected
    gradient.add_to(W, keep, c)
    np.testing.assert_allclose(W, expected, rtol=tolerance, atol=tolerance)


def test_the_bits_do_not_depend_on_who_does_which_share():
    def last_first(function, shares):
        for share in reversed(shares):
            function(share, Workspace())

    found = []
    for spread in (None, last_first):
        _, W, _, made, gradient = a_layer(np.random.default_rng(0), spread=spread)
        made.forward()
        gradient.add_to(W, None, np.ones((2, 1, 1)))
        found.append((made.y.tobytes(), W.tobytes(), gradient.value().tobytes()))
    assert found[0] == found[1]
