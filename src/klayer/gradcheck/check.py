"""The checker: any ``loss_and_grads`` over named arrays, analytic against numeric."""

from __future__ import annotations

import fnmatch
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from klayer.errors import KlayerError, unknown_name
from klayer.gradcheck.causes import explain
from klayer.gradcheck.comparison import ArrayComparison, compare, rows_of
from klayer.gradcheck.differences import COMPLEX_STEP, Point, precision_of
from klayer.gradcheck.judge import Nearby, NotComplexSafe, judge
from klayer.gradcheck.known_mistakes import Reference
from klayer.gradcheck.objective import Array, FunctionObjective, LossAndGrads, Objective
from klayer.gradcheck.preflight import complex_unsafe, repeat
from klayer.gradcheck.result import Check

__all__ = ["METHODS", "check_gradients", "run_check"]

METHODS = ("auto", "complex", "central", "forward", "direction")

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
        The point; handed to the function as float64 arrays that it must not change.
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
        A klayer network with the same loss: known mistakes are replayed to name the cause.

    Returns
    -------
    check : Check
        True if the gradient is right; ``print(check)`` shows the report.

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
        kinks=None
        if kinks is None
        else lambda: kinks({k: v[0, ...] for k, v in objective.params.items()}),
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
    notes: Sequence[str] = (),
) -> Check:
    """Check an objective; see :func:`check_gradients` for the options.

    ``l2`` has shape (P,); ``references`` gives, for a term, one for each network.
    """
    start = time.perf_counter()
    _validate(method, entries, tolerance, seed)
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
    point = Point(objective, precision, rng)
    nearby = cache(lambda: Nearby(point, rng))
    used, reason = _choose(method, point, nearby, names, rng)
    total = sum(objective.params[name][0].size for name in names)
    each = entries or (math.inf if total <= FULL_UP_TO else SAMPLE)
    each = 0 if method == "direction" else each
    while True:
        limit = tolerance or TOLERANCES[used][precision.itemsize]
        comparisons = compare(point, repeated, names, each, used, seed)
        try:
            for one in comparisons:
                judge(one, point, nearby, used, limit)
            break
        except NotComplexSafe as found:
            if method == "complex":
                raise _unsafe(f"differences contradict it in {found.name}") from None
            used = "central"
            reason = (
                "central differences: the complex step failed in "
                f"{found.name}, where differences side with the analytic gradient."
            )
    rows, row_notes = rows_of(comparisons, repeated, limit)
    verdicts = {row.verdict for row in rows}
    steps = {"complex": COMPLEX_STEP, "central": point.eps ** (1 / 3), "forward": point.eps**0.5}
    check = replace(
        check,
        verdict=next((one for one in ("wrong", "undecided") if one in verdicts), "right"),
        method=method if method == "direction" else used,
        reason=reason,
        rows=rows,
        tolerance=limit,
        step=steps[used],
        notes=(
            *notes,
            *([repeated.note] if repeated.note else []),
            *_notes_on(objective, precision),
            *row_notes,
        ),
        coverage=_coverage(comparisons, objective, names),
        kinks={
            "units": _near_kinks(kinks, used, point),
            "one_sided": sum(row.one_sided for row in rows),
            "nearby": sum(row.nearby for row in rows),
            "left_out": sum(row.left_out for row in rows),
        },
    )
    if check.verdict == "wrong":
        check = explain(check, point, repeated.grads, comparisons, samples, l2, references or {})
    return timed(check)


def _validate(method: str, entries: object, tolerance: float | None, seed: object) -> None:
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if entries is not None and (not isinstance(entries, int | np.integer) or entries < 1):
        raise KlayerError(f"`entries` must be a whole number >= 1, but got {entries!r}.")
    if tolerance is not None and not 0 < tolerance < 1:
        raise KlayerError(f"`0 < tolerance < 1` must hold, but got tolerance={tolerance!r}.")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise KlayerError(f"`seed` must be a whole number >= 0, but got {seed!r}.")


def _select(objective: Objective, arrays: str | Sequence[str] | None) -> list[str]:
    names = list(objective.params)
    if arrays is None:
        return names
    wanted = [arrays] if isinstance(arrays, str) else list(arrays)
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


def _notes_on(objective: Objective, precision: np.dtype[Any]) -> Iterator[str]:
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
        yield (
            f"zero everywhere: {some}. A penalty on these arrays would not show; add some noise to "
            "the parameters to see it."
        )


def _near_kinks(
    kinks: Callable[[], Iterable[ArrayLike]] | None, method: str, point: Point
) -> int | None:
    """Count the units so near to their kink that a difference crosses it, or rounding decides."""
    if kinks is None:
        return None
    distance = 1e-13 if method == "complex" else point.eps ** (1 / 3)
    sizes = [np.abs(np.asarray(values).real) for values in kinks()]
    return sum(int((size <= distance * size.max(initial=0)).sum()) for size in sizes)
