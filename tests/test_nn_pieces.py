import numpy as np
import pytest

from klayer.nn import ACTIVATIONS, LOSSES, Batch, Workspace
from klayer.nn.pieces import Activation, Affine, BatchNorm, Site

EPS = 1e-5


def site(params, x, labels=None, running=None, training=True):
    params = params or {"none": np.zeros((len(x), 1), x.dtype)}
    labels = np.zeros(x.shape[-2], int) if labels is None else labels
    rows = x if x.ndim == 2 else x[0]
    return Site(params, running, training, Batch(rows, labels), Workspace())


def normalised(s, gamma, beta, eps=EPS):
    """Normalise ``s`` in training; return the pass, prepared for the way back."""
    made = BatchNorm(1, s.shape[-1], eps).prepare(site({"gamma1": gamma, "beta1": beta}, s), s)
    made.forward()
    return made


def test_affine_computes_each_network_with_its_own_weights():
    x = np.array([[1.0, 2.0]])
    W = np.array([[[1.0], [10.0]], [[2.0], [0.0]]])
    b = np.array([[0.5], [0.0]])
    made = Affine(1, 2, 1).prepare(site({"W1": W, "b1": b}, x), x)
    made.forward()
    assert made.y.tolist() == [[[21.5]], [[2.0]]]


