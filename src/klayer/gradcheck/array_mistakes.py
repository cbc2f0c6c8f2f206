"""Known mistakes in one array's gradient: how it would have to be mended, tried on the numbers.

A hypothesis says how the analytic values would have to be mended: halve them, transpose them, add
2 lambda W. It counts only if the mended values agree with the numeric ones, at the entries that
were wrong and at those that were right. Constants are fitted; a fit with too few numbers is no
evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from klayer.gradcheck.array_names import ArrayName
from klayer.gradcheck.factors import FACTORS, in_words
from klayer.gradcheck.objective import Array

__all__ = ["PENALTIES", "Evidence", "Repair", "best_repair"]

_REMAINDER = 0.02  # of the error may be left by a repair that counts
_EXACT = 1e-7  # of it are left by chance in one of ten million cases
_TRIM = 0.1  # of the entries may be off for another reason: a kink crossed by a difference

_Times = Callable[[float], float]

# For batches of at least so many samples: an L2 gradient of so many times 2 lambda W, where the cost
# has lambda ||W||^2 -> kind, and what is said of the arrays.
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

_ITS_NEGATIVE = "it with the wrong sign"
_NO_PENALTY: tuple[int, _Times, str] = (0, lambda _: 0, "no penalty")
# What a cost may have for a penalty: its gradient in units of 2 lambda W, and its name.
_CONVENTIONS: tuple[tuple[int, _Times, str], ...] = (
    (0, lambda _: 1, "lambda ||W||^2"),
    (0, lambda _: 0.5, "lambda / 2 ||W||^2"),
    (2, lambda n: 1 / n, "lambda / n ||W||^2"),
    (2, lambda n: 1 / (2 * n), "lambda / (2 n) ||W||^2"),
)


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
    outputs: int | None = None  # of the last layer
    noise: dict[str, Array] = field(default_factory=dict)  # of numeric, or nothing
    complete: bool = True  # whether every entry was compared

    def noise_of(self, name: str) -> Array:
        """Return the rounding noise of an array's numbers."""
        return self.noise.get(name, np.zeros(self.numeric[name].shape))


@dataclass(frozen=True)
class Repair:
    """A repair that agrees with the numbers."""

    kind: str  # of the cause
    text: str  # what is said of the arrays, with {arrays} in their place
    shared: str | None = None  # arrays with this and the kind in common have one cause; None: alone
    remainder: float = 0.0  # how much of the error it leaves


# Repairs that add something to the gradient; the others replace it.
_ADDED = {"offset", "l2", "l2-extra", "l2-other", "l2-factor", "l2-convention"}
_ADDED |= {kind for _, _, kind, _ in PENALTIES}

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
    known, noise = np.isfinite(n), evidence.noise_of(name)
    nothing = bool((np.abs(n[known]) <= np.maximum(noise[known], 1e-13 * np.abs(a).max())).all())
    before = _trimmed_norm((a - n)[failing])
    # What claims to give the right gradient must come near it, not only near the wrong one's size.
    whole = min(before, _trimmed_norm(n[failing]))
    best, best_rank = None, np.inf
    for mended, fitted, repair in _hypotheses(evidence, name):
        scale = before if repair.kind in _ADDED else whole
        if nothing and repair.kind not in _ADDED:
            continue
        left = mended - n
        remainder = max(_trimmed_norm(left[known]), _trimmed_norm(left[failing])) / scale
        # Where there is nothing to fit, digits are evidence as entries are.
        if failing.sum() < (1 if not fitted and remainder <= _EXACT else fitted + 2):
            continue
        # Each constant costs a factor 10: a simpler story with the same end is the better one.
        rank = max(remainder, 1e-12) * 10**fitted
        if remainder <= _REMAINDER and rank < best_rank:
            best, best_rank = replace(repair, remainder=remainder), rank
    if best is not None and not (nothing and best.kind == "offset"):
        return best
    if nothing:
        text = "the loss does not depend on {arrays}: the gradient should be 0, and is not."
        return Repair("no-dependence", text, "")
    for other, numeric in evidence.numeric.items():  # whose gradient is it?
        both = np.isfinite(numeric)
        if other != name and numeric.shape == a.shape and both.sum() > 1:
            size = _trimmed_norm(numeric[both])
            telling = size > 10 * _trimmed_norm(evidence.noise_of(other)[both])
            remainder = _trimmed_norm((a - numeric)[both]) / min(before, size)
            if telling and remainder <= _REMAINDER:
                return Repair("copied", f"{_THE} is that of {other}.", remainder=remainder)
    return _pattern(evidence, name)


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
    if (a >= 0).all() and (n[at] < 0).any() and a.size > 1:
        signed = np.where(np.isfinite(n), np.copysign(a, n), a)
        yield signed, 0, Repair("absolute", f"{_THE} has lost its signs.", "")
    limit = np.abs(a).max()
    if (np.abs(a) == limit).sum() > 1:
        clipped = np.where((np.abs(a) == limit) & (np.abs(n) > limit) & (a * n > 0), n, a)
        yield clipped, 1, Repair("clipped", f"{_THE} is clipped at {limit:.6g}.", "")
    few = at.sum() < 3  # too few to fit a constant: those that have a meaning are tried
    for least, times, text in FACTORS if few else ():
        if (samples := evidence.samples or 0) >= least:
            c = times(samples)
            said = f"{_THE} is {text.format(n=samples)}."
            yield a / c, 0, Repair("factor", said, f"{c:.4g}")
    (r,) = _fit(n, [a], at)
    if abs(r) > 1e-300:
        yield (
            r * a,
            1,
            Repair("factor", f"{_THE} is {_words(evidence, name, r, r * a)}.", f"{1 / r:.4g}"),
        )
    if few and evidence.l2:
        theta = evidence.params[name]
        for least, times, *_ in PENALTIES:
            if (samples := evidence.samples or 0) >= least:
                d = 2 * evidence.l2 * (1 - times(samples))
                yield a + d * theta, 0, _penalty(evidence, name, d)
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
        factor = _words(evidence, name, r, r * a + d * theta)
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


