"""How networks are trained: one frozen record of settings, and the table that it declares.

Everything that concerns a setting stands in its field: checks, the command's options, files, "did you
mean", searches, labels and the documentation are made from there. A new setting is one field; a renamed
one says ``was=("old_name",)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal

from klayer.errors import KlayerError, located
from klayer.nn.backends import BACKENDS
from klayer.train.architecture import Architecture
from klayer.train.batches import Batches
from klayer.train.optimisation import Optimisation
from klayer.train.other_names import unknown_setting
from klayer.train.refinement import Refinement
from klayer.train.setting import Setting, rows_of, setting
from klayer.train.shuffling import read_shuffle, window_of

__all__ = [
    "ALIASES",
    "SEARCHABLE",
    "SETTINGS",
    "Settings",
    "current_names",
    "has_effect",
    "setting_label",
    "setting_title",
    "without_aliases",
]

# Of a network's curves, for each split and score.
MOST_POINTS = 100_000


@dataclass(frozen=True)
class Settings(Refinement, Optimisation, Architecture):
    """Architecture, initialisation, penalty, schedule and data order of a network.

    The defaults are those of the published report: 20 epochs on CIFAR-10 in two triangular cycles.

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

    batch_size: int = setting(
        100, "Samples in a mini-batch.", at_least=1, unit="samples", search="choices"
    )
    last_batch: str = setting(
        "drop",
        "An epoch's last batch, if it is smaller than the others: {choices} it.",
        choices=("drop", "keep"),
    )
    points_per_cycle: int = setting(
        10, "How often the curves are recorded, in each cycle.", at_least=1, bound=10_000
    )
    curve_samples: int = setting(
        5000,
        "Samples of a split behind a point of its curve, the first of a fixed random order; final "
        "accuracies are of whole splits.",
        at_least=1,
        bound=10**9,
        unit="samples",
    )
    order_seed: int = setting(
        0,
        "Seed of the mini-batch order, which all networks of a population share.",
        at_least=0,
        bound=2**63 - 1,
        rule="must be a whole number >= 0",
    )
    shuffle: str = setting(
        "full",
        "How each epoch shuffles the training rows: full; or block:ROWS, for rows on disk, so many at "
        "a time, from 128 places of the data.",
        read=read_shuffle,
        values="full or block:ROWS",
    )
    split_seed: int = setting(
        0,
        "Seed by which the rows of training and validation are drawn anew; 0 leaves them as the data "
        "have them.",
        at_least=0,
        rule="must be a whole number >= 0",
    )
    train_samples: Literal["all"] | int = setting(
        "all",
        "Training rows that are used, the first of a fixed random order, of each class its share.",
        at_least=1,
        unit="samples",
    )
    dtype: str = setting("float32", "Precision: {choices}.", choices=("float32", "float64"))
    updates_at_once: Literal["auto"] | int = setting(
        "auto",
        "Updates of a large first layer carried out at once, the same to rounding; auto does so where "
        "it is faster.",
        at_least=1,
        bound=1_000,
    )
    backend: str = setting(
        "auto",
        "Who carries out the updates, the same to rounding: numpy, or compiled, an extra that is faster "
        "for small networks; auto takes the latter where it pays.",
        choices=("auto", *BACKENDS),
    )

    def __new__(cls, *args: Any, **values: Any) -> Settings:  # noqa: ARG004
        """Refuse an unknown name as every other mistake is refused, with the name that was meant."""
        for name in values:
            if name not in SETTINGS:
                raise unknown_setting(name, values[name], SETTINGS)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, row in SETTINGS.items():
            object.__setattr__(self, name, row.check(getattr(self, name)))
        for name, row in SETTINGS.items():
            row.check_effect(getattr(self, name), self)
        self.check_layers()
        self.check_optimisation(uses_lr_min=SETTINGS["lr_min"].has_effect(self))
        if self.batch_size == 1 and self.batch_norm != "none":
            raise KlayerError(
                "batch normalisation needs at least two samples in a mini-batch, since one alone is "
                f"normalised to 0, but got batch_size=1 with batch_norm={self.batch_norm!r}: raise "
                "batch_size, or set batch_norm='none'."
            )
        if self.cycles * self.points_per_cycle > MOST_POINTS:
            raise KlayerError(
                f"curves must have at most {MOST_POINTS:,} points, but got cycles={self.cycles:g} x "
                f"points_per_cycle={self.points_per_cycle}."
            )

    def batches(self, samples: int, start: int = 0) -> Batches:
        """Return the mini-batches of a training split with this many samples, from update ``start`` on.

        With batch normalisation none has one row alone: it would be normalised to 0.
        """
        rows = samples if self.train_samples == "all" else min(samples, self.train_samples)
        least = 1 if self.batch_norm == "none" else 2
        if rows < least:
            raise KlayerError(
                "batch normalisation needs at least two training rows, but there is one sample: give "
                "more, or set batch_norm = 'none'."
            )
        window = window_of(self.shuffle)
        return Batches(
            rows, self.batch_size, self.order_seed, self.last_batch, least, start, window
        )

    @functools.cached_property
    def shared(self) -> Settings:
        """The settings that a whole population shares: the others are set to one value.

        That is the default; of a setting that may be off it is 1 where it is on, because networks
        with and without it do different work.
        """
        return replace(
            self,
            **{name: SETTINGS[name].shared(getattr(self, name)) for name in self.per_network()},
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON or TOML."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @classmethod
    def per_network(cls) -> tuple[str, ...]:
        """Return the settings that may differ between the networks of one population.

        Examples
        --------
        >>> [name in Settings.per_network() for name in ("l2", "hidden")]
        [True, False]
        """
        return tuple(name for name, row in SETTINGS.items() if row.scope == "network")

    @classmethod
    def from_values(cls, values: Mapping[str, Any], where: str = "") -> Settings:
        """Make settings from plain values, as a TOML file or parsed flags give them.

        They are checked as the constructor checks them: a text is no number, so that what is
        accepted here is accepted again when a run has stored it.

        Raises
        ------
        KlayerError
            Naming ``where``, the setting and the rule.

        Examples
        --------
        >>> Settings.from_values({"hidden": [20], "l2": 0}, "settings").hidden
        (20,)
        >>> Settings.from_values({"batchnorm": "all"}, "settings")
        Traceback (most recent call last):
            ...
        klayer.errors.KlayerError: settings: unknown setting 'batchnorm': did you mean 'batch_norm'? ...
        """
        values = current_names(values, where)
        for name in values:
            if name not in SETTINGS:
                raise located(where, str(unknown_setting(name, values[name], SETTINGS)))
        try:
            return cls(**values)
        except KlayerError as error:
            raise located(where, str(error)) from None

    @classmethod
    def from_stored(cls, values: Mapping[str, Any], where: str) -> Settings:
        """Make settings from what a run stored, maybe by another version of klayer.

        Former names are understood; a setting that an older version didn't have is at its default, and
        so is one that has no effect, which an older version may have accepted.

        Raises
        ------
        KlayerError
            Naming ``where`` and the setting, if this version doesn't know it or its value.

        Examples
        --------
        >>> Settings.from_stored({"l2": 0.1}, "runs/mine").l2
        0.1
        >>> Settings.from_stored({"colour": "red"}, "runs/mine")
        Traceback (most recent call last):
            ...
        klayer.errors.KlayerError: runs/mine: unknown setting 'colour' = 'red': a later version of ...
        """
        values = current_names(values, where)
        later = "a later version of klayer may have made it; use that one"
        for name, value in values.items():
            if name not in SETTINGS:
                raise located(where, f"unknown setting {name!r} = {value!r}: {later}.")
        whole = SimpleNamespace(**{name: row.default for name, row in SETTINGS.items()} | values)
        try:
            return cls(**{n: value for n, value in values.items() if SETTINGS[n].has_effect(whole)})
        except KlayerError as error:
            raise located(where, f"{error} If nobody changed the file, {later}.") from None


# The table: every setting by its name.
SETTINGS: Mapping[str, Setting] = MappingProxyType(rows_of(Settings))


def _names_checked(init: Callable[..., None]) -> Callable[..., None]:
    """Make an unknown setting, which is a TypeError of Python's, a mistake with "did you mean"."""

    @functools.wraps(init)
    def checked(self: Settings, *args: Any, **values: Any) -> None:
        for name, value in values.items():
            if name not in SETTINGS:
                raise unknown_setting(name, value, SETTINGS)
        init(self, *args, **values)

    return checked


Settings.__init__ = _names_checked(Settings.__init__)  # type: ignore[method-assign]

# What a search may vary beside the settings themselves.
ALIASES: Mapping[str, Setting] = MappingProxyType(
    {
        "sigma": Setting(
            "Sigma of a Gaussian initialisation.",
            name="sigma",
            kind=float,
            above=0,
            scope="network",
            search="log",
            stands_for="init",
            template="gaussian:{!r}",
        )
    }
)

# What a search may vary: numbers, then choices; of these last those that a population can mix.
SEARCHABLE: Mapping[str, Setting] = MappingProxyType(
    {
        name: row
        for name, row in sorted(
            {**SETTINGS, **ALIASES}.items(),
            key=lambda item: item[1].search == "choices" and 1 + (item[1].scope == "network"),
        )
        if row.search
    }
)

Settings.__doc__ = f"{Settings.__doc__}".replace(
    "    Raises\n",
    "    Parameters\n    ----------\n"
    + "".join(
        f"    {name} : {row.allowed}\n        {row.sentence} Default: {row.shown_default}.\n"
        for name, row in SETTINGS.items()
    )
    + "\n    Raises\n",
    1,
)


def current_names(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return values under the names that their settings have today.

    Raises
    ------
    KlayerError
        If one is given twice, under two of its names.
    """
    now = {old: name for name, row in {**SETTINGS, **ALIASES}.items() for old in row.was}
    given: dict[str, str] = {}
    for name in values:
        today = now.get(name, name)
        if today in given:
            raise located(
                where,
                f"`{today}` is given twice, as {given[today]!r} and as {name!r}: it is one setting, "
                f"so give {today!r} alone.",
            )
        given[today] = name
    return {today: values[name] for today, name in given.items()}


def has_effect(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a setting has an effect beside others, given as plain values; the rest is at its default.

    Examples
    --------
    >>> has_effect("bn_eps", {"batch_norm": "all"}), has_effect("bn_eps", {"bn_eps": 1e-5})
    (True, False)
    """
    if name not in SETTINGS:
        return True
    defaults = {one: row.default for one, row in SETTINGS.items()}
    return SETTINGS[name].has_effect(SimpleNamespace(**defaults | dict(values)))


def without_aliases(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a search's parameters as settings.

    Examples
    --------
    >>> without_aliases({"l2": 0.1, "sigma": 0.01})
    {'l2': 0.1, 'init': 'gaussian:0.01'}
    """
    found = {name: value for name, value in values.items() if name not in ALIASES}
    for name, row in ALIASES.items():
        if name in values:
            found[row.stands_for] = row.template.format(values[name])
    return found


def setting_title(name: str) -> str:
    """Return what a setting, or a parameter of a search, is called in a heading.

    Examples
    --------
    >>> setting_title("lr_max"), setting_title("batch_size")
    ('maximum learning rate', 'batch size')
    """
    row = {**SETTINGS, **ALIASES}.get(name)
    return row.label if row else name.replace("_", " ")


def setting_label(name: str, value: Any) -> str:
    """Return a setting and its value in short, for a legend.

    Examples
    --------
    >>> setting_label("l2", 0.0010), setting_label("batch_size", 20)
    ('λ = 0.001', 'batch size = 20')
    """
    row = SETTINGS.get(name)
    symbol = row.symbol if row else name.replace("_", " ")
    return f"{symbol} = {value:g}" if isinstance(value, float) else f"{symbol} = {value}"
