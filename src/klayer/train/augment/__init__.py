"""Changes of the rows of each mini-batch, one row each in a table; and what a setting asks of them.

They follow from ``order_seed`` and the update alone, so that a training can go on from any update, and
all networks of a population see the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.train.augment.images import crop, cutout, jitter, mirror, rotate
from klayer.train.augment.tables import Mixed, mixup, noise

__all__ = ["AUGMENTATIONS", "Augmentation", "Change", "Mixed", "read_augment"]

Array = NDArray[Any]

# Tells the draws of augmentation from those of the order of the mini-batches.
STREAM = 0x617567


@dataclass(frozen=True)
class Change:
    """A row of :data:`AUGMENTATIONS`.

    Attributes
    ----------
    help : str
        What it does, with its amount.
    amount : float or None
        By default; None if it takes none.
    most : float
        The amount is more than 0, and at most that.
    images : callable ``(images, amount, rng, fill) -> images``, optional
        Changes raw images (N, C, H, W); ``fill``, (C, H, W), is the mean image.
    rows : callable ``(rows, amount, rng) -> rows``, optional
        Changes standardised rows (N, D), in place or not.
    mixes : bool
        Whether it mixes rows and labels: see :func:`klayer.train.augment.tables.mixup`.
    whole : bool
        Whether the amount is a whole number.
    """

    help: str
    amount: float | None = None
    most: float = 0.0
    images: Callable[[Array, float, np.random.Generator, Array], Array] | None = None
    rows: Callable[[Array, float, np.random.Generator], Array] | None = None
    mixes: bool = False
    whole: bool = False


AUGMENTATIONS: dict[str, Change] = {
    "mirror": Change("half of the images, left to right", images=mirror),
    "crop": Change("shifted by up to so many pixels", 4, 1000, images=crop, whole=True),
    "rotate": Change("turned by up to so many degrees", 10.0, 180.0, images=rotate),
    "jitter": Change(
        "brightness and contrast changed by up to this share", 0.2, 1.0, images=jitter
    ),
    "cutout": Change("a square of so many pixels covered", 8, 1000, images=cutout, whole=True),
    "noise": Change("Gaussian noise of so many standard deviations", 0.1, 1000.0, rows=noise),
    "mixup": Change("pairs mixed, by shares from Beta(amount, amount)", 0.2, 1000.0, mixes=True),
}


def read_augment(value: Any) -> str:
    """Return a list of changes in its one form, ``"mirror,crop:4"``; ``"none"`` for none.

    Raises
    ------
    KlayerError
        For an unknown name, one given twice, and an amount out of range.

    Examples
    --------
    >>> read_augment("mirror, crop"), read_augment([]), read_augment(["noise:0.05"])
    ('mirror,crop:4', 'none', 'noise:0.05')
    """
    return ",".join(f"{n}:{a:g}" if a is not None else n for n, a in _changes(value)) or "none"


def _changes(value: Any) -> list[tuple[str, float | None]]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise KlayerError(
            f"`augment` must be a list of changes, as in mirror,crop:4, but got augment={value!r}."
        )
    found: dict[str, float | None] = {}
    for part in parts:
        name, colon, text = (one.strip() for one in part.partition(":"))
        if name == "none" and len(parts) == 1 and not colon:
            return []
        if name not in AUGMENTATIONS:
            several = "or several with commas, as in mirror,crop:4"
            raise unknown_name("augmentation", name, ["none", *AUGMENTATIONS, several])
        if name in found:
            raise KlayerError(f"`augment` names {name!r} twice, in {value!r}: give it once.")
        found[name] = _amount(name, text) if colon else AUGMENTATIONS[name].amount
    return list(found.items())


def _amount(name: str, text: str) -> float:
    change = AUGMENTATIONS[name]
    if change.amount is None:
        raise KlayerError(f"`augment`: {name} takes no amount, but got {name}:{text}.")
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount <= change.most or (change.whole and amount != round(amount)):
        noun = "a whole number" if change.whole else "a number"
        raise KlayerError(
            f"`augment`: the amount of {name} must be {noun} > 0 and <= {change.most:g}, but got "
            f"{name}:{text}."
        )
    return amount


class Described(Protocol):
    """What augmentation has to know of a data set."""

    @property
    def name(self) -> str: ...

    @property
    def standardiser(self) -> Any: ...


class Augmentation:
    """The changes that a setting asks for, for one data set.

    Parameters
    ----------
    augment : str
        As :func:`read_augment` returns it.
    dataset
        With an ``image_shape``, if images are to be changed.
    seed : int, >= 0

    Raises
    ------
    KlayerError
        If images are to be changed and the data are none, or smaller than a change.

    Examples
    --------
    >>> import klayer as kl
    >>> augmentation = Augmentation("mirror,crop:1", kl.load("digits"), seed=0)
    >>> rows = np.arange(128, dtype=np.uint8).reshape(2, 64)
    >>> one, again = (augmentation.raw(rows, update=7) for _ in range(2))
    >>> one.shape, bool((one == again).all())
    ((2, 64), True)
    """

    def __init__(self, augment: str, dataset: Any, seed: int) -> None:
        self._changes = _changes(augment)
        self._seed = seed
        self._images = [c for c in self._changes if AUGMENTATIONS[c[0]].images]
        self._rows = [c for c in self._changes if AUGMENTATIONS[c[0]].rows]
        self.mixup = next((a for n, a in self._changes if AUGMENTATIONS[n].mixes), None)
        self.shape = getattr(dataset, "image_shape", None)
        if not self._images:
            return
        names = ", ".join(name for name, _ in self._images)
        if self.shape is None:
            raise KlayerError(
                f"`augment`: {names} is for images, but the data have no image shape: leave it away "
                "(noise and mixup are for any data)."
            )
        for name, amount in self._images:
            if AUGMENTATIONS[name].whole and amount is not None and amount >= min(self.shape[1:]):
                raise KlayerError(
                    f"`augment`: {name}:{amount:g} must be smaller than the images, which are "
                    f"{self.shape[1]} x {self.shape[2]} pixels."
                )
        self._fill = dataset.standardiser.mean.reshape(self.shape)

    def __bool__(self) -> bool:
        return bool(self._changes)

    @property
    def changes_raw_rows(self) -> bool:
        """Whether rows are changed before they are standardised."""
        return bool(self._images)

    def _rng(self, update: int, stage: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([STREAM, self._seed, update, stage]))

    def raw(self, rows: Array, update: int) -> Array:
        """Return the raw rows (N, D) of an update, changed, of the same dtype."""
        if not self._images or self.shape is None:
            return rows
        rng, images = self._rng(update, 0), rows.reshape(len(rows), *self.shape)
        for name, amount in self._images:
            change = AUGMENTATIONS[name].images
            assert change is not None
            images = change(images, amount or 0.0, rng, self._fill)
        return images.reshape(rows.shape)

    def standardised(self, x: Array, update: int) -> tuple[Array, Mixed | None]:
        """Return the standardised rows (N, D) of an update, changed, and how they were mixed."""
        if not self._rows and self.mixup is None:
            return x, None
        rng = self._rng(update, 1)
        for name, amount in self._rows:
            change = AUGMENTATIONS[name].rows
            assert change is not None
            x = change(x, amount or 0.0, rng)
        return (x, None) if self.mixup is None else mixup(x, self.mixup, rng)

    @classmethod
    def table(cls) -> Mapping[str, str]:
        """Return what each change does, by the way it is written."""
        return {
            name if row.amount is None else f"{name}:{row.amount:g}": row.help
            for name, row in AUGMENTATIONS.items()
        }
