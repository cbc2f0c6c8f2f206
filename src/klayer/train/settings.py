"""How networks are trained: one frozen record of settings, checked when it is made.

The same record is what flags, TOML files and the Python API fill in.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields, replace

from klayer.errors import KlayerError, unknown_name
from klayer.nn import BATCH_NORM, Initialiser
from klayer.nn.backends import BACKENDS
from klayer.train.batches import Batches
from klayer.train.schedules import SCHEDULES

__all__ = ["MEMBER_FIELDS", "Settings"]

# What may differ between the networks of one population; all else must agree.
MEMBER_FIELDS = ("init", "l2", "lr_min", "lr_max", "momentum")

_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(epochs?|updates?)?\s*$")


@dataclass(frozen=True)
class Settings:
    """Architecture, initialisation, penalty, schedule and data order of a network.

    The defaults are those of the published report: 20 epochs on CIFAR-10 in two triangular cycles.

    Parameters
    ----------
    hidden : tuple of int, each >= 1
        Widths of the hidden layers. ``(50, 50)`` is the 3-layer network.
    batch_norm : {"none", "hidden", "all"}
        Layers with batch normalisation: none, all but the last, all.
    bn_eps : float, ``0 < bn_eps < 1``
        Added to the variance in batch normalisation, inside the root. Keep it small beside the
        pre-activations' variance: see :class:`klayer.nn.Network`.
    init : str
        ``he``, ``xavier`` or ``gaussian:SIGMA``.
    l2 : float, >= 0
        Penalty strength lambda in ``J = loss + lambda * sum ||W||^2``; no factor 1/2.
    lr_min, lr_max : float, ``0 <= lr_min <= lr_max``
        Bounds of the learning rate.
    schedule : {"triangular", "cosine", "constant"}
    cycles : float, > 0
        Length of the training, in cycles of ``2 * half_cycle``.
    half_cycle : str or int
        Half a cycle: ``"5 epochs"``, ``"2250 updates"``, or a number of updates.
    batch_size : int, >= 1, in samples
    last_batch : {"drop", "keep"}
        An epoch's last batch, if it is smaller than the others: left out, or trained on.
    points_per_cycle : int, >= 1
        How often the curves are recorded.
    curve_samples : int, >= 1
        Curves use this many samples of the training and of the validation split, the first of a fixed
        random order; final accuracies always use the whole splits.
    order_seed : int, >= 0
        Seed of the mini-batch order, which all networks of a population share.
    dtype : {"float32", "float64"}
    updates_at_once : int, >= 1
        How many updates of a large first layer are carried out at once: the same to rounding. 2 is best
        for four networks and more, 1 for fewer. Small layers, or batches larger than twice the first
        layer's width, are always updated one by one.
    backend : {"auto", "numpy", "compiled"}
        Who carries out the updates: NumPy, or a compiled kernel (``pip install klayer[fast]``), which is
        faster for small networks; the same numbers to rounding. By default the kernel where it is
        installed, knows the network, and the training is long enough to make up for loading it.

    Raises
    ------
    KlayerError
        If a value is out of its range.

    Examples
    --------
    >>> settings = Settings(hidden=(20,), half_cycle="2 epochs", cycles=1)
    >>> settings.half_cycle_updates(per_epoch=450), settings.total_updates(per_epoch=450)
    (900, 1800)
    >>> Settings(lr_min=0.1, lr_max=0.01)
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: `0 <= lr_min <= lr_max` must hold, but got lr_min=0.1, lr_max=0.01.
    """

    hidden: tuple[int, ...] = (50, 50)
    batch_norm: str = "none"
    bn_eps: float = 1e-8
    init: str = "he"
    l2: float = 0.005
    lr_min: float = 1e-5
    lr_max: float = 1e-1
    activation: str = "relu"
    optimiser: str = "sgd"
    momentum: float = 0.9
    schedule: str = "triangular"
    cycles: float = 2
    half_cycle: str | int = "5 epochs"
    batch_size: int = 100
    last_batch: str = "drop"
    points_per_cycle: int = 10
    curve_samples: int = 5000
    order_seed: int = 0
    dtype: str = "float32"
    updates_at_once: int | str = "auto"
    backend: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "init", str(Initialiser.parse(self.init)))
        for name, known in (
            ("batch_norm", BATCH_NORM),
            ("schedule", tuple(SCHEDULES)),
            ("last_batch", ("drop", "keep")),
            ("dtype", ("float32", "float64")),
            ("backend", ("auto", *BACKENDS)),
        ):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for name in ("batch_size", "points_per_cycle", "curve_samples"):
            self._require(
                isinstance(getattr(self, name), int), f"`{name}` must be a whole number", name
            )
            self._require(getattr(self, name) >= 1, f"`{name}` must be >= 1", name)
        self._require(
            all(isinstance(width, int) and width >= 1 for width in self.hidden),
            "`hidden` must be whole numbers >= 1",
            "hidden",
        )
        self._require(0 <= self.l2 < math.inf, "`l2` must be a number >= 0", "l2")
        self._require(
            0 <= self.lr_min <= self.lr_max < math.inf,
            "`0 <= lr_min <= lr_max` must hold",
            "lr_min",
            "lr_max",
        )
        self._require(0 < self.bn_eps < 1, "`0 < bn_eps < 1` must hold", "bn_eps")
        self._require(0 < self.cycles < math.inf, "`cycles` must be > 0", "cycles")
        self._require(
            isinstance(self.order_seed, int) and self.order_seed >= 0,
            "`order_seed` must be a whole number >= 0",
            "order_seed",
        )
        self.half_cycle_updates(per_epoch=1_000_000)

    def _require(self, holds: bool, rule: str, *names: str) -> None:
        if not holds:
            values = ", ".join(f"{name}={getattr(self, name)}" for name in names)
            raise KlayerError(f"{rule}, but got {values}.")

    def half_cycle_updates(self, per_epoch: int) -> int:
        """Return half a cycle in updates, for a number of updates per epoch."""
        found = _DURATION.match(str(self.half_cycle))
        if not found:
            raise KlayerError(
                "`half_cycle` must read like '5 epochs', '2250 updates' or 2250, "
                f"but got {self.half_cycle!r}."
            )
        number, unit = float(found[1]), found[2] or "updates"
        updates = round(number * per_epoch) if unit.startswith("epoch") else round(number)
        if updates < 1:
            raise KlayerError(
                f"`half_cycle` must be at least one update, but {self.half_cycle!r} is less."
            )
        return updates

    def total_updates(self, per_epoch: int) -> int:
        """Return the length of the training in updates."""
        return max(1, round(self.cycles * 2 * self.half_cycle_updates(per_epoch)))

    def batches(self, samples: int) -> Batches:
        """Return the mini-batches of a training split with this many samples."""
        return Batches(samples, self.batch_size, self.order_seed, self.last_batch)

    @classmethod
    def per_network(cls) -> tuple[str, ...]:
        """Names of the settings that may differ between the networks of one population."""
        return MEMBER_FIELDS

    @property
    def shared(self) -> Settings:
        """The settings that a whole population shares: the others are set to their defaults."""
        return replace(self, **{name: getattr(Settings, name) for name in MEMBER_FIELDS})

    def as_dict(self) -> dict:
        """Return plain values, ready for JSON or TOML."""
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings."""
        return tuple(field.name for field in fields(cls))
