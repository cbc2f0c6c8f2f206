"""Likely causes in plain words, from the repairs, the replays and the place."""

from __future__ import annotations

import numpy as np

from klayer.gradcheck.place import locate
from klayer.gradcheck.repairs import Evidence, Repair, best_repair
from klayer.gradcheck.replay import Reference, replay
from klayer.gradcheck.result import Cause

__all__ = ["find_causes"]


def find_causes(
    evidence: Evidence,
    layers: list[str],
    wrong: list[str],
    right: list[str],
    reference: Reference | None = None,
) -> tuple[tuple[str, ...], tuple[Cause, ...]]:
    """Explain a wrong gradient.

    Parameters
    ----------
    evidence : Evidence
        The numbers, of one network and one term.
    layers : list of str
        From input to output.
    wrong, right : list of str
        The arrays' verdicts.
    reference : Reference, optional
        The network that the cost is known to be, if it is known.

    Returns
    -------
    origin : tuple of str
        Where the error enters.
    causes : tuple of Cause
        The likeliest first.
    """
    origin, place = locate(layers, evidence.names, set(wrong), set(right))
    repairs = {name: best_repair(evidence, name) for name in wrong}
    causes = _gather(evidence, {name: one for name, one in repairs.items() if one is not None})
    if reference is not None:
        causes += replay(reference, evidence.params, evidence.analytic)
    explained = {name for cause in causes if cause.remainder <= 1e-3 for name in cause.arrays}
    # Arrays that are wrong only because of what arrived there need no cause of their own; a cause
    # that touches none of the origin is a coincidence.
    causes = [cause for cause in causes if set(cause.arrays) & set(origin)]
    causes.sort(key=lambda cause: (cause.remainder > 1e-3, -len(set(cause.arrays) & set(wrong))))
    if not set(wrong) <= explained or not causes:
        causes.append(Cause("place", origin, place, 1.0))
    return origin, tuple(causes)


def _gather(evidence: Evidence, repairs: dict[str, Repair]) -> list[Cause]:
    """One cause for the arrays that share a repair."""
    groups: dict[tuple, list[str]] = {}
    for name, repair in repairs.items():
        constants = repair.constants
        if repair.kind == "factor":
            key = (repair.kind, f"{constants[0]:.4g}")
        elif repair.kind == "factor-but-penalty":
            key = (repair.kind, f"{constants[0]:.3g}")
        elif repair.kind == "penalty":
            key = (repair.kind, f"{constants[0]:.2g}")
        elif repair.kind == "swapped":
            key = (repair.kind, frozenset({name, repair.other}))
        elif repair.kind in ("zero", "rounded", "unsampled", "penalty-l1", "absolute", "clipped"):
            key = (repair.kind,)
        else:
            key = (repair.kind, name)
        groups.setdefault(key, []).append(name)
    causes = []
    for names in groups.values():
        found = [repairs[name] for name in names]
        kind, text = _say(evidence, names, found[0])
        causes.append(Cause(kind, tuple(names), text, max(one.remainder for one in found)))
    return causes


def _say(evidence: Evidence, names: list[str], repair: Repair) -> tuple[str, str]:
    them, name, c = _list(names), names[0], repair.constants
    match repair.kind:
        case "not-finite":
            value = (
                evidence.analytic[name][tuple(map(int, repair.other[1:-1].split(", ")))]
                if (repair.other != "[]")
                else evidence.analytic[name][()]
            )
            return "not-finite", f"the gradient of {name} is {value} at {repair.other}."
        case "zero":
            return "zero", f"the gradient of {them} is missing: every entry is 0."
        case "swapped" if len(names) == 2:
            return "swapped", f"the gradients of {them} are swapped."
        case "swapped":
            return "swapped", f"the gradient of {name} is found under {repair.other}."
        case "copied":
            return "copied", f"the gradient of {name} is that of {repair.other}."
        case "transposed":
            return "transposed", f"the gradient of {name} is transposed."
        case "shifted" | "reversed":
            word = "shifted" if repair.kind == "shifted" else "in reverse order"
            return repair.kind, f"the gradient of {name} is {word} {repair.other}."
        case "reshaped":
            return "reshaped", (
                f"the gradient of {name} was reshaped in the other memory order (rows against "
                "columns)."
            )
        case "absolute":
            return "absolute", f"the gradient of {them} has lost its signs."
        case "clipped":
            return "clipped", f"the gradient of {them} is clipped at {c[0]:.6g}."
        case "factor":
            return "factor", f"the gradient of {them} is {_factor(c[0], evidence.samples)}."
        case "factor-but-penalty":
            return "factor-data", (
                f"the data part of the gradient of {them} is {_factor(c[0], evidence.samples)}; "
                "its L2 part is right."
            )
        case "penalty":
            return _penalty(evidence, names, c[0])
        case "penalty-l1":
            return "l2-sign", (
                f"the penalty in the gradient of {them} goes with sign(W) (an L1 penalty) where "
                "the "
                "cost has another."
            )
        case "penalty-of":
            return "l2-other", f"the L2 term in the gradient of {name} uses {repair.other}."
        case "offset":
            return "offset", f"every entry of the gradient of {name} is off by the same {c[0]:.6g}."
        case "entry":
            return (
                "entry",
                f"one single entry of the gradient of {name} is wrong: {name}{repair.other}.",
            )
        case "lines":
            return "lines", f"only {repair.other} of the gradient of {name} wrong."
        case "partly-zero":
            return "partly-zero", (
                f"the gradient of {name} is 0 in {repair.other} entries where it shouldn't be: "
                "a loop or a slice that stops early?"
            )
        case "unsampled":
            return "unsampled", (
                f"the sampled entries of {them} are right, the direction through all of them is "
                "not: the error is in entries that weren't sampled. Check more entries."
            )
        case "rounded":
            return "rounded", f"the gradient of {them} was rounded to float32 on the way."
        case _:
            return "few", f"only {repair.other} entries of the gradient of {name} are wrong."


