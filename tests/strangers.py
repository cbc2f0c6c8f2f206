"""Ten models as strangers write them, and the glue that each needs for the checker.

A model takes ``off``, a factor on one of its gradients: 1 is right. The functions ``glue_...`` are the
glue: what stands in them is all that a user writes.
"""

from collections import namedtuple

import numpy as np

from klayer.gradcheck import from_model, from_step

RNG = np.random.default_rng(0)
X, LABELS, TARGETS = (
    RNG.standard_normal((9, 4)),
    RNG.integers(3, size=9),
    RNG.standard_normal((9, 3)),
)
W, B = RNG.standard_normal((4, 3)), 0.1 * RNG.standard_normal(3)


def softmax(x, W, b, labels, off=1.0):
    """Return cross-entropy and the gradients of a linear classifier."""
    s = x @ W + b
    s = s - s.max(axis=1, keepdims=True)
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(x)), labels]).mean()
    g = (p - np.eye(3)[labels]) / len(x)
    return loss, off * (x.T @ g), g.sum(axis=0)


# 1. A dictionary, gradients called dW, db, as in a well-known course; dA and the like beside them.
def dictionary(params, off):
    loss, dW, db = softmax(X, params["W"], params["b"], LABELS, off)
    return loss, {"dW": dW, "db": db, "dA": 0}


def glue_dictionary(off):
    return lambda p: dictionary(p, off), {"W": W, "b": B}


# 2. Nested dictionaries.
def glue_nested_dictionaries(off):
    def f(p):
        loss, dW, db = softmax(X, p["out"]["W"], p["out"]["b"], LABELS, off)
        return loss, {"out": {"W": dW, "b": db}}

    return f, {"out": {"W": W, "b": B}}


# 3. A list of pairs, as in many a tutorial with JAX or without.
def glue_list_of_pairs(off):
    def f(layers):
        loss, dW, db = softmax(X, *layers[0], LABELS, off)
        return loss, [(dW, db)]

    return f, [(W, B)]


# 4. (out, in) weights and (n, 1) biases; samples in columns.
def columns(params, off):
    loss, dW, db = softmax(X, params["W"].T, params["b"][:, 0], LABELS, off)
    return loss, {"dW": dW.T, "db": db}


def glue_columns(off):
    return lambda p: columns(p, off), {"W": W.T, "b": B[:, None]}


# 5. A class with a dictionary `params` and a method `loss` that returns both.
class Classifier:
    def __init__(self, off):
        self.params, self.off = {"W": W.copy(), "b": B.copy()}, off

    def loss(self, x, y):
        loss, dW, db = softmax(x, self.params["W"], self.params["b"], y, self.off)
        return loss, {"W": dW, "b": db}


def glue_class_with_loss(off):
    return from_model(Classifier(off), X, LABELS)


# 6. Layers as objects with attributes; forward, then backward.
class Dense:
    def __init__(self, W, b, off):
        self.W, self.b, self.off = W.copy(), b.copy(), off

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, g):
        self.dW, self.db = self.off * self.x.T @ g, g.sum(axis=0)
        return g @ self.W.T


class Layers:
    def __init__(self, off):
        self.layers = [Dense(W, B, off), Dense(np.eye(3), 0 * B, 1.0)]

    def cost(self, x, y):
        for layer in self.layers:
            x = layer.forward(x)
        g = 2 * (x - y)
        for layer in reversed(self.layers):
            g = layer.backward(g)
        return ((x - y) ** 2).sum()


def glue_layers_of_objects(off):
    return from_model(
        Layers(off), X, TARGETS, loss="cost",
        params=lambda m: [{"W": one.W, "b": one.b} for one in m.layers],
        grads=lambda m: [{"W": one.dW, "b": one.db} for one in m.layers],
    )  # fmt: skip


# 7. A training step alone, as a script has it: the update is checked.
def step(params, off, rate=0.5):
    _, dW, db = softmax(X, params["W"], params["b"], LABELS, off)
    params["W"] -= rate * dW
    params["b"] -= rate * db


def glue_training_step(off):
    return from_step(
        lambda p: step(p, off), lambda p: softmax(X, p["W"], p["b"], LABELS)[0], 0.5
    ), {"W": W, "b": B}


# 8. A named tuple.
Params = namedtuple("Params", "W b")


def glue_named_tuple(off):
    def f(p):
        loss, dW, db = softmax(X, p.W, p.b, LABELS, off)
        return loss, Params(dW, db)

    return f, Params(W, B)


# 9. A PyTorch module.
def torch_module(off):
    import torch

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return off * g

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)

        def forward(self, x):
            return self.out(Scaled.apply(torch.tanh(self.hidden(x))))

    torch.manual_seed(0)
    loss = torch.nn.functional.cross_entropy
    return Module().double(), lambda net: loss(net(torch.tensor(X)), torch.tensor(LABELS))


def glue_torch(off):
    net, loss = torch_module(off)
    return from_model(net, loss=loss)


# 10. JAX: a pytree and value_and_grad.
def jax_model(off):
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    @jax.custom_vjp
    def scaled(x):
        return x

    scaled.defvjp(lambda x: (x, None), lambda _, g: (off * g,))

    def loss(p):
        s = scaled(jnp.tanh(X @ p["W"] + p["b"]))
        return ((s - TARGETS) ** 2).mean()

    return loss, jax.value_and_grad(loss)


def glue_jax(off):
    return jax_model(off)[1], {"W": W, "b": B}


GLUE = {
    name.removeprefix("glue_"): function
    for name, function in list(globals().items())
    if name.startswith("glue_")
}
OF_CLASSES = {"class_with_loss", "layers_of_objects", "torch"}
