"""Learning rate as a function of the update.

Each schedule is a function of the update index ``t`` (from 0, not epochs), vectorised: ``lr_min``,
``lr_max`` and ``peak_decay`` may be arrays of shape (P,), and so is the result; with ``t`` of shape
(T, 1) it is (T, P). What all networks share, the cycles in updates, is a :class:`Course`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError

__all__ = [
    "SCHEDULES",
    "Course",
    "constant",
    "cosine",
    "exponential",
    "learning_rates",
    "linear",
    "one_cycle",
    "triangular",
]

Array = NDArray[Any]

# One-cycle: where its peak is, and how many times lower it starts.
PEAK_AT, START_BELOW = 0.3, 25

# Cycles that grow are listed; one of more than 10^12 updates is a mistake.
MOST_GROWING, MOST_LOG = 1000, math.log(1e12)


@dataclass(frozen=True)
class Course:
    """A training's cycles, in updates.

    Parameters
    ----------
    half_cycle : int, >= 1
        Half of the first cycle.
    cycles : float, > 0
    growth : float, >= 1
        Cycle ``c`` (from 0) is ``2 half_cycle growth^c`` long, rounded.
    warm_up : int, >= 0
        Updates in which the rate climbs to its course.
    start : int, >= 0
        The update at which it begins: not 0 where networks are trained on.

    Raises
    ------
    KlayerError
        If growing cycles never end.

    Examples
    --------
    >>> course = Course(half_cycle=2, cycles=2.5, growth=2)
    >>> course.ends, course.total
    ((4, 12, 28), 20)
    >>> cycle, t, length = course.place(np.array([3, 4, 19]))
    >>> cycle.tolist(), t.tolist(), length.tolist()
    ([0, 1, 2], [3, 0, 7], [4, 8, 16])
    >>> Course(half_cycle=2, start=100).ends
    (104,)
    """

    half_cycle: int
    cycles: float = 1
    growth: float = 1
    warm_up: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        if self.growth > 1 and (
            self.cycles > MOST_GROWING
            or math.log(2 * self.half_cycle) + self.cycles * math.log(self.growth) > MOST_LOG
        ):
            raise KlayerError(
                f"a training must end, but {self.cycles:g} cycles from half_cycle={self.half_cycle} "
                f"updates on with cycle_growth={self.growth:g} are too many: lower one of them."
            )

    def end(self, cycle: int) -> int:
        """Return where a cycle, from 1, ends."""
        if self.growth == 1:
            return self.start + 2 * self.half_cycle * cycle
        return self.ends[cycle - 1]

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Where each cycle ends, that of the last, maybe unfinished one included."""
        lengths = [
            round(2 * self.half_cycle * self.growth**c) for c in range(math.ceil(self.cycles))
        ]
        return tuple(accumulate(lengths, initial=self.start))[1:]

    @cached_property
    def total(self) -> int:
        """The update at which the training ends."""
        if self.growth == 1:
            return self.start + max(1, round(self.cycles * 2 * self.half_cycle))
        before = [self.start, *self.ends][-2]
        share = self.cycles - (len(self.ends) - 1)
        return max(self.start + 1, before + round(share * (self.ends[-1] - before)))

    def share(self, t: int | Array) -> Array:
        """Return what share of the training is over at updates."""
        return np.minimum((np.asarray(t) - self.start) / (self.total - self.start), 1.0)

    def place(self, t: int | Array) -> tuple[Array, Array, Array]:
        """Return cycle, updates since its start, its length; past the last end one more begins."""
        t = np.asarray(t)
        if self.growth == 1:
            length, since = 2 * self.half_cycle, t - self.start
            return since // length, since % length, np.full_like(t, length)
        ends = np.array(self.ends)
        starts = np.array([self.start, *self.ends])
        cycle = np.searchsorted(ends, t, side="right")
        last = np.minimum(cycle, len(ends) - 1)
        return cycle, t - starts[cycle], ends[last] - starts[last]


def _between(low: ArrayLike, high: ArrayLike, height: Array) -> Array:
    low, high = np.asarray(low, float), np.asarray(high, float)
    return np.asarray(low + (high - low) * height)


def triangular(
    t: int | Array,
    lr_min: ArrayLike,
    lr_max: ArrayLike,
    course: Course,
    peak_decay: ArrayLike = 1.0,
) -> Array:
    """Triangular cycles: linear from ``lr_min`` to the peak in half a cycle, and back.

    ``lr(t) = lr_min + (lr_max - lr_min) d^c (1 - |t_c - n| / n)``, in cycle ``c`` with ``t_c`` updates
    since its start and half its length ``n``, and with ``d`` the setting ``peak_decay``.
    Source: Smith 2017, arXiv:1506.01186.

    Parameters
    ----------
    t : int or int array, >= 0
        Update index, from 0.
    lr_min, lr_max, peak_decay : float or array, shape (P,)
    course : Course

    Returns
    -------
    lr : array, float64, of the common shape of ``t`` and the rates

    Examples
    --------
    >>> [float(triangular(t, 0.0, 1.0, Course(2))) for t in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    >>> [float(triangular(t, 0.0, 1.0, Course(1, cycles=2), peak_decay=0.5)) for t in range(5)]
    [0.0, 1.0, 0.0, 0.5, 0.0]
    """
    cycle, since, length = course.place(t)
    half = length / 2
    height = 1 - np.abs(since - half) / half
    return _between(lr_min, lr_max, height * np.asarray(peak_decay, float) ** cycle)


