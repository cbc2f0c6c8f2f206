"""The settings of what surrounds optimisation: changed rows, averaged weights, an early end."""

from __future__ import annotations

from dataclasses import dataclass

from klayer.train.augment import AUGMENTATIONS, Augmentation, read_augment
from klayer.train.metrics import METRICS
from klayer.train.setting import setting

__all__ = ["AVERAGES", "Refinement"]

AVERAGES = ("none", "ema", "cycle_end")
# What a curve of validation data may follow.
MEASURES = ("loss", "cost", *(name for name, metric in METRICS.items() if metric.curve))


def _listed(images: bool) -> str:
    """Write the changes for images, or those for any data: ``mirror, crop:4``."""
    return ", ".join(
        way
        for way, row in zip(Augmentation.table(), AUGMENTATIONS.values(), strict=True)
        if bool(row.images) == images
    )


@dataclass(frozen=True)
class Refinement:
    """The part of :class:`klayer.train.Settings` that says what is made of the weights that come.

    Examples
    --------
    >>> from klayer.train import Settings
    >>> Settings(early_stopping="accuracy", patience=3).patience
    3
    """

    augment: str = setting(
        "none",
        "Changes of the rows of each mini-batch, as in mirror,crop:4; for images "
        f"{_listed(True)}; for any data {_listed(False)}.",
        read=read_augment,
        values="none, or changes with commas",
        metavar="CHANGES",
    )
    average: str = setting(
        "none",
        "Which average of its weights a network ends with: none; ema, an exponential moving average; or "
        "cycle_end, the mean over the end of the last cycle.",
        choices=AVERAGES,
        search="choices",
    )
    ema_decay: float = setting(
        0.999,
        "How much of itself the moving average keeps from update to update, at the most.",
        at_least=0,
        below=1,
        scope="network",
        search="linear",
        only_with=("average", ("ema",)),
    )
    average_share: float = setting(
        0.25,
        "The share of the last cycle over whose weights the mean is taken.",
        above=0,
        at_most=1,
        only_with=("average", ("cycle_end",)),
    )
    snapshots: str = setting(
        "none",
        "Whether the networks are kept as they are at the end of each cycle, for ensembles: {choices}.",
        choices=("none", "cycles"),
    )
    early_stopping: str = setting(
        "none",
        "Measure of the validation curve by which a network that gets no better stops, and ends with "
        "its best weights: {choices}.",
        choices=("none", *MEASURES),
    )
    patience: int = setting(
        5,
        "Points of the validation curve without a better value after which a network stops.",
        at_least=1,
        only_with=("early_stopping", MEASURES),
    )
    calibration: str = setting(
        "none",
        "Whether trained networks get a temperature, by which the validation split finds their "
        "probabilities honest: {choices}.",
        choices=("none", "temperature"),
    )
