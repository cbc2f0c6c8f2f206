"""Why a gradient is wrong: where the error enters, the likely causes, the curve over the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from klayer.gradcheck.array_mistakes import Evidence, Repair, best_repair
from klayer.gradcheck.array_names import ArrayName, listed, order_of_layers
from klayer.gradcheck.comparison import PLAIN, ArrayComparison
from klayer.gradcheck.differences import Lines, Point
from klayer.gradcheck.known_mistakes import find_known
from klayer.gradcheck.layouts import layouts
from klayer.gradcheck.locate import locate
from klayer.gradcheck.objective import Array, Params
from klayer.gradcheck.reference import Reference
from klayer.gradcheck.result import Cause, Check, CurvePoint

__all__ = ["explain"]

_SMALL = 1e-4  # scaled errors below are hardly of a missing term


def explain(
    check: Check,
    point: Point,
    grads: dict[str, Params],
    comparisons: list[ArrayComparison],
    samples: int | None,
    l2: Array | None,
    references: Mapping[str, Sequence[Reference]],
) -> Check:
    """Return a check that found a mistake with origin, causes and curve, of the first wrong term.

    ``grads`` are the analytic gradients by term, ``l2`` has shape (P,), and ``references`` gives,
    for a term, one for each network.
    """
    term = check.worst_row.term
    t = list(grads).index(term)
    errors = [one.scaled_error(check.tolerance)[t] for one in comparisons]  # (P, m)
    p = int(np.argmax(np.max([error.max(axis=1) for error in errors], axis=0)))
    params = {name: value[p] for name, value in point.objective.params.items()}
    layers, names = order_of_layers(params)
    evidence = Evidence(
        names=names,
        analytic={name: value[p] for name, value in grads[term].items()},
        numeric={name: np.full(value.shape, np.nan) for name, value in params.items()},
        params=params,
        failing={name: np.zeros(value.shape, bool) for name, value in params.items()},
        samples=samples,
        l2=None if l2 is None else float(l2[p]),
        outputs=_outputs(layers, names, params),
        noise={name: np.zeros(value.shape) for name, value in params.items()},
    )
    for one, error in zip(comparisons, errors, strict=True):
        kept = np.where(one.state[t, p] == PLAIN, one.numeric[t, p], np.nan)
        if not one.lines.is_direction:
            name, entries = one.lines.name, one.lines.along
            evidence.numeric[name].reshape(-1)[entries] = kept
            evidence.failing[name].reshape(-1)[entries] = error[p] > check.tolerance
            evidence.noise[name].reshape(-1)[entries] = one.noise[t, p]

    verdicts = {row.name: row.verdict for row in check.rows if row.term == term}
    wrong = [name for name, verdict in verdicts.items() if verdict == "wrong"]
    # An array that is structurally zero is silent about what arrived at its layer; in the penalty,
    # where nothing travels from layer to layer, zero is what biases should have.
    speaking = ("right", "zero") if term in point.objective.derived else ("right",)
    right = {name for name, verdict in verdicts.items() if verdict in speaking}
    unknown = {name for name, verdict in verdicts.items() if verdict == "undecided"}
    origin, place = locate(layers, names, set(wrong), right, unknown)
    causes = _shared({name: best_repair(evidence, name) for name in wrong})
    notes = check.notes
    if term in references:
        cost, noise = (float(one[t, p, 0]) for one in (point.base, point.noise))
        replayed, reason = _replayed(references[term][p], params, evidence.analytic, cost, noise)
        causes += replayed
        if reason:
            notes = (*notes, f"the reference was not used: {reason}.")
    explained = {name for cause in causes if cause.remainder <= 1e-3 for name in cause.arrays}
    # Arrays that are wrong only because of what arrived there need no cause of their own; a cause
    # that touches none of the origin is a coincidence.
    causes = [cause for cause in causes if set(cause.arrays) & set(origin)]
    causes.sort(key=lambda cause: (cause.remainder > 1e-3, -len(set(cause.arrays) & set(wrong))))
    if not set(wrong) <= explained or not causes:
        if (most := check.worst_row.scaled_error) < _SMALL:
            place += (
                f" The errors are small, {most:.1e} of an entry at most: does the loss have an epsilon "
                "that the gradient leaves out, as in log(p + 1e-8), or is a constant rounded?"
            )
        causes.append(Cause("place", origin, place, 1.0))
    if term != "cost":
        causes = [replace(one, text=f"in the {term} term: {one.text}") for one in causes]
    curve = _curve(check, point, comparisons, t, p)
    return replace(check, origin=origin, causes=tuple(causes), curve=curve, notes=notes)


def _shared(repairs: dict[str, Repair | None]) -> list[Cause]:
    """One cause for the arrays that share a repair."""
    groups: dict[tuple[str, str], list[tuple[str, Repair]]] = {}
    for name, repair in repairs.items():
        if repair is not None:
            shared = name if repair.shared is None else f" {repair.shared}"
            groups.setdefault((repair.kind, shared), []).append((name, repair))
    causes = []
    for (kind, _), group in groups.items():
        names = [name for name, _ in group]
        text = group[0][1].text
        if kind == "swapped" and len(names) == 2:
            text = "the gradients of {arrays} are swapped."
        remainder = max(repair.remainder for _, repair in group)
        causes.append(Cause(kind, tuple(names), text.replace("{arrays}", listed(names)), remainder))
    return causes


def _outputs(layers: list[str], names: dict[str, ArrayName], params: Params) -> int | None:
    """Return the number of outputs, by the arrays of the last layer."""
    last = {
        names[key].kind: value for key, value in params.items() if names[key].layer == layers[-1]
    }
    if "b" in last:
        return int(last["b"].size)
    return int(last["W"].shape[-1]) if "W" in last and last["W"].ndim == 2 else None


def _replayed(
    reference: Reference, params: Params, analytic: Params, cost: float, noise: float
) -> tuple[list[Cause], str]:
    """Return the known mistakes that give the gradient; or why the reference can't tell."""
    costs = []
    for layout in layouts(reference.network, params):
        own = reference.cost(layout.aligned(params))
        if abs(own - cost) <= max(1e-8 * max(abs(own), abs(cost)), 2 * noise):
            found = find_known(reference, layout.aligned(params), layout.aligned(analytic))
            theirs = layout.names
            return [
                replace(one, arrays=tuple(theirs[name] for name in one.arrays)) for one in found
            ], ""
        costs.append(f"{own:.10g}")
    if costs:
        return [], f"its cost is {' or '.join(costs)}, the function's {cost:.10g}"
    shapes = ", ".join(f"{key} {shape}" for key, shape in reference.network.shapes().items())
    return [], f"its parameters would be {shapes}"


def _curve(
    check: Check, point: Point, comparisons: list[ArrayComparison], t: int, p: int
) -> tuple[CurvePoint, ...]:
    row = check.worst_row
    if row.worst is None or not math.isfinite(row.analytic):
        return ()
    index = row.worst[1:] if check.networks > 1 else row.worst
    entry = int(np.ravel_multi_index(index, row.shape)) if row.shape else 0
    floor = next(float(one.floor[t, p, 0]) for one in comparisons if one.lines.name == row.name)
    points = []
    for step, values in point.curve(Lines(row.name, np.array([entry]))):
        numeric = float(values[t, p, 0])
        if math.isfinite(numeric):
            scale = max(abs(numeric), abs(row.analytic), floor)
            points.append(CurvePoint(step, numeric, abs(numeric - row.analytic) / scale))
    return tuple(points)
