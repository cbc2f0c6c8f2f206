"""Numeric derivatives along lines: complex step, central and one-sided differences, their errors.

With ``u`` the unit roundoff, a difference quotient with step h errs by a truncation that grows with
h and by the rounding of the loss divided by h. Both together are smallest near

- ``h = u^(1/2)`` for a one-sided difference, which leaves an error near ``u^(1/2)``;
- ``h = u^(1/3)`` for a central one, which leaves ``u^(2/3)``

(Press et al., Numerical Recipes, section 5.7), times the size of the parameters. The complex step
``Im f(x + ih) / h`` subtracts nothing, so that h may be 1e-30 and no digit is lost
(Squire & Trapp 1998, SIAM Review 40(1)).

Where the loss is rougher than its arithmetic, because a part of it is computed in lower precision, it
is rounded, or an offset swallows its digits, ``u`` is the *grain*: the measured noise over the size of
the loss's changes. Larger steps, and what they leave, follow from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from klayer.gradcheck.objective import Array, Objective, Params, flat

__all__ = ["COMPLEX_STEP", "Derivative", "Lines", "Point", "precision_of"]

COMPLEX_STEP = 1e-30
_FINE = 6e-6  # spacing, of values tried for their noise: the step in float64
_COARSEST = 1e-4  # grain: a larger step is no difference quotient any more
_LEVELS = 8  # steps of a derivative: from 16 times the default down, by factors of 4

# Where a loss is tried for its noise, in units of a spacing; and what takes cubics out of the values.
_UNEVEN = np.arange(12) + 0.5 * (np.arange(12) * (math.sqrt(5) - 1) / 2 % 1)
_CUBICS = np.linalg.qr(np.vander(_UNEVEN / 12, 4))[0]
_NO_CUBIC = np.eye(12) - _CUBICS @ _CUBICS.T


@dataclass(frozen=True)
class Lines:
    """Lines through parameter space: one for each of m entries of an array, or one direction.

    ``along`` holds flat indices, whole numbers of shape (m,); or the direction, which moves all
    entries at once, floating-point numbers of shape (size,).
    """

    name: str
    along: Array

    @property
    def is_direction(self) -> bool:
        """Whether there is one line, through all entries."""
        return self.along.dtype.kind == "f"

    def one(self, i: int) -> Lines:
        """Return the i-th line alone."""
        return self if self.is_direction else Lines(self.name, self.along[[i]])

    def slopes(self, gradient: Array) -> Array:
        """Return the slopes, shape (..., m), that gradients, shape (..., size), have along them."""
        return (
            (gradient @ self.along)[..., None] if self.is_direction else gradient[..., self.along]
        )


@dataclass(frozen=True)
class Derivative:
    """A derivative from several steps, with its error and what both sides say; each (T, P)."""

    # The central difference at the step that agrees best with its neighbour and with all finer
    # steps, and by how much it differs from them, rounding included.
    value: Array
    error: Array
    below: Array  # one-sided slopes at that step
    above: Array
    kink: Array  # bool: the slopes differ, and don't approach each other as the step shrinks
    levels: tuple[
        Array, Array, Array
    ]  # one-sided slopes and their noise at all steps, (levels, T, P)

    def possible(self, slope: float, t: int, p: int) -> bool:
        """Whether a slope lies between the one-sided ones at these steps, to their rounding.

        So does the right one where a step crosses a kink on one side, which may look like agreement of
        the larger steps where the smaller ones are rough.
        """
        lower, upper, noise = (one[:, t, p] for one in self.levels)
        inside = (np.minimum(lower, upper) - noise <= slope) & (
            slope <= np.maximum(lower, upper) + noise
        )
        return bool((inside | ~np.isfinite(lower + upper)).all())

    def between(self, slope: float, t: int, p: int, slack: float) -> bool:
        """Whether a slope lies between the one-sided ones."""
        low, high = sorted((self.below[t, p], self.above[t, p]))
        return bool(low - slack <= slope <= high + slack)


class Point:
    """The losses at a point, and their derivatives along lines through it.

    ``precision`` is what the loss is computed in, ``rng`` serves to measure its rounding noise;
    the point is ``params``, by default the objective's own.
    """

    def __init__(
        self,
        objective: Objective,
        precision: np.dtype[Any],
        rng: np.random.Generator,
        params: Params | None = None,
    ) -> None:
        self.objective, self.precision = objective, np.dtype(precision)
        self.params = objective.params if params is None else params
        self.eps = float(np.finfo(precision).eps)
        self.scale = {}
        for name, value in self.params.items():
            value[...] = self._rounded(value)
            self.scale[name] = math.sqrt(float(np.mean(np.square(value)))) or 1.0
        self._real = {name: value.copy() for name, value in self.params.items()}
        self._complex: Params | None = None
        self.base = objective.losses(self._real)[:, :, None]  # (T, P, 1)
        self.noise = self._measure_noise(rng)
        self.grain = self._measure_grain(rng)

    def step(self, lines: Lines, power: float = 1 / 3) -> Array:
        """Return the steps, (m,): ``grain^power`` times the size of the parameters on the line."""
        size = self.scale[lines.name]
        if lines.is_direction:  # keep the length of the move that of one entry
            return np.array([self.grain**power * size / (np.linalg.norm(lines.along) or 1.0)])
        here = np.abs(flat(self.params[lines.name])[:, lines.along]).max(axis=0)
        return np.asarray(self.grain**power * np.maximum(size, here))

    def at(self, lines: Lines, t: Array) -> tuple[Array, Array]:
        """Return the losses at distances ``t``, (T, P, m), and the distances moved, (P, m)."""
        base = flat(self.params[lines.name])
        if lines.is_direction:
            work = flat(self._real[lines.name])
            work[...] = self._rounded(base + t * lines.along)
            losses = self.objective.losses(self._real)
            work[...] = base
            return losses[:, :, None], np.full((len(base), 1), t)
        base = base[:, lines.along]
        values = self._rounded(base + t)
        losses = self.objective.losses_with(self._real, lines.name, lines.along, values)
        return losses, np.where(values == base, np.nan, values - base)

    def complex_step(self, lines: Lines) -> Array:
        """Return ``Im f(x + ih) / h``, shape (T, P, m)."""
        if self._complex is None:
            self._complex = {name: one.astype(np.complex128) for name, one in self.params.items()}
        if lines.is_direction:
            work = flat(self._complex[lines.name])
            work.imag[...] = COMPLEX_STEP * lines.along
            losses = self.objective.losses(self._complex)[:, :, None]
            work.imag[...] = 0
        else:
            values = flat(self.params[lines.name])[:, lines.along] + 1j * COMPLEX_STEP
            losses = self.objective.losses_with(self._complex, lines.name, lines.along, values)
        return np.imag(losses) / COMPLEX_STEP

    def central(self, lines: Lines, h: Array | None = None) -> tuple[Array, Array]:
        """Return the central differences and their rounding noise, each (T, P, m)."""
        h = self.step(lines) if h is None else h
        above, up = self.at(lines, h)
        below, down = self.at(lines, -h)
        return (above - below) / (up - down), 2 * self.noise / np.abs(up - down)

    def slopes(self, lines: Lines, method: str) -> tuple[Array, Array]:
        """Return the slopes by a method, and their rounding noise, each (T, P, m)."""
        if method == "complex":
            slopes = self.complex_step(lines)
            return slopes, np.zeros_like(slopes)
        if method == "central":
            return self.central(lines)
        above, up = self.at(lines, self.step(lines, 1 / 2))
        return (above - self.base) / up, 2 * self.noise / np.abs(up)

    def derivative(self, line: Lines) -> Derivative:
        """Return the best derivative along one line by differences, with an honest error.

        The step is chosen where steps agree best; the analytic gradient has no say.
        """
        # At first 16 times the step, but no move of more than a tenth of the parameters.
        times = min(16, 0.1 / math.pow(self.grain, 1 / 3))
        h = times * self.step(line)
        levels = []
        for _ in range(_LEVELS):
            above, up = self.at(line, h)
            below, down = self.at(line, -h)
            slopes = (self.base - below) / -down, (above - self.base) / up
            levels.append((*slopes, (above - below) / (up - down), 2 * self.noise / np.abs(up)))
            h = h / 4
        lower, upper, value, noise = (np.array(one) for one in zip(*levels, strict=True))
        with np.errstate(invalid="ignore"):
            change = np.abs(np.diff(value, axis=0))  # (levels - 1, T, P, 1)
            for k in range(1, _LEVELS - 1):
                # Between two kinks two steps may agree by chance; a finer one gives them away.
                finer = np.abs(value[k] - value[k + 1 :]) - noise[k + 1 :]
                change[k - 1] = np.maximum(change[k - 1], finer.max(axis=0))
            change += noise[1:]
            jump = np.abs(upper - lower)
        best = np.argmin(np.where(np.isfinite(change), change, np.inf), axis=0) + 1

        def pick(levels: Array, at: Array) -> Array:
            return np.asarray(np.take_along_axis(levels, at[None], axis=0)[0])

        # Curvature: the slopes approach each other with the step, by 4 a level. A kink: they don't.
        # Ask at two coarser levels too, where rounding can't feign a difference.
        kink = np.zeros(best.shape, bool)
        for back in range(3):
            fine = np.maximum(best - back, 1)
            wide = pick(jump, fine) > 10 * pick(noise, fine)
            kink |= wide & (pick(jump, fine) > 0.6 * pick(jump, fine - 1))
        small = next(k for k in range(_LEVELS) if times <= 4**k)  # no larger than the usual step
        return Derivative(
            value=pick(value, best)[..., 0],
            error=pick(change, best - 1)[..., 0],
            below=pick(lower, best)[..., 0],
            above=pick(upper, best)[..., 0],
            kink=kink[..., 0],
            levels=(lower[small:, ..., 0], upper[small:, ..., 0], noise[small:, ..., 0]),
        )

    def curve(self, line: Lines) -> list[tuple[float, Array]]:
        """Return central differences, (T, P, 1), at steps 1e-1 ... 1e-12 times the scale."""
        steps = [10.0**-k * self.step(line) / self.grain ** (1 / 3) for k in range(1, 13)]
        with np.errstate(all="ignore"):
            return [(float(h[0]), self.central(line, h)[0]) for h in steps]

    def bound(self, name: str, rng: np.random.Generator) -> Array:
        """Return how large the gradient of an array may be, (T, P), by moves of the array's size.

        What no move of a whole array shows in the loss is nothing, to the rounding of the loss over
        the length of the move: where a difference with its small step drowns, this still tells.
        """
        size = self.params[name][0].size
        found = np.zeros(self.base.shape[:2])
        for length in (0.1, 1.0):
            line = Lines(name, rng.choice([-1.0, 1.0], size))
            h = np.array([length * self.scale[name]])
            with np.errstate(all="ignore"):
                change = np.abs(self.at(line, h)[0] - self.base)
            change = np.where(np.isfinite(change), change, np.inf)
            # Nothing to be seen: then the longest move says most.
            unseen = change <= 4 * self.noise
            slope = np.where(unseen, self.noise / self.scale[name], change / h)
            found = np.maximum(found, slope[:, :, 0])
        return found

    def _measure_noise(self, rng: np.random.Generator) -> Array:
        """Estimate the rounding error of the loss, (T, P, 1).

        Once by moves of a few ulps; and once by larger ones, as a difference makes them, for what rounds
        more coarsely than the arithmetic itself: a part of the loss in lower precision, ``round()``.
        """
        least = 4 * self.eps * np.abs(self.base)
        noise = np.maximum(least, 4 * self._roughness(rng, 8 * self.eps)[0])
        # Wide enough for what is rounded to float32 to change, and so narrow that kinks are rare.
        spacing = max(_FINE, 64 * self.eps)
        rough, grained = self._roughness(rng, spacing)
        while grained and spacing < 0.02:  # the moves are finer than the loss
            spacing *= 8
            rough, grained = self._roughness(rng, spacing)
        if (4 * rough > 16 * noise).any():
            # A kink on the way looks like noise, but there is none on most lines.
            more = [self._roughness(rng, spacing)[0] for _ in range(4)]
            rough = np.median(np.array([rough, *more]), axis=0)
            noise = np.where(4 * rough > 16 * noise, 4 * rough, noise)
        if grained:
            least = self._smallest_change(rng)
            # No change at all: in the lowest usual precision a constant may swallow them.
            swallowed = 4 * float(np.finfo(np.float32).eps) * np.abs(self.base)
            noise = np.maximum(noise, np.where(least > 0, least, swallowed))
        return np.asarray(noise)

    def _smallest_change(self, rng: np.random.Generator) -> Array:
        """Return the least change of a loss that has few values, by large moves, (T, P, 1)."""
        signs = {
            name: self.scale[name] * rng.standard_normal(value.shape[1:])
            for name, value in self.params.items()
        }
        with np.errstate(all="ignore"):
            values = np.array([self._moved(signs, 0.25 * k) for k in range(12)])
        steps = np.diff(np.sort(values, axis=0), axis=0)
        least = np.where(steps > 0, steps, np.inf).min(axis=0)
        return np.where(np.isfinite(least), least, 0.0)

    def _roughness(self, rng: np.random.Generator, spacing: float) -> tuple[Array, bool]:
        """Estimate the noise on a line of 12 points through all arrays; say if it has steps.

        What a cubic leaves is noise: on that scale a loss is as smooth. The points stand unevenly, or
        a loss that is rounded could gain a whole number of its steps from each to the next.
        """
        signs = {
            name: self.scale[name] * rng.choice([-1.0, 1.0], size=value.shape[1:])
            for name, value in self.params.items()
        }
        values = np.array([self._moved(signs, spacing * t) for t in _UNEVEN])
        change = values - values[:1]
        left = np.tensordot(_NO_CUBIC, np.where(np.isfinite(change), change, 0.0), axes=1)
        rough = np.sqrt(np.sum(left**2, axis=0) / (len(_UNEVEN) - 4))
        distinct = [len(np.unique(column)) for column in values.reshape(len(_UNEVEN), -1).T]
        return np.asarray(rough), any(one < 8 for one in distinct)

    def _measure_grain(self, rng: np.random.Generator) -> float:
        """Return the noise over the loss's changes; the roundoff, where that is all there is."""
        changes = []
        for _ in range(2):
            signs = {
                name: self.scale[name] * rng.choice([-1.0, 1.0], size=value.shape[1:])
                for name, value in self.params.items()
            }
            with np.errstate(all="ignore"):
                changes.append(np.abs(self._moved(signs, 0.1) - self.base))
        change = np.max([np.where(np.isfinite(one), one, 0.0) for one in changes], axis=0)
        known = change > 0
        grain = float((self.noise[known] / (4 * change[known])).max(initial=0.0))
        return min(grain, _COARSEST) if grain > 100 * self.eps else self.eps

    def _moved(self, signs: Params, distance: float) -> Array:
        moved = {
            name: self._rounded(value + distance * signs[name])
            for name, value in self.params.items()
        }
        return np.asarray(self.objective.losses(moved)[:, :, None])

    def _rounded(self, values: Array) -> Array:
        """Return what a model of lower precision makes of the values."""
        if self.precision == np.float64:
            return values
        return values.astype(self.precision).astype(np.float64)


