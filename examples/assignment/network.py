"""A k-layer network as a student would write it: NumPy, one network, samples as rows.

The order of this folder is that of the report: the network, its check (``check.py``), its curves
(``curves.py``), the search for lambda (``search.py``), bad initialisation (``initialisation.py``).
"""

import itertools

import numpy as np

EPS = 1e-8


# --8<-- [start:init]
def initialise(widths, sigma=None, batch_norm=False, seed=0):
    """Return parameters for ``widths = [inputs, hidden ..., classes]``; He unless sigma is given."""
    rng, params = np.random.default_rng(seed), {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        spread = np.sqrt(2 / fan_in) if sigma is None else sigma
        params[f"W{layer}"] = spread * rng.standard_normal((fan_in, fan_out))
        if batch_norm and layer < len(widths) - 1:
            params[f"gamma{layer}"] = np.ones(fan_out)
            params[f"beta{layer}"] = np.zeros(fan_out)
        else:
            params[f"b{layer}"] = np.zeros(fan_out)
    return params


# --8<-- [end:init]


def layers_of(params):
    """Return k."""
    return sum(name.startswith("W") for name in params)


# --8<-- [start:forward]
def forward(params, x, running=None, training=True):
    """Return the outputs before the softmax, and what the backward pass needs."""
    k, kept = layers_of(params), []
    for layer in range(1, k + 1):
        inputs = x
        s = x @ params[f"W{layer}"]  # (N, D) @ (D, H) -> (N, H)
        normalised = None
        if f"gamma{layer}" in params:
            if training:
                mean = s.mean(axis=0)
                variance = ((s - mean) ** 2).mean(axis=0)
                if running is not None:
                    keep_in_mind(running, layer, mean, variance)
            else:
                mean, variance = running[f"mean{layer}"], running[f"variance{layer}"]
            inv_sd = 1 / np.sqrt(variance + EPS)
            s_hat = (s - mean) * inv_sd
            normalised = s_hat, inv_sd
            s = params[f"gamma{layer}"] * s_hat + params[f"beta{layer}"]
        else:
            s = s + params[f"b{layer}"]
        active = s.real > 0  # the real part alone decides: see the next page
        x = s * active if layer < k else s
        kept.append((inputs, normalised, active))
    return x, kept


def keep_in_mind(running, layer, mean, variance, old=0.9):
    """Update the running statistics; the first mini-batch sets them."""
    for name, value in ((f"mean{layer}", mean), (f"variance{layer}", variance)):
        running[name] = old * running[name] + (1 - old) * value if name in running else value


# --8<-- [end:forward]


# --8<-- [start:loss]
def cross_entropy(outputs, labels):
    """Return the mean cross-entropy and the probabilities."""
    shifted = outputs - outputs.real.max(axis=1, keepdims=True)
    exp = np.exp(shifted)
    probs = exp / exp.sum(axis=1, keepdims=True)
    return -np.log(probs[np.arange(len(labels)), labels]).mean(), probs


def penalty(params):
    """Return the sum of squared weights; biases, gamma and beta are left alone."""
    return sum((W**2).sum() for name, W in params.items() if name.startswith("W"))


# --8<-- [end:loss]


# --8<-- [start:backward]
def loss_and_grads(params, x, labels, l2, running=None):
    """Return the cost and the gradient of every parameter."""
    outputs, kept = forward(params, x, running)
    loss, probs = cross_entropy(outputs, labels)
    g = probs.copy()
    g[np.arange(len(labels)), labels] -= 1
    g = g / len(labels)
    grads, k = {}, len(kept)
    for layer in range(k, 0, -1):
        inputs, normalised, active = kept[layer - 1]
        W = params[f"W{layer}"]
        if layer < k:
            g = g * active
        if normalised is None:
            grads[f"b{layer}"] = g.sum(axis=0)
        else:
            s_hat, inv_sd = normalised
            grads[f"gamma{layer}"] = (g * s_hat).sum(axis=0)
            grads[f"beta{layer}"] = g.sum(axis=0)
            g = (
                params[f"gamma{layer}"]
                * inv_sd
                * (g - g.mean(axis=0) - s_hat * (g * s_hat).mean(axis=0))
            )
        grads[f"W{layer}"] = inputs.T @ g + 2 * l2 * W
        g = g @ W.T
    return loss + l2 * penalty(params), grads


# --8<-- [end:backward]


# --8<-- [start:train]
def triangular(t, lowest=1e-5, highest=1e-1, half_cycle=500):
    """Return the cyclical learning rate at update t."""
    along = t % (2 * half_cycle) / half_cycle
    return lowest + (highest - lowest) * (along if along <= 1 else 2 - along)


def train(params, data, l2=0.005, batch=100, half_cycle=500, cycles=2, points=10, seed=0):
    """Mini-batch SGD in place; return running statistics and the curve."""
    (x, labels), rng, running = data["train"], np.random.default_rng(seed), {}
    curve, total, t = [], int(2 * half_cycle * cycles), 0
    while t < total:
        order = rng.permutation(len(x))
        for start in range(0, len(x) - batch + 1, batch):
            if t % max(1, total // (points * max(1, round(cycles)))) == 0:
                curve.append(
                    (
                        t,
                        accuracy(params, data, "train", running or None),
                        accuracy(params, data, "validation", running or None),
                    )
                )
            rows = order[start : start + batch]
            _, grads = loss_and_grads(params, x[rows], labels[rows], l2, running)
            for name, grad in grads.items():
                params[name] -= triangular(t, half_cycle=half_cycle) * grad
            t += 1
            if t == total:
                break
    curve.append(
        (t, accuracy(params, data, "train", running), accuracy(params, data, "validation", running))
    )
    return running, curve


def accuracy(params, data, split, running=None):
    """Return the share of right answers; before training there are no running statistics yet."""
    x, labels = data[split]
    outputs, _ = forward(params, x, running, training=running is None)
    return float((outputs.argmax(axis=1) == labels).mean())


# --8<-- [end:train]


def load(name="digits"):
    """Return standardised splits of any data set that klayer reads."""
    import klayer as kl

    data = kl.load(name)
    return {
        split: (data.standardised(split, dtype=float), data.splits[split].labels)
        for split in ("train", "validation", "test")
    }
