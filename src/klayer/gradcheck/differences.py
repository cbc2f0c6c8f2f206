"""Numeric derivatives along lines: complex step, central and one-sided differences, their errors.

With ``u`` the unit roundoff, a difference quotient with step h errs by a truncation that grows with
h and by the rounding of the loss divided by h. Both together are smallest near

- ``h = u^(1/2)`` for a one-sided difference, which leaves an error near ``u^(1/2)``;
- ``h = u^(1/3)`` for a central one, which leaves ``u^(2/3)``

(Press et al., Numerical Recipes, section 5.7), times the size of the parameters. The complex step
``Im f(x + ih) / h`` subtracts nothing, so that h may be 1e-30 and no digit is lost
(Squire & Trapp 1998, SIAM Review 40(1)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from klayer.gradcheck.objective import Array, Objective, Params, flat

__all__ = ["COMPLEX_STEP", "Derivative", "Lines", "Point", "precision_of"]

COMPLEX_STEP = 1e-30
_LEVELS = 8  # steps of a derivative: from 16 times the default down, by factors of 4


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

    def step(self, lines: Lines, power: float = 1 / 3) -> Array:
        """Return the steps, (m,): ``eps^power`` times the size of the parameters on the line."""
        size = self.scale[lines.name]
        if lines.is_direction:  # keep the length of the move that of one entry
            return np.array([self.eps**power * size / math.sqrt(len(lines.along))])
        here = np.abs(flat(self.params[lines.name])[:, lines.along]).max(axis=0)
        return np.asarray(self.eps**power * np.maximum(size, here))

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
        h = 16 * self.step(line)
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
                finer = np.abs(value[k] - value[k + 1 :]) - 3 * noise[k + 1 :]
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
        return Derivative(
            value=pick(value, best)[..., 0],
            error=pick(change, best - 1)[..., 0],
            below=pick(lower, best)[..., 0],
            above=pick(upper, best)[..., 0],
            kink=kink[..., 0],
        )

    def curve(self, line: Lines) -> list[tuple[float, Array]]:
        """Return central differences, (T, P, 1), at steps 1e-1 ... 1e-12 times the scale."""
        steps = [10.0**-k * self.step(line) / self.eps ** (1 / 3) for k in range(1, 13)]
        with np.errstate(all="ignore"):
            return [(float(h[0]), self.central(line, h)[0]) for h in steps]

    def _measure_noise(self, rng: np.random.Generator) -> Array:
        """Estimate the rounding error of the loss, (T, P, 1), from moves of a few ulps.

        Third differences remove whatever is smooth on that scale; independent errors of standard
        deviation s leave sqrt(20) s in them (Hamming's difference table).
        """
        signs = {
            name: self.scale[name] * rng.choice([-1.0, 1.0], size=value.shape[1:])
            for name, value in self.params.items()
        }
        values = []
        for k in range(8):
            moved = {
                name: self._rounded(value + 8 * self.eps * k * signs[name])
                for name, value in self.params.items()
            }
            values.append(self.objective.losses(moved)[:, :, None])
        with np.errstate(all="ignore"):
            third = np.diff(np.array(values), n=3, axis=0)
            measured = np.sqrt(np.mean(np.square(third), axis=0) / 20)
        least = 4 * self.eps * np.abs(self.base)
        return np.maximum(least, np.where(np.isfinite(measured), 4 * measured, least))

    def _rounded(self, values: Array) -> Array:
        """Return what a model of lower precision makes of the values."""
        if self.precision == np.float64:
            return values
        return values.astype(self.precision).astype(np.float64)


def precision_of(objective: Objective, rng: np.random.Generator) -> np.dtype[Any]:
    """Find out what precision the loss is computed in, whatever type it is returned as.

    A Python float that came out of float32 arithmetic is always a float32 number; a float64 result
    hardly ever is, and four times in a row never.
    """
    candidates: list[np.dtype[Any]] = [np.dtype(np.float16), np.dtype(np.float32)]
    for _ in range(4):
        moved = {
            name: value * (1 + 1e-2 * rng.standard_normal(value.shape))
            + 1e-2 * rng.standard_normal(value.shape)
            for name, value in objective.params.items()
        }
        losses = objective.losses(moved)
        losses = losses[np.isfinite(losses) & (losses != 0)]
        with np.errstate(over="ignore", under="ignore"):
            candidates = [
                one
                for one in candidates
                if np.array_equal(losses.astype(one), losses) and losses.size
            ]
    return candidates[0] if candidates else np.dtype(np.float64)