def precision_of(objective: Objective, rng: np.random.Generator) -> np.dtype[Any]:
    """Find out what precision the loss is computed in, whatever type it is returned as.

    A Python float that came out of float32 arithmetic is always a float32 number; a float64 result
    hardly ever is, and four times in a row never. Whole numbers, and others that need a few digits
    only, are numbers of any type, and so no evidence.
    """
    seen = []
    for _ in range(4):
        moved = {
            name: value * (1 + 1e-2 * rng.standard_normal(value.shape))
            + 1e-2 * rng.standard_normal(value.shape)
            for name, value in objective.params.items()
        }
        losses = objective.losses(moved)
        seen.append(losses[np.isfinite(losses) & (losses != 0)])
    values = np.concatenate(seen)
    returned = objective.loss_dtype.itemsize if objective.loss_dtype.kind == "f" else 8
    for one in (np.dtype(np.float16), np.dtype(np.float32)):
        if returned <= one.itemsize or _come_from(values, one):
            return one
    return np.dtype(np.float64)


def _come_from(values: Array, dtype: np.dtype[Any]) -> bool:
    """Whether values are numbers of a type, one of them by its last digits."""
    with np.errstate(over="ignore", under="ignore"):
        if not values.size or not np.array_equal(values.astype(dtype), values):
            return False
    bits = np.finfo(dtype).nmant + 1
    significant = np.frexp(values)[0] * 2.0 ** (bits - 3)
    whole = (values == np.rint(values)) & (np.abs(values) < 2.0**bits)
    return bool(((significant != np.rint(significant)) & ~whole).any())
