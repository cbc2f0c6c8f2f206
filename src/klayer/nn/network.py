"""The k-layer network: affine, batch normalisation, ReLU; softmax at the end.

A :class:`Network` is an architecture and holds no numbers. Parameters are a plain dict of arrays with
a leading population axis, keys ``W1``, ``b1`` or ``gamma1``, ``beta1``, ``W2`` and so on; a gradient
has exactly its parameter's key. Equation numbers refer to ``docs/derivations.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.nn.initialisers import Initialiser
from klayer.nn.layers import (
    WeightGradient,
    add_bias,
    affine,
    as_array,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    relu,
    relu_backward,
    sum_samples,
)
from klayer.nn.losses import log_softmax, softmax_cross_entropy, softmax_cross_entropy_backward
from klayer.nn.workspace import Workspace

__all__ = ["BATCH_NORM", "Forward", "Network"]

BATCH_NORM = ("none", "hidden", "all")
RUNNING_DECAY = 0.9
Params = Mapping[str, NDArray]
Emit = Callable[[str, NDArray | WeightGradient], None]


@dataclass
class Forward:
    """What a forward pass leaves for the backward pass: logits, and for each layer what it saw.

    Attributes
    ----------
    logits : array, shape (P, N, K)
    inputs : list of array
        Input of layer l at ``[l - 1]``: (N, D) for the first, (P, N, H) for the others.
    pre_activations : list of array, shape (P, N, H)
        What each ReLU decides on (the hidden layers only).
    active : list of bool array, shape (P, N, H)
        Where each ReLU lets through (the hidden layers only).
    normalised : dict of layer -> (s_hat, inv_sd, mean, var)
        Of layers with batch normalisation, if the pass used the mini-batch's statistics.
    """

    logits: NDArray = None
    inputs: list[NDArray] = field(default_factory=list)
    pre_activations: list[NDArray] = field(default_factory=list)
    active: list[NDArray] = field(default_factory=list)
    normalised: dict[int, tuple[NDArray, NDArray, NDArray, NDArray]] = field(default_factory=dict)

    def first_not_finite(self, p: int) -> int:
        """Return the first layer (1 ... k) where network ``p`` holds a value that is not finite."""
        layers = [*self.pre_activations, self.logits]
        bad = [not np.isfinite(z[p]).all() for z in layers]
        return bad.index(True) + 1 if any(bad) else len(layers)


@dataclass(frozen=True)
class Network:
    """A fully connected classifier with ``len(hidden) + 1`` layers.

    Parameters
    ----------
    n_features : int, >= 1
        Number of inputs, D.
    hidden : sequence of int, each >= 1
        Widths of the hidden layers; may be empty (a linear classifier).
    n_classes : int, >= 2
        Number of classes, K.
    batch_norm : {"none", "hidden", "all"}
        Which layers normalise their pre-activations. Those layers have no bias: the mean would
        cancel it.
    eps : float, > 0
        Added to the variance, inside the root. It must be small beside the variance of the
        pre-activations, or normalisation stops normalising: with the 1e-5 of many frameworks, nine
        layers that start with sigma 1e-4 never train; with 1e-8 they do.

    Raises
    ------
    KlayerError
        For sizes or a ``batch_norm`` out of range.

    Examples
    --------
    >>> network = Network(n_features=4, hidden=(3,), n_classes=2, batch_norm="hidden")
    >>> {key: shape for key, shape in network.shapes().items()}
    {'W1': (4, 3), 'gamma1': (3,), 'beta1': (3,), 'W2': (3, 2), 'b2': (2,)}
    >>> params = network.init("he", seeds=[0, 1])
    >>> params["W1"].shape
    (2, 4, 3)
    """

    n_features: int
    hidden: tuple[int, ...]
    n_classes: int
    batch_norm: str = "none"
    eps: float = 1e-8

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))
        if self.batch_norm not in BATCH_NORM:
            raise unknown_name("batch_norm", self.batch_norm, BATCH_NORM)
        for name, sizes, least in (
            ("n_features", [self.n_features], 1),
            ("hidden", self.hidden, 1),
            ("n_classes", [self.n_classes], 2),
        ):
            if any(size < least for size in sizes):
                raise KlayerError(f"`{name}` must be >= {least}, but got {list(sizes)}.")
        if not 0 < self.eps < 1:
            raise KlayerError(f"`0 < eps < 1` must hold, but got eps={self.eps}.")

    @property
    def depth(self) -> int:
        """Number of layers, k."""
        return len(self.hidden) + 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, hidden widths, classes."""
        return (self.n_features, *self.hidden, self.n_classes)

    def normalises(self, layer: int) -> bool:
        """Whether layer ``layer`` (1 ... k) has batch normalisation."""
        return self.batch_norm == "all" or (self.batch_norm == "hidden" and layer < self.depth)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of one network, without the population axis."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (fan_in, fan_out) in enumerate(
            zip(self.widths, self.widths[1:], strict=False), start=1
        ):
            shapes[f"W{layer}"] = (fan_in, fan_out)
            for kind in ("gamma", "beta") if self.normalises(layer) else ("b",):
                shapes[f"{kind}{layer}"] = (fan_out,)
        return shapes

    @property
    def size(self) -> int:
        """Number of parameters of one network."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values())

    def init(
        self,
        init: str | Initialiser | Sequence[str | Initialiser],
        seeds: Sequence[int],
        dtype=np.float32,
    ) -> dict[str, NDArray]:
        """Draw the parameters of a population.

        Weights are normal with the initialiser's width, biases and beta 0, gamma 1. A network's draw
        depends on its seed alone, and every initialiser scales the same standard normal draw: networks
        of one seed are paired across initialisers.

        Parameters
        ----------
        init : initialiser or name, or one for each network
        seeds : sequence of int, >= 0, one for each network
        dtype : float32, float64 or complex128

        Returns
        -------
        params : dict of array, shape (P, ...)
        """
        inits = [init] * len(seeds) if isinstance(init, str | Initialiser) else list(init)
        inits = [Initialiser.parse(one) for one in inits]
        if len(inits) != len(seeds):
            raise KlayerError(
                f"one initialiser a seed is needed, but got {len(inits)} for {len(seeds)} seeds."
            )
        params = {
            key: (np.ones if key.startswith("gamma") else np.zeros)((len(seeds), *shape), dtype)
            for key, shape in self.shapes().items()
        }
        for p, (one, seed) in enumerate(zip(inits, seeds, strict=True)):
            rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
            for layer, fan_in in enumerate(self.widths[:-1], start=1):
                W = params[f"W{layer}"][p]
                W[...] = rng.standard_normal(W.shape) * one.std(fan_in)
        return params

    def init_running(self, P: int, dtype=np.float32) -> dict[str, NDArray]:
        """Return fresh running statistics: mean 0, variance 1, for layers that normalise.

        Returns
        -------
        running : dict of array, shape (P, H), keys ``running_mean1``, ``running_var1`` and so on
        """
        running = {}
        for layer in range(1, self.depth + 1):
            if self.normalises(layer):
                running[f"running_mean{layer}"] = np.zeros((P, self.widths[layer]), dtype)
                running[f"running_var{layer}"] = np.ones((P, self.widths[layer]), dtype)
        return running

    def update_running(self, running: Params, forward: Forward, first: bool) -> None:
        """Move the running statistics towards those of a mini-batch, in place.

        ``avg = 0.9 avg + 0.1 batch``: the decay weighs the old value; the variance is the biased one.
        The first mini-batch sets the averages.
        """
        for layer, (_, _, mean, var) in forward.normalised.items():
            for name, batch in (("mean", mean), ("var", var)):
                average = running[f"running_{name}{layer}"]
                if first:
                    average[...] = batch[:, 0]
                else:
                    average *= RUNNING_DECAY
                    average += (1 - RUNNING_DECAY) * batch[:, 0]

    def forward(
        self,
        params: Params,
        x: NDArray,
        running: Params | None = None,
        ws: Workspace | None = None,
        s1: NDArray | None = None,
    ) -> Forward:
        """Map inputs to logits (equations 1 to 10).

        Parameters
        ----------
        params : dict of array, shape (P, ...)
        x : array, shape (N, D)
            One batch, shared by all networks.
        running : dict of array, optional
            Given, batch normalisation uses these statistics (a trained network at work);
            left out, those of the batch (training).
        ws : Workspace, optional
            Scratch memory; what is returned lives there until the next pass.
        s1 : array, shape (P, N, H), optional
            The first layer's product ``x W1``, if it is known already; overwritten.

        Returns
        -------
        forward : Forward
            With ``logits`` of shape (P, N, K).
        """
        ws = ws or Workspace()
        out = Forward()
        for layer in range(1, self.depth + 1):
            out.inputs.append(x)
            b = params.get(f"b{layer}")
            if layer == 1 and s1 is not None:
                z = add_bias(s1, b)
            else:
                z = affine(x, params[f"W{layer}"], b, ws, f"s{layer}")
            if self.normalises(layer):
                gamma, beta = params[f"gamma{layer}"], params[f"beta{layer}"]
                if running is None:
                    z, *rest = batch_norm(z, gamma, beta, self.eps, ws, f"z{layer}")
                    out.normalised[layer] = tuple(rest)
                else:
                    mean, var = running[f"running_mean{layer}"], running[f"running_var{layer}"]
                    z = batch_norm_inference(z, gamma, beta, mean, var, self.eps)
            if layer < self.depth:
                x, active = relu(z, ws, f"x{layer}")
                out.pre_activations.append(z)
                out.active.append(active)
        out.logits = z
        return out

    def penalty(self, params: Params, l2: NDArray) -> NDArray:
        """L2 penalty ``lambda * sum_l ||W_l||^2`` of each network, shape (P,) (equation 14).

        Note the convention: no factor 1/2, no division by N; biases, gamma and beta are free.
        """
        total = np.zeros(len(l2), params["W1"].dtype)
        for layer in range(1, self.depth + 1):
            for p, W in enumerate(params[f"W{layer}"]):
                # One network at a time: a stacked product takes another path for P = 1, and so
                # other bits. The plain product keeps a complex step's derivative.
                total[p] += W.ravel() @ W.ravel()
        return l2 * total

    def backward(
        self,
        params: Params,
        forward: Forward,
        grad_logits: NDArray,
        l2: NDArray,
        emit: Emit,
        ws: Workspace,
    ) -> None:
        """Send the gradient of the cost with respect to every parameter to ``emit``.

        The gradient of a layer is emitted after everything that needs the layer's parameters, so that
        ``emit`` may update them in place: that is what training does. :meth:`loss_and_grads` collects
        the very same arrays.

        Parameters
        ----------
        params : dict of array, shape (P, ...)
        forward : Forward, from :meth:`forward` without ``running``
        grad_logits : array, shape (P, N, K), overwritten
        l2 : array, shape (P,)
        emit : callable ``(key, grad)``
            Called once for each key: with an array of the parameter's shape, which is scratch memory,
            or, for weights, with a :class:`WeightGradient`.
        ws : Workspace
        """
        g = grad_logits
        for layer in range(self.depth, 0, -1):
            if layer < self.depth:
                g = relu_backward(g, forward.active[layer - 1])
            if self.normalises(layer):
                s_hat, inv_sd, _, _ = forward.normalised[layer]
                gamma = params[f"gamma{layer}"]
                g, grad_gamma, grad_beta = batch_norm_backward(g, s_hat, inv_sd, gamma, ws)
                emit(f"gamma{layer}", grad_gamma)
                emit(f"beta{layer}", grad_beta)
            else:
                emit(f"b{layer}", sum_samples(g, ws)[:, 0])
            x = forward.inputs[layer - 1]
            below = None
            if layer > 1:
                W = params[f"W{layer}"]
                below = ws.array(f"g{layer - 1}", x.shape, x.dtype)
                np.matmul(g, W.transpose(0, 2, 1), out=below)  # (P, N, H) @ (P, H, D) -> (P, N, D)
            emit(f"W{layer}", WeightGradient(x, g, l2))
            g = below

    def propagate(
        self,
        params: Params,
        x: NDArray,
        labels: NDArray,
        l2: NDArray,
        emit: Emit,
        ws: Workspace,
        s1: NDArray | None = None,
    ) -> tuple[NDArray, Forward]:
        """Run one batch forward and backward: the function that training calls and the check checks.

        If the loss of any network is not finite, nothing is emitted: the caller decides what becomes
        of that network before any parameter moves.

        Returns
        -------
        loss : array, shape (P,), mean cross-entropy
        forward : Forward
        """
        forward = self.forward(params, x, ws=ws, s1=s1)
        loss, probs = softmax_cross_entropy(forward.logits, labels, ws)
        if np.isfinite(loss).all():
            grad_logits = softmax_cross_entropy_backward(probs, labels)
            self.backward(params, forward, grad_logits, l2, emit, ws)
        return loss, forward

    def loss_and_grads(
        self,
        params: Params,
        x: NDArray,
        labels: NDArray,
        l2: float | Sequence[float] | NDArray = 0.0,
        ws: Workspace | None = None,
    ) -> tuple[NDArray, NDArray, dict[str, NDArray]]:
        """Cost of a batch in its two terms, and the gradient of their sum.

        ``J = loss + penalty``; the passes are the ones that training runs.

        Parameters
        ----------
        params : dict of array, shape (P, ...)
        x : array, shape (N, D)
        labels : int array, shape (N,), values in 0 ... K-1
        l2 : float, >= 0, or array of shape (P,)

        Returns
        -------
        loss : array, shape (P,), mean cross-entropy
        penalty : array, shape (P,), ``lambda * sum_l ||W_l||^2``
        grads : dict of array, the keys and shapes of ``params``; all NaN if a loss is not finite

        Examples
        --------
        >>> network = Network(n_features=4, hidden=(3,), n_classes=2)
        >>> params = network.init("he", seeds=[0])
        >>> x, labels = np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1])
        >>> loss, penalty, grads = network.loss_and_grads(params, x, labels, l2=0.1)
        >>> grads.keys() == params.keys(), loss.shape
        (True, (1,))
        """
        ws = ws or Workspace()
        dtype = params["W1"].dtype
        P = len(params["W1"])
        l2 = np.broadcast_to(np.asarray(l2, dtype=dtype), (P,))
        grads = {key: np.full_like(value, np.nan) for key, value in params.items()}

        def collect(key: str, grad: NDArray | WeightGradient) -> None:
            grads[key][...] = as_array(grad, params[key], ws)

        loss, _ = self.propagate(params, x.astype(dtype, copy=False), labels, l2, collect, ws)
        return loss, self.penalty(params, l2), grads

    def probs(
        self, params: Params, x: NDArray, running: Params, ws: Workspace | None = None
    ) -> NDArray:
        """Class probabilities of a trained population, shape (P, N, K)."""
        ws = ws or Workspace()
        return log_softmax(self.forward(params, x, running, ws).logits, ws)[1]
