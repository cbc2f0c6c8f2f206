"""Known mistakes in one array's gradient: how it would have to be mended, tried on the numbers.

A hypothesis says how the analytic values would have to be mended: halve them, transpose them, add
2 lambda W. It counts only if the mended values agree with the numeric ones, at the entries that
were wrong and at those that were right. Constants are fitted; a fit with too few numbers is no
evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from klayer.gradcheck.array_names import ArrayName
from klayer.gradcheck.objective import Array

__all__ = ["FACTORS", "PENALTIES", "Evidence", "Repair", "best_repair"]

_REMAINDER = 0.02  # of the error may be left by a repair that counts
_TRIM = 0.1  # of the entries may be off for another reason: a kink crossed by a difference

_Times = Callable[[float], float]

# For batches of at least so many samples: so many times too large -> what is said of that.
FACTORS: tuple[tuple[int, _Times, str], ...] = (
    (0, lambda _: -1, "the negative of what it should be: a sign is wrong"),
    (3, lambda n: n, "{n} times too large: the division by n = {n} is missing (1/n)"),
    (3, lambda n: 1 / n, "{n} times too small: it is divided by n = {n} twice"),
    (2, lambda n: n / (n - 1), "n / (n - 1) times too large (n = {n}): n - 1 stands for n"),
    (0, lambda _: 2, "twice what it should be: a factor 2 too many, or something is added twice"),
    (0, lambda _: 0.5, "half of what it should be: a factor 2 is missing"),
)

# The same for an L2 gradient of so many times 2 lambda W -> kind, and what is said of the arrays.
_THE, _IN = "the gradient of {arrays}", "in the L2 gradient of {arrays}"
PENALTIES: tuple[tuple[int, _Times, str, str], ...] = (
    (0, lambda _: 0, "l2-missing", "the L2 gradient of {arrays} is missing (2 lambda W)."),
    (0, lambda _: 0.5, "l2-half",
     f"missing factor 2 {_IN}: lambda W stands for 2 lambda W."),
    (0, lambda _: 2, "l2-double",
     f"factor 2 too many {_IN}: 4 lambda W stands for 2 lambda W."),
    (0, lambda _: -1, "l2-sign", f"wrong sign {_IN}."),
    (2, lambda n: 1 / n, "l2-over-n",
     f"division by n = {{n}} {_IN}: the cost doesn't divide the penalty."),
    (2, lambda n: 1 / (2 * n), "l2-over-n",
     f"lambda / n * W {_IN}: the cost has lambda ||W||^2, undivided."),
    (2, lambda n: n, "l2-times-n", f"multiplication by n = {{n}} {_IN}."),
)  # fmt: skip


@dataclass
class Evidence:
    """The numbers of one network and one term of the cost, by the name of the array."""

    names: dict[str, ArrayName]
    analytic: dict[str, Array]
    numeric: dict[str, Array]  # NaN where not compared
    params: dict[str, Array]
    failing: dict[str, Array]  # bool
    samples: int | None = None  # size of the batch, if known
    l2: float | None = None  # the penalty's strength, if known


@dataclass(frozen=True)
class Repair:
    """A repair that agrees with the numbers."""

    kind: str  # of the cause
    text: str  # what is said of the arrays, with {arrays} in their place
    shared: str | None = None  # arrays with this and the kind in common have one cause; None: alone
    remainder: float = 0.0  # how much of the error it leaves


# A mended gradient, how many constants were fitted for it, and what it says.
_Hypothesis = tuple[Array, int, Repair]


def best_repair(evidence: Evidence, name: str) -> Repair | None:
    """Return the repair of array ``name`` that leaves least, if any leaves next to nothing.

    Examples
    --------
    >>> numeric = {"W1": np.arange(1.0, 7).reshape(2, 3)}
    >>> evidence = Evidence({"W1": ArrayName("W1", "1", "W")}, {"W1": 2 * numeric["W1"]}, numeric,
    ...                     {"W1": np.ones((2, 3))}, {"W1": np.ones((2, 3), bool)})
    >>> repair = best_repair(evidence, "W1")
    >>> repair.kind, repair.text[:55]
    ('factor', 'the gradient of {arrays} is twice what it should be: a ')
    """
    a, n = evidence.analytic[name], evidence.numeric[name]
    failing = evidence.failing[name]
    if not np.isfinite(a).all():
        first = np.argwhere(~np.isfinite(a))[0]
        return Repair("not-finite", f"{_THE} is {a[tuple(first)]} at {_index(first)}.")
    if not failing.any():
        text = (  # wrong along a direction only
            "the sampled entries of {arrays} are right, the direction through all of them is not: "
            "the error is in entries that weren't sampled. Check more entries."
        )
        return Repair("unsampled", text, "") if np.isfinite(n).any() else None
    if not a.any():
        return Repair("zero", f"{_THE} is missing: every entry is 0.", "")
    before = _trimmed_norm((a - n)[failing])
    best, best_rank = None, np.inf
    for mended, fitted, repair in _hypotheses(evidence, name):
        if failing.sum() < fitted + 2:
            continue
        left = mended - n
        remainder = max(_trimmed_norm(left[np.isfinite(n)]), _trimmed_norm(left[failing])) / before
        # Each constant costs a factor 10: a simpler story with the same end is the better one.
        rank = max(remainder, 1e-12) * 10**fitted
        if remainder <= _REMAINDER and rank < best_rank:
            best, best_rank = replace(repair, remainder=remainder), rank
    if best is not None:
        return best
    for other, numeric in evidence.numeric.items():  # whose gradient is it?
        known = np.isfinite(numeric)
        if other != name and numeric.shape == a.shape and known.sum() > 1:
            remainder = _trimmed_norm((a - numeric)[known]) / before
            if remainder <= _REMAINDER:
                return Repair("copied", f"{_THE} is that of {other}.", remainder=remainder)
    return _pattern(a, n, failing)


def _hypotheses(evidence: Evidence, name: str) -> Iterator[_Hypothesis]:
    a, n = evidence.analytic[name], evidence.numeric[name]
    at = evidence.failing[name]
    for other, value in evidence.analytic.items():
        if other == name or value.shape != a.shape or not np.isfinite(value).all():
            continue
        if np.abs(value - a).max() > 0:
            text = f"{_THE} is found under {other}."
            yield value, 0, Repair("swapped", text, " ".join(sorted((name, other))))
    yield from _rearranged(a)
    if (a >= 0).all() and (n[at] < 0).any():
        signed = np.where(np.isfinite(n), np.copysign(a, n), a)
        yield signed, 0, Repair("absolute", f"{_THE} has lost its signs.", "")
    limit = np.abs(a).max()
    if (np.abs(a) == limit).sum() > 1:
        clipped = np.where((np.abs(a) == limit) & (np.abs(n) > limit) & (a * n > 0), n, a)
        yield clipped, 1, Repair("clipped", f"{_THE} is clipped at {limit:.6g}.", "")
    (r,) = _fit(n, [a], at)
    if abs(r) > 1e-300:
        text = f"{_THE} is {_factor(1 / r, evidence.samples)}."
        yield r * a, 1, Repair("factor", text, f"{1 / r:.4g}")
    if np.ptp(evidence.params[name]):
        yield from _penalised(evidence, name)
    if a.size > 1:
        (c,) = _fit(n - a, [np.ones_like(a)], at)
        text = f"every entry of {_THE} is off by the same {-c:.6g}."
        yield a + c, 1, Repair("offset", text)


def _rearranged(a: Array) -> Iterator[_Hypothesis]:
    """Yield the array with its entries in other places."""
    if a.ndim == 2 and a.shape[0] == a.shape[1] and a.shape[0] > 1:
        yield a.T, 0, Repair("transposed", f"{_THE} is transposed.")
    for axis in range(a.ndim):
        if a.shape[axis] > 2:
            for shift in (1, -1):
                text = f"{_THE} is shifted by {-shift} along axis {axis}."
                yield np.roll(a, shift, axis), 0, Repair("shifted", text)
        if a.shape[axis] > 1:
            text = f"{_THE} is in reverse order along axis {axis}."
            yield np.flip(a, axis), 0, Repair("reversed", text)
    if a.ndim == 2 and min(a.shape) > 1:
        text = f"{_THE} was reshaped in the other memory order (rows against columns)."
        for other in (a.ravel(order="F").reshape(a.shape), a.ravel().reshape(a.shape, order="F")):
            yield other, 0, Repair("reshaped", text)


def _penalised(evidence: Evidence, name: str) -> Iterator[_Hypothesis]:
    """Yield the array with another penalty's gradient in it."""
    a, n, theta = (one[name] for one in (evidence.analytic, evidence.numeric, evidence.params))
    at = evidence.failing[name]
    (d,) = _fit(n - a, [theta], at)
    yield a + d * theta, 1, _penalty(evidence, name, d)
    r, d = _fit(n, [a, theta], at)
    if abs(r) > 1e-300:
        factor = _factor(1 / r, evidence.samples)
        text = f"the data part of {_THE} is {factor}; its L2 part is right."
        yield r * a + d * theta, 2, Repair("factor-data", text, f"{1 / r:.3g}")
    s, d = _fit(n - a, [np.sign(theta), theta], at)
    text = f"the penalty in {_THE} goes with sign(W) (an L1 penalty) where the cost has another."
    yield a + s * np.sign(theta) + d * theta, 2, Repair("l2-sign", text, "L1")
    for other, value in evidence.params.items():
        if other != name and value.shape == a.shape:
            (d,) = _fit(n - a, [theta - value], at)
            text = f"the L2 term in {_THE} uses {other}."
            yield a + d * (theta - value), 1, Repair("l2-other", text)


