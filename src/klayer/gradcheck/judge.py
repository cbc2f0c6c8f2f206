"""A second opinion on each entry that looks wrong, before it counts.

Differences at eight steps tell a crossed kink of a ReLU, which vanishes with a smaller step, from a
point that lies on one, where the slopes on both sides differ, and give away a loss that isn't
complex-safe. Then the gradient is compared at a point nearby: where several kinks meet, not even a
one-sided slope need agree with a correct backward pass, but that is so at this point only. A
mistake follows everywhere; it may move on to another entry (that of the largest value, say), so the
whole array is compared there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from klayer.gradcheck.comparison import (
    AT_KINK,
    LEFT_OUT,
    MUST_SHOW,
    NEARBY,
    PLAIN,
    ArrayComparison,
)
from klayer.gradcheck.differences import Derivative, Lines, Point
from klayer.gradcheck.objective import flat

__all__ = ["Nearby", "NotComplexSafe", "judge"]

# Errors of so many entries are confirmed one by one; then the others of the array are believed.
_CONFIRM = 2
# Of an array at a point nearby so many entries are compared; of a larger one as many, and a direction.
_ENTRIES = 500
# Beyond this grain larger steps may agree across a kink, since smaller ones are too rough to object.
_ROUGH = 1e-10
# How far a point nearby is, relative to the size of the parameters.
_NEARBY = 1e-3
# What a difference quotient can be trusted to, against a complex step.
_SECOND_OPINION = 1e-6


class NotComplexSafe(Exception):
    """Differences side with the analytic gradient against the complex step."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Nearby:
    """The gradient at a point near the given one."""

    def __init__(self, point: Point, rng: np.random.Generator) -> None:
        params = {
            name: value + _NEARBY * point.scale[name] * rng.standard_normal(value.shape)
            for name, value in point.params.items()
        }
        self.point = Point(point.objective, point.precision, rng, params)
        self.grads = list(point.objective.evaluate(self.point.params)[1].values())
        # Move the parameters by a few ulps: what the gradient makes of that is rounding. As a rule
        # next to nothing; but layers of dead units, normalised, multiply it.
        self.rounding = [dict.fromkeys(arrays, 0.0) for arrays in self.grads]
        for _ in range(2):
            moved = {
                name: value * (1 + 4 * self.point.eps * rng.choice([-1.0, 1.0], value.shape))
                for name, value in self.point.params.items()
            }
            for t, arrays in enumerate(point.objective.evaluate(moved)[1].values()):
                for name, value in arrays.items():
                    change = float(np.abs(value - self.grads[t][name]).max())
                    self.rounding[t][name] = max(self.rounding[t][name], change)
        self._arrays: dict[tuple[str, int, int], bool | None] = {}

    def array_is_right(
        self, name: str, t: int, p: int, method: str, floor: float, limit: float
    ) -> bool | None:
        """Whether the derivatives agree there in all entries of an array; None if rounding hides it."""
        key = name, t, p
        if key not in self._arrays:
            self._arrays[key] = self._compare_array(name, t, p, method, floor, limit)
        return self._arrays[key]

    def _compare_array(
        self, name: str, t: int, p: int, method: str, floor: float, limit: float
    ) -> bool | None:
        size = self.point.params[name][0].size
        rng = np.random.default_rng(size)
        some = np.sort(rng.choice(size, min(size, _ENTRIES), replace=False))
        lines = [Lines(name, some)]
        if size > _ENTRIES:
            lines.append(Lines(name, rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.5, size)))
        telling = True
        for line in lines:
            n, noise = (one[t, p] for one in self.point.slopes(line, method))
            a = line.slopes(flat(self.grads[t][name])[p])
            largest = np.maximum(np.abs(a), np.abs(n))
            off = np.abs(a - n) - noise - limit * np.maximum(largest, floor)
            for i in np.argsort(-off)[:_CONFIRM]:
                # NaN counts as off.
                if not off[i] <= 0 and (
                    self.is_right(line.one(int(i)), t, p, method, floor, limit) is False
                ):
                    return False
            telling &= bool(noise.max() <= MUST_SHOW * np.nan_to_num(largest).max(initial=0))
        return True if telling or method == "complex" else None

    def is_right(
        self, line: Lines, t: int, p: int, method: str, floor: float, limit: float
    ) -> bool | None:
        """Whether analytic and numeric derivative along the line agree there.

        None: rounding would hide it if they didn't.
        """
        a = self._analytic(line, t, p)
        if method == "complex":
            n = self.point.complex_step(line)[t, p, 0]
            slack = 10 * self.rounding[t][line.name]
            if line.is_direction:
                slack *= float(np.linalg.norm(line.along))
            return bool(abs(a - n) <= limit * max(abs(a), abs(n), floor) + slack)
        best = self.point.derivative(line)
        doubt = 3 * best.error[t, p]
        if best.kink[t, p] and best.between(a, t, p, doubt):
            return True
        value = best.value[t, p]
        if not _close(a, value, floor, doubt):
            return False
        return True if doubt <= max(abs(a), abs(value), floor) else None

    def contradicts(self, line: Lines, t: int, p: int, floor: float) -> bool:
        """Whether differences contradict the complex step there."""
        a = self._analytic(line, t, p)
        n = self.point.complex_step(line)[t, p, 0]
        best = self.point.derivative(line)
        return not best.kink[t, p] and _contradicts(a, n, best, t, p, floor)

    def _analytic(self, line: Lines, t: int, p: int) -> float:
        return float(line.slopes(flat(self.grads[t][line.name])[p])[0])


