"""Before anything is compared: does the function repeat itself, and is it complex-safe?

Neither is assumed. A function is called complex-safe when it takes complex parameters, returns a
complex loss, and along one random direction through every array its complex step agrees with
central differences. That catches the silent traps: ``abs``, ``numpy.maximum``, ``numpy.var``, a
float buffer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from klayer.errors import KlayerError
from klayer.gradcheck.differences import Lines, Point
from klayer.gradcheck.objective import Array, Objective, Params, flat
from klayer.gradcheck.result import Cause

__all__ = ["SMALL", "Repeat", "complex_unsafe", "repeat"]

Evaluation = tuple[Array, dict[str, Params]]  # losses (T, P), and the gradients of each term

# What is below this part of the largest gradient may be mere rounding. Rounding alone gives 1e-16,
# but normalising a layer of dead units multiplies it by 1 / sqrt(eps), layer by layer.
SMALL = 1e-10

# A move to tell a small gradient from rounding: the former hardly changes, the latter entirely
# (float32 must feel it, too). And one that any use of stale values shows at.
_NEARBY, _AWAY = 1e-6, 1e-2
_NEARBY_POINTS = 8

# More calls of a function that doesn't repeat itself, to find a cycle; and results that must agree.
_CALLS, _AGREE = 36, 8

_RANDOM = (
    "two evaluations at the same parameters differ: {where} by {change} relative, without a pattern "
    "from call to call. Fix the seed of whatever is random (dropout, noise, the choice of samples) "
    "inside the function, then check again."
)
_ACCUMULATES = (
    "gradients accumulate: each call adds the same to {where}. They must start from zero in each "
    "call (`optimizer.zero_grad()` in PyTorch, `grads[...] = 0` or new arrays in NumPy)."
)
_STATE = (
    "state is kept from call to call: at the same parameters {where} differs by {change} relative, "
    "and {how}. Start each call from the same state: fresh momentum and running statistics, the "
    "same batch, parameters that are not updated inside."
)
_FIRST = "the first call differs from all later ones, which agree"
_ALTERNATES = "the results alternate"
_RECURS = "each result comes again after {period} calls, as with batches taken in turn"
_DRIFTS = "it moves on in the same direction each time, as momentum or a running average does"
_REMEMBERS = (
    "an evaluation depends on the call before it: {where} differs by {change} relative after a call "
    "at other parameters. Something stale is used, such as activations kept from an earlier forward "
    "pass."
)


@dataclass(frozen=True)
class Repeat:
    """What repeated evaluations say; by term, then by name."""

    grads: dict[str, Params]  # the gradients at the given point, each (P, ...)
    # Whether a gradient changes, but hardly, at a point nearby: then it is no mere rounding; (P,).
    steady: dict[str, dict[str, Array]]
    cause: Cause | None  # why the evaluations disagree, if they do
    notes: tuple[str, ...]  # that they agree to rounding only


def repeat(objective: Objective, rng: np.random.Generator) -> Repeat:
    """Evaluate at the point, again, at two points nearby, and at the point once more.

    Two evaluations in a row that disagree: the function is random. The last one alone disagrees: it
    remembers the call before, as a backward pass does that uses stale activations.

    Raises
    ------
    KlayerError
        If the loss is not finite, or the function breaks its contract.
    """
    params = objective.params
    losses, grads = objective.evaluate(params)
    if not np.isfinite(losses).all():
        bad = losses[~np.isfinite(losses)][0]
        raise KlayerError(
            f"the loss must be finite at the given parameters, but got {bad}: "
            "check the parameters, or the logarithms and divisions in the loss."
        )
    again = objective.evaluate(params)
    tolerance = 1e-12 if objective.loss_dtype.itemsize >= 8 else 1e-4
    if _largest_change((losses, grads), again)[0] > tolerance:
        calls = [(losses, grads), again, objective.evaluate(params), objective.evaluate(params)]
        cause = _unrepeatable(calls, tolerance)
        if cause.kind == "random":
            calls += [objective.evaluate(params) for _ in range(_CALLS)]
            if period := _period(calls, tolerance):
                change, name = _largest_change(calls[0], again)
                how = _ALTERNATES if period == 2 else _RECURS.format(period=period)
                cause = _cause("state", _STATE, name, change, how)
        return Repeat(grads, {}, cause, ())
    scale = {name: np.sqrt(np.mean(np.square(value))) or 1.0 for name, value in params.items()}

    def gradients_at(distance: float) -> dict[str, Params]:
        moved = {
            name: value + distance * scale[name] * rng.standard_normal(value.shape)
            for name, value in params.items()
        }
        return objective.evaluate(moved)[1]

    gradients_at(_AWAY)
    last = objective.evaluate(params)
    steady = {
        term: {name: np.ones(len(value), bool) for name, value in params.items()}
        for term in objective.terms
    }
    # Once is no proof: rounding comes in whole units, and may hit the same number again.
    for _ in range(_NEARBY_POINTS if _has_small(grads) else 1):
        moved = gradients_at(_NEARBY)
        for term, arrays in steady.items():
            for name in arrays:
                arrays[name] &= _steady(grads[term][name], moved[term][name])
    changes = [_largest_change((losses, grads), other) for other in (again, last)]
    change, name = changes[1]
    if change > tolerance:
        cause = _cause("remembers", _REMEMBERS, name, change)
        # What is random may have agreed at first; what is stale agrees from the second call on.
        calls = [objective.evaluate(params) for _ in range(_AGREE + 1)][1:]
        differences = [_largest_change(calls[0], other) for other in calls[1:]]
        if max(differences)[0] > tolerance:
            cause = _cause("random", _RANDOM, name, max(differences)[0])
        return Repeat(grads, steady, cause, ())
    notes: tuple[str, ...] = ()
    if max(changes)[0] > 0:
        notes = (
            "repeated evaluations agree to rounding only (relative difference "
            f"{max(changes)[0]:.1e}): the order of some sum is not fixed.",
        )
    return Repeat(grads, steady, None, notes)


def _cause(kind: str, text: str, name: str, change: float, how: str = "") -> Cause:
    whole = name == "the loss"
    where = name if whole else f"the gradient of {name}"
    return Cause(
        kind, () if whole else (name,), text.format(where=where, change=f"{change:.1e}", how=how), 0
    )


def _unrepeatable(calls: list[Evaluation], tolerance: float) -> Cause:
    """Say why calls in a row at the same parameters disagree: from how they do."""
    change, name = _largest_change(calls[0], calls[1])
    vectors = [
        np.concatenate([losses.ravel(), *(v.ravel() for g in grads.values() for v in g.values())])
        for losses, grads in calls
    ]
    steps = np.diff(np.nan_to_num(np.array(vectors)), axis=0)  # (3, numbers)
    first, second, third = steps
    sizes = np.linalg.norm(steps, axis=1)
    T = calls[0][0].size
    same_loss = all(
        np.abs(one[0] - calls[0][0]).max() <= tolerance * np.abs(calls[0][0]).max() for one in calls
    )

    def near(a: Array, b: Array, slack: float) -> bool:
        return bool(np.linalg.norm(a - b) <= slack * sizes[0])

    slack = 1e-3 if tolerance > 1e-6 else 1e-6
    if same_loss and near(first, second, slack) and near(first, third, slack):
        arrays = [
            key
            for grads in (calls[0][1], calls[1][1])
            for term in grads
            for key in grads[term]
            if not np.array_equal(calls[0][1][term][key], calls[1][1][term][key])
        ]
        some = list(dict.fromkeys(arrays))
        where = f"the gradient of {', '.join(some[:6])}{', ...' if len(some) > 6 else ''}"
        return Cause("accumulates", tuple(some), _ACCUMULATES.format(where=where), 0.0)
    if sizes[1] <= slack * sizes[0] and sizes[2] <= slack * sizes[0]:
        return _cause("state", _STATE, name, change, _FIRST)
    cosines = [
        float(a @ b) / (float(np.linalg.norm(a) * np.linalg.norm(b)) or 1.0)
        for a, b in ((first, second), (second, third))
    ]
    ratios = sizes[1:] / np.maximum(sizes[:-1], 1e-300)
    # In few dimensions random changes may point the same way by chance; they don't shrink evenly.
    even = abs(ratios[1] - ratios[0]) <= 0.1 * ratios[0]
    if min(cosines) > 0.9 and (even or first.size - T >= 20):
        return _cause("state", _STATE, name, change, _DRIFTS)
    return _cause("random", _RANDOM, name, change)


def _period(calls: list[Evaluation], tolerance: float) -> int | None:
    """Return after how many calls the results come again, as often as chance does not explain."""
    for period in range(2, len(calls) - _AGREE + 1):
        pairs = zip(calls, calls[period:], strict=False)
        if all(_largest_change(one, other)[0] <= tolerance for one, other in pairs):
            return period
    return None


def _steady(here: Array, nearby: Array) -> Array:
    size = np.abs(flat(here)).max(axis=1)
    change = np.abs(flat(nearby - here)).max(axis=1)
    # Rounding changes a lot, or stays to the bit.
    return np.asarray((change > 0) & (change <= 1e-4 * size))


def _has_small(grads: dict[str, Params]) -> bool:
    """Whether some gradient is so small that it might be rounding."""
    for arrays in grads.values():
        # (arrays, P)
        sizes = np.array([np.nan_to_num(np.abs(flat(one))).max(axis=1) for one in arrays.values()])
        if ((sizes > 0) & (sizes <= SMALL * sizes.max(axis=0))).any():
            return True
    return False


def _largest_change(first: Evaluation, second: Evaluation) -> tuple[float, str]:
    """Return the largest relative difference of two evaluations, and where it is."""

    def relative(a: Array, b: Array, scale: float) -> float:
        if np.array_equal(a, b, equal_nan=True):
            return 0.0
        with np.errstate(all="ignore"):
            change = float(np.nanmax(np.abs(a - b), initial=0) / scale)
        return change if change > 0 else np.inf

    (losses, grads), (losses_2, grads_2) = first, second
    changes = [(relative(losses, losses_2, np.abs(losses).max()), "the loss")]
    for term, arrays in grads.items():
        scale = max(np.nanmax(np.abs(one), initial=0) for one in arrays.values())
        changes += [(relative(arrays[k], grads_2[term][k], scale), k) for k in arrays]
    return max(changes)


def complex_unsafe(
    point: Point, nearby: Callable[[], Point], names: list[str], rng: np.random.Generator
) -> str | None:
    """Try the complex step on a direction through each array; return why it can't be used.

    ``nearby`` returns a point nearby. None: the function is complex-safe as far as can be seen.
    """
    if point.precision != np.float64:
        return f"the loss is computed in {point.precision}"
    objective = point.objective
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            losses = objective.losses(
                {name: value.astype(np.complex128) for name, value in objective.params.items()}
            )
            reason = _not_complex(losses, point, caught)
            telling = silent = 0
            for name in names if reason is None else ():
                line = Lines(name, rng.standard_normal(objective.params[name][0].size))
                # Where several kinks meet, even a safe loss may disagree; not nearby, though.
                trial = _trial(point, line)
                if not (trial.agrees and trial.telling):
                    there = _trial(nearby(), line)
                    if not (trial.agrees or there.agrees):
                        return (
                            f"the complex step disagrees with central differences along {name}: "
                            "some operation is not complex-safe (abs, maximum, var, norm and conj "
                            "lose the derivative)"
                        )
                    trial = _Attempt(
                        True, trial.telling or there.telling, trial.silent and there.silent
                    )
                telling, silent = telling + trial.telling, silent + trial.silent
            if reason is None and not telling and silent < len(names):
                reason = (
                    "the rounding of the loss is larger than what could show that it is "
                    "complex-safe"
                )
        except Exception as error:  # whatever a real-valued function does with complex numbers
            message = str(error).strip().split("\n")[0]
            if len(message) > 120:
                message = message[:117] + "..."
            reason = (
                "the function does not take complex parameters "
                f"({type(error).__name__}{': ' + message if message else ''})"
            )
    return reason


def _not_complex(losses: Array, point: Point, caught: list[warnings.WarningMessage]) -> str | None:
    for warning in caught:
        if issubclass(warning.category, np.exceptions.ComplexWarning) or (
            "discard" in str(warning.message) and "imaginary" in str(warning.message)
        ):
            return "the function casts complex values to real ones (ComplexWarning)"
    if losses.dtype.kind != "c":
        return "the loss is real for complex parameters, as after float(), abs() or .real"
    base, noise = np.abs(point.base[:, :, 0]), point.noise[:, :, 0]
    change = np.abs(losses.real - point.base[:, :, 0])
    if not (change <= 1e-10 * base + 10 * noise).all():
        return "the loss has another value in complex arithmetic"
    # Rough, and not by its size alone: where complex numbers are taken through a finer computation,
    # they tell of another function.
    rough = noise > 1e5 * point.eps * base
    if (rough & (change > 1e-11 * base)).any():
        return "the loss is computed in lower precision than complex numbers are, at least in part"
    return None


@dataclass(frozen=True)
class _Attempt:
    """What one direction says of the complex step."""

    agrees: bool
    telling: bool  # whether a lost derivative would have shown, and not drowned in rounding
    silent: bool  # whether there is no derivative at all


def _trial(point: Point, line: Lines) -> _Attempt:
    exact = point.complex_step(line)
    value, noise = point.central(line)
    size = np.maximum(np.abs(exact), np.abs(value))
    silent = bool((exact == 0).all())
    off = np.abs(exact - value)
    if (off <= 1e-6 * np.abs(value) + 4 * noise).all():
        return _Attempt(True, bool((4 * noise <= 1e-2 * size).any()), silent)
    best = point.derivative(line)
    off, size = np.abs(exact[:, :, 0] - best.value), size[:, :, 0]
    slack = 1e-6 * np.abs(best.value) + 4 * best.error
    agrees = bool((best.kink | (off <= slack)).all())
    return _Attempt(agrees, bool((4 * best.error <= 1e-2 * size).any()), silent)