def _factor(c: float, samples: int | None) -> str:
    """Words for a gradient that is c times what it should be."""

    def near(value: float) -> bool:
        return abs(c - value) <= 1e-3 * abs(value) and abs(c - value) <= 0.2 * abs(c - 1)

    n = samples or 0
    for least, times, text in FACTORS:
        if n >= least and near(times(n)):
            return text.format(n=n)
    whole = round(abs(c) if abs(c) >= 1 else 1 / abs(c))
    if whole > 2 and near(float(np.copysign(whole if abs(c) >= 1 else 1 / whole, c))):
        side = "large: if that is the number of samples, the division by n is missing"
        if abs(c) < 1:
            side = "small: if that is the number of samples, it is divided by n twice"
        sign = " and has the wrong sign" if c < 0 else ""
        return f"{whole} times too {side}{sign}"
    return f"{c:.8g} times what it should be, in every entry"


def _penalty(evidence: Evidence, name: str, d: float) -> Repair:
    """Words for ``numeric - analytic = d * params``."""
    shared, l2, n = f"{d:.2g}", evidence.l2, evidence.samples or 0
    if evidence.names[name].kind != "W" and d < 0:
        text = (
            f"{_THE} has an L2 term ({-d:.4g} times the parameter) that the cost does not have: "
            "biases, gamma and beta are not penalised."
        )
        return Repair("l2-extra", text, shared)
    if not l2:
        text = "an L2 term too large, or one that the cost does not have"
        if d > 0:
            text = f"the L2 term is missing if lambda = {d / 2:.4g}, or lacks its factor 2 if "
            text += f"lambda = {d:.4g}"
        return Repair("l2", f"{_THE} differs by {d:.6g} times the parameter: {text}.", shared)
    missing = d / (2 * l2)  # part of the term, as a fraction
    for least, times, kind, text in PENALTIES:
        if n >= least and abs(missing - (1 - times(n))) <= 0.02 * abs(1 - times(n)):
            return Repair(kind, text.replace("{n}", str(n)), shared)
    text = f"wrong factor {_IN}: it is {1 - missing:.6g} times 2 lambda W."
    return Repair("l2-factor", text, shared)


