"""Check a JAX model: its own gradients, and a ``custom_jvp`` rule that is wrong.

    klayer gradcheck examples/gradcheck_jax.py:correct
    klayer gradcheck examples/gradcheck_jax.py:wrong

JAX computes in float32 unless told otherwise, and then differences are good to two digits only:
switch ``jax_enable_x64`` on. A smooth model such as this one is complex-safe, and checked by
complex step.
"""

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)


@jax.custom_jvp
def softplus(x):
    """``log(1 + exp(x))`` with a derivative of its own."""
    return jnp.log(1 + jnp.exp(x))


@softplus.defjvp
def softplus_jvp(primals, tangents):
    """Forget that the derivative is ``1 / (1 + exp(-x))``, not ``1 / (1 + exp(x))``."""
    (x,), (dx,) = primals, tangents
    return softplus(x), dx / (1 + jnp.exp(x))


def network(activation):
    """Return ``(loss_and_grads, params)`` of a regression with one hidden layer."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 5)), rng.standard_normal(12)
    params = {
        "hidden/kernel": rng.standard_normal((5, 4)) / 5**0.5,
        "hidden/bias": 0.1 * rng.standard_normal(4),
        "output/kernel": rng.standard_normal((4, 1)) / 4**0.5,
        "output/bias": 0.1 * rng.standard_normal(1),
    }

    @jax.jit
    def loss(params):
        hidden = activation(x @ params["hidden/kernel"] + params["hidden/bias"])
        output = hidden @ params["output/kernel"] + params["output/bias"]
        return ((output[:, 0] - y) ** 2).mean()

    gradient = jax.jit(jax.grad(loss))

    class Model:
        """The loss apart from the gradient: only the loss need take complex numbers."""

        def loss_and_grads(self, params):
            grads = gradient(params)
            return np.asarray(loss(params)), {k: np.asarray(v) for k, v in grads.items()}

        def loss(self, params):
            return np.asarray(loss(params))

    model = Model()
    model.params = params
    return model


def correct():
    """Return a model whose gradients JAX computes throughout."""
    return network(lambda x: jnp.log(1 + jnp.exp(x)))


def wrong():
    """Return a model with a custom derivative that is wrong."""
    return network(softplus)
