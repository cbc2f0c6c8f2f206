"""Analytic beside numeric values, array by array: scaled errors, floors, and the rows they make.

The scaled error is ``|a - n| / max(|a|, |n|, floor)``. The floor is 1e-6 of the largest gradient of
the network, so that rounding in entries that should be zero (a bias before batch normalisation) is
no error; for a difference quotient it is also the quotient's rounding noise over the tolerance.

What rounding hides is not called right. An array's *resolution* is the smallest error, relative to its
largest gradient, that would have shown in every entry; beyond a tenth it is undecided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from klayer.gradcheck.array_names import ArrayName, order_of_layers
from klayer.gradcheck.differences import Lines, Point
from klayer.gradcheck.objective import Array, Params, flat
from klayer.gradcheck.preflight import SMALL, Repeat
from klayer.gradcheck.result import Row

__all__ = [
    "AT_KINK",
    "LEFT_OUT",
    "MUST_SHOW",
    "NEARBY",
    "PLAIN",
    "ArrayComparison",
    "compare",
    "look_for_zeros",
    "rows_of",
]

PLAIN, AT_KINK, NEARBY, LEFT_OUT = range(4)
_FLOOR = 1e-6
# An error of this part of an array's largest gradient must show, or the array is undecided.
MUST_SHOW = 0.1
# Moves of an array's size must leave no more of its gradient than this part of the largest: then it
# is zero, where differences drown.
_ZERO_BOUND = 1e-3
_REPORT_EPS = float(np.finfo(np.float64).eps)


@dataclass
class ArrayComparison:
    """The numbers of one array: T terms, P networks, m lines."""

    lines: Lines  # through the entries, or a random direction
    analytic: Array  # (T, P, m)
    numeric: Array  # (T, P, m)
    noise: Array  # (T, P, m), the uncertainty of the numeric one
    # (T, P, m): AT_KINK: agrees with a one-sided slope; NEARBY: right at a point nearby, not here;
    # LEFT_OUT: no finite difference.
    state: Array
    floor: Array = field(init=False)  # (T, P, 1)
    # (T, P), structurally zero: rounding on both sides, with nothing that it could be relative to.
    zero: Array = field(init=False)
    largest: Array = field(init=False)  # (T, P), gradient of the network
    steady: Array = field(init=False)  # (T, P), see Repeat
    length: Array = field(init=False)  # (T, P), norm of the array's analytic gradient

    def scaled_error(self, tolerance: float) -> Array:
        """Return the scaled errors, shape (T, P, m): 0 where not compared, inf where NaN."""
        with np.errstate(invalid="ignore"):
            size = np.maximum(np.abs(self.analytic), np.abs(self.numeric))
            scale = np.maximum(np.maximum(size, self.floor), self.noise / tolerance)
            error = np.abs(self.analytic - self.numeric) / np.maximum(scale, 1e-300)
        error = np.where(np.isnan(error), np.inf, error)
        return np.where((self.state == PLAIN) & ~self.zero[:, :, None], error, 0.0)

    def add(self, lines: Lines, gradients: Array, numeric: Array, noise: Array) -> None:
        """Compare further entries, of the gradients (T, P, size)."""
        state = np.where(np.isfinite(numeric), PLAIN, LEFT_OUT).astype(np.int8)
        self.lines = Lines(lines.name, np.concatenate([self.lines.along, lines.along]))
        self.analytic = np.concatenate([self.analytic, lines.slopes(gradients)], axis=2)
        self.numeric = np.concatenate([self.numeric, numeric], axis=2)
        self.noise = np.concatenate([self.noise, noise], axis=2)
        self.state = np.concatenate([self.state, state], axis=2)

    def size(self) -> Array:
        """Return the largest gradient that was compared, analytic or numeric, (T, P)."""
        with np.errstate(invalid="ignore"):
            size = np.maximum(np.abs(self.analytic), np.abs(self.numeric))
        size = np.where((self.state == PLAIN) & np.isfinite(size), size, 0.0).max(axis=2)
        # The slope along a direction may be small by chance: measure it by the length.
        return np.asarray(np.maximum(size, self.length) if self.lines.is_direction else size)

    def resolution(self) -> Array:
        """Return the smallest relative error that would have shown, (T, P); 0 without rounding."""
        noise = np.where(self.state == PLAIN, self.noise, 0.0).max(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = noise / self.size()
        return np.where((noise > 0) & ~self.zero, np.nan_to_num(seen, nan=np.inf), 0.0)


def compare(
    point: Point, repeated: Repeat, names: list[str], each: float, method: str, seed: int
) -> list[ArrayComparison]:
    """Take the numeric derivatives of arrays, and lay them beside the analytic ones.

    So many entries of ``each`` array; one with more is compared along a random direction, too.
    """
    chosen = []
    for name in names:
        shape = point.params[name].shape[1:]
        size = int(np.prod(shape, dtype=int))
        # Seeded by the shape: arrays that may have been swapped are sampled at the same places.
        rng = np.random.default_rng([seed, *shape])
        entries = np.arange(size)
        if each < size:
            entries = np.sort(rng.choice(size, int(each), replace=False))
        if len(entries):
            chosen.append(Lines(name, entries))
        if len(entries) < size:
            # No weight near 0, which would hide an entry; no two alike, which may cancel errors.
            direction = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.5, size)
            chosen.append(Lines(name, direction))
    found = []
    rounding = point.objective.rounding(point.params)
    for lines in chosen:
        with np.errstate(all="ignore"):
            numeric, noise = point.slopes(lines, method)
        if lines.name in rounding:  # of the analytic side
            doubt = np.abs(flat(rounding[lines.name]))
            along = np.abs(lines.along) if lines.is_direction else lines.along
            noise = noise + Lines(lines.name, along).slopes(doubt)
        grads = [flat(arrays[lines.name]) for arrays in repeated.grads.values()]
        state = np.where(np.isfinite(numeric), PLAIN, LEFT_OUT).astype(np.int8)
        found.append(ArrayComparison(lines, lines.slopes(np.stack(grads)), numeric, noise, state))
    _set_floors(found, repeated, point.objective.derived)
    return found


def _set_floors(found: list[ArrayComparison], repeated: Repeat, derived: frozenset[str]) -> None:
    """Set ``floor`` and ``zero``.

    An array whose gradient is below 1e-10 of the largest, and yet no rounding (it is *steady* at
    points nearby), has a floor of its own: vanishing gradients are checked as well, to four digits.
    An analytic gradient of exact zeros is not called zero, unless the numeric one agrees to the
    last digit: it may be missing.
    """
    grads = {  # (T, P, size)
        name: np.stack([flat(arrays[name]) for arrays in repeated.grads.values()])
        for name in next(iter(repeated.grads.values()))
    }
    largest_of = {name: np.nan_to_num(np.abs(value)).max(axis=2) for name, value in grads.items()}
    for one in found:
        if not one.lines.is_direction:
            finite = np.where(np.isfinite(one.numeric), np.abs(one.numeric), 0)
            largest_of[one.lines.name] = finite.max(axis=2)
    largest = np.max(list(largest_of.values()), axis=0)  # (T, P)
    own = np.array([[term not in derived] for term in repeated.grads])
    # A difference of the others carries their rounding.
    largest = np.where(own, largest, largest.max(axis=0))
    for one in found:
        value = grads[one.lines.name]
        steady = np.array([arrays[one.lines.name] for arrays in repeated.steady.values()])  # (T, P)
        finite, floor = np.nan_to_num(value), _FLOOR * largest
        mine = np.minimum(floor, 1e4 * np.abs(finite).max(axis=2))
        floor = np.where(steady & own, mine, floor)
        one.largest, one.steady = largest, steady
        one.length = np.linalg.norm(finite, axis=2)
        if one.lines.is_direction:
            floor = np.maximum(floor * np.sqrt(value.shape[2]), 1e-2 * one.length)
        size, limit = np.abs(value).max(axis=2), SMALL * largest
        with np.errstate(invalid="ignore"):
            small = np.abs(one.numeric) <= limit[:, :, None] + 2 * one.noise
            numeric_is_small = (small | (one.state != PLAIN)).all(axis=2)
            rounding = (size > 0) & (size <= limit) & ~steady
            nothing = (size == 0) & (one.numeric == 0).all(axis=2)
        one.floor, one.zero = floor[:, :, None], (rounding & numeric_is_small) | nothing


def look_for_zeros(
    one: ArrayComparison, point: Point, grads: dict[str, Params], rng: np.random.Generator
) -> None:
    """Update ``zero`` of an array whose numbers all drown: is it structurally zero, by larger moves?

    Its analytic gradient must be rounding, too, or zeros.
    """
    size = np.stack([np.abs(flat(arrays[one.lines.name])).max(axis=1) for arrays in grads.values()])
    # Differences that are 0 to the bit tell all, unless the loss has steps; so do dead units, which
    # a large move would wake.
    steps = (point.noise > 1e3 * point.eps * np.abs(point.base))[:, :, 0]
    to_the_bit = (size == 0) & (one.numeric == 0).all(axis=2) & ~steps
    open_cases = (one.resolution() > MUST_SHOW) | (one.zero & (one.noise > 0).any(axis=2))
    open_cases &= ~to_the_bit
    if not open_cases.any():
        return
    bound = point.bound(one.lines.name, rng)
    rounding = (size == 0) | (~one.steady & (size <= max(SMALL, 1e3 * point.grain) * one.largest))
    one.zero = np.where(open_cases, rounding & (bound <= _ZERO_BOUND * one.largest), one.zero)


def rows_of(
    comparisons: list[ArrayComparison], repeated: Repeat, tolerance: float, point: str = "given"
) -> tuple[Row, ...]:
    """Return the rows, by term, from the first layer to the last."""
    layers, names = order_of_layers(
        {name: value[0] for name, value in next(iter(repeated.grads.values())).items()}
    )
    by_name: dict[str, list[ArrayComparison]] = {}
    for one in comparisons:
        by_name.setdefault(one.lines.name, []).append(one)
    order = sorted(by_name, key=lambda name: layers.index(names[name].layer))
    return tuple(
        _row(term, t, names[name], grads[name], by_name[name], tolerance, point)
        for t, (term, grads) in enumerate(repeated.grads.items())
        for name in order
    )


def _row(
    term: str,
    t: int,
    parsed: ArrayName,
    analytic: Array,
    found: list[ArrayComparison],
    tolerance: float,
    point: str,
) -> Row:
    shape = analytic.shape[1:]
    # The entries, or else the direction alone, are what the row tells about.
    main = found[0]
    a, n, plain = main.analytic[t], main.numeric[t], main.state[t] == PLAIN  # (P, m)
    errors = [one.scaled_error(tolerance)[t] for one in found]
    failing = sum(int((error > tolerance).sum()) for error in errors)
    resolution = float(main.resolution()[t].max())
    if (main.state[t] == LEFT_OUT).all():
        verdict = "undecided"
    elif failing:
        verdict = "wrong"
    elif main.zero[t].all():
        verdict = "zero"
    else:
        verdict = "right" if resolution <= MUST_SHOW else "undecided"
    p, i = (int(one) for one in np.unravel_index(int(np.argmax(errors[0])), errors[0].shape))
    worst = None
    if not main.lines.is_direction:
        entry = main.lines.along[[i]]
        index = [int(one[0]) for one in np.unravel_index(entry, shape)] if shape else []
        worst = tuple([p, *index] if len(a) > 1 else index)
    with np.errstate(invalid="ignore"):
        size = np.where(plain, np.maximum(np.abs(a), np.abs(n)), 0)

    def count(state: int) -> int:
        return sum(int((one.state[t] == state).sum()) for one in found)

    return Row(
        term=term,
        name=parsed.name,
        layer=parsed.layer,
        kind=parsed.kind,
        shape=tuple(int(one) for one in shape),
        size=int(analytic.size),
        checked=0 if main.lines.is_direction else int(plain.sum()),
        scaled_error=max(float(one.max()) for one in errors),
        norm_error=_norm_error(a, n, plain, main.zero[t]),
        report_error=_report_error(a, n, plain),
        worst=worst,
        analytic=float(a[p, i]),
        numeric=float(n[p, i]),
        failing=failing,
        one_sided=count(AT_KINK),
        nearby=count(NEARBY),
        left_out=count(LEFT_OUT),
        direction_error=float(errors[-1].max()) if found[-1].lines.is_direction else None,
        magnitude=float(size.max()),
        resolution=resolution,
        point=point,
        verdict=verdict,
    )


def _norm_error(a: Array, n: Array, plain: Array, zero: Array) -> float | None:
    """Return ``||a - n|| / max(||a||, ||n||)``, the largest over the networks."""
    errors = []
    for p in range(len(a)):
        kept = plain[p]
        if zero[p] or not kept.any():
            continue
        size = max(float(np.linalg.norm(a[p][kept])), float(np.linalg.norm(n[p][kept])))
        error = float(np.linalg.norm(a[p][kept] - n[p][kept]))
        errors.append(math.inf if math.isnan(error) else error / size if size > 0 else 0.0)
    return max(errors, default=None)


def _report_error(a: Array, n: Array, plain: Array) -> float:
    with np.errstate(invalid="ignore"):
        terms = np.abs(a - n) / np.maximum(np.abs(a) + np.abs(n), _REPORT_EPS)
    terms = np.where(plain, np.where(np.isnan(terms), np.inf, terms), 0.0)
    return float(terms.sum(axis=1).max())
