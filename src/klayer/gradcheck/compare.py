"""Analytic against numeric values: scaled errors, and a second opinion on each that looks wrong.

The scaled error is ``|a - n| / max(|a|, |n|, floor)``. The floor is 1e-6 of the largest gradient of
the network, so that rounding in entries that should be zero (a bias before batch normalisation) is
no error; for a difference quotient it is also the quotient's rounding noise over the tolerance.

An entry that looks wrong is judged again before it counts. Differences at eight steps tell a
crossed kink of a ReLU, which vanishes with a smaller step, from a point that lies on one, where the
slopes on both sides differ, and give away a loss that isn't complex-safe. Then the gradient is
compared at a point nearby: where several kinks meet, not even a one-sided slope need agree with a
correct backward pass, but that is so at this point only. A mistake follows everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from klayer.gradcheck.differences import Estimate, Line, Lines
from klayer.gradcheck.objective import Params
from klayer.gradcheck.safety import SMALL

__all__ = [
    "AT_KINK",
    "LEFT_OUT",
    "NEARBY",
    "PLAIN",
    "Block",
    "Nearby",
    "NotComplexSafe",
    "find_zeros",
    "judge",
    "measure",
    "set_floors",
]

PLAIN, AT_KINK, NEARBY, LEFT_OUT = range(4)
_FLOOR = 1e-6
# Errors of so many entries are confirmed one by one; then the others of the array are believed.
_CONFIRM = 2
# How far a point nearby is, relative to the size of the parameters.
_NEARBY = 1e-3
# What a difference quotient can be trusted to, against a complex step.
_SECOND_OPINION = 1e-6


class NotComplexSafe(Exception):
    """Differences side with the analytic gradient against the complex step."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass
class Block:
    """The numbers of one array: T terms, P networks, m lines.

    Attributes
    ----------
    name : str
    lines : list of Line
    entries : int array, shape (m,), or None
        Flat indices, or None if the one line is a random direction.
    analytic, numeric, noise : array, shape (T, P, m)
        ``noise`` is the uncertainty of ``numeric``.
    state : int8 array, shape (T, P, m)
        PLAIN, AT_KINK (agrees with a one-sided slope), NEARBY (right at a point nearby, not here)
        or LEFT_OUT (no finite difference).
    floor : array, shape (T, P, 1)
    zero : bool array, shape (T, P)
        Structurally zero: rounding on both sides, with nothing that it could be relative to.
    """

    name: str
    lines: list[Line]
    entries: NDArray | None
    analytic: NDArray
    numeric: NDArray
    noise: NDArray
    state: NDArray
    floor: NDArray | None = None
    zero: NDArray | None = None

    def scaled_error(self, tolerance: float) -> NDArray:
        """Return the scaled errors, shape (T, P, m): 0 where not compared, inf where NaN."""
        with np.errstate(invalid="ignore"):
            size = np.maximum(np.abs(self.analytic), np.abs(self.numeric))
            scale = np.maximum(np.maximum(size, self.floor), self.noise / tolerance)
            error = np.abs(self.analytic - self.numeric) / np.maximum(scale, 1e-300)
        error = np.where(np.isnan(error), np.inf, error)
        return np.where((self.state == PLAIN) & ~self.zero[:, :, None], error, 0.0)


def measure(
    lines: Lines, grads: dict[str, Params], name: str, entries: NDArray, direction, method: str
) -> list[Block]:
    """Take the numeric derivatives of one array.

    Parameters
    ----------
    lines : Lines
    grads : dict of term -> dict of name -> array, shape (P, ...)
    name : str
    entries : int array, shape (m,)
        Flat indices of the entries to check; may be empty.
    direction : array, shape (size,), or None
        A direction to check along, besides.
    method : {"complex", "central", "forward"}
    """
    blocks = []
    flat = np.stack(
        [one[name].reshape(len(one[name]), -1) for one in grads.values()]
    )  # (T, P, size)
    with np.errstate(all="ignore"):
        if len(entries):
            at = [Line(name, int(j)) for j in entries]
            if method == "complex":
                numeric = lines.complex_steps(name, entries)
                noise = np.zeros_like(numeric)
            else:
                numeric, noise = lines.differences(name, entries, method)
            blocks.append(_block(name, at, entries, flat[:, :, entries], numeric, noise))
        if direction is not None:
            line = Line(name, direction=direction)
            if method == "complex":
                numeric = lines.complex_step(line)
                noise = np.zeros_like(numeric)
            else:
                numeric, noise = getattr(lines, method)(line)
            analytic = (flat @ direction)[:, :, None]
            blocks.append(
                _block(name, [line], None, analytic, numeric[:, :, None], noise[:, :, None])
            )
    return blocks


