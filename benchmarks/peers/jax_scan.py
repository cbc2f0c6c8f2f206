"""JAX: ``grad`` of the cost, ``jit(scan)`` over updates, ``vmap`` over networks if many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peers.task import EPS, Task


class Peer:
    """One compiled program of 20 updates, its weights donated from call to call."""

    stride = 20

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:  # noqa: ARG002
        import jax
        import jax.numpy as jnp

        self.jax, self.task = jax, task
        depth = task.depth

        def loss_and_statistics(params, x, y):
            statistics = {}
            for layer in range(1, depth + 1):
                x = x @ params[f"W{layer}"]
                if task.normalises(layer):
                    mean = x.mean(axis=0)
                    x = x - mean
                    var = (x * x).mean(axis=0)
                    x = x * jax.lax.rsqrt(var + EPS)
                    x = x * params[f"gamma{layer}"] + params[f"beta{layer}"]
                    statistics[f"mean{layer}"], statistics[f"var{layer}"] = mean, var
                else:
                    x = x + params[f"b{layer}"]
                if layer < depth:
                    x = jax.nn.relu(x)
            loss = -(jax.nn.log_softmax(x) * y).sum() / len(x)
            return loss, statistics

        def update(params, running, x, y, lr, l2):
            grad = jax.value_and_grad(loss_and_statistics, has_aux=True)
            (loss, statistics), grads = grad(params, x, y)
            for key, value in params.items():
                penalty = 2 * l2 * value if key.startswith("W") else 0
                params = params | {key: value - lr * (grads[key] + penalty)}
            running = {key: 0.9 * running[key] + 0.1 * statistics[key] for key in running}
            return params, running, loss

        if task.networks > 1:
            update = jax.vmap(update, in_axes=(0, 0, None, None, 0, 0))

        def scan(state, X, labels, l2, rows, lr):
            def step(state, given):
                rows, lr = given
                x = jnp.take(X, rows, axis=0, mode="clip")
                y = jax.nn.one_hot(jnp.take(labels, rows, mode="clip"), task.widths[-1])
                *state, loss = update(*state, x, y, lr, l2)
                return tuple(state), loss

            return jax.lax.scan(step, state, (rows, lr))

        one = slice(None) if task.networks > 1 else 0
        params = {key: jnp.array(value[one]) for key, value in task.params.items()}
        running = {}
        for layer in range(1, depth + 1):
            if task.normalises(layer):
                running[f"mean{layer}"] = jnp.zeros_like(params[f"gamma{layer}"])
                running[f"var{layer}"] = jnp.ones_like(params[f"gamma{layer}"])
        self.state = (params, running)
        self.scan = jax.jit(scan, donate_argnums=0)
        self.data = (jnp.asarray(X), jnp.asarray(labels, jnp.int32), jnp.asarray(task.l2[one]))
        self.rows, self.lr = task.rows.astype(np.int32), task.lr[:, one]

    def train(self, start: int, stop: int) -> None:
        for t in range(start, stop, self.stride):
            here = slice(t % len(self.rows), t % len(self.rows) + self.stride)
            self.state, _ = self.scan(self.state, *self.data, self.rows[here], self.lr[here])
        self.jax.block_until_ready(self.state)

    def weights(self) -> dict[str, NDArray]:
        many = self.task.networks > 1
        return {
            key: np.asarray(value) if many else np.asarray(value)[None]
            for key, value in self.state[0].items()
        }
