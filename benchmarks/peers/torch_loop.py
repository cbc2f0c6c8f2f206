"""PyTorch as everybody writes it: a module, autograd, an optimiser; one network after another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peers.task import EPS, Task


class Peer:
    """One network: an ``nn.Sequential`` in eager mode, SGD with ``weight_decay = 2 lambda``."""

    stride = 1

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(threads)
        self.torch, self.task = torch, task
        layers = []
        for layer, (fan_in, fan_out) in enumerate(
            zip(task.widths, task.widths[1:], strict=False), start=1
        ):
            affine = nn.Linear(fan_in, fan_out, bias=not task.normalises(layer))
            layers.append(affine)
            self._set(affine.weight, task.params[f"W{layer}"][0].T)
            if task.normalises(layer):
                layers.append(nn.BatchNorm1d(fan_out, eps=EPS, momentum=0.1))  # 0.1 of the new
                self._set(layers[-1].weight, task.params[f"gamma{layer}"][0])
                self._set(layers[-1].bias, task.params[f"beta{layer}"][0])
            else:
                self._set(affine.bias, task.params[f"b{layer}"][0])
            if layer < task.depth:
                layers.append(nn.ReLU())
        self.model = nn.Sequential(*layers).train()
        weights = [module.weight for module in self.model if isinstance(module, nn.Linear)]
        others = [p for p in self.model.parameters() if all(p is not weight for weight in weights)]
        self.optimiser = torch.optim.SGD(
            [
                {"params": weights, "weight_decay": 2 * float(task.l2[0])},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=0.1,
            fused=True,  # measured: 6 % faster here than the default
        )
        self.X, self.labels = torch.from_numpy(X), torch.from_numpy(labels)
        self.rows = list(torch.from_numpy(task.rows))
        self.lr = task.lr[:, 0].tolist()

    def _set(self, parameter, value: NDArray) -> None:
        with self.torch.no_grad():
            parameter.copy_(self.torch.from_numpy(np.ascontiguousarray(value)))

    def train(self, start: int, stop: int) -> None:
        from torch.nn.functional import cross_entropy

        for t in range(start, stop):
            t %= len(self.rows)
            x, y = (data.index_select(0, self.rows[t]) for data in (self.X, self.labels))
            for group in self.optimiser.param_groups:
                group["lr"] = self.lr[t]
            self.optimiser.zero_grad(set_to_none=True)
            cross_entropy(self.model(x), y).backward()
            self.optimiser.step()

    def weights(self) -> dict[str, NDArray]:
        modules = [module for module in self.model if list(module.parameters())]
        values, layer = {}, 0
        for module in modules:
            weight, bias = module.weight.detach().numpy(), module.bias
            if weight.ndim == 2:
                layer += 1
                values[f"W{layer}"] = weight.T[None]
                if bias is not None:
                    values[f"b{layer}"] = bias.detach().numpy()[None]
            else:
                values[f"gamma{layer}"] = weight[None]
                values[f"beta{layer}"] = bias.detach().numpy()[None]
        return values