def _block(name, lines, entries, analytic, numeric, noise) -> Block:
    state = np.where(np.isfinite(numeric), PLAIN, LEFT_OUT).astype(np.int8)
    return Block(name, lines, entries, analytic, numeric, noise, state)


def set_floors(blocks: list[Block], grads, steady, derived: frozenset[str]) -> NDArray:
    """Set the floor of each block; return the largest gradient of each term and network, (T, P).

    An array whose gradient is below 1e-10 of the largest, and yet no rounding (it is *steady* at
    points nearby), has a floor of its own: vanishing gradients are checked as well, to four digits.
    """
    terms = list(grads)
    shape = blocks[0].analytic.shape[:2]
    largest = np.zeros(shape)
    checked = {block.name for block in blocks if block.entries is not None}
    for block in blocks:
        if block.entries is not None:
            finite = np.where(np.isfinite(block.numeric), np.abs(block.numeric), 0)
            largest = np.maximum(largest, finite.max(axis=2))
    for t, term in enumerate(terms):
        for name, value in grads[term].items():
            if name not in checked:
                sizes = np.abs(value.reshape(len(value), -1))
                largest[t] = np.maximum(largest[t], np.nan_to_num(sizes).max(axis=1))
    for t, term in enumerate(terms):
        if term in derived:  # a difference of the others carries their rounding
            largest[t] = largest.max(axis=0)
    for block in blocks:
        floor = _FLOOR * largest
        for t, term in enumerate(terms):
            value = grads[term][block.name]
            flat = np.nan_to_num(value.reshape(len(value), -1))
            if term not in derived:
                own = 1e4 * np.abs(flat).max(axis=1)
                floor[t] = np.where(steady[term][block.name], np.minimum(floor[t], own), floor[t])
            if block.entries is None:
                # The slope along a direction may be small by chance: measure it by the length.
                length = np.linalg.norm(flat, axis=1)
                floor[t] = np.maximum(floor[t] * np.sqrt(flat.shape[1]), 1e-2 * length)
        block.floor = floor[:, :, None]
    return largest


def find_zeros(blocks: list[Block], grads, steady, largest: NDArray) -> None:
    """Set ``zero`` of each block.

    An analytic gradient of exact zeros is not called so, unless the numeric one agrees to the last
    digit: it may be missing.
    """
    for block in blocks:
        block.zero = np.zeros(largest.shape, bool)
        for t, term in enumerate(grads):
            value = grads[term][block.name]
            size = np.abs(value.reshape(len(value), -1)).max(axis=1)  # (P,)
            limit = SMALL * largest[t]
            with np.errstate(invalid="ignore"):
                small = np.abs(block.numeric[t]) <= limit[:, None] + 2 * block.noise[t]
                numeric_is_small = (small | (block.state[t] != PLAIN)).all(axis=1)
                rounding = (size > 0) & (size <= limit) & ~steady[term][block.name]
                nothing = (size == 0) & (block.numeric[t] == 0).all(axis=1)
            block.zero[t] = (rounding & numeric_is_small) | nothing


