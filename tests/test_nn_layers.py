import numpy as np
import pytest

from klayer.nn.layers import (
    Workspace,
    affine,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    relu,
    relu_backward,
)
from klayer.nn.losses import softmax_cross_entropy, softmax_cross_entropy_backward


def test_affine_computes_each_network_with_its_own_weights():
    x = np.array([[1.0, 2.0]])
    W = np.array([[[1.0], [10.0]], [[2.0], [0.0]]])
    b = np.array([[0.5], [0.0]])
    assert affine(x, W, b, Workspace()).tolist() == [[[21.5]], [[2.0]]]


def test_relu_decides_by_the_real_part_and_counts_zero_as_inactive():
    z = np.array([[[1 + 1j, -1 + 5j, 0 + 1e-30j]]])
    y, active = relu(z, Workspace())
    assert active.tolist() == [[[True, False, False]]]
    assert y.tolist() == [[[1 + 1j, 0, 0]]]
    assert relu_backward(np.ones((1, 1, 3)), active).tolist() == [[[1, 0, 0]]]


def test_batch_norm_matches_a_computation_by_hand():
    s = np.array([[[1.0], [3.0]]])
    gamma, beta, eps = np.array([[2.0]]), np.array([[5.0]]), 3.0
    z, s_hat, inv_sd, mean, var = batch_norm(s, gamma, beta, eps, Workspace())
    # Mean 2, biased variance 1, sqrt(1 + 3) = 2: s_hat = -1/2, 1/2.
    assert z.ravel().tolist() == [4.0, 6.0]
    assert s_hat.ravel().tolist() == [-0.5, 0.5]
    assert (inv_sd.item(), mean.item(), var.item()) == (0.5, 2.0, 1.0)


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_batch_norm_in_float32_stays_accurate_far_from_zero(offset, rng):
    s = rng.standard_normal((1, 100, 8)) + offset
    gamma, beta = np.ones((1, 8)), np.zeros((1, 8))
    exact = (s - s.mean(1, keepdims=True)) / np.sqrt(s.var(1, keepdims=True) + 1e-5)
    s32, gamma32, beta32 = (a.astype(np.float32) for a in (s, gamma, beta))
    z = batch_norm(s32.copy(), gamma32, beta32, 1e-5, Workspace())[0]
    # The input itself is rounded to about |offset| * 6e-8.
    assert np.abs(z - exact).max() < 1e-5 + 3e-7 * abs(offset)
    mean, var = s32.astype(float).mean(1), s32.astype(float).var(1)
    at_work = batch_norm_inference(
        s32.copy(), gamma32, beta32, mean.astype(np.float32), var.astype(np.float32), 1e-5
    )
    assert np.abs(at_work - exact).max() < 1e-5 + 3e-7 * abs(offset)


def test_batch_norm_gradient_matches_pytorch(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    s, grad = rng.standard_normal((2, 7, 3)), rng.standard_normal((2, 7, 3))
    gamma, beta = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    ws = Workspace()
    _, s_hat, inv_sd, _, _ = batch_norm(s.copy(), gamma, beta, 1e-5, ws)
    ours = batch_norm_backward(grad.copy(), s_hat, inv_sd, gamma, ws)
    for p in range(2):
        inputs = [torch.tensor(a[p], requires_grad=True) for a in (s, gamma, beta)]
        z = torch.nn.functional.batch_norm(
            inputs[0], None, None, inputs[1], inputs[2], training=True, eps=1e-5
        )
        z.backward(torch.tensor(grad[p]))
        for one, other in zip(ours, inputs, strict=True):
            np.testing.assert_allclose(one[p], other.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_cross_entropy_is_finite_at_logits_of_ten_thousand(dtype):
    logits = np.array([[[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]]], dtype=dtype)
    labels = np.array([0, 1])
    loss, probs = softmax_cross_entropy(logits, labels, Workspace())
    assert loss[0] == pytest.approx(1e4)
    grad = softmax_cross_entropy_backward(probs, labels)
    np.testing.assert_allclose(grad[0].real, [[0, 0, 0], [0.5, -0.5, 0]], atol=1e-12)


def test_cross_entropy_gradient_sums_to_zero_over_classes(rng):
    labels = rng.integers(0, 4, 6)
    _, probs = softmax_cross_entropy(rng.standard_normal((3, 6, 4)), labels, Workspace())
    grad = softmax_cross_entropy_backward(probs, labels)
    np.testing.assert_allclose(grad.sum(axis=-1), 0, atol=1e-15)
