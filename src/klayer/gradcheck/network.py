"""The check of klayer's own networks: the function that training calls, a population at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.gradcheck.check import run_check
from klayer.gradcheck.objective import Params, as_params
from klayer.gradcheck.options import validate
from klayer.gradcheck.reference import Reference
from klayer.gradcheck.result import Cause, Check
from klayer.nn import (
    ACTIVATIONS,
    LOSSES,
    NUMBERS,
    Batch,
    DelayedWeights,
    Initialiser,
    Network,
    Plan,
    Workspace,
    dropout_keys,
)
from klayer.nn.gradients import Gradient, OfWeights
from klayer.nn.pieces.affine import AffinePass
from klayer.nn.pieces.dropout import Draws
from klayer.nn.plan import Use

__all__ = ["check_network", "drawn_labels", "generic_params"]

# Copies of a small network that are perturbed side by side may take so much memory.
STACK_BYTES = 1 << 21

# How far the trials of the order of updates move: any rate at which a stale value shows.
_RATE = 0.5

Array = NDArray[Any]


def check_network(
    network: Network,
    params: Mapping[str, ArrayLike] | None = None,
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
    numbers: Mapping[str, float | Sequence[float]] | None = None,
    second_point: bool | None = None,
) -> Check:
    """Check the gradients of a klayer network, or of a population of P networks at once.

    Checked is :class:`klayer.nn.Plan`, what training runs, and the way training runs it: each gradient
    moves its parameter before the next one is computed, and two updates of the first layer are carried
    out at once. The same entry of all P networks is perturbed at once, since networks do not depend on
    each other. With ``l2 > 0`` the data term and the L2 term are checked apart, and their sum as well.

    Parameters
    ----------
    network : Network
    params : dict of array, shape (P, ...), optional
        The point; by default drawn by ``init``, with noise on biases, gamma and beta so that
        nothing hides behind a zero or a one. float32 is checked in float64.
    x : array, shape (N, D), optional
        The batch; by default standard normal.
    labels : array, optional
        What the network's loss takes: int (N,), values 0 ... K-1; targets (N, K); or 0 and 1, (N, K). By
        default drawn at random. To be given with ``x``.
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
    numbers : mapping of str to float, or to P floats; optional
        Numbers that are no parameters: ``dropout`` (by default 0.3, where hidden units may be dropped),
        ``input_dropout`` (likewise 0.2), ``smoothing``, ``huber_delta``. What is dropped is the same
        at each evaluation.
    second_point : bool, optional
        Check at a perturbed point as well; by default if ``params`` are given: drawn ones hide
        nothing.

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
    validate(networks=networks, samples=samples, seed=seed)
    rng = np.random.default_rng([seed, 1])
    x, labels = _batch(network, x, labels, samples, rng)
    point = generic_params(network, networks, init, seed) if params is None else params
    objective = _NetworkObjective(network, _population(network, point), x, labels, l2, numbers)
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
                objective.reference(p, float(one) if term == "cost" else 0.0)
                for p, one in enumerate(objective.l2)
            ]
            for term in objective.terms
            if term != "l2"
        },
        kinks=objective.pre_activations,
        second_point=params is not None if second_point is None else second_point,
        notes=notes,
    )
    # The second rests on gradients that are right.
    cause = objective.in_place() or (objective.at_once() if check.verdict != "wrong" else None)
    if cause is not None:
        check = replace(check, verdict="wrong", causes=(cause, *check.causes), origin=cause.arrays)
    return check


