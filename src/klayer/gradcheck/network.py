"""The check of klayer's own networks: the function that training calls, a population at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError
from klayer.gradcheck.check import run_check
from klayer.gradcheck.known_mistakes import Reference
from klayer.gradcheck.objective import Params, as_params
from klayer.gradcheck.result import Cause, Check
from klayer.nn import Initialiser, Network, Workspace
from klayer.nn.layers import WeightGradient, as_array
from klayer.nn.losses import softmax_cross_entropy

__all__ = ["check_network", "generic_params"]

# Copies of a small network that are perturbed side by side may take so much memory.
STACK_BYTES = 1 << 21


def check_network(
    network: Network,
    params: dict[str, ArrayLike] | None = None,
    x: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    l2: float | Sequence[float] = 0.1,
    networks: int = 1,
    samples: int = 20,
    init: str | Initialiser = "he",
    method: str = "auto",
    arrays: str | Sequence[str] | None = None,
    entries: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> Check:
    """Check the gradients of a klayer network, or of a population of P networks at once.

    Checked is :meth:`klayer.nn.Network.propagate`, the function that training calls, and the way
    training calls it: each gradient moves its parameter before the next one is computed. The same
    entry of all P networks is perturbed at once, since networks do not depend on each other. With
    ``l2 > 0`` the data term and the L2 term are checked apart, and their sum as well.

    Parameters
    ----------
    network : Network
    params : dict of array, shape (P, ...), optional
        The point; by default drawn by ``init``, with noise on biases, gamma and beta so that
        nothing hides behind a zero or a one. float32 is checked in float64.
    x : array, shape (N, D), optional
        The batch; by default standard normal.
    labels : int array, shape (N,), optional
        Values 0 ... K-1; by default drawn at random. To be given with ``x``.
    l2 : float, >= 0, or sequence of P numbers
        lambda in ``lambda * sum_l ||W_l||^2``.
    networks : int, >= 1
        P, if ``params`` is left out.
    samples : int, >= 1
        N, if ``x`` is left out.
    init : str or Initialiser
        If ``params`` is left out.
    method, arrays, entries, tolerance, seed
        As for :func:`check_gradients`.

    Returns
    -------
    check : Check
        With terms ``data``, ``l2`` and ``cost``, or ``cost`` alone if all ``l2`` are 0.

    Raises
    ------
    KlayerError
        For arrays that don't fit the network, and for options out of range.

    Examples
    --------
    >>> network = Network(n_features=4, hidden=(5, 5), n_classes=3, batch_norm="hidden")
    >>> check = check_network(network, networks=2)
    >>> check.verdict, check.method, check.norm_error < 1e-13
    ('right', 'complex', True)
    """
    rng = np.random.default_rng([seed, 1])
    x, labels = _batch(network, x, labels, samples, rng)
    if params is None:
        params = generic_params(network, networks, init, seed)
    objective = _NetworkObjective(network, _population(network, params), x, labels, l2)
    notes = []
    if len(labels) < 5 and network.batch_norm != "none":
        notes.append(
            f"a batch of {len(labels)} with batch normalisation: the normalised values hardly "
            "depend on the input, and gradients nearly vanish. Use 5 samples or more."
        )
    check = run_check(
        objective,
        method=method,
        arrays=arrays,
        entries=entries,
        tolerance=tolerance,
        seed=seed,
        samples=len(labels),
        l2=objective.l2,
        references={
            term: [
                Reference(network, x, labels, float(one) if term == "cost" else 0.0)
                for one in objective.l2
            ]
            for term in objective.terms
            if term != "l2"
        },
        kinks=objective.pre_activations,
        notes=notes,
    )
    cause = objective.in_place()
    if cause is not None:
        check = replace(check, verdict="wrong", causes=(cause, *check.causes), origin=cause.arrays)
    return check


def generic_params(
    network: Network, networks: int = 1, init: str | Initialiser = "he", seed: int = 0
) -> dict[str, NDArray]:
    """Draw float64 parameters at which no mistake hides behind a zero bias or a gamma of one.

    Returns
    -------
    params : dict of array, shape (P, ...)

    Examples
    --------
    >>> params = generic_params(Network(3, (2,), 2, batch_norm="all"), networks=2)
    >>> params["gamma2"].shape, bool((params["gamma2"] == 1).any())
    ((2, 2), False)
    """
    if networks < 1:
        raise KlayerError(f"`networks` must be >= 1, but got {networks}.")
    params = network.init(init, seeds=range(seed, seed + networks), dtype=np.float64)
    rng = np.random.default_rng([seed, 2])
    for name, value in params.items():
        if not name.startswith("W"):
            value += 0.1 * rng.standard_normal(value.shape)
    return params


class _NetworkObjective:
    """A population on one batch; terms and gradients by ``Network.propagate``."""

    loss_dtype = np.dtype(np.float64)

    def __init__(self, network: Network, params: Params, x: NDArray, labels: NDArray, l2) -> None:
        self.network, self.params, self.labels = network, params, labels
        P = len(params["W1"])
        self.l2 = _strengths(l2, P)
        self._x = {np.dtype(np.float64): x, np.dtype(np.complex128): x.astype(np.complex128)}
        self._ws = {dtype: Workspace() for dtype in self._x}
        self.terms = ("data", "l2", "cost") if self.l2.any() else ("cost",)
        self.derived = frozenset({"l2"})
        self.evaluations = 0

    def losses(self, params: Params) -> NDArray:
        self.evaluations += 1
        return self._losses(params, self.l2)

    def _losses(self, params: Params, l2: NDArray) -> NDArray:
        dtype = params["W1"].dtype
        ws = self._ws[dtype]
        # The forward half of propagate; `evaluate` sees to it that both give the same loss.
        logits = self.network.forward(params, self._x[dtype], ws=ws).logits
        loss, _ = softmax_cross_entropy(logits, self.labels, ws)
        if len(self.terms) == 1:
            return loss[None]
        penalty = self.network.penalty(params, l2)
        return np.stack([loss, penalty, loss + penalty])

    def losses_with(self, params: Params, name: str, entries: NDArray, values: NDArray) -> NDArray:
        """Return the losses with one entry after another set to ``values[:, i]``, (T, P, m).

        Small networks are copied and perturbed side by side, as a larger population: that spares most
        of the interpreter's time, and each network gives the bits that it gives alone.
        """
        P, m = values.shape
        size = sum(value.nbytes for value in params.values())
        copies = int(min(m, max(1, STACK_BYTES // size)))
        stack = {key: np.concatenate([value] * copies) for key, value in params.items()}
        work = stack[name].reshape(copies, P, -1)
        base, l2 = params[name].reshape(P, -1), np.tile(self.l2, copies)
        found = np.empty((len(self.terms), P, m), values.dtype)
        for start in range(0, m, copies):
            some = np.arange(start, min(start + copies, m))
            work[some - start, :, entries[some]] = values[:, some].T
            losses = self._losses(stack, l2).reshape(-1, copies, P)
            found[:, :, some] = losses[:, : len(some)].transpose(0, 2, 1)
            work[some - start, :, entries[some]] = base[:, entries[some]].T
        self.evaluations += m
        return found

    def evaluate(self, params: Params) -> tuple[NDArray, dict[str, Params]]:
        losses = self.losses(params)
        loss, cost = self._propagate(params, self.l2)
        if not np.array_equal(loss, losses[0], equal_nan=True):
            raise KlayerError(
                "`Network.propagate` and `Network.forward` must give the same loss, but got "
                f"{loss} and {losses[0]}."
            )
        if len(self.terms) == 1:
            return losses, {"cost": cost}
        _, data = self._propagate(params, np.zeros_like(self.l2))
        l2 = {name: cost[name] - data[name] for name in cost}
        return losses, {"data": data, "l2": l2, "cost": cost}

    def in_place(self) -> Cause | None:
        """Emit gradients as training does, each moving its parameter at once; compare.

        A gradient that was computed from a parameter that has already moved would differ.
        """
        _, expected = self._propagate(self.params, self.l2)
        _, found = self._propagate({k: v.copy() for k, v in self.params.items()}, self.l2, lr=0.5)
        moved = [
            name
            for name in expected
            if not np.array_equal(expected[name], found[name], equal_nan=True)
        ]
        if not moved:
            return None
        return Cause(
            "stale-order",
            tuple(moved),
            f"updated in place, as training does it, the gradient of {', '.join(moved)} changes: "
            "it is "
            "computed from a parameter that has already moved.",
            0.0,
        )

    def _propagate(self, params: Params, l2: NDArray, lr: float = 0.0) -> tuple[NDArray, Params]:
        grads = {name: np.full_like(value, np.nan) for name, value in params.items()}

        dtype = params["W1"].dtype
        ws = self._ws[dtype]

        def emit(name: str, grad: NDArray | WeightGradient) -> None:
            grads[name] = as_array(grad, params[name], ws)
            if lr:
                params[name] -= lr * grads[name]

        loss, _ = self.network.propagate(params, self._x[dtype], self.labels, l2, emit, ws)
        return loss.copy(), grads

    def pre_activations(self) -> list[NDArray]:
        dtype = np.dtype(np.float64)
        return self.network.forward(self.params, self._x[dtype], ws=self._ws[dtype]).pre_activations


def _batch(network: Network, x, labels, samples: int, rng) -> tuple[NDArray, NDArray]:
    if (x is None) != (labels is None):
        raise KlayerError("`x` and `labels` must be given together, or both left out.")
    if x is None:
        if samples < 1:
            raise KlayerError(f"`samples` must be >= 1, but got {samples}.")
        x = rng.standard_normal((samples, network.n_features))
        labels = rng.integers(network.n_classes, size=samples)
    x, labels = np.asarray(x), np.asarray(labels)
    if x.ndim != 2 or x.shape[1] != network.n_features or not len(x):
        hint = ": pass samples as rows" if x.ndim == 2 and x.shape[0] == network.n_features else ""
        raise KlayerError(
            f"`x` must have shape (N, {network.n_features}) with N >= 1, but got {x.shape}{hint}."
        )
    if labels.shape != (len(x),) or labels.dtype.kind not in "iu":
        raise KlayerError(
            f"`labels` must be {len(x)} whole numbers, one a sample, but got {labels.dtype} of "
            f"shape {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= network.n_classes:
        raise KlayerError(
            f"`labels` must be 0 ... {network.n_classes - 1}, but got {labels.min()} ... "
            f"{labels.max()}."
        )
    return np.array(x, np.float64), labels


def _population(network: Network, params) -> Params:
    params = as_params(params)
    shapes = network.shapes()
    if params.keys() != shapes.keys():
        raise KlayerError(
            f"`params` must have exactly the keys {', '.join(shapes)}, but got {', '.join(params)}."
        )
    P = len(params["W1"]) if params["W1"].ndim else 0
    for name, shape in shapes.items():
        if params[name].shape != (P, *shape):
            raise KlayerError(
                f"`params[{name!r}]` must have shape (P, {', '.join(map(str, shape))}) with the "
                "same P "
                f"for all, but got {params[name].shape}: the first axis is the population."
            )
    return {name: params[name] for name in shapes}


def _strengths(l2, P: int) -> NDArray:
    strengths = np.asarray(l2, dtype=np.float64)
    if strengths.shape not in ((), (P,)) or not (strengths >= 0).all():
        raise KlayerError(
            f"`l2` must be one number >= 0, or one for each of {P} networks, got {l2}."
        )
    return np.broadcast_to(strengths, (P,)).copy()
