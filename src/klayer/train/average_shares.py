"""How much each update counts in the average of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.train.schedules import Course
from klayer.train.settings import Settings

__all__ = ["average_from", "average_shares"]

Array = NDArray[Any]


def average_from(settings: Settings, course: Course) -> int:
    """Return the update from which on the average is that of the weights.

    Examples
    --------
    >>> settings = Settings(average="cycle_end", average_share=0.25)
    >>> average_from(settings, Course(half_cycle=50, cycles=2))
    175
    """
    if settings.average != "cycle_end":
        return course.start
    start = max(end for end in (course.start, *course.ends) if end < course.total)
    return round(course.total - settings.average_share * (course.total - start))


def average_shares(settings: Settings, course: Course, ema_decay: Array, t: Array) -> Array:
    """Return how much updates count in the average ``a += c_t (W - a)``: ``c_t``, shape (T, P).

    For ``ema`` it is ``1 - min(ema_decay, (1 + t) / (10 + t))``, ``t`` counted from the course's start:
    the beginning is soon forgotten. For ``cycle_end``, ``1 / n`` at its n-th update: the average is then
    the mean.

    Parameters
    ----------
    settings : Settings
    course : Course
    ema_decay : array, shape (P,)
    t : int array, shape (T,)

    Examples
    --------
    >>> settings = Settings(average="cycle_end", average_share=0.5)
    >>> average_shares(settings, Course(half_cycle=4), np.zeros(1), np.array([3, 4, 5])).tolist()
    [[0.0], [1.0], [0.5]]
    """
    if settings.average == "ema":
        since = t - course.start
        return np.asarray(1 - np.minimum(ema_decay, ((1 + since) / (10 + since))[:, None]))
    n = t[:, None] + 1 - average_from(settings, course)
    share = np.where(n > 0, 1 / np.maximum(n, 1), 0.0)
    return np.broadcast_to(share, (len(t), len(ema_decay)))
