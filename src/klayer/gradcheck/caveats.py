"""What a check covered, what it could not decide, and what this loss and this point hide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from klayer.errors import KlayerError
from klayer.gradcheck.array_names import listed
from klayer.gradcheck.comparison import ArrayComparison
from klayer.gradcheck.differences import Point
from klayer.gradcheck.objective import Objective
from klayer.gradcheck.one_point import AtPoint, nothing_compared, nothing_depends
from klayer.gradcheck.result import Row

__all__ = ["coverage", "near_kinks", "notes_on", "undecided"]


def coverage(comparisons: list[ArrayComparison], objective: Objective, names: list[str]) -> str:
    """Say which entries were compared."""
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


def undecided(rows: Sequence[Row], places: list[AtPoint]) -> Iterator[str]:
    """Say why something is not decided, and what would help."""
    if nothing_depends(places):
        yield (
            "the loss depends on none of the arrays here, and every gradient is zero: that proves "
            "nothing. Check at other parameters."
        )
    if nothing_compared(places) and {row.verdict for row in rows} == {"right"}:
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


def notes_on(
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


def near_kinks(
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
