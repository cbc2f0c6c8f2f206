"""Check a backward pass written by hand in NumPy: a correct one, and one with a classic mistake.

    klayer gradcheck examples/gradcheck_numpy.py:correct
    klayer gradcheck examples/gradcheck_numpy.py:wrong

Both functions return ``(loss_and_grads, params)``. The loss is complex-safe (no abs, no maximum),
so that the check is exact to the last digits.
"""

import numpy as np

SAMPLES, FEATURES, HIDDEN, CLASSES, L2 = 12, 8, 6, 3, 0.05


def two_layers(params, x, labels):
    """Return loss and gradients of a ReLU network with softmax and an L2 penalty on its weights."""
    z = x @ params["W1"] + params["b1"]  # (N, D) @ (D, H) -> (N, H)
    active = z.real > 0
    hidden = z * active
    logits = hidden @ params["W2"] + params["b2"]  # (N, H) @ (H, K) -> (N, K)
    exp = np.exp(logits - logits.real.max(axis=1, keepdims=True))
    probs = exp / exp.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    penalty = (params["W1"] ** 2).sum() + (params["W2"] ** 2).sum()
    loss = -np.log(probs[rows, labels]).mean() + L2 * penalty

    g = probs.copy()
    g[rows, labels] -= 1
    g /= len(labels)
    g_hidden = (g @ params["W2"].T) * active  # (N, K) @ (K, H) -> (N, H)
    grads = {
        "W1": x.T @ g_hidden + 2 * L2 * params["W1"],
        "b1": g_hidden.sum(axis=0),
        "W2": hidden.T @ g + 2 * L2 * params["W2"],
        "b2": g.sum(axis=0),
    }
    return loss, {name: grad.real for name, grad in grads.items()}


def setting():
    """Return parameters and a batch; biases are not zero, so that they hide no mistake."""
    rng = np.random.default_rng(0)
    params = {
        "W1": rng.standard_normal((FEATURES, HIDDEN)) / FEATURES**0.5,
        "b1": 0.1 * rng.standard_normal(HIDDEN),
        "W2": rng.standard_normal((HIDDEN, CLASSES)) / HIDDEN**0.5,
        "b2": 0.1 * rng.standard_normal(CLASSES),
    }
    return params, rng.standard_normal((SAMPLES, FEATURES)), rng.integers(CLASSES, size=SAMPLES)


def correct():
    """Return a model whose gradient is right."""
    params, x, labels = setting()
    return lambda params: two_layers(params, x, labels), params


class Wrong:
    """A model that forgets the factor 2 in its L2 gradient; told lambda, the check says so."""

    l2, samples = L2, SAMPLES

    def __init__(self):
        self.params, self.x, self.labels = setting()

    def loss_and_grads(self, params):
        """Return the loss, and gradients with lambda W where 2 lambda W belongs."""
        loss, grads = two_layers(params, self.x, self.labels)
        for name in ("W1", "W2"):
            grads[name] = grads[name] - L2 * params[name].real
        return loss, grads


def wrong():
    """Return a model as an object: ``loss_and_grads``, ``params`` and what else is known of it."""
    return Wrong()
