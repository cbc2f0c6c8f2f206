"""JAX: ``grad`` of the cost, ``jit(scan)`` over updates; ``vmap`` or ``lax.map`` over networks."""

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

        one = slice(None) if task.networks > 1 else 0
        self.data = self._data(X, labels)
        self.l2 = jnp.asarray(task.l2[one])
        params = {key: jnp.array(value[one]) for key, value in task.params.items()}
        running = {}
        for layer in range(1, depth + 1):
            if task.normalises(layer):
                running[f"mean{layer}"] = jnp.zeros_like(params[f"gamma{layer}"])
                running[f"var{layer}"] = jnp.ones_like(params[f"gamma{layer}"])
        self.state = (params, running)
        self.scan = jax.jit(self._scan(update), donate_argnums=0)
        self.rows, self.lr = task.rows.astype(np.int32), task.lr[:, one]

    def _data(self, X: NDArray, labels: NDArray) -> tuple:
        """Return what the compiled program is given: features, and labels or their one-hot rows."""
        jnp = self.jax.numpy
        return jnp.asarray(X), jnp.asarray(labels, jnp.int32)

    def _scan(self, update):
        """Return the program: updates on batches that are gathered one by one."""
        jax, jnp, task = self.jax, self.jax.numpy, self.task
        if task.networks > 1:
            update = jax.vmap(update, in_axes=(0, 0, None, None, 0, 0))

        def scan(state, X, labels, l2, rows, lr):
            def step(state, given):
                rows, lr = given
                x = jnp.take(X, rows, axis=0, mode="clip")
                y = jax.nn.one_hot(jnp.take(labels, rows, mode="clip"), task.widths[-1])
                *state, _ = update(*state, x, y, lr, l2)
                return tuple(state), None

            return jax.lax.scan(step, state, (rows, lr))[0]

        return scan

    def train(self, start: int, stop: int) -> None:
        for t in range(start, stop, self.stride):
            here = np.arange(t, min(t + self.stride, stop)) % len(self.rows)
            state, data = self.state, self.data
            self.state = self.scan(state, *data, self.l2, self.rows[here], self.lr[here])
        self.jax.block_until_ready(self.state)

    def weights(self) -> dict[str, NDArray]:
        many = self.task.networks > 1
        return {
            key: np.asarray(value) if many else np.asarray(value)[None]
            for key, value in self.state[0].items()
        }


class Gathered(Peer):
    """The same with the batches of all updates of a call gathered before the scan, labels one-hot.

    The fastest form for small networks: 200 updates a call.
    """

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:
        self.stride = 200 if X.shape[1] < 1000 else 20
        super().__init__(task, X, labels, threads)

    def _data(self, X: NDArray, labels: NDArray) -> tuple:
        jnp = self.jax.numpy
        return jnp.asarray(X), jnp.eye(self.task.widths[-1])[labels]

    def _scan(self, update):
        jax = self.jax
        if self.task.networks > 1:
            update = jax.vmap(update, in_axes=(0, 0, None, None, 0, 0))

        def scan(state, X, onehot, l2, rows, lr):
            def step(state, given):
                x, y, lr = given
                *state, _ = update(*state, x, y, lr, l2)
                return tuple(state), None

            return jax.lax.scan(step, state, (X[rows], onehot[rows], lr))[0]

        return scan


class Mapped(Gathered):
    """One network after another, ``lax.map`` over their scans: each finds its weights in the cache."""

    def _scan(self, update):
        jax = self.jax

        def scan(state, X, onehot, l2, rows, lr):
            batches = X[rows], onehot[rows]

            def train(given):
                state, l2, lr = given

                def step(state, given):
                    x, y, lr = given
                    *state, _ = update(*state, x, y, lr, l2)
                    return tuple(state), None

                return jax.lax.scan(step, state, (*batches, lr))[0]

            return jax.lax.map(train, (state, l2, lr.T))

        return scan