def cosine(
    t: int | Array,
    lr_min: ArrayLike,
    lr_max: ArrayLike,
    course: Course,
    peak_decay: ArrayLike = 1.0,
) -> Array:
    """Cosine decay from the peak to ``lr_min`` over a cycle, then a warm restart.

    ``lr(t) = lr_min + (lr_max - lr_min) d^c (1 + cos(pi t_c / (2 n))) / 2``; ``cycle_growth`` is the
    paper's ``T_mult``. Source: Loshchilov & Hutter 2017, arXiv:1608.03983. Parameters as in
    :func:`triangular`.

    Examples
    --------
    >>> [round(float(cosine(t, 0.0, 1.0, Course(2))), 3) for t in (0, 2, 4)]
    [1.0, 0.5, 1.0]
    """
    cycle, since, length = course.place(t)
    height = (1 + np.cos(np.pi * since / length)) / 2
    return _between(lr_min, lr_max, height * np.asarray(peak_decay, float) ** cycle)


def one_cycle(
    t: int | Array,
    lr_min: ArrayLike,
    lr_max: ArrayLike,
    course: Course,
    peak_decay: ArrayLike = 1.0,  # noqa: ARG001
) -> Array:
    """One cycle over the whole training: from ``lr_max / 25`` up to ``lr_max``, and down to ``lr_min``.

    Half a cosine each, the peak after 30 % of the training; it starts no lower than ``lr_min``.
    Source: Smith & Topin 2018, arXiv:1708.07120. Parameters as in :func:`triangular`.

    Examples
    --------
    >>> [round(float(one_cycle(t, 0.0, 1.0, Course(50))), 3) for t in (0, 30, 65, 100)]
    [0.04, 1.0, 0.5, 0.0]
    """
    low, high = np.asarray(lr_min, float), np.asarray(lr_max, float)
    share = course.share(t)
    up = (1 - np.cos(np.pi * np.minimum(share / PEAK_AT, 1))) / 2
    down = (1 + np.cos(np.pi * np.maximum((share - PEAK_AT) / (1 - PEAK_AT), 0))) / 2
    start = np.maximum(low, high / START_BELOW)
    return np.asarray(
        np.where(share < PEAK_AT, start + (high - start) * up, low + (high - low) * down)
    )


def linear(
    t: int | Array,
    lr_min: ArrayLike,
    lr_max: ArrayLike,
    course: Course,
    peak_decay: ArrayLike = 1.0,  # noqa: ARG001
) -> Array:
    """Linear decay over the whole training, from ``lr_max`` to ``lr_min``.

    Parameters as in :func:`triangular`.

    Examples
    --------
    >>> [float(linear(t, 0.0, 1.0, Course(2))) for t in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    return _between(lr_min, lr_max, 1 - course.share(t))


def exponential(
    t: int | Array,
    lr_min: ArrayLike,
    lr_max: ArrayLike,
    course: Course,
    peak_decay: ArrayLike = 1.0,  # noqa: ARG001
) -> Array:
    """Exponential growth over the whole training, from ``lr_min`` to ``lr_max``: a range test's rates.

    ``lr(t) = lr_min (lr_max / lr_min)^(t / total)``. Source: Smith 2017, arXiv:1506.01186, section 3.3
    (there linear). Parameters as in :func:`triangular`; where ``lr_min`` is 0, so is the rate.

    Examples
    --------
    >>> [round(float(exponential(t, 0.01, 1.0, Course(1))), 12) for t in range(3)]
    [0.01, 0.1, 1.0]
    """
    low, high = np.asarray(lr_min, float), np.asarray(lr_max, float)
    share = course.share(t)
    return np.where(low > 0, low ** (1 - share) * high**share, 0.0)


def constant(
    t: int | Array,
    lr_min: ArrayLike,  # noqa: ARG001
    lr_max: ArrayLike,
    course: Course,  # noqa: ARG001
    peak_decay: ArrayLike = 1.0,  # noqa: ARG001
) -> Array:
    """The same rate always: ``lr_max``. The other parameters are accepted and without effect.

    Examples
    --------
    >>> float(constant(7, 0.0, 0.1, Course(2)))
    0.1
    """
    return np.broadcast_to(
        np.asarray(lr_max, float), np.broadcast_shapes(np.shape(t), np.shape(lr_max))
    )


SCHEDULES: dict[str, Callable[[int | Array, ArrayLike, ArrayLike, Course, ArrayLike], Array]] = {
    "triangular": triangular,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "linear": linear,
    "exponential": exponential,
    "constant": constant,
}


def learning_rates(
    schedule: str,
    t: int | Array,
    lr_min: ArrayLike,
    lr_max: ArrayLike,
    course: Course,
    peak_decay: ArrayLike = 1.0,
) -> Array:
    """Return the rates of a schedule by its name, the warm-up included.

    In the first ``warm_up`` updates they are multiplied by ``(t + 1) / warm_up``, ``t`` counted from the
    course's start: they may then be
    lower than ``lr_min``.

    Examples
    --------
    >>> [float(learning_rates("constant", t, 0, 1.0, Course(5, warm_up=4))) for t in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    lr = SCHEDULES[schedule](t, lr_min, lr_max, course, peak_decay)
    if course.warm_up:
        lr = np.asarray(lr * np.minimum((np.asarray(t) - course.start + 1) / course.warm_up, 1.0))
    return lr
