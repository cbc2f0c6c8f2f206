"""Batch normalisation in float32 against float64, for features far from 0."""

from types import SimpleNamespace

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.nn import Network, Workspace
from klayer.nn.backends.kernel.normalisation import batch_norm
from klayer.nn.pieces.batch_norm import BatchNorm
from klayer.nn.pieces.piece import Site

EPS = 1e-8


def by_numpy(x):
    (P, N, H), ones = x.shape, np.ones((1, x.shape[2]), np.float32)
    params = {"gamma1": np.repeat(ones, P, axis=0), "beta1": np.zeros((P, H), np.float32)}
    running = {
        "running_mean1": np.zeros((P, H), np.float32),
        "running_var1": np.ones((P, H), np.float32),
    }
    batch = SimpleNamespace(x=np.empty((N, 1)), update=0)
    at_work = BatchNorm(1, H, EPS).prepare(
        Site(params, running, True, batch, Workspace()), x.copy()
    )
    at_work.forward()
    return at_work.y, at_work.mean, at_work.var


def by_kernel(x):
    found = []
    for rows in x:
        y, statistics = np.empty_like(rows), np.empty((3, x.shape[2]), np.float32)
        affine = np.array([np.ones(x.shape[2]), np.zeros(x.shape[2])], np.float32)
        batch_norm(rows.copy(), y, affine, statistics, np.float32(EPS))
        found.append((y, statistics[:1], statistics[1:2]))
    return tuple(np.stack(parts) for parts in zip(*found, strict=True))


@pytest.mark.parametrize("normalise", [by_numpy, by_kernel])
@pytest.mark.parametrize("offset", [0, -3e2, 1e4, 1e6])
@pytest.mark.parametrize("samples", [2, 3, 20, 257, 2000, 20_000])
def test_float32_is_right_to_a_hundred_thousandth(normalise, offset, samples, rng):
    if normalise is by_kernel and samples > 2000:
        pytest.importorskip("numba")
    x = (offset + rng.normal(size=(2, samples, 6))).astype(np.float32)
    exact = x.astype(np.float64)
    mean, var = exact.mean(axis=1, keepdims=True), exact.var(axis=1, keepdims=True)
    y, found_mean, found_var = normalise(x)
    assert np.abs(y - (exact - mean) / np.sqrt(var + EPS)).max() <= 1e-5
    assert np.allclose(found_var, var, rtol=1e-5)
    assert np.allclose(found_mean, mean, rtol=2e-7, atol=1e-5)


def test_an_outlier_as_the_first_sample_costs_little(rng):
    x = rng.normal(size=(1, 1000, 4)).astype(np.float32)
    x[:, 0] = 1e3
    exact = x.astype(np.float64)
    wanted = (exact - exact.mean(axis=1, keepdims=True)) / exact.std(axis=1, keepdims=True)
    assert np.abs(by_numpy(x)[0] - wanted).max() <= 1e-5


@pytest.mark.parametrize("eps", [0.0, 1e-46, 1e-31])
def test_an_eps_that_float32_cannot_tell_from_0_is_refused(eps):
    with pytest.raises(KlayerError, match="`1e-30 <= bn_eps < 1` must hold"):
        Network(4, (3,), 2, batch_norm="hidden", bn_eps=eps)


def test_the_least_eps_gives_numbers_for_a_unit_that_never_varies():
    x = np.full((1, 50, 2), 7.0, np.float32)
    assert (by_numpy(x)[0] == 0).all()
