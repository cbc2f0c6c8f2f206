"""The checker: any ``loss_and_grads`` over named arrays, analytic against numeric."""

from __future__ import annotations

import fnmatch
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from klayer.errors import KlayerError, unknown_name
from klayer.gradcheck.causes import explain
from klayer.gradcheck.caveats import coverage, near_kinks, notes_on, undecided
from klayer.gradcheck.differences import COMPLEX_STEP, Point, precision_of
from klayer.gradcheck.judge import Nearby, NotComplexSafe
from klayer.gradcheck.objective import (
    Array,
    FunctionObjective,
    LossAndGrads,
    Objective,
)
from klayer.gradcheck.one_point import AtPoint, most_telling, verdict_of
from klayer.gradcheck.options import validate
from klayer.gradcheck.preflight import complex_unsafe, repeat
from klayer.gradcheck.reference import Reference
from klayer.gradcheck.result import Check
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
    given = AtPoint("given", objective, repeated, precision, rng)
    places = [given]
    moved = perturbed(objective, rng) if second_point else None
    if moved is not None:
        again = repeat(moved, rng)
        if again.cause is not None:
            return timed(replace(check, causes=(again.cause,), deterministic=False))
        places.append(AtPoint("perturbed", moved, again, precision, rng))
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
    told = most_telling(places)
    rows = given.rows
    if len(places) > 1:
        rows = merged(given.rows, places[1].rows, told.name)
    power = 1 / 2 if used == "forward" else 1 / 3
    check = replace(
        check,
        verdict=verdict_of(rows, places),
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
            *notes_on(objective, precision, second_point, len(places) > 1),
            *undecided(rows, places),
        ),
        coverage=coverage(given.comparisons, objective, names),
        kinks={
            "units": near_kinks(kinks, used, given.point),
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


def _tolerance(method: str, precision: np.dtype[Any], given: np.dtype[Any], grain: float) -> float:
    # The loss of a float32 model may be calculated in float64 here; its own constants are float32.
    own = 8 * float(np.finfo(given).eps) if given.itemsize < 8 else 0.0
    least = max(TOLERANCES[method][precision.itemsize], own)
    if method == "complex":
        return least
    # As the errors of differences go with the grain: u^(2/3) for central ones, u^(1/2) for others.
    most = max(least, TOLERANCES[method][4])
    return max(least, min(most, 400 * math.pow(grain, 2 / 3 if method == "central" else 1 / 2)))


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
