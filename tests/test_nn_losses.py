import numpy as np
import pytest

from klayer.nn import LOSSES, Batch, Network, Workspace, loss_of
from klayer.nn.pieces import Site

P, N, K = 3, 7, 4
QUANTILES = (0.2, 0.7)
NUMBERS = {"smoothing": np.array([0.0, 0.1, 0.3]), "huber_delta": np.array([0.5, 1.0, 2.0])}


def case(name, rng, dtype=float):
    """Return outputs, labels and weights that suit a loss."""
    outputs = (2 * rng.standard_normal((P, N, K))).astype(dtype)
    task = LOSSES[name].task
    if task == "classification":
        labels = rng.integers(0, K, N)
    elif task == "multilabel":
        labels = rng.integers(0, 2, (N, K)).astype(dtype)
    else:
        targets = K // len(QUANTILES) if name == "quantile" else K
        labels = rng.standard_normal((N, targets)).astype(dtype)
    return outputs, labels, rng.uniform(0.5, 1.5, N).astype(dtype)


def made(name, outputs, labels, weights=None, lanes=slice(None)):
    """Return a loss after both passes, for some networks."""
    outputs = outputs[lanes].copy()
    params = {"W": np.zeros((len(outputs), 1), outputs.dtype)}
    numbers = {key: value[lanes] for key, value in NUMBERS.items()}
    batch = Batch(np.zeros((N, 1)), labels, weights=weights)
    at = Site(params, None, True, batch, Workspace(), None, numbers, QUANTILES)
    found = LOSSES[name].prepare(at, outputs)
    found.forward()
    found.backward()
    return found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_the_gradient_of_a_complex_step(name, weighted, rng):
    outputs, labels, weights = case(name, rng)
    weights = weights if weighted else None
    found = made(name, outputs, labels, weights)
    for entry in np.ndindex(N, K):
        moved = outputs.astype(complex)
        moved[:, *entry] += 1e-30j
        expected = made(name, moved, labels, weights).loss.imag / 1e-30
        np.testing.assert_allclose(found.g[:, *entry], expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_the_bits_of_each_network_alone(name, weighted, dtype, rng):
    outputs, labels, weights = case(name, rng, dtype)
    weights = weights if weighted else None
    together = made(name, outputs, labels, weights)
    assert together.g.dtype == together.loss.dtype == dtype
    for p in range(P):
        alone = made(name, outputs, labels, weights, slice(p, p + 1))
        assert alone.loss[0].tobytes() == together.loss[p].tobytes()
        assert alone.g[0].tobytes() == together.g[p].tobytes()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_matches_pytorch(name, rng):
    torch = pytest.importorskip("torch")
    outputs, labels, _ = case(name, rng)
    found = made(name, outputs, labels)
    for p in range(P):
        z, y = torch.tensor(outputs[p], requires_grad=True), torch.tensor(labels)
        smoothing, delta = (float(NUMBERS[key][p]) for key in ("smoothing", "huber_delta"))
        nn = torch.nn.functional
        if name == "softmax_cross_entropy":
            loss = nn.cross_entropy(z, y, label_smoothing=smoothing)
        elif name == "squared":
            loss = nn.mse_loss(z, y)
        elif name == "absolute":
            loss = nn.l1_loss(z, y)
        elif name == "huber":
            loss = nn.huber_loss(z, y, delta=delta)
        elif name == "binary_cross_entropy":
            loss = nn.binary_cross_entropy_with_logits(z, y)
        else:
            q = torch.tensor(QUANTILES, dtype=z.dtype)
            d = y[:, :, None] - z.reshape(N, -1, len(QUANTILES))  # (N, targets, quantiles)
            loss = torch.maximum(q * d, (q - 1) * d).mean()
        loss.backward()
        assert found.loss[p] == pytest.approx(loss.item(), rel=1e-13)
        np.testing.assert_allclose(found.g[p], z.grad.numpy(), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", LOSSES)
def test_a_sample_of_weight_two_counts_like_two_samples(name, rng):
    outputs, labels, _ = case(name, rng)
    weights = np.ones(N)
    weights[2] = 2
    found = made(name, outputs, labels, weights)
    each = [made(name, outputs, labels, np.eye(N)[i]).loss for i in range(N)]
    np.testing.assert_allclose(found.loss, sum(each) + each[2], rtol=1e-12)
    plain = made(name, outputs, labels)
    np.testing.assert_allclose(plain.loss, sum(each), rtol=1e-12)
    np.testing.assert_allclose(found.g[:, 2], 2 * plain.g[:, 2], rtol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_a_loss_is_finite_for_outputs_of_any_size(name, size, rng):
    outputs, labels, _ = case(name, rng)
    found = made(name, outputs + size, labels)
    assert np.isfinite(found.loss).all()
    assert np.isfinite(found.g).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_something_not_finite_is_not_finite(name, rng):
    outputs, labels, _ = case(name, rng)
    outputs[1, 2, 3] = np.nan
    assert np.isfinite(made(name, outputs, labels).loss).tolist() == [True, False, True]


def test_probabilities_are_those_of_softmax_and_sigmoid(rng):
    z = 5 * rng.standard_normal((2, 3, 4))
    soft = LOSSES["softmax_cross_entropy"].predict(z, Workspace())
    np.testing.assert_allclose(soft, np.exp(z) / np.exp(z).sum(-1, keepdims=True), rtol=1e-13)
    binary = LOSSES["binary_cross_entropy"].predict(z, Workspace())
    np.testing.assert_allclose(binary, 1 / (1 + np.exp(-z)), rtol=1e-13)
    assert LOSSES["squared"].predict(z, Workspace()) is z


def test_every_loss_belongs_to_a_task_and_every_task_has_a_loss():
    for loss in LOSSES.values():
        assert LOSSES[loss_of(loss.task)].task == loss.task


def test_a_network_for_quantiles_has_an_output_for_each_and_answers_with_the_middle_one():
    network = Network(4, (3,), 2, loss="quantile", quantiles=(0.1, 0.5, 0.9))
    assert network.shapes()["W2"] == (3, 6)
    assert network.point(np.arange(6.0)).tolist() == [1, 4]
    assert Network.from_description(network.describe()) == network
