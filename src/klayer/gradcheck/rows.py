"""From the compared numbers to one row for each array and term."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from klayer.gradcheck.compare import AT_KINK, LEFT_OUT, NEARBY, PLAIN, Block
from klayer.gradcheck.names import ArrayName, order_of_layers
from klayer.gradcheck.objective import Objective
from klayer.gradcheck.result import Row
from klayer.gradcheck.safety import Repeat

__all__ = ["build_rows"]

_REPORT_EPS = float(np.finfo(np.float64).eps)


def build_rows(
    objective: Objective, repeated: Repeat, blocks: list[Block], tolerance: float
) -> tuple[tuple[Row, ...], list[str]]:
    """Return the rows, by term, from the first layer to the last; and notes about them."""
    layers, names = order_of_layers({key: value[0] for key, value in objective.params.items()})
    by_name: dict[str, list[Block]] = {}
    for block in blocks:
        by_name.setdefault(block.name, []).append(block)
    order = sorted(by_name, key=lambda name: layers.index(names[name].layer))
    rows, faint = [], []
    for t, term in enumerate(objective.terms):
        for name in order:
            row = _row(term, t, names[name], repeated.grads[term][name], by_name[name], tolerance)
            rows.append(row)
            if row.verdict == "right" and _faint(by_name[name], t):
                faint.append(name if len(objective.terms) == 1 else f"{name} ({term})")
    notes = []
    if faint:
        notes.append(
            f"too small for differences, below the rounding of the loss: {', '.join(faint)}. "
            "Only a complex step, or a point with larger gradients, would show an error there."
        )
    return tuple(rows), notes


def _row(
    term: str, t: int, parsed: ArrayName, analytic: NDArray, blocks: list[Block], tolerance: float
) -> Row:
    shape = analytic.shape[1:]
    # The entries, or else the direction alone, are what the row tells about.
    main = next((block for block in blocks if block.entries is not None), blocks[0])
    along = next((block for block in blocks if block.entries is None), None)
    a, n, plain = main.analytic[t], main.numeric[t], main.state[t] == PLAIN  # (P, m)
    errors = [block.scaled_error(tolerance)[t] for block in blocks]
    failing = sum(int((error > tolerance).sum()) for error in errors)
    zero = bool(main.zero[t].all())
    if (main.state[t] == LEFT_OUT).all():
        verdict = "undecided"
    elif failing:
        verdict = "wrong"
    else:
        verdict = "zero" if zero else "right"
    error = main.scaled_error(tolerance)[t]
    p, i = np.unravel_index(int(np.argmax(error)), error.shape)
    with np.errstate(invalid="ignore"):
        size = np.where(plain, np.maximum(np.abs(a), np.abs(n)), 0)

    def count(state: int) -> int:
        return sum(int((block.state[t] == state).sum()) for block in blocks)

    return Row(
        term=term,
        name=parsed.name,
        layer=parsed.layer,
        kind=parsed.kind,
        shape=tuple(int(one) for one in shape),
        size=int(analytic.size),
        checked=int(plain.sum()) if main.entries is not None else 0,
        scaled_error=max(float(one.max()) for one in errors),
        norm_error=_norm_error(a, n, plain, main.zero[t]),
        report_error=_report_error(a, n, plain),
        worst=_where(main, shape, int(p), int(i)),
        analytic=float(a[p, i]),
        numeric=float(n[p, i]),
        failing=failing,
        one_sided=count(AT_KINK),
        nearby=count(NEARBY),
        left_out=count(LEFT_OUT),
        direction_error=None if along is None else float(along.scaled_error(tolerance)[t].max()),
        magnitude=float(size.max()),
        verdict=verdict,
    )


def _where(block: Block, shape: tuple[int, ...], p: int, i: int) -> tuple[int, ...] | None:
    if block.entries is None:
        return None
    index = np.unravel_index(int(block.entries[i]), shape) if shape else ()
    network = (p,) if block.analytic.shape[1] > 1 else ()
    return tuple(int(one) for one in (*network, *index))


def _norm_error(a: NDArray, n: NDArray, plain: NDArray, zero: NDArray) -> float | None:
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


def _report_error(a: NDArray, n: NDArray, plain: NDArray) -> float:
    with np.errstate(invalid="ignore"):
        terms = np.abs(a - n) / np.maximum(np.abs(a) + np.abs(n), _REPORT_EPS)
    terms = np.where(plain, np.where(np.isnan(terms), np.inf, terms), 0.0)
    return float(terms.sum(axis=1).max())


def _faint(blocks: list[Block], t: int) -> bool:
    """Whether both sides drown in the rounding of a difference quotient."""
    for block in blocks:
        noise = block.noise[t].max(axis=1)  # (P,)
        size = np.maximum(np.abs(block.analytic[t]), np.abs(block.numeric[t])).max(axis=1)
        if (size > 10 * noise).any() or not noise.any():
            return False
    return True
