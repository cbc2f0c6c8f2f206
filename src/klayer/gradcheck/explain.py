"""From a wrong verdict to its explanation: origin, causes, the curve of error against step."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from klayer.gradcheck.causes import find_causes
from klayer.gradcheck.compare import PLAIN, Block
from klayer.gradcheck.differences import Line, Lines
from klayer.gradcheck.names import order_of_layers
from klayer.gradcheck.objective import Objective
from klayer.gradcheck.repairs import Evidence
from klayer.gradcheck.result import Check, CurvePoint

__all__ = ["explain"]


def explain(
    check: Check, objective: Objective, repeated, blocks, lines, samples, l2, references
) -> Check:
    """Return the check with origin, causes and curve, of the first term that is wrong.

    Parameters
    ----------
    check : Check
        With the verdict "wrong".
    repeated : Repeat
    blocks : list of Block
    lines : Lines
    samples : int or None
    l2 : array, shape (P,), or None
    references : dict of term -> list of Reference, one for each network
    """
    wrong_rows = [row for row in check.rows if row.verdict == "wrong"]
    term = wrong_rows[0].term
    t = list(objective.terms).index(term)
    wrong = [row.name for row in wrong_rows if row.term == term]
    # An array that is structurally zero is silent about what arrived at its layer; in the penalty,
    # where nothing travels from layer to layer, zero is what biases should have.
    silent = () if term in objective.derived else ("zero",)
    right = [
        row.name
        for row in check.rows
        if row.term == term and row.verdict not in ("wrong", "undecided", *silent)
    ]
    worst = max((row for row in wrong_rows if row.term == term), key=lambda row: row.scaled_error)
    errors = [block.scaled_error(check.tolerance)[t].max(axis=1) for block in blocks]
    p = int(np.argmax(np.max(errors, axis=0)))
    layers, names = order_of_layers({name: value[0] for name, value in objective.params.items()})
    numeric, failing = {}, {}
    for name, value in objective.params.items():
        numeric[name] = np.full(value.shape[1:], np.nan)
        failing[name] = np.zeros(value.shape[1:], bool)
    for block in blocks:
        if block.entries is not None:
            kept = np.where(block.state[t, p] == PLAIN, block.numeric[t, p], np.nan)
            numeric[block.name].reshape(-1)[block.entries] = kept
            bad = block.scaled_error(check.tolerance)[t, p] > check.tolerance
            failing[block.name].reshape(-1)[block.entries] = bad
    evidence = Evidence(
        names=names,
        analytic={name: value[p] for name, value in repeated.grads[term].items()},
        numeric=numeric,
        params={name: value[p] for name, value in objective.params.items()},
        failing=failing,
        samples=samples,
        l2=None if l2 is None else float(l2[p]),
    )
    reference, notes = _usable(references.get(term), evidence, lines, t, p)
    origin, causes = find_causes(evidence, layers, wrong, right, reference)
    if term != "cost":
        causes = tuple(replace(one, text=f"in the {term} term: {one.text}") for one in causes)
    return replace(
        check,
        origin=origin,
        causes=causes,
        curve=_curve(lines, worst, blocks, t, p),
        notes=(*check.notes, *notes),
    )


def _usable(references, evidence: Evidence, lines: Lines, t: int, p: int):
    """Return the reference if the cost is really the one it stands for."""
    if references is None:
        return None, []
    reference = references[p]
    if not reference.fits(evidence.params):
        shapes = ", ".join(f"{key} {shape}" for key, shape in reference.network.shapes().items())
        return None, [f"the reference was not used: its parameters would be {shapes}."]
    loss, penalty, _ = reference.network.loss_and_grads(
        {name: value[None] for name, value in evidence.params.items()},
        np.asarray(reference.x, np.float64),
        reference.labels,
        reference.l2,
    )
    ours, theirs = float((loss + penalty)[0]), float(lines.base[t, p])
    if abs(ours - theirs) > 1e-8 * max(abs(ours), abs(theirs)):
        return None, [
            f"the reference was not used: its cost is {ours:.10g}, the function's {theirs:.10g}."
        ]
    return reference, []


def _curve(lines: Lines, worst, blocks: list[Block], t: int, p: int) -> tuple[CurvePoint, ...]:
    if worst.worst is None or not math.isfinite(worst.analytic):
        return ()
    P = len(lines.objective.params[worst.name])
    index = worst.worst[1:] if P > 1 else worst.worst
    shape = worst.shape
    entry = int(np.ravel_multi_index(index, shape)) if shape else 0
    floor = next(float(one.floor[t, p, 0]) for one in blocks if one.name == worst.name)
    points = []
    for step, values in lines.curve(Line(worst.name, entry)):
        numeric = float(values[t, p])
        if math.isfinite(numeric):
            scale = max(abs(numeric), abs(worst.analytic), floor)
            points.append(CurvePoint(step, numeric, abs(numeric - worst.analytic) / scale))
    return tuple(points)
