"""Check a PyTorch model: autograd's gradients, and a hand-written backward pass that is wrong.

    klayer gradcheck examples/gradcheck_torch.py:correct
    klayer gradcheck examples/gradcheck_torch.py:wrong

PyTorch's ReLU takes no complex numbers; the check finds out and uses central differences. Let the
model compute in float64: in float32 differences are good to two digits only.
"""

import numpy as np
import torch
from torch import nn
from torch.func import functional_call


class Swish(torch.autograd.Function):
    """``x sigmoid(x)`` with a backward pass that forgets one of its two terms."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x)  # and x sigmoid(x) (1 - sigmoid(x)) is missing


class Activation(nn.Module):
    """The custom function as a layer."""

    def forward(self, x):
        return Swish.apply(x)


def checked(activation):
    """Return ``(loss_and_grads, params)`` of a small network with batch normalisation."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), activation, nn.Linear(6, 3)).double()
    x = torch.randn(12, 8, dtype=torch.float64)
    labels = torch.randint(3, (12,))
    params = {name: value.detach().numpy().copy() for name, value in model.named_parameters()}
    buffers = {name: value.clone() for name, value in model.named_buffers()}

    def loss_and_grads(params):
        tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
        # Buffers are handed in anew each time: running statistics must not make it remember.
        state = {**tensors, **{name: value.clone() for name, value in buffers.items()}}
        loss = nn.functional.cross_entropy(functional_call(model, state, (x,)), labels)
        grads = torch.autograd.grad(loss, list(tensors.values()))
        return loss.item(), {
            name: np.asarray(grad) for name, grad in zip(tensors, grads, strict=True)
        }

    return loss_and_grads, params


def correct():
    """Return a model whose gradients autograd computes. The bias before BN is structurally zero."""
    return checked(nn.ReLU())


def wrong():
    """Return a model with a custom function whose backward pass is wrong."""
    return checked(Activation())