def _fit(target: Array, columns: list[Array], at: Array) -> list[float]:
    """Least squares on the failing entries, then again without the worst tenth."""
    y = target[at]
    X = np.stack([column[at] for column in columns], axis=1)
    keep = np.ones(len(y), bool)
    solution = np.zeros(len(columns))
    for _ in range(3):
        size = np.linalg.norm(X[keep], axis=0)
        if not (size > 0).all():
            return [0.0] * len(columns)
        solution = np.linalg.lstsq(X[keep] / size, y[keep], rcond=1e-10)[0] / size
        left = np.abs(y - X @ solution)
        keep = left <= np.quantile(left, 1 - _TRIM)
    return [float(one) for one in solution]


def _trimmed_norm(error: Array) -> float:
    size = np.sort(np.abs(error).ravel())
    return float(np.linalg.norm(size[: max(1, int(np.ceil((1 - _TRIM) * size.size)))])) or 1e-300


def _pattern(a: Array, n: Array, failing: Array) -> Repair | None:
    """Say where in the array the wrong entries are, if that is telling."""
    checked = np.isfinite(n)
    count, of = int(failing.sum()), int(checked.sum())
    if count == 1 and of > 1:
        where = _index(np.argwhere(failing)[0])
        return Repair("entry", f"one single entry of {_THE} is wrong: {{arrays}}{where}.")
    if a.dtype == np.float64 and np.array_equal(a.astype(np.float32), a):
        error = np.abs(a - n)[failing]
        if (error <= 1e-5 * np.abs(n).max(initial=0, where=checked)).all():
            return Repair("rounded", f"{_THE} was rounded to float32 on the way.", "")
    for axis, word in ((1, "row"), (0, "column")) if a.ndim == 2 else ():
        lines = failing.any(axis=axis)
        among = checked.any(axis=axis)
        if 0 < lines.sum() <= max(1, among.sum() // 4):
            which = ", ".join(str(int(i)) for i in np.flatnonzero(lines)[:5])
            some = f"{word}{'s' if lines.sum() > 1 else ''} {which}"
            return Repair("lines", f"only {some} of {_THE} wrong.")
    zeros = int((failing & (a == 0)).sum())
    if 2 <= zeros == count < of:
        text = f"{_THE} is 0 in {count} of {of} entries where it shouldn't be: "
        return Repair("partly-zero", f"{text}a loop or a slice that stops early?")
    if count < of / 4:
        return Repair("few", f"only {count} of {of} entries of {_THE} are wrong.")
    return None


def _index(index: Array) -> str:
    return f"[{', '.join(str(int(i)) for i in index)}]"
