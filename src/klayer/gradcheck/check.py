"""The checker: any ``loss_and_grads`` over named arrays, analytic against numeric."""

from __future__ import annotations

import fnmatch
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from klayer.errors import KlayerError, unknown_name
from klayer.gradcheck.array_names import listed
from klayer.gradcheck.bisect import wrong_entries
from klayer.gradcheck.causes import explain
from klayer.gradcheck.comparison import ArrayComparison, compare, look_for_zeros, rows_of
from klayer.gradcheck.differences import COMPLEX_STEP, Lines, Point, precision_of
from klayer.gradcheck.judge import Nearby, NotComplexSafe, judge
from klayer.gradcheck.objective import (
    Array,
    FunctionObjective,
    LossAndGrads,
    Objective,
    flat,
)
from klayer.gradcheck.options import validate
from klayer.gradcheck.preflight import Repeat, complex_unsafe, repeat
from klayer.gradcheck.reference import Reference
from klayer.gradcheck.result import Check, Row
from klayer.gradcheck.second_point import merged, perturbed

__all__ = ["check_gradients", "run_check"]

Progress = Callable[[int, int], None]

# Up to so many entries a network are all checked; beyond, so many of each array.
FULL_UP_TO, SAMPLE = 10_000, 64

# What may be left between a correct gradient and a numeric one, by method and by precision.
TOLERANCES = {
    "complex": {8: 1e-8},
    "central": {8: 1e-6, 4: 1e-2, 2: 2e-1},
    "forward": {8: 1e-4, 4: 5e-2, 2: 4e-1},
}