def generic_params(
    network: Network, networks: int = 1, init: str | Initialiser = "he", seed: int = 0
) -> dict[str, Array]:
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
    """A population on one batch; terms and gradients by a :class:`klayer.nn.Plan`."""

    loss_dtype: np.dtype[Any] = np.dtype(np.float64)
    given: np.dtype[Any] = np.dtype(np.float64)

    def __init__(
        self,
        network: Network,
        params: Params,
        x: Array,
        labels: Array,
        l2: ArrayLike,
        numbers: Mapping[str, float | Sequence[float]] | None,
    ) -> None:
        self.network, self.params, self.labels = network, params, labels
        P = len(params["W1"])
        self.numbers = _numbers(numbers or {}, P)
        self.l2 = _strengths(l2, P)
        self._x = {np.dtype(np.float64): x, np.dtype(np.complex128): x.astype(np.complex128)}
        self._ws = {dtype: Workspace() for dtype in self._x}
        self.terms: tuple[str, ...] = ("data", "l2", "cost") if self.l2.any() else ("cost",)
        self.derived = frozenset({"l2"})
        self.evaluations = 0
        self.watch: Callable[[], None] = lambda: None

    def rounding(self, params: Params) -> Params:  # noqa: ARG002
        return {}

    def reference(self, p: int, l2: float) -> Reference:
        """Return what the cost of network ``p`` is known to be."""
        x, network = self._x[np.dtype(np.float64)], self.network
        numbers = {name: float(self.numbers[name][p]) for name in self.numbers if name in NUMBERS}
        masks: dict[int, Array] = {}
        for layer, width in enumerate(network.widths[:-1]):
            if network.drops_hidden if layer else network.drops_inputs:
                out = np.empty((len(x), width), np.bool_)
                rate = numbers["dropout" if layer else "input_dropout"]
                draws = Draws(self.numbers["dropout_key"][p], rate, layer, out)
                masks[layer] = draws.draw(0) * out
        return Reference(network, x, self.labels, l2, numbers, masks)

    def losses(self, params: Params) -> Array:
        self.evaluations += 1
        self.watch()
        return self._losses(self._plan(params), params, self.l2)

    def _plan(self, params: Params, use: Use | None = None) -> Plan:
        dtype = params["W1"].dtype
        batch, ws = Batch(self._x[dtype], self.labels), self._ws[dtype]
        return self.network.plan(params, batch, use=use, ws=ws, numbers=self._numbers_for(params))

    def _numbers_for(self, params: Params) -> Params:
        """Return each network's numbers, for the population or for copies of it, one after another."""
        copies = len(params["W1"]) // len(self.l2)
        return {
            name: np.concatenate([value] * copies) if copies > 1 else value
            for name, value in self.numbers.items()
        }

    def _losses(self, plan: Plan, params: Params, l2: Array) -> Array:
        # The forward half of an update; `evaluate` sees to it that both give the same loss.
        plan.forward()
        loss = plan.losses().copy()
        if len(self.terms) == 1:
            return loss[None]
        penalty = self.network.penalty(params, l2)
        return np.stack([loss, penalty, loss + penalty])

    def losses_with(self, params: Params, name: str, entries: Array, values: Array) -> Array:
        """Return the losses with one entry after another set to ``values[:, i]``, (T, P, m).

        Small networks are copied and perturbed side by side, as a larger population: that spares most
        of the interpreter's time, and each network gives the bits that it gives alone.
        """
        P, m = values.shape
        size = sum(value.nbytes for value in params.values())
        copies = int(min(m, max(1, STACK_BYTES // size)))
        stack = {key: np.concatenate([value] * copies) for key, value in params.items()}
        work = stack[name].reshape(copies, P, -1)
        base, l2, plan = params[name].reshape(P, -1), np.tile(self.l2, copies), self._plan(stack)
        found = np.empty((len(self.terms), P, m), values.dtype)
        for start in range(0, m, copies):
            some = np.arange(start, min(start + copies, m))
            work[some - start, :, entries[some]] = values[:, some].T
            losses = self._losses(plan, stack, l2).reshape(-1, copies, P)
            found[:, :, some] = losses[:, : len(some)].transpose(0, 2, 1)
            work[some - start, :, entries[some]] = base[:, entries[some]].T
        self.evaluations += m
        self.watch()
        return found

    def evaluate(self, params: Params) -> tuple[Array, dict[str, Params]]:
        losses = self.losses(params)
        loss, cost = self._propagate(params, self.l2)
        if not np.array_equal(loss, losses[0], equal_nan=True):
            raise KlayerError(
                "`Plan.update` and `Plan.forward` must give the same loss, but got "
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
        _, found = self._propagate(_copied(self.params), self.l2, _RATE)
        moved = [k for k in expected if not np.array_equal(expected[k], found[k], equal_nan=True)]
        text = (
            f"updated in place, as training does it, the gradient of {', '.join(moved)} changes: "
            "it is computed from a parameter that has already moved."
        )
        return Cause("stale-order", tuple(moved), text, 0.0) if moved else None

    def at_once(self) -> Cause | None:
        """Carry out two updates of the first layer at once, as training does it; compare.

        The second one's logits and gradient rest on weights that have not been written down. One by
        one, the same two updates are made of gradients that have been checked. Where a unit stands
        exactly at its kink, rounding decides on which side it is: a mistake shows beside it, too.
        """
        rng = np.random.default_rng(0)
        beside = {
            name: value * (1 + 1e-3 * rng.standard_normal(value.shape))
            + 1e-3 * rng.standard_normal(value.shape)
            for name, value in self.params.items()
        }
        moved = self._moved_at_once(self.params) and self._moved_at_once(beside)
        text = (
            "carried out at once, as training does it for large first layers, two updates give "
            f"another {', '.join(moved)} than one after the other."
        )
        return Cause("at-once", tuple(moved), text, 0.0) if moved else None

    def _moved_at_once(self, start: Params) -> list[str]:
        """Return the arrays that two updates at once change otherwise than one after the other."""
        one_by_one, params = _copied(start), _copied(start)
        # The same from a few ulps beside: what two updates make of rounding is no mistake (normalising
        # a batch of two multiplies it by 1 / sqrt(eps), layer by layer).
        signs = np.random.default_rng(1)
        beside = {
            name: value * (1 + 4 * np.finfo(float).eps * signs.choice([-1.0, 1.0], value.shape))
            for name, value in start.items()
        }
        for _ in range(2):
            self._propagate(one_by_one, self.l2, _RATE)
            self._propagate(beside, self.l2, _RATE)

        if self.network.drops_inputs:  # each network has inputs of its own then
            return []
        x, ws = self._x[np.dtype(np.float64)], Workspace()
        overlaps = [x @ x[:0].T, x @ x.T]
        delayed = DelayedWeights(params["W1"], np.concatenate([x, x]), overlaps, self.l2, ws)
        rates, index = np.full(len(self.l2), _RATE), 0

        def use(name: str, gradient: Gradient) -> Callable[[], None]:
            if name == "W1":
                assert isinstance(gradient, OfWeights)
                return lambda: delayed.descend(index, gradient.g, rates)
            keep = 1 - 2 * rates * self.l2 if name in self.network.weights else np.ones_like(rates)
            shape = (-1, *(1,) * (params[name].ndim - 1))
            keep, c = keep.reshape(shape), -rates.reshape(shape)
            return lambda: gradient.add_to(params[name], keep, c)

        batch = Batch(x, self.labels)
        plan = self.network.plan(params, batch, use=use, ws=ws, numbers=self.numbers)
        first = plan.passes[0]
        assert isinstance(first, AffinePass)
        first.product = lambda: delayed.multiply(index, out=first.y)
        for index in range(2):  # noqa: B007
            plan.update()
        delayed.settle()
        slack = 1e-12 * max(np.abs(value).max() for value in one_by_one.values())
        return [
            key
            for key, value in one_by_one.items()
            if not np.allclose(
                params[key],
                value,
                rtol=1e-9,
                atol=slack + 30 * float(np.nan_to_num(np.abs(beside[key] - value)).max()),
                equal_nan=True,
            )
        ]

    def _propagate(self, params: Params, l2: Array, rate: float = 0.0) -> tuple[Array, Params]:
        grads = {name: np.full_like(value, np.nan) for name, value in params.items()}

        def use(name: str, gradient: Gradient) -> Callable[[], None]:
            def step() -> None:
                grads[name][...] = gradient.value()
                if name in self.network.weights:
                    slope = self.network.penalty_slope(l2)
                    grads[name] += slope[:, None, None] * params[name]
                if rate:
                    params[name] -= rate * grads[name]

            return step

        plan = self._plan(params, use)
        plan.update()
        return plan.losses().copy(), grads

    def pre_activations(self) -> list[Array]:
        decides = LOSSES[self.network.loss].decides
        activation_decides = any(ACTIVATIONS[name].kink for name in self.network.activations)
        if not activation_decides and decides is None:
            return []
        plan = self._plan(self.params)
        outputs = plan.forward()
        found = plan.pre_activations if activation_decides else []
        return found if decides is None else [*found, decides(outputs, self.labels)]


def _batch(
    network: Network,
    x: ArrayLike | None,
    labels: ArrayLike | None,
    samples: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    if (x is None) != (labels is None):
        raise KlayerError("`x` and `labels` must be given together, or both left out.")
    if x is None:
        if samples < 1:
            raise KlayerError(f"`samples` must be >= 1, but got {samples}.")
        x = rng.standard_normal((samples, network.n_features))
        labels = drawn_labels(network, samples, rng)
    x, labels = np.asarray(x), np.asarray(labels)
    if x.ndim != 2 or x.shape[1] != network.n_features or not len(x):
        hint = ": pass samples as rows" if x.ndim == 2 and x.shape[0] == network.n_features else ""
        raise KlayerError(
            f"`x` must have shape (N, {network.n_features}) with N >= 1, but got {x.shape}{hint}."
        )
    if network.task != "classification":
        wanted = (len(x), network.n_classes)
        if labels.shape != wanted or labels.dtype.kind not in "buif":
            raise KlayerError(
                f"`labels` must be real numbers of shape {wanted}, but got {labels.dtype} of shape "
                f"{labels.shape}."
            )
        return np.array(x, np.float64), np.array(labels, np.float64)
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


def drawn_labels(network: Network, samples: int, rng: np.random.Generator) -> Array:
    """Draw labels as the network's loss takes them."""
    if network.task == "classification":
        return rng.integers(network.n_classes, size=samples)
    shape = samples, network.n_classes
    if network.task == "multilabel":
        return rng.integers(2, size=shape).astype(float)
    return rng.standard_normal(shape)


def _population(network: Network, given: Mapping[str, ArrayLike]) -> Params:
    params = as_params(given)
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
                f"same P for all, but got {params[name].shape}: the first axis is the population."
            )
    return {name: params[name] for name in shapes}


def _numbers(given: Mapping[str, float | Sequence[float]], P: int) -> Params:
    found: Params = {"dropout_key": dropout_keys(range(P))}
    for name, value in {"dropout": 0.3, "input_dropout": 0.2, **given}.items():
        if name not in NUMBERS:
            raise unknown_name("number", name, NUMBERS)
        values = np.asarray(value, np.float64)
        if values.shape not in ((), (P,)):
            raise KlayerError(
                f"`numbers[{name!r}]` must be one number, or one for each of {P} networks, got "
                f"{value!r}."
            )
        found[name] = np.broadcast_to(values, (P,)).copy()
    return found


def _strengths(l2: ArrayLike, P: int) -> Array:
    strengths = np.asarray(l2, dtype=np.float64)
    if strengths.shape not in ((), (P,)) or not (strengths >= 0).all():
        raise KlayerError(
            f"`l2` must be one number >= 0, or one for each of {P} networks, got {l2!r}."
        )
    return np.broadcast_to(strengths, (P,)).copy()


def _copied(params: Params) -> Params:
    return {name: value.copy() for name, value in params.items()}
