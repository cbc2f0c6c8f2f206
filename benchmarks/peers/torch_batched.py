"""PyTorch, all networks at once: batched products and a backward pass written by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peers.task import EPS, Task


class Peer:
    """P networks as stacked tensors (P, N, H); every product is one ``bmm`` or ``baddbmm``.

    No autograd, no optimiser object, in-place operations wherever they save a pass: the update of a
    weight matrix is a scaling and one ``baddbmm_`` that adds ``-lr x^T g`` on the way.
    """

    stride = 1

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.task = torch, task
        self.params = {
            key: torch.from_numpy(value.copy() if value.ndim == 3 else value[:, None].copy())
            for key, value in task.params.items()
        }
        self.running = {
            key: torch.full_like(value, float(key.startswith("gamma")))
            for key, value in self.params.items()
            if key.startswith(("gamma", "beta"))  # the variance under gamma, the mean under beta
        }
        self.X = torch.from_numpy(X)
        self.onehot = torch.nn.functional.one_hot(torch.from_numpy(labels), task.widths[-1]).float()
        batch = task.rows.shape[1]
        self.average = torch.full((task.networks, 1, batch), 1 / batch)
        self.ones = torch.ones((task.networks, 1, batch))
        self.rows = list(torch.from_numpy(task.rows))
        self.lr = list(torch.from_numpy(task.lr).reshape(len(task.lr), -1, 1, 1))
        self.decay = 2 * torch.from_numpy(task.l2)[:, None, None]

    def train(self, start: int, stop: int) -> None:
        with self.torch.inference_mode():
            for t in range(start, stop):
                t %= len(self.rows)
                self._update(self.rows[t], self.lr[t])

    def _update(self, rows, lr) -> None:
        torch, p, task = self.torch, self.params, self.task
        x = self.X.index_select(0, rows)  # (N, D)
        inputs = [x.expand(task.networks, *x.shape)]
        normalised = {}
        for layer in range(1, task.depth + 1):
            if task.normalises(layer):
                z = torch.bmm(inputs[-1], p[f"W{layer}"])  # (P, N, D) @ (P, D, H) -> (P, N, H)
                mean = torch.bmm(self.average, z)
                z -= mean
                var = torch.bmm(self.average, z * z)
                self.running[f"beta{layer}"].lerp_(mean, 0.1)
                self.running[f"gamma{layer}"].lerp_(var, 0.1)
                inv_sd = var.add_(EPS).rsqrt_()
                z *= inv_sd
                normalised[layer] = z, inv_sd
                z = torch.addcmul(p[f"beta{layer}"], z, p[f"gamma{layer}"])
            else:
                z = torch.baddbmm(p[f"b{layer}"], inputs[-1], p[f"W{layer}"])
            if layer < task.depth:
                inputs.append(z.relu_())
        g = torch.softmax(z, -1).sub_(self.onehot.index_select(0, rows)).div_(len(rows))
        rate = -lr
        for layer in range(task.depth, 0, -1):
            x, W = inputs[layer - 1], p[f"W{layer}"]
            if task.normalises(layer):
                s_hat, inv_sd = normalised[layer]
                gamma = p[f"gamma{layer}"]
                scale = gamma * inv_sd
                mean_beta = torch.bmm(self.average, g)
                mean_gamma = torch.bmm(self.average, g * s_hat)
                g -= torch.addcmul(mean_beta, s_hat, mean_gamma)
                g *= scale
                gamma.addcmul_(mean_gamma, rate, value=len(rows))
                p[f"beta{layer}"].addcmul_(mean_beta, rate, value=len(rows))
            else:
                p[f"b{layer}"].addcmul_(torch.bmm(self.ones, g), rate)
            if layer > 1:
                below = torch.bmm(g, W.transpose(1, 2))  # (P, N, H) @ (P, H, D) -> (P, N, D)
                below = torch.ops.aten.threshold_backward(below, x, 0)
            g *= rate
            W.addcmul_(W, rate * self.decay)
            W.baddbmm_(x.transpose(1, 2), g)  # (P, D, N) @ (P, N, H) -> (P, D, H)
            if layer > 1:
                g = below

    def weights(self) -> dict[str, NDArray]:
        return {
            key: value.numpy() if key.startswith("W") else value.numpy()[:, 0]
            for key, value in self.params.items()
        }


class Wide(Peer):
    """The same with activations (N, P * H): the first layers are one product W1 (D, P * H) wide.

    Normalisation by PyTorch's own kernels, which like this layout.
    """

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:
        super().__init__(task, X, labels, threads)
        self.params = {
            key: value if value.shape[1] > 1 else value.reshape(-1)
            for key, value in self.params.items()
        }
        self.params["W1"] = self.torch.from_numpy(
            task.params["W1"].transpose(1, 0, 2).reshape(task.widths[0], -1).copy()
        )
        self.running = {key: value.reshape(-1) for key, value in self.running.items()}
        self.onehot = self.onehot[:, None]
        # Rates and penalties, one for each unit of a layer: (P * H,)
        lr, l2 = self.torch.from_numpy(task.lr), self.torch.from_numpy(task.l2)
        self.lr = [{H: one.repeat_interleave(H) for H in set(task.widths[1:])} for one in lr]
        self.decay_wide = 2 * l2.repeat_interleave(task.widths[1])

    def _update(self, rows, lr) -> None:
        torch, p, task = self.torch, self.params, self.task
        P, N = task.networks, len(rows)
        inputs = [self.X.index_select(0, rows)]  # (N, D), then (N, P * H)
        normalised = {}
        for layer in range(1, task.depth + 1):
            x, W = inputs[-1], p[f"W{layer}"]
            bias = p.get(f"b{layer}")
            if layer == 1:
                # (N, D) @ (D, P * H) -> (N, P * H)
                z = torch.mm(x, W) if bias is None else torch.addmm(bias, x, W)
            else:
                x = x.view(N, P, -1).transpose(0, 1)
                z = torch.bmm(x, W).transpose(0, 1).reshape(N, -1)  # (P, N, H) -> (N, P * H)
                if bias is not None:
                    z += bias
            if task.normalises(layer):
                s = z
                z, *statistics = torch.native_batch_norm(
                    s,
                    p[f"gamma{layer}"],
                    p[f"beta{layer}"],
                    self.running[f"beta{layer}"],
                    self.running[f"gamma{layer}"],
                    True,
                    0.1,
                    EPS,
                )
                normalised[layer] = s, *statistics
            if layer < task.depth:
                inputs.append(z.relu_())
        probs = torch.softmax(z.view(N, P, -1), -1)
        g = probs.sub_(self.onehot.index_select(0, rows)).div_(N).view(N, -1)
        for layer in range(task.depth, 0, -1):
            x, W, H = inputs[layer - 1], p[f"W{layer}"], task.widths[layer]
            rate = lr[H]
            if task.normalises(layer):
                s, mean, inv_sd = normalised[layer]
                gamma = p[f"gamma{layer}"]
                g, grad_gamma, grad_beta = torch.ops.aten.native_batch_norm_backward(
                    g, s, gamma, None, None, mean, inv_sd, True, EPS, [True, True, True]
                )
                gamma.addcmul_(grad_gamma, rate, value=-1)
                p[f"beta{layer}"].addcmul_(grad_beta, rate, value=-1)
            else:
                p[f"b{layer}"].addcmul_(g.sum(0), rate, value=-1)
            if layer == 1:
                W.addcmul_(W, rate * self.decay_wide, value=-1)
                W.addmm_(x.t(), g * rate, alpha=-1)  # (D, N) @ (N, P * H) -> (D, P * H)
                break
            by_network = g.view(N, P, H).transpose(0, 1)
            below = torch.bmm(by_network, W.transpose(1, 2)).transpose(0, 1).reshape(N, -1)
            below = torch.ops.aten.threshold_backward(below, x, 0)
            W.addcmul_(W, rate.view(P, H)[:, :1, None] * self.decay, value=-1)
            x = x.view(N, P, -1).permute(1, 2, 0)  # (P, D, N)
            W.baddbmm_(x, (g * rate).view(N, P, H).transpose(0, 1), alpha=-1)
            g = below

    def weights(self) -> dict[str, NDArray]:
        P = self.task.networks
        W1 = self.params["W1"].numpy().reshape(self.task.widths[0], P, -1).transpose(1, 0, 2)
        return {
            key: value.numpy() if value.ndim == 3 else value.numpy().reshape(P, -1)
            for key, value in self.params.items()
            if key != "W1"
        } | {"W1": np.ascontiguousarray(W1)}