def check_gradients(
    loss_and_grads: LossAndGrads | Mapping[str, LossAndGrads],
    params: Mapping[str, ArrayLike],
    *,
    loss: Callable[[Mapping[str, Array]], float] | None = None,
    method: str = "auto",
    arrays: str | Sequence[str] | None = None,
    entries: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    kinks: Callable[[Mapping[str, Array]], Iterable[ArrayLike]] | None = None,
    samples: int | None = None,
    l2: float | None = None,
    reference: Reference | None = None,
    second_point: bool = True,
    progress: Progress | None = None,
) -> Check:
    """Check the gradient that a function returns against the loss that it returns.

    The measure is the scaled error ``|a - n| / max(|a|, |n|, floor)`` of each entry, ``a`` analytic
    and ``n`` numeric; the floor is 1e-6 of the largest gradient.

    Parameters
    ----------
    loss_and_grads : callable, or mapping of term -> callable
        ``loss_and_grads(params) -> (loss, grads)``: a number, and a mapping with exactly the keys
        and shapes of ``params``. A mapping ``{"data": f, "l2": g}`` has its terms checked apart: a
        strong penalty would otherwise hide an error in the data's gradient.
    params : mapping of name -> array
        The point; handed to the function as float64 arrays that it must not change. May be nested:
        mappings, lists and tuples of arrays, or one array; the function gets the same structure, and
        its gradients may have it, too, or name them ``dW1`` for ``W1``.
    loss : callable, optional
        ``loss(params) -> float`` without the gradient: cheaper, and then it alone needs to be
        complex-safe.
    method : {"auto", "complex", "central", "forward", "direction"}
        ``auto`` takes the complex step if the function proves complex-safe, else central
        differences. ``direction`` checks one random direction through each array, nothing else.
    arrays : str or sequence of str, optional
        Names or patterns (``"W*"``) of the arrays to check; by default all.
    entries : int, >= 1, optional
        How many entries of each array, drawn at random. By default all up to 10,000 entries in sum,
        else 64 of each array. An array that is sampled is also checked along a random direction.
    tolerance : float, 0 < tolerance < 1, optional
        Largest scaled error of a right gradient. By default 1e-8 for the complex step, 1e-6 for
        central and 1e-4 for forward differences; 1e-2 and more if the loss is computed in float32.
    seed : int, >= 0
        For the choice of entries and directions.
    kinks : callable, optional
        ``kinks(params)`` returns the values that ReLUs decide on, so that units near their kink can
        be counted. Without it, kinks are found by one-sided slopes where they matter.
    samples : int, optional
        Size of the batch; makes the causes sharper ("1/n is missing").
    l2 : float, optional
        lambda in ``lambda * ||W||^2``; makes the causes sharper ("factor 2 missing").
    reference : Reference, optional
        A klayer network with the same loss: known mistakes are replayed to name the cause. Weights
        may be laid out as (out, in), biases as (1, n) or (n, 1).
    second_point : bool
        Check at a perturbed point as well, since special ones hide mistakes: biases of 0, a gamma
        of 1, dead units, a minimum.
    progress : callable, optional
        ``progress(done, planned)``, evaluations, is called as the check goes on.

    Returns
    -------
    check : Check
        True if the gradient is right; ``print(check)`` shows the report. Its verdict is ``undecided``
        where rounding would hide a mistake.

    Raises
    ------
    KlayerError
        For options out of range, or a function that breaks its contract (a missing key, a wrong
        shape, a loss that is not finite, parameters changed in place).

    Examples
    --------
    >>> def least_squares(params):
    ...     residual = params["W"] @ np.array([1.0, 2.0]) - 3.0
    ...     return (residual**2).sum(), {"W": 2 * np.outer(residual, [1.0, 2.0])}
    >>> check = check_gradients(least_squares, {"W": np.array([[0.5, -1.0], [2.0, 0.3]])})
    >>> check.verdict, check.method
    ('right', 'complex')

    A factor that is off is found, and named:

    >>> def forgot_the_2(params):
    ...     loss, grads = least_squares(params)
    ...     return loss, {"W": grads["W"] / 2}
    >>> check = check_gradients(forgot_the_2, {"W": np.array([[0.5, -1.0], [2.0, 0.3]])})
    >>> check.verdict, check.causes[0].text
    ('wrong', 'the gradient of W is half of what it should be: a factor 2 is missing.')
    """
    validate(l2=l2, kinks=kinks, reference=reference, progress=progress, second_point=second_point)
    objective = FunctionObjective(loss_and_grads, params, loss)
    return run_check(
        objective,
        method=method,
        arrays=arrays,
        entries=entries,
        tolerance=tolerance,
        seed=seed,
        samples=samples,
        l2=None if l2 is None else np.array([float(l2)]),
        references={} if reference is None else {"cost": [reference]},
        kinks=None if kinks is None else lambda: kinks(objective.shown(objective.params)),
        second_point=second_point,
        progress=progress,
        notes=objective.notes,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep BLAS and OpenMP, which PyTorch uses, to one thread.

    Thousands of small products gain nothing from more, and where other programs want the cores too,
    threads that wait for each other cost a factor of ten and more (measured).
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@_one_thread()
def run_check(
    objective: Objective,
    *,
    method: str = "auto",
    arrays: str | Sequence[str] | None = None,
    entries: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    samples: int | None = None,
    l2: Array | None = None,
    references: Mapping[str, Sequence[Reference]] | None = None,
    kinks: Callable[[], Iterable[ArrayLike]] | None = None,
    second_point: bool = True,
    progress: Progress | None = None,
    notes: Sequence[str] = (),
) -> Check:
    """Check an objective; see :func:`check_gradients` for the options.

    ``l2`` has shape (P,); ``references`` gives, for a term, one for each network.
    """
    start = time.perf_counter()
    validate(method=method, entries=entries, tolerance=tolerance, seed=seed, samples=samples)
    names = _select(objective, arrays)
    rng = np.random.default_rng(seed)
    repeated = repeat(objective, rng)
    precision = precision_of(objective, rng)

    def timed(check: Check) -> Check:
        seconds = time.perf_counter() - start
        return replace(check, evaluations=objective.evaluations, seconds=seconds)

    check = Check(
        verdict="wrong",
        method=method if method != "auto" else "complex",
        reason="nothing was compared: the function does not repeat itself.",
        rows=(),
        tolerance=tolerance or 0.0,
        step=0.0,
        precision=str(precision),
        seed=seed,
        networks=len(next(iter(objective.params.values()))),
        notes=tuple(notes),
        coverage="nothing",
    )
    if repeated.cause is not None:
        return timed(replace(check, causes=(repeated.cause,), deterministic=False))
    given = _At("given", objective, repeated, precision, rng)
    places = [given]
    moved = perturbed(objective, rng) if second_point else None
    if moved is not None:
        again = repeat(moved, rng)
        if again.cause is not None:
            return timed(replace(check, causes=(again.cause,), deterministic=False))
        places.append(_At("perturbed", moved, again, precision, rng))
    used, reason = _choose(method, given.point, given.nearby, names, rng)
    total = sum(objective.params[name][0].size for name in names)
    each = entries or (math.inf if total <= FULL_UP_TO else SAMPLE)
    each = 0 if method == "direction" else each
    while True:
        grain = max(place.point.grain for place in places)
        limit = tolerance or _tolerance(used, precision, objective.given, grain)
        if progress is not None:
            planned = sum(min(each, objective.params[name][0].size) for name in names)
            planned = int(planned * len(places) * (1 if used == "complex" else 2))
            objective.watch = partial(_told, progress, objective, planned + objective.evaluations)
        try:
            for place in places:
                place.examine(names, each, used, limit, seed, rng)
            break
        except NotComplexSafe as found:
            if method == "complex":
                raise _unsafe(f"differences contradict it in {found.name}") from None
            used = "central"
            reason = (
                "central differences: the complex step failed in "
                f"{found.name}, where differences side with the analytic gradient."
            )
    told = _most_telling(places)
    rows = given.rows
    if len(places) > 1:
        rows = merged(given.rows, places[1].rows, told.name)
    power = 1 / 2 if used == "forward" else 1 / 3
    check = replace(
        check,
        verdict=_verdict(rows, places),
        method=method if method == "direction" else used,
        reason=reason,
        rows=rows,
        point=told.name,
        points=tuple(place.name for place in places),
        hidden=told is not given and told.wrong <= given.right,
        tolerance=limit,
        step=COMPLEX_STEP if used == "complex" else told.point.grain**power,
        notes=(
            *notes,
            *(note for place in places for note in place.repeated.notes),
            *_notes_on(objective, precision, second_point, len(places) > 1),
            *_undecided(rows, places),
        ),
        coverage=_coverage(given.comparisons, objective, names),
        kinks={
            "units": _near_kinks(kinks, used, given.point),
            "one_sided": sum(row.one_sided for row in rows),
            "nearby": sum(row.nearby for row in rows),
            "left_out": sum(row.left_out for row in rows),
        },
    )
    if check.verdict == "wrong":
        check = explain(
            replace(check, rows=told.rows),
            told.point,
            told.repeated.grads,
            told.comparisons,
            samples,
            l2,
            references or {},
        )
        check = replace(check, rows=rows)
    return timed(check)


class _At:
    """What is found at one point."""

    def __init__(
        self,
        name: str,
        objective: Objective,
        repeated: Repeat,
        precision: np.dtype[Any],
        rng: np.random.Generator,
    ) -> None:
        self.name, self.repeated = name, repeated
        self.point = Point(objective, precision, rng)
        self.nearby = cache(lambda: Nearby(self.point, rng))
        self.comparisons: list[ArrayComparison] = []
        self.rows: tuple[Row, ...] = ()

    def examine(
        self,
        names: list[str],
        each: float,
        method: str,
        limit: float,
        seed: int,
        rng: np.random.Generator,
    ) -> None:
        """Compare and judge.

        Raises
        ------
        NotComplexSafe
        """
        self.comparisons = compare(self.point, self.repeated, names, each, method, seed)
        for one in self.comparisons:
            look_for_zeros(one, self.point, self.repeated.grads, rng)
            judge(one, self.point, self.nearby, method, limit)
        for entries, direction in pairwise(self.comparisons):
            if entries.lines.name == direction.lines.name:
                self._bisect(entries, direction, method, limit)
        self.rows = rows_of(self.comparisons, self.repeated, limit, self.name)

    def _bisect(
        self, entries: ArrayComparison, direction: ArrayComparison, method: str, limit: float
    ) -> None:
        """Where a direction is wrong and no entry that was drawn: compare those that are it."""
        errors = direction.scaled_error(limit)[:, :, 0]
        silent = ~(entries.scaled_error(limit) > limit).any(axis=2)
        open_cases = np.argwhere((errors > limit) & np.isfinite(errors) & silent)
        if not len(open_cases):
            return
        t, p = (int(one) for one in open_cases[0])
        name = direction.lines.name
        grads = [flat(arrays[name]) for arrays in self.repeated.grads.values()]
        found = wrong_entries(direction, self.point, grads[t][p], t, p, method)
        found = [one for one in found if one not in entries.lines.along]
        if found:
            lines = Lines(name, np.array(found))
            entries.add(lines, np.stack(grads), *self.point.slopes(lines, method))
            judge(entries, self.point, self.nearby, method, limit)

    @property
    def wrong(self) -> set[tuple[str, str]]:
        """The arrays found wrong, with their term."""
        return {(row.term, row.name) for row in self.rows if row.verdict == "wrong"}

    @property
    def right(self) -> set[tuple[str, str]]:
        """The arrays found right, or zero."""
        return {(row.term, row.name) for row in self.rows if row.verdict in ("right", "zero")}


def _most_telling(places: list[_At]) -> _At:
    """Return where causes are looked for: the perturbed point hides least, where it shows it all."""
    given, last = places[0], places[-1]
    return last if last.wrong and last.wrong >= given.wrong else given


def _tolerance(method: str, precision: np.dtype[Any], given: np.dtype[Any], grain: float) -> float:
    # The loss of a float32 model may be calculated in float64 here; its own constants are float32.
    own = 8 * float(np.finfo(given).eps) if given.itemsize < 8 else 0.0
    least = max(TOLERANCES[method][precision.itemsize], own)
    if method == "complex":
        return least
    # As the errors of differences go with the grain: u^(2/3) for central ones, u^(1/2) for others.
    most = max(least, TOLERANCES[method][4])
    return max(least, min(most, 400 * math.pow(grain, 2 / 3 if method == "central" else 1 / 2)))


def _nothing_depends(places: list[_At]) -> bool:
    return all(row.verdict == "zero" for place in places for row in place.rows)


def _nothing_compared(places: list[_At]) -> bool:
    """Whether each entry, at each point, agrees with the slope on one side only."""
    rows = [row for place in places for row in place.rows]
    return not any(row.checked or row.nearby or row.direction_error is not None for row in rows)


def _verdict(rows: Sequence[Row], places: list[_At]) -> str:
    verdicts = {row.verdict for row in rows}
    if verdicts == {"right"} and _nothing_compared(places):
        return "undecided"
    if _nothing_depends(places):  # that proves no backward pass
        return "undecided"
    return next((one for one in ("wrong", "undecided") if one in verdicts), "right")


def _told(progress: Progress, objective: Objective, planned: int) -> None:
    progress(objective.evaluations, max(planned, objective.evaluations))


def _select(objective: Objective, arrays: str | Sequence[str] | None) -> list[str]:
    names = list(objective.params)
    if arrays is None:
        return names
    wanted = [arrays] if isinstance(arrays, str) else arrays
    if not isinstance(wanted, Iterable) or not all(isinstance(one, str) for one in wanted):
        raise KlayerError(f"`arrays` must be a name or a list of names, but got {arrays!r}.")
    chosen = set()
    for pattern in wanted:
        matches = fnmatch.filter(names, pattern)
        if not matches:
            raise unknown_name("array", pattern, names)
        chosen.update(matches)
    if not chosen:
        raise KlayerError("`arrays` must name at least one array, but it is empty.")
    return [name for name in names if name in chosen]


def _choose(
    method: str,
    point: Point,
    nearby: Callable[[], Nearby],
    names: list[str],
    rng: np.random.Generator,
) -> tuple[str, str]:
    """Return the method in use, and why."""
    if method in ("central", "forward"):
        return method, f"{method} differences, as asked."
    unsafe = complex_unsafe(point, lambda: nearby().point, names, rng)
    if method == "complex":
        if unsafe:
            raise _unsafe(unsafe)
        return "complex", "complex step, as asked; a trial along every array agreed."
    where = "along one random direction through each array, as asked; " * (method == "direction")
    if unsafe:
        return "central", f"{where}central differences: {unsafe}."
    return "complex", (
        f"{where}complex step: a trial along every array showed the loss to be complex-safe."
    )


def _unsafe(reason: str) -> KlayerError:
    return KlayerError(
        f"method 'complex' needs a complex-safe loss, but {reason}: use method 'auto' or 'central'."
    )


def _coverage(comparisons: list[ArrayComparison], objective: Objective, names: list[str]) -> str:
    along = sum(one.lines.is_direction for one in comparisons)
    checked = sum(len(one.lines.along) for one in comparisons if not one.lines.is_direction)
    sizes = {name: value[0].size for name, value in objective.params.items()}
    total = sum(sizes[name] for name in names)
    P = len(next(iter(objective.params.values())))
    entries = f"{total:,} entries" + (f" of each of {P} networks" if P > 1 else "")
    if not along:
        text = f"all {entries}"
    elif checked:
        text = (
            f"{checked:,} of {entries}, drawn at random, and one random direction through each of "
            f"the {along} sampled arrays"
        )
    else:
        text = (
            f"one random direction through each of {along} arrays ({entries}): a small error can "
            "hide from it"
        )
    if len(names) < len(sizes):
        text += f"; {len(names)} of {len(sizes)} arrays, as asked"
    return text


def _undecided(rows: Sequence[Row], places: list[_At]) -> Iterator[str]:
    """Say why something is not decided, and what would help."""
    if _nothing_depends(places):
        yield (
            "the loss depends on none of the arrays here, and every gradient is zero: that proves "
            "nothing. Check at other parameters."
        )
    if _nothing_compared(places) and {row.verdict for row in rows} == {"right"}:
        yield (
            "undecided: every entry agrees with a slope on one side alone, so nothing was compared. "
            "Does the loss follow the parameters that it is given?"
        )
    left_out = [row for row in rows if row.verdict == "undecided" and not row.checked]
    drowned = [row for row in rows if row.verdict == "undecided" and row.checked]
    one_term = len({row.term for row in rows}) == 1

    def named(some: list[Row]) -> str:
        return listed([row.name if one_term else f"{row.name} ({row.term})" for row in some])

    if left_out:
        yield (
            f"undecided, for want of a difference that can be trusted: {named(left_out)}. The loss is "
            "not finite beside the point, or changes by steps."
        )
    if drowned:
        point = places[0].point
        noise, least = float(point.noise.max()), max(row.resolution for row in drowned)
        hides = f"an error of {min(least, 1):.0%} of it" if least <= 1 else "any error"
        why = f"the loss is good to {noise:.0e} only"
        if point.precision != np.float64:
            advice = f"it is computed in {point.precision}: compute in float64"
        elif point.grain > point.eps:
            advice = (
                "a part of it in lower precision, a round(), or a large constant that swallows its "
                "digits: leave that out, or check with `loss` apart"
            )
        else:
            advice = (
                "make the loss complex-safe, so that the complex step can be used, or check at a "
                "point with larger gradients"
            )
        yield (
            f"undecided, below the rounding of the loss: {named(drowned)}. There the gradient is so "
            f"small that rounding hides {hides}; {why}; {advice}."
        )


def _notes_on(
    objective: Objective, precision: np.dtype[Any], wanted: bool, second: bool
) -> Iterator[str]:
    """Say what this loss and this point can't show."""
    if precision != np.float64:
        yield (
            f"the loss is computed in {precision}, so that differences are good to a few digits "
            "only: compute in float64 (in PyTorch `.double()`, in JAX `jax_enable_x64`) to prove "
            "the gradient."
        )
    zero = [name for name, value in objective.params.items() if not value.any()]
    if zero:
        some = ", ".join(zero[:6]) + (", ..." if len(zero) > 6 else "")
        if second:
            yield f"zero everywhere: {some}. What that hides shows at the perturbed point."
        else:
            yield (
                f"zero everywhere: {some}. A penalty on these arrays would not show; add some noise "
                "to the parameters to see it."
            )
    if wanted and not second:
        yield (
            "only the given point was checked: the loss is not finite at points nearby. What the "
            "point hides (biases of 0, dead units) stays hidden."
        )


def _near_kinks(
    kinks: Callable[[], Iterable[ArrayLike]] | None, method: str, point: Point
) -> int | None:
    """Count the units so near to their kink that a difference crosses it, or rounding decides."""
    if kinks is None:
        return None
    distance = 1e-13 if method == "complex" else point.grain ** (1 / 3)
    try:
        sizes = [np.abs(np.asarray(values, dtype=np.complex128).real) for values in kinks()]
    except Exception as error:
        raise KlayerError(
            "`kinks` must return a list of arrays, the values that ReLUs decide on, but "
            f"{type(error).__name__}: {error}"
        ) from error
    return sum(int((size <= distance * size.max(initial=0)).sum()) for size in sizes)
