"""Words for a number: what it means that a gradient is c times what it should be.

Constants that are forgotten, or meant otherwise: -1, 2, n samples, K outputs, ln 2, and their products.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["FACTORS", "in_words"]

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

# Powers of the constants, tried before whole numbers without a meaning, and what is to be said.
_FIRST: tuple[tuple[dict[str, int], str], ...] = (
    ({"K": 1}, "a division by the number of outputs is missing, as in a mean over them"),
    ({"K": -1}, "it is divided by the number of outputs, which the loss is not"),
    ({"n": 1, "K": 1}, "the loss is a mean over samples and outputs, this is not"),
    ({"n": -1, "K": -1}, "this is a mean over samples and outputs, the loss is not"),
    ({"n": 1, "2": 1}, "the division by n is missing, and a factor 2 too many"),
    ({"n": -1, "2": -1}, "a division by 2 n that the loss has not"),
    ({"n": 2}, "the division by n is missing twice"),
    ({"ln 2": 1}, "the loss takes log2 where this takes ln, or divides by ln 2"),
    ({"ln 2": -1}, "this takes log2 where the loss takes ln"),
    ({"ln 10": 1}, "the loss takes log10 where this takes ln, or divides by ln 10"),
    ({"ln 10": -1}, "this takes log10 where the loss takes ln"),
)


def in_words(
    c: float, samples: int | None = None, outputs: int | None = None, doubt: float = 1e-6
) -> str:
    """Return what a factor c, known to a relative ``doubt``, is called.

    Examples
    --------
    >>> in_words(0.5)
    'half of what it should be: a factor 2 is missing'
    >>> in_words(36.0, samples=12, outputs=3)
    '36 = n K times what it should be: the loss is a mean over samples and outputs, this is not'
    >>> in_words(3**0.5)
    '1.73205 = sqrt(3) times what it should be, in every entry'
    >>> in_words(1.2345)
    '1.2345 times what it should be, in every entry'
    """
    doubt = min(max(doubt, 1e-6), 0.05)

    def near(value: float) -> bool:
        # A factor of nearly 1 is not named after a constant that it isn't.
        return abs(c - value) <= doubt * abs(value) and abs(c - value) <= 0.2 * abs(c - 1)

    n = samples or 0
    for least, times, text in FACTORS:
        if n >= least and near(times(n)):
            return text.format(n=n)
    constants = {"2": 2.0, "ln 2": math.log(2), "ln 10": math.log(10)}
    constants |= {"n": float(n)} if n > 2 else {}
    constants |= {"K": float(outputs)} if outputs and outputs > 2 else {}

    def product(powers: dict[str, int]) -> float:
        return math.prod(constants[name] ** power for name, power in powers.items())

    digits = max(2, min(6, int(-math.log10(doubt))))
    for powers, meaning in _FIRST:
        if powers.keys() <= constants.keys():
            for sign in (1.0, -1.0):
                if near(sign * product(powers)):
                    wrong = "; and a sign is wrong" if sign < 0 else ""
                    told = f"{c:.{digits}g} = {_written(powers, sign)}"
                    return f"{told} times what it should be: {meaning}{wrong}"
    whole = round(abs(c) if abs(c) >= 1 else 1 / abs(c))
    if whole > 2 and near(float(np.copysign(whole if abs(c) >= 1 else 1 / whole, c))):
        side = "large: if that is the number of samples, the division by n is missing"
        if abs(c) < 1:
            side = "small: if that is the number of samples, it is divided by n twice"
        sign_too = " and has the wrong sign" if c < 0 else ""
        return f"{whole} times too {side}{sign_too}"
    if doubt <= 1e-4:  # there are many products: only a number that is well known tells one
        for powers in _products(list(constants)):
            for sign in (1.0, -1.0):
                if near(sign * product(powers)):
                    told = f"{c:.{digits}g} = {_written(powers, sign)}"
                    return f"{told} times what it should be, in every entry"
    square = round(max(c * c, 1 / (c * c)))
    root = math.copysign(math.sqrt(square if abs(c) > 1 else 1 / square), c)
    if doubt <= 1e-5 and square < 1000 and near(root):
        told = f"{'-' * (c < 0)}{'1 / ' * (abs(c) < 1)}sqrt({square})"
        return f"{c:.{digits}g} = {told} times what it should be, in every entry"
    if abs(c - 1) < 5e-5:
        side = "large" if c > 1 else "small"
        return f"too {side} by {abs(c - 1):.1e} of its size, in every entry, as with a rounded constant"
    if doubt <= 1e-5:
        return f"{c:.8g} times what it should be, in every entry"
    return f"about {c:.{digits}g} times what it should be, in every entry"


def _products(names: list[str]) -> Iterator[dict[str, int]]:
    """Yield products of up to three powers, simple ones first."""
    powers = (-1, 1, -2, 2)
    for count in (1, 2, 3):
        for some in itertools.combinations(names, count):
            if {"ln 2", "ln 10"} <= set(some):
                continue
            for exponents in itertools.product(powers if count < 3 else powers[:2], repeat=count):
                yield dict(zip(some, exponents, strict=True))


def _written(powers: dict[str, int], sign: float) -> str:
    def one(name: str, power: int) -> str:
        return name if power == 1 else f"{name}^{power}"

    ordered = sorted(powers.items(), key=lambda item: item[0] != "2")  # 2 n, not n 2
    above = [one(name, power) for name, power in ordered if power > 0]
    below = [one(name, -power) for name, power in ordered if power < 0]
    text = " ".join(above) or "1"
    if below:
        text += f" / ({' '.join(below)})" if len(below) > 1 else f" / {below[0]}"
    return f"-{text}" if sign < 0 else text
