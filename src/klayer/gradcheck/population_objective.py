"""A population on one batch as an objective: its terms and gradients by the plan that training runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.gradcheck.objective import Params
from klayer.gradcheck.reference import Reference
from klayer.gradcheck.result import Cause
from klayer.nn import (
    ACTIVATIONS,
    LOSSES,
    NUMBERS,
    Batch,
    DelayedWeights,
    Network,
    Plan,
    Workspace,
    draw_keys,
)
from klayer.nn.gradients import Gradient, OfWeights
from klayer.nn.pieces.affine import AffinePass
from klayer.nn.pieces.dropout import Draws
from klayer.nn.pieces.noise import NoiseDraws
from klayer.nn.plan import Use

__all__ = ["STACK_BYTES", "Array", "PopulationObjective"]

# Copies of a small network that are perturbed side by side may take so much memory.
STACK_BYTES = 1 << 21

# How much is changed by the pieces that draw, unless somebody says otherwise.
_DEFAULTS = {"dropout": 0.3, "input_dropout": 0.2, "input_noise": 0.3}

# How far the trials of the order of updates move: any rate at which a stale value shows.
_RATE = 0.5

Array = NDArray[Any]


class PopulationObjective:
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
            if network.drops(layer):
                out = np.empty((len(x), width), np.bool_)
                rate = (
                    network.dropout_share(layer) * numbers["dropout" if layer else "input_dropout"]
                )
                draws = Draws(self.numbers["draw_key"][p], rate, layer, out)
                masks[layer] = draws.draw(0) * out
        noise = np.zeros_like(x)
        if network.noisy_inputs:
            NoiseDraws(self.numbers["draw_key"][p], 0, noise).draw(0)
        noise *= numbers["input_noise"]
        return Reference(network, x, self.labels, l2, numbers, masks, noise)

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

        if self.network.changes_inputs:
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


def _numbers(given: Mapping[str, float | Sequence[float]], P: int) -> Params:
    found: Params = {"draw_key": draw_keys(range(P))}
    for name, value in {**_DEFAULTS, **given}.items():
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