def _factor(c: float, samples: int | None) -> str:
    def near(value: float) -> bool:
        return abs(c - value) <= 1e-3 * abs(value) and abs(c - value) <= 0.2 * abs(c - 1)

    if near(-1):
        return "the negative of what it should be: a sign is wrong"
    if samples and samples > 2 and near(samples):
        return f"{samples} times too large: the division by n = {samples} is missing (1/n)"
    if samples and samples > 2 and near(1 / samples):
        return f"{samples} times too small: it is divided by n = {samples} twice"
    if samples and samples > 1 and near(samples / (samples - 1)):
        return f"n / (n - 1) times too large (n = {samples}): n - 1 stands for n"
    if near(2):
        return "twice what it should be: a factor 2 too many, or something is added twice"
    if near(0.5):
        return "half of what it should be: a factor 2 is missing"
    whole = round(abs(c) if abs(c) >= 1 else 1 / abs(c))
    if whole > 2 and near(float(np.copysign(whole if abs(c) >= 1 else 1 / whole, c))):
        side = "large: if that is the number of samples, the division by n is missing"
        if abs(c) < 1:
            side = "small: if that is the number of samples, it is divided by n twice"
        sign = " and has the wrong sign" if c < 0 else ""
        return f"{whole} times too {side}{sign}"
    return f"{c:.8g} times what it should be, in every entry"


def _penalty(evidence: Evidence, names: list[str], d: float) -> tuple[str, str]:
    """Words for ``numeric - analytic = d * params``."""
    them = _list(names)
    kinds = {evidence.names[name].kind for name in names}
    l2, n = evidence.l2, evidence.samples
    if "W" not in kinds and d < 0:
        return "l2-extra", (
            f"the gradient of {them} has an L2 term ({-d:.4g} times the parameter) that the cost "
            "does not have: biases, gamma and beta are not penalised."
        )
    if not l2:
        text = f"the gradient of {them} differs by {d:.6g} times the parameter: "
        if d > 0:
            return "l2", text + (
                f"the L2 term is missing if lambda = {d / 2:.4g}, or lacks its factor 2 if "
                f"lambda = {d:.4g}."
            )
        return "l2", text + "an L2 term too large, or one that the cost does not have."
    ratio = d / (2 * l2)  # missing part of the term, as a fraction

    def near(value: float) -> bool:
        return abs(ratio - value) <= 0.02 * abs(value)

    what = f"in the L2 gradient of {them}"
    if near(1):
        return "l2-missing", f"the L2 gradient of {them} is missing (2 lambda W)."
    if near(0.5):
        return "l2-half", f"missing factor 2 {what}: lambda W stands for 2 lambda W."
    if near(-1):
        return "l2-double", f"factor 2 too many {what}: 4 lambda W stands for 2 lambda W."
    if near(2):
        return "l2-sign", f"wrong sign {what}."
    if n and n > 1 and near(1 - 1 / n):
        return "l2-over-n", f"division by n = {n} {what}: the cost doesn't divide the penalty."
    if n and n > 1 and near(1 - 1 / (2 * n)):
        return "l2-over-n", f"lambda / n * W {what}: the cost has lambda ||W||^2, undivided."
    if n and near(1 - n):
        return "l2-times-n", f"multiplication by n = {n} {what}."
    return "l2-factor", f"wrong factor {what}: it is {1 - ratio:.6g} times 2 lambda W."


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