def judge(
    found: ArrayComparison,
    point: Point,
    nearby: Callable[[], Nearby],
    method: str,
    tolerance: float,
) -> None:
    """Give each entry that looks wrong a second opinion; update the numbers and states.

    Raises
    ------
    NotComplexSafe
        If the method is the complex step, and differences side with the analytic gradient.
    """
    error = found.scaled_error(tolerance)
    error[~np.isfinite(found.analytic)] = 0  # a gradient that is NaN needs no second opinion
    confirmed = np.zeros(error.shape[:2], int)
    for i in np.argsort(-error.max(axis=(0, 1)), kind="stable"):
        open_cases = (error[:, :, i] > tolerance) & (confirmed < _CONFIRM)
        if not open_cases.any():
            continue
        with np.errstate(all="ignore"):
            line = found.lines.one(int(i))
            best = point.derivative(line)
            for t, p in np.argwhere(open_cases):
                t, p, i = int(t), int(p), int(i)
                state = _second_opinion(found, best, method, point.grain > _ROUGH, t, p, i)
                if state is None and method != "complex" and best.value[t, p] == 0:
                    state = LEFT_OUT if _has_steps(found, point, line, t, p, i) else None
                if state is None:
                    floor = float(found.floor[t, p, 0])
                    a, n = found.analytic[t, p, i], found.numeric[t, p, i]
                    if (
                        method == "complex"
                        and _contradicts(a, n, best, t, p, floor)
                        and nearby().contradicts(line, t, p, floor)
                    ):
                        raise NotComplexSafe(line.name)
                    arguments = t, p, method, floor, tolerance
                    right = nearby().is_right(line, *arguments)
                    if right is not False:
                        whole = nearby().array_is_right(line.name, *arguments)
                        right = whole if whole is False else right and whole
                    state = {True: NEARBY, False: PLAIN, None: LEFT_OUT}[right]
                    confirmed[t, p] += right is False
                found.state[t, p, i] = state


def _second_opinion(
    found: ArrayComparison, best: Derivative, method: str, rough: bool, t: int, p: int, i: int
) -> int | None:
    """Return the entry's state, or None if it still looks wrong."""
    a, floor = found.analytic[t, p, i], found.floor[t, p, 0]
    value, doubt = best.value[t, p], 3 * best.error[t, p]
    if not np.isfinite(value):
        return LEFT_OUT
    if best.kink[t, p]:
        slack = 0.02 * abs(best.above[t, p] - best.below[t, p]) + doubt
        return AT_KINK if best.between(a, t, p, slack) else None
    if method == "complex":
        return None
    found.numeric[t, p, i], found.noise[t, p, i] = value, doubt
    if _close(a, value, floor, doubt):
        return PLAIN
    return LEFT_OUT if rough and best.possible(a, t, p) else None


def _has_steps(found: ArrayComparison, point: Point, line: Lines, t: int, p: int, i: int) -> bool:
    """Whether a loss that does not change at small steps does at larger ones, as the gradient says.

    So does one that rounds this array to low precision. One that does not depend on it does not, nor
    one with dead units.
    """
    a, size = found.analytic[t, p, i], point.step(line) / point.grain ** (1 / 3)
    slopes = [float(point.central(line, h * size)[0][t, p, 0]) for h in (0.1, 0.03, 0.01, 0.003)]
    return sum(bool(abs(slope - a) <= 0.3 * abs(a)) for slope in slopes) >= 2


def _contradicts(a: float, n: float, best: Derivative, t: int, p: int, floor: float) -> bool:
    """Whether differences contradict the complex step: grossly, or in favour of the gradient."""
    value, doubt = best.value[t, p], best.error[t, p]
    if not _close(n, value, floor, 3 * doubt):
        return True
    return bool(
        abs(n - value) > 10 * doubt + 1e-9 * abs(value) and abs(a - value) < abs(n - value) / 3
    )


def _close(x: float, y: float, floor: float, doubt: float) -> bool:
    return bool(abs(x - y) <= _SECOND_OPINION * max(abs(x), abs(y), floor) + doubt)