class Nearby:
    """The gradient at a point nearby, evaluated when first asked for.

    Parameters
    ----------
    lines : Lines
        Through the given point.
    rng : numpy.random.Generator
    """

    def __init__(self, lines: Lines, rng: np.random.Generator) -> None:
        params = {
            name: value + _NEARBY * lines.scale[name] * rng.standard_normal(value.shape)
            for name, value in lines.params.items()
        }
        self.lines = Lines(lines.objective, lines.precision, rng, params)
        _, self.grads = lines.objective.evaluate(self.lines.params)
        self.rounding = {term: dict.fromkeys(one, 0.0) for term, one in self.grads.items()}
        for _ in range(2):
            self._measure_rounding(rng)

    def _measure_rounding(self, rng: np.random.Generator) -> None:
        """Move the parameters by a few ulps: what the gradient makes of that is rounding.

        As a rule next to nothing; but layers of dead units, normalised, multiply it.
        """
        moved = {
            name: value * (1 + 4 * self.lines.eps * rng.choice([-1.0, 1.0], value.shape))
            for name, value in self.lines.params.items()
        }
        _, grads = self.lines.objective.evaluate(moved)
        for term, arrays in self.grads.items():
            for name, value in arrays.items():
                change = float(np.abs(grads[term][name] - value).max())
                self.rounding[term][name] = max(self.rounding[term][name], change)

    def is_right(self, line: Line, t: int, p: int, method: str, floor: float, limit: float) -> bool:
        """Whether analytic and numeric derivative along the line agree there."""
        a = self._analytic(line, t, p)
        if method == "complex":
            n = self.lines.complex_step(line)[t, p]
            slack = 10 * list(self.rounding.values())[t][line.name]
            if line.direction is not None:
                slack *= float(np.linalg.norm(line.direction))
            return bool(abs(a - n) <= limit * max(abs(a), abs(n), floor) + slack)
        best = self.lines.estimate(line)
        low, high = sorted((best.below[t, p], best.above[t, p]))
        doubt = 3 * best.error[t, p]
        if best.kink[t, p] and low - doubt <= a <= high + doubt:
            return True
        return _close(a, best.value[t, p], floor, doubt)

    def contradicts(self, line: Line, t: int, p: int, floor: float) -> bool:
        """Whether differences contradict the complex step there."""
        a = self._analytic(line, t, p)
        n = self.lines.complex_step(line)[t, p]
        best = self.lines.estimate(line)
        return not best.kink[t, p] and _contradicts(a, n, best, t, p, floor)

    def _analytic(self, line: Line, t: int, p: int) -> float:
        flat = list(self.grads.values())[t][line.name][p].reshape(-1)
        return float(flat[line.entry] if line.entry is not None else flat @ line.direction)


def judge(
    block: Block, lines: Lines, nearby: Callable[[], Nearby], method: str, tolerance: float
) -> None:
    """Give each entry that looks wrong a second opinion; update the block's numbers and states.

    Raises
    ------
    NotComplexSafe
        If the method is the complex step, and differences side with the analytic gradient.
    """
    error = block.scaled_error(tolerance)
    error[~np.isfinite(block.analytic)] = 0  # a gradient that is NaN needs no second opinion
    confirmed = np.zeros(error.shape[:2], int)
    for i in np.argsort(-error.max(axis=(0, 1)), kind="stable"):
        open_cases = (error[:, :, i] > tolerance) & (confirmed < _CONFIRM)
        if not open_cases.any():
            continue
        with np.errstate(all="ignore"):
            best = lines.estimate(block.lines[i])
            for t, p in np.argwhere(open_cases):
                t, p, i = int(t), int(p), int(i)
                state = _second_opinion(block, best, method, t, p, i)
                if state is None:
                    line, floor = block.lines[i], float(block.floor[t, p, 0])
                    a, n = block.analytic[t, p, i], block.numeric[t, p, i]
                    if (
                        method == "complex"
                        and _contradicts(a, n, best, t, p, floor)
                        and nearby().contradicts(line, t, p, floor)
                    ):
                        raise NotComplexSafe(block.name)
                    right = nearby().is_right(line, t, p, method, floor, tolerance)
                    state = NEARBY if right else PLAIN
                    confirmed[t, p] += not right
                block.state[t, p, i] = state


def _second_opinion(
    block: Block, best: Estimate, method: str, t: int, p: int, i: int
) -> int | None:
    """Return the entry's state, or None if it still looks wrong."""
    a, floor = block.analytic[t, p, i], block.floor[t, p, 0]
    value, doubt = best.value[t, p], 3 * best.error[t, p]
    if not np.isfinite(value):
        return LEFT_OUT
    if best.kink[t, p]:
        low, high = sorted((best.below[t, p], best.above[t, p]))
        slack = 0.02 * (high - low) + doubt
        return AT_KINK if low - slack <= a <= high + slack else None
    if method != "complex":
        block.numeric[t, p, i], block.noise[t, p, i] = value, doubt
        return PLAIN if _close(a, value, floor, doubt) else None
    return None


def _contradicts(a: float, n: float, best: Estimate, t: int, p: int, floor: float) -> bool:
    """Whether differences contradict the complex step: grossly, or in favour of the gradient."""
    value, doubt = best.value[t, p], best.error[t, p]
    if not _close(n, value, floor, 3 * doubt):
        return True
    return bool(
        abs(n - value) > 10 * doubt + 1e-9 * abs(value) and abs(a - value) < abs(n - value) / 3
    )


def _close(x: float, y: float, floor: float, doubt: float) -> bool:
    return bool(abs(x - y) <= _SECOND_OPINION * max(abs(x), abs(y), floor) + doubt)