def test_relu_decides_by_the_real_part_and_counts_zero_as_inactive():
    z = np.array([[[1 + 1j, -1 + 5j, 0 + 1e-30j]]])
    made = Activation(1, 3, "relu").prepare(site(None, z), z)
    made.forward()
    assert made.y.tolist() == [[[1 + 1j, 0, 0]]]
    g, _ = made.connect(np.ones_like(z), below=True)
    made.backward()
    assert g.tolist() == [[[1, 0, 0]]]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_has_the_derivative_of_a_complex_step(name, rng):
    z = rng.standard_normal((2, 5, 3))
    step = 1e-30
    made = Activation(1, 3, name).prepare(site(None, z), z)
    made.forward()
    values = made.y.copy()
    g, _ = made.connect(np.ones_like(z), below=True)
    made.backward()
    moved = (z + 1j * step).astype(complex)
    other = Activation(1, 3, name).prepare(site(None, moved), moved)
    other.forward()
    np.testing.assert_allclose(g, other.y.imag / step, rtol=1e-13, atol=2e-15)
    np.testing.assert_allclose(values, other.y.real, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_matches_pytorch(name, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    z = 3 * rng.standard_normal((2, 50, 3))
    made = Activation(1, 3, name).prepare(site(None, z), z)
    made.forward()
    functions = {"gelu_tanh": lambda z: torch.nn.functional.gelu(z, approximate="tanh")}
    function = functions.get(name) or getattr(torch.nn.functional, name)
    tensor = torch.tensor(z, requires_grad=True)
    expected = function(tensor)
    np.testing.assert_allclose(made.y, expected.detach().numpy(), rtol=1e-13, atol=1e-15)
    expected.sum().backward()
    g, _ = made.connect(np.ones_like(z), below=True)
    made.backward()
    np.testing.assert_allclose(g, tensor.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_activation_of_large_inputs_is_finite_and_not_finite_where_they_are_not(name, dtype):
    z = np.array([[[1e4, -1e4, np.nan]]], dtype)
    with np.errstate(all="ignore"):
        made = Activation(1, 3, name).prepare(site(None, z), z)
        made.forward()
        assert np.isfinite(made.y).tolist() == [[[True, True, False]]]
        g, _ = made.connect(np.ones_like(z), below=True)
        made.backward()
    assert np.isfinite(g[..., :2]).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_an_activation_keeps_the_dtype_and_the_bits_of_each_network(name, dtype, rng):
    z = rng.standard_normal((3, 4, 2)).astype(dtype)

    def both_ways(z):
        made = Activation(1, 2, name).prepare(site(None, z), z)
        made.forward()
        y = made.y.copy()
        g, _ = made.connect(np.ones_like(z), below=True)
        made.backward()
        return y, g

    together = both_ways(z)
    for p in range(3):
        for one, other in zip(both_ways(z[p : p + 1].copy()), together, strict=True):
            assert one.dtype == dtype
            assert one[0].tobytes() == other[p].tobytes()


def test_batch_norm_matches_a_computation_by_hand():
    s = np.array([[[1.0], [3.0]]])
    made = normalised(s, np.array([[2.0]]), np.array([[5.0]]), eps=3.0)
    # Mean 2, biased variance 1, sqrt(1 + 3) = 2: s_hat = -1/2, 1/2.
    assert made.y.ravel().tolist() == [4.0, 6.0]
    assert made.x.ravel().tolist() == [-1.0, 1.0]  # centred: 1/sd stands beside it
    assert (made.inv_sd.item(), made.mean.item(), made.var.item()) == (0.5, 2.0, 1.0)


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_batch_norm_in_float32_stays_accurate_far_from_zero(offset, rng):
    s = rng.standard_normal((1, 100, 8)) + offset
    exact = (s - s.mean(1, keepdims=True)) / np.sqrt(s.var(1, keepdims=True) + EPS)
    s32 = s.astype(np.float32)
    params = {"gamma1": np.ones((1, 8), np.float32), "beta1": np.zeros((1, 8), np.float32)}
    z = normalised(s32.copy(), *params.values()).y
    # The input itself is rounded to about |offset| * 6e-8.
    assert np.abs(z - exact).max() < 1e-5 + 3e-7 * abs(offset)
    mean, var = s32.astype(float).mean(1), s32.astype(float).var(1)
    running = {"running_mean1": mean.astype(np.float32), "running_var1": var.astype(np.float32)}
    moved = s32.copy()
    made = BatchNorm(1, 8, EPS).prepare(site(params, moved, None, running, training=False), moved)
    made.forward()
    assert np.abs(made.y - exact).max() < 1e-5 + 3e-7 * abs(offset)


def test_batch_norm_gradient_matches_pytorch(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    s, grad = rng.standard_normal((2, 7, 3)), rng.standard_normal((2, 7, 3))
    gamma, beta = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    made = normalised(s.copy(), gamma, beta)
    grad_s, gradients = made.connect(grad.copy(), below=True)
    made.backward()
    ours = grad_s, gradients["gamma1"].value(), gradients["beta1"].value()
    for p in range(2):
        inputs = [torch.tensor(a[p], requires_grad=True) for a in (s, gamma, beta)]
        z = torch.nn.functional.batch_norm(
            inputs[0], None, None, inputs[1], inputs[2], training=True, eps=EPS
        )
        z.backward(torch.tensor(grad[p]))
        for one, other in zip(ours, inputs, strict=True):
            np.testing.assert_allclose(one[p], other.grad.numpy(), rtol=1e-10, atol=1e-12)


def cross_entropy(logits, labels):
    made = LOSSES["softmax_cross_entropy"].prepare(site(None, logits, labels), logits)
    made.forward()
    made.backward()
    return made.loss, made.g


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_cross_entropy_is_finite_at_logits_of_ten_thousand(dtype):
    logits = np.array([[[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]]], dtype=dtype)
    loss, g = cross_entropy(logits, np.array([0, 1]))
    assert loss[0] == pytest.approx(1e4)
    np.testing.assert_allclose(g[0].real, [[0, 0, 0], [0.5, -0.5, 0]], atol=1e-12)


def test_cross_entropy_gradient_sums_to_zero_over_classes(rng):
    _, g = cross_entropy(rng.standard_normal((3, 6, 4)), rng.integers(0, 4, 6))
    np.testing.assert_allclose(g.sum(axis=-1), 0, atol=1e-15)


def test_gelu_in_float32_is_that_of_float64_to_its_last_places():
    z = np.linspace(-12, 12, 20001)[None, None]

    def both_ways(z):
        made = Activation(1, z.shape[-1], "gelu").prepare(site(None, z), z)
        made.forward()
        y = made.y.copy()
        g, _ = made.connect(np.ones_like(z), below=True)
        made.backward()
        return y, g

    for found, exact in zip(both_ways(z.astype(np.float32)), both_ways(z), strict=True):
        assert np.abs(found - exact).max() < 1e-6  # z is up to 12
