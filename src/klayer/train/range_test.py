"""A learning-rate range test: a short training in which the rate grows, for many networks at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError
from klayer.train.engine import Engine
from klayer.train.feed import Feed
from klayer.train.fitting import as_dataset
from klayer.train.population import Member, Population
from klayer.train.seeds import seeds_of
from klayer.train.settings import SETTINGS, Settings
from klayer.train.trainer import Trainer

__all__ = ["RangeTest", "find_lr"]

Array = NDArray[Any]

# A range test: from rate to rate, updates at the least and at the most, points of its curve, samples
# behind each.
LR_MIN, LR_MAX = 1e-6, 10.0
LEAST, MOST = 200, 1000
POINTS, SAMPLES = 100, 1000
# The suggestion stays this factor below the rate with the lowest loss: from there on it grows.
MARGIN = 3.0


@dataclass(frozen=True)
class RangeTest:
    """What a range test found.

    Attributes
    ----------
    rates : array, shape (T,)
        Learning rates at which the loss was measured, ascending.
    loss : array, shape (P, T)
        Mean loss on the same training samples each time; NaN from where a network diverged.
    members : list of Member
    suggestions : array, shape (P,)
        A rate for each network: a third of that with its lowest loss; NaN if its loss never fell.
    """

    rates: Array
    loss: Array
    members: list[Member]

    @property
    def suggestions(self) -> Array:
        """A rate for each network."""
        found = np.full(len(self.loss), np.nan)
        for p, loss in enumerate(self._smooth()):
            if np.isfinite(loss).any() and np.nanargmin(loss) > 0:
                found[p] = self.rates[np.nanargmin(loss)] / MARGIN
        return found

    @property
    def suggestion(self) -> float:
        """The median of the networks' rates, to two digits; NaN if the loss of none fell.

        Examples
        --------
        >>> rates = np.array([0.01, 0.03, 0.1, 0.3, 1.0])
        >>> RangeTest(rates, np.array([[2.0, 1.9, 1.0, 0.5, 9.0]]), []).suggestion
        0.1
        """
        found = self.suggestions[np.isfinite(self.suggestions)]
        if not len(found):
            return math.nan
        return float(f"{np.exp(np.median(np.log(found))):.2g}")

    def _smooth(self) -> Array:
        """Return the loss, the median of three points each, so that a lucky one decides nothing."""
        if self.loss.shape[1] < 7:
            return self.loss
        padded = np.pad(self.loss, ((0, 0), (1, 1)), mode="edge")
        smooth: Array = np.median([padded[:, i : i + self.loss.shape[1]] for i in range(3)], axis=0)
        return smooth

    def __repr__(self) -> str:
        """Say what is suggested, and from how many networks."""
        return (
            f"RangeTest of {len(self.loss)} network{'s' * (len(self.loss) > 1)}, "
            f"{self.rates[0]:g} to {self.rates[-1]:g}: lr_max={self.suggestion:g}"
        )


def find_lr(
    data: Any,
    y: Any = None,
    settings: Settings | Sequence[Settings] | None = None,
    *,
    seeds: Any = 1,
    seed: int | None = None,
    lr_min: float = LR_MIN,
    lr_max: float = LR_MAX,
    updates: int | None = None,
    workers: int | None = None,
    on_progress: Callable[[float], None] | None = None,
    **said: Any,
) -> RangeTest:
    """Find a learning rate: train briefly while it grows, and see where the loss is lowest.

    Source: Smith 2017, arXiv:1506.01186, section 3.3. All networks are tested at once, and none is kept.

    Parameters
    ----------
    data, y
        As :func:`klayer.fit` takes them.
    settings : Settings or sequence of Settings, optional
        Several may differ in what networks of one population may differ in. Their own schedule and rates
        play no part.
    seeds, seed, workers
        As in :func:`klayer.fit`.
    lr_min, lr_max : float, 0 < lr_min < lr_max
        From where to where the rate grows.
    updates : int, >= 10, optional
        By default two epochs, but at least 200 and at most 1,000 updates.
    on_progress : callable, optional
        Called some times a second with the share that is done, 0 to 1.
    **said
        What may be said of rows or a file: ``validation``, ``test``, ``target``, ...

    Returns
    -------
    test : RangeTest

    Raises
    ------
    KlayerError
        For rates and updates out of range.

    Examples
    --------
    >>> test = find_lr("digits", settings=Settings(hidden=(16,), batch_size=50), seeds=2, updates=60)
    >>> test.rates.shape == test.loss[0].shape, 0.01 < test.suggestion < 10
    (True, True)
    """
    if isinstance(y, Settings):
        y, settings = None, y
    if not 0 < lr_min < lr_max < math.inf:
        raise KlayerError(
            f"`0 < lr_min < lr_max` must hold, but got lr_min={lr_min}, lr_max={lr_max}."
        )
    if updates is not None and (type(updates) is not int or updates < 10):
        raise KlayerError(f"`updates` must be a whole number >= 10, but got {updates!r}.")
    several = [settings] if isinstance(settings, Settings) else list(settings or [Settings()])
    dataset = as_dataset(data, y, **said)
    per_epoch = several[0].batches(len(dataset.splits["train"].labels)).per_epoch
    length = updates or min(max(LEAST, 2 * per_epoch), MOST)
    members = [
        Member(_tested(one, lr_min, lr_max, length), number)
        for one in several
        for number in seeds_of(seeds, seed)
    ]
    population = Population(Feed(dataset, several[0].dtype), members)

    def report(update: float) -> None:
        if on_progress:
            on_progress(update / population.total_updates)

    Trainer(population, Engine(workers)).train(on_progress=report)
    points = np.array(population.state.recorded)
    rates = population.learning_rates(points)[:, 0]
    return RangeTest(rates, population.state.history["train_loss"], members)


def _tested(settings: Settings, lr_min: float, lr_max: float, updates: int) -> Settings:
    """Return settings with the schedule of a range test, and nothing that would disturb it."""
    plain = {
        name: SETTINGS[name].default
        for name in (
            *("peak_decay", "cycle_growth", "warm_up", "snapshots"),
            *("average", "ema_decay", "average_share", "early_stopping", "patience"),
        )
    }
    return replace(
        settings,
        schedule="exponential",
        lr_min=lr_min,
        lr_max=lr_max,
        cycles=1,
        half_cycle=f"{math.ceil(updates / 2)} updates",
        points_per_cycle=min(POINTS, updates),
        curve_samples=SAMPLES,
        **plain,
    )