def _words(evidence: Evidence, name: str, r: float, mended: Array) -> str:
    """Words for a gradient, or its data part, that has to be multiplied by r."""
    doubt = _doubt(evidence, name, mended)
    return in_words(1 / r, evidence.samples, evidence.outputs, doubt)


def _doubt(evidence: Evidence, name: str, mended: Array) -> float:
    """Return how well a fitted constant is known, relative to itself."""
    n, at = evidence.numeric[name], evidence.failing[name]
    left = max(_trimmed_norm((mended - n)[at]), _trimmed_norm(evidence.noise_of(name)[at]))
    return left / _trimmed_norm(n[at])


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
    a, numeric, theta = (
        one[name] for one in (evidence.analytic, evidence.numeric, evidence.params)
    )
    missing = d / (2 * l2)  # part of the term, as a fraction
    at = evidence.failing[name]
    left = max(
        _trimmed_norm((a + d * theta - numeric)[at]), _trimmed_norm(evidence.noise_of(name)[at])
    )
    doubt = max(1e-5, 2 * left / max(_trimmed_norm((d * theta)[at]), 1e-300))

    def is_(value: float) -> bool:
        return abs(missing - value) <= min(doubt, 0.02) * abs(value)

    readings = [
        (kind, text.replace("{n}", str(n)))
        for least, times, kind, text in PENALTIES
        if n >= least and is_(1 - times(n))
    ]
    # The numbers tell the difference of two penalties' gradients: the cost may mean another lambda.
    others = [
        f"if the cost has {of_cost}, {_THE} has {of_gradient}"
        for least, cost, of_cost in _CONVENTIONS[1:]
        for more, gradient, of_gradient in (
            _NO_PENALTY,
            (0, _negative(cost), _ITS_NEGATIVE),
            *_CONVENTIONS,
        )
        if n >= max(least, more) and is_(cost(n) - gradient(n)) and cost(n) != gradient(n)
    ]
    if readings:
        kind, text = readings[0]
        if others:
            text = f"{text.rstrip('.')} (or, {'; '.join(_that_of(one) for one in others[:2])})."
        return Repair(kind, text, shared)
    if others:
        text = (
            f"{_THE} and the cost mean another lambda: {'; or '.join(map(_that_of, others[:2]))}."
        )
        return Repair("l2-convention", text, shared)
    digits = max(2, min(6, int(-np.log10(doubt))))
    text = (
        f"wrong factor {_IN}: it is {1 - missing:.{digits}g} times 2 lambda W, if the cost has "
        "lambda ||W||^2."
    )
    return Repair("l2-factor", text, shared)


def _negative(times: _Times) -> _Times:
    return lambda n: -times(n)


def _that_of(reading: str) -> str:
    if reading.endswith((_NO_PENALTY[2], _ITS_NEGATIVE)):
        return reading
    return reading.replace(f"{_THE} has ", f"{_THE} has that of ")


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


def _pattern(evidence: Evidence, name: str) -> Repair | None:
    """Say where in the array the wrong entries are, if that is telling."""
    a, n, failing = evidence.analytic[name], evidence.numeric[name], evidence.failing[name]
    error = np.abs(a - n)
    # An entry is right only if an error such as the others' would have shown.
    typical = float(np.median(error[failing & np.isfinite(error)], axis=None))
    checked = np.isfinite(n) & (failing | (evidence.noise_of(name) <= 0.2 * typical))
    count, of = int(failing.sum()), int(checked.sum())
    if count == of < int(np.isfinite(n).sum()) or of < 2:
        return None
    of_those = "" if checked.all() else " that were compared"
    if count == 1:
        where = _index(np.argwhere(failing)[0])
        text = f"one single entry of {_THE} is wrong: {{arrays}}{where}"
        return Repair("entry", f"{text}{', of those that were compared' if of_those else ''}.")
    short = a.dtype == np.float64 and np.array_equal(a.astype(np.float32), a)
    if short and (error[failing] <= 1e-5 * np.abs(n).max(initial=0, where=checked)).all():
        return Repair("rounded", f"{_THE} was rounded to float32 on the way.", "")
    for axis, word in ((1, "row"), (0, "column")) if a.ndim == 2 else ():
        lines = failing.any(axis=axis)
        among = checked.any(axis=axis)
        if 0 < lines.sum() <= max(1, among.sum() // 4) and among.sum() > lines.sum():
            which = ", ".join(str(int(i)) for i in np.flatnonzero(lines)[:5])
            some = f"{word}{'s' if lines.sum() > 1 else ''} {which}"
            more = ", ..." if lines.sum() > 5 else ""
            return Repair(
                "lines", f"only {some}{more} of {_THE} wrong{of_those and ', of those'}{of_those}."
            )
    zeros = int((failing & (a == 0)).sum())
    if 2 <= zeros == count < of:
        text = f"{_THE} is 0 in {count} of {of} entries{of_those} where it shouldn't be: "
        return Repair("partly-zero", f"{text}a loop or a slice that stops early?")
    if count < of / 4:
        return Repair("few", f"only {count} of {of} entries{of_those} of {_THE} are wrong.")
    return None


def _index(index: Array) -> str:
    return f"[{', '.join(str(int(i)) for i in index)}]"
