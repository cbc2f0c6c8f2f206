"""PyTorch in the functional manner: ``torch.func.grad``, ``vmap`` over networks, ``torch.compile``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peers.task import EPS, Task


class Peer:
    """One update as a pure function of all parameters, differentiated by ``torch.func.grad``.

    Several networks are one ``vmap`` of it.
    """

    stride = 1
    compiles = False

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:
        import torch
        from torch.func import grad_and_value, vmap
        from torch.nn.functional import cross_entropy, relu

        torch.set_num_threads(threads)
        self.torch, self.task = torch, task
        depth, many = task.depth, task.networks > 1
        normalises = [task.normalises(layer) for layer in range(depth + 1)]

        def loss_and_statistics(params, x, y):
            statistics = {}
            for layer in range(1, depth + 1):
                x = x @ params[f"W{layer}"]
                if normalises[layer]:
                    mean = x.mean(0)
                    x = x - mean
                    var = (x * x).mean(0)
                    x = x * torch.rsqrt(var + EPS) * params[f"gamma{layer}"]
                    x = x + params[f"beta{layer}"]
                    statistics[f"mean{layer}"], statistics[f"var{layer}"] = mean, var
                else:
                    x = x + params[f"b{layer}"]
                if layer < depth:
                    x = relu(x)
            return cross_entropy(x, y), statistics

        def update(params, running, x, y, lr, l2):
            grads, (_, statistics) = grad_and_value(loss_and_statistics, has_aux=True)(params, x, y)
            params = {
                key: value - lr * (grads[key] + 2 * l2 * value)
                if key.startswith("W")
                else value - lr * grads[key]
                for key, value in params.items()
            }
            running = {key: 0.9 * running[key] + 0.1 * statistics[key] for key in running}
            return params, running

        if many:
            update = vmap(update, in_dims=(0, 0, None, None, 0, 0))
        self.update = torch.compile(update) if self.compiles else update
        one = slice(None) if many else 0
        self.params = {key: torch.tensor(value[one]) for key, value in task.params.items()}
        self.running = {}
        for layer in range(1, depth + 1):
            if normalises[layer]:
                self.running[f"mean{layer}"] = torch.zeros_like(self.params[f"gamma{layer}"])
                self.running[f"var{layer}"] = torch.ones_like(self.params[f"gamma{layer}"])
        self.X, self.labels = torch.from_numpy(X), torch.from_numpy(labels)
        self.rows = list(torch.from_numpy(task.rows))
        self.lr = list(torch.from_numpy(task.lr[:, one]))
        self.l2 = torch.tensor(task.l2[one])

    def train(self, start: int, stop: int) -> None:
        params, running = self.params, self.running
        with self.torch.no_grad():
            for t in range(start, stop):
                t %= len(self.rows)
                x, y = (data.index_select(0, self.rows[t]) for data in (self.X, self.labels))
                params, running = self.update(params, running, x, y, self.lr[t], self.l2)
        self.params, self.running = params, running

    def weights(self) -> dict[str, NDArray]:
        many = self.task.networks > 1
        values = {key: value.detach().numpy() for key, value in self.params.items()}
        return values if many else {key: np.asarray(value)[None] for key, value in values.items()}


class Compiled(Peer):
    """The same, update by update a program of ``torch.compile``."""

    compiles = True
