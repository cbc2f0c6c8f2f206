"""Numeric derivatives along a line: complex step, central and one-sided differences, their errors.

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

__all__ = ["COMPLEX_STEP", "Derivative", "Line", "Lines", "precision_of"]

COMPLEX_STEP = 1e-30
_LEVELS = 8  # steps of a derivative: from 16 times the default down, by factors of 4


@dataclass(frozen=True)
class Line:
    """A line through parameter space: one entry of an array, or a direction through all of it.

    Attributes
    ----------
    name : str
    along : int, or array, shape (size,)
        Flat index of the entry, or a direction.
    """

    name: str
    along: int | Array

    def slope(self, gradient: Array) -> Array:
        """Return the slopes, shape (...), along the line of gradients, shape (..., size)."""
        if isinstance(self.along, int):
            return np.asarray(gradient[..., self.along])
        return np.asarray(gradient @ self.along)


@dataclass(frozen=True)
class Derivative:
    """A derivative from several steps, with its error and what both sides say; each (T, P).

    Attributes
    ----------
    value, error : array
        Central difference at the step that agrees best with its neighbour and with all finer steps,
        and by how much it differs from them, rounding included.
    below, above : array
        One-sided slopes at that step.
    kink : bool array
        The slopes differ, and don't approach each other as the step shrinks.
    """

    value: Array
    error: Array
    below: Array
    above: Array
    kink: Array


class Lines:
    """Losses and their derivatives along lines through the given point.

    Parameters
    ----------
    objective : Objective
    precision : numpy.dtype
        What the loss is computed in.
    rng : numpy.random.Generator
        For the measurement of the loss's rounding noise.
    params : dict of array, optional
        The point; by default the objective's own.
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
            rms = math.sqrt(float(np.mean(np.square(value))))
            self.scale[name] = rms or 1.0
        self._real = {name: value.copy() for name, value in self.params.items()}
        self._complex: Params | None = None
        self.base = objective.losses(self._real)  # (T, P)
        self.noise = self._measure_noise(rng)

    def step(self, line: Line, power: float = 1 / 3) -> float:
        """Return the step ``eps^power`` times the size of the parameters on the line."""
        size = self.scale[line.name]
        if isinstance(line.along, int):
            values = flat(self.params[line.name])[:, line.along]
            size = max(size, float(np.abs(values).max()))
        else:  # every entry moves at once: keep the length of the move that of one entry
            size /= math.sqrt(len(line.along))
        return float(self.eps**power * size)

    def at(self, line: Line, t: float) -> tuple[Array, Array]:
        """Return the losses at distance ``t``, (T, P), and the distances really moved, (P,)."""
        work = flat(self._real[line.name])
        base = flat(self.params[line.name])
        here: int | slice = slice(None)
        if isinstance(line.along, int):
            here = line.along
            work[:, here] = self._rounded(work[:, here] + t)
            moved = work[:, here] - base[:, here]  # what floating point made of t
            moved[moved == 0] = np.nan
        else:
            work[...] = self._rounded(work + t * line.along)
            moved = np.full(len(work), t)
        losses = self.objective.losses(self._real)
        work[:, here] = base[:, here]
        return losses, moved

    def complex_step(self, line: Line) -> Array:
        """Return ``Im f(x + ih) / h``, shape (T, P)."""
        if isinstance(line.along, int):
            return self.complex_steps(line.name, np.array([line.along]))[:, :, 0]
        params = self._complex_params()
        work = flat(params[line.name])
        work.imag[...] = COMPLEX_STEP * line.along
        losses = self.objective.losses(params)
        work.imag[...] = 0
        return np.imag(losses) / COMPLEX_STEP

    def complex_steps(self, name: str, entries: Array) -> Array:
        """Return the complex step of many entries of one array, shape (T, P, m)."""
        values = flat(self.params[name])[:, entries] + 1j * COMPLEX_STEP
        losses = self.objective.losses_with(self._complex_params(), name, entries, values)
        return np.imag(losses) / COMPLEX_STEP

    def entries(self, name: str, entries: Array, method: str) -> tuple[Array, Array]:
        """Return the slopes of many entries by a method, and their rounding noise, (T, P, m)."""
        if method == "complex":
            slopes = self.complex_steps(name, entries)
            return slopes, np.zeros_like(slopes)
        base = flat(self.params[name])[:, entries]  # (P, m)
        size = np.maximum(self.scale[name], np.abs(base).max(axis=0))
        h = self.eps ** (1 / 3 if method == "central" else 1 / 2) * size
        above = self._rounded(base + h)
        losses_above = self.objective.losses_with(self._real, name, entries, above)
        below, losses_below = base, self.base[:, :, None]
        if method == "central":
            below = self._rounded(base - h)
            losses_below = self.objective.losses_with(self._real, name, entries, below)
        moved = np.where(above == below, np.nan, above - below)  # what floating point made of h
        return (losses_above - losses_below) / moved, 2 * self.noise[:, :, None] / np.abs(moved)

    def slope(self, line: Line, method: str) -> tuple[Array, Array]:
        """Return the slope along a line by a method, and its rounding noise, each (T, P)."""
        if method == "complex":
            slope = self.complex_step(line)
            return slope, np.zeros_like(slope)
        if method == "central":
            return self.central(line)
        above, up = self.at(line, self.step(line, 1 / 2))
        return (above - self.base) / up, 2 * self.noise / np.abs(up)

    def central(self, line: Line, h: float | None = None) -> tuple[Array, Array]:
        """Return the central difference and its rounding noise, each (T, P)."""
        h = h or self.step(line)
        above, up = self.at(line, h)
        below, down = self.at(line, -h)
        return (above - below) / (up - down), 2 * self.noise / np.abs(up - down)

    def derivative(self, line: Line) -> Derivative:
        """Return the best derivative that differences can give, with an honest error.

        The step is chosen where steps agree best; the analytic gradient has no say.
        """
        h = 16 * self.step(line)
        levels = []
        for _ in range(_LEVELS):
            above, up = self.at(line, h)
            below, down = self.at(line, -h)
            slopes = (self.base - below) / -down, (above - self.base) / up
            levels.append((*slopes, (above - below) / (up - down), 2 * self.noise / np.abs(up)))
            h /= 4
        lower, upper, value, noise = (np.array(one) for one in zip(*levels, strict=True))
        with np.errstate(invalid="ignore"):
            change = np.abs(np.diff(value, axis=0))  # (levels - 1, T, P)
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
            value=pick(value, best),
            error=pick(change, best - 1),
            below=pick(lower, best),
            above=pick(upper, best),
            kink=kink,
        )

    def curve(self, line: Line) -> list[tuple[float, Array]]:
        """Return central differences, shape (T, P), at steps 1e-1 ... 1e-12 times the scale."""
        unit = self.step(line) / self.eps ** (1 / 3)
        with np.errstate(all="ignore"):
            return [(10.0**-k * unit, self.central(line, 10.0**-k * unit)[0]) for k in range(1, 13)]

    def _measure_noise(self, rng: np.random.Generator) -> Array:
        """Estimate the rounding error of the loss, shape (T, P), from moves of a few ulps.

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
            values.append(self.objective.losses(moved))
        with np.errstate(all="ignore"):
            third = np.diff(np.array(values), n=3, axis=0)
            measured = np.sqrt(np.mean(np.square(third), axis=0) / 20)
        least = 4 * self.eps * np.abs(self.base)
        return np.maximum(least, np.where(np.isfinite(measured), 4 * measured, least))

    def _complex_params(self) -> Params:
        if self._complex is None:
            self._complex = {
                name: value.astype(np.complex128) for name, value in self.params.items()
            }
        return self._complex

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
