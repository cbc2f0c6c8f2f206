"""One row of the table of settings: what a setting may be, who may search it, how it is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from inspect import get_annotations
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from klayer.errors import KlayerError, unknown_name

__all__ = ["Setting", "rows_of", "setting"]

T = TypeVar("T")

# Networks train in float32, unless told otherwise, and their numbers are of their kind.
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Setting:
    """A setting: name, type, default, range, scope, whether it is searched, how it is shown.

    Parameters
    ----------
    help : str
        One sentence; ``{choices}`` in it stands for the choices.
    choices : iterable of str, optional
        The only values; a table of implementations may be given as it is.
    at_least, above, below, at_most : float, optional
        The range of a number, or of each of several.
    off : float, optional
        The value that switches it off. Networks with and without it don't share a population: see
        :attr:`klayer.train.Settings.shared`.
    bound : float, optional
        Where the range is open: the greatest number that isn't absurd, refused before memory is taken.
    longest : int
        How many numbers a list may have.
    rule : str, optional
        What must hold, as in ``"must be a number >= 0"``; by default made from the range.
    read : callable, optional
        Bring a value into its one form; raises :class:`KlayerError` for a value that is wrong.
    values : str, optional
        The values in words, for the documentation; by default made from choices or range.
    unit : str, optional
    scope : {"shared", "network"}
        Whether a population has one value, or each of its networks its own.
    search : {"", "log", "linear", "choices"}
        How a search draws it: not at all, as a real number on a scale, or from a list.
    flags : tuple of str, optional
        Options of the command; by default ``--name``.
    metavar : str, optional
        What stands for the value in the command's help.
    label, symbol : str, optional
        Its title, and a shorter one for legends; by default the name in words.
    was : tuple of str
        Former names, which stored runs, files and flags may still use.
    elsewhere : mapping of str to str, optional
        What choices are called in other libraries, in small letters, for "did you mean".
    only_with : (str, tuple of str or callable), optional
        Another setting and those values of it with which this one has an effect, or what tells them.
    only_words : str, optional
        What that is in words; by default made from the values.
    stands_for : str
        The setting that a parameter of a search is written as: ``"init"``.
    template : str
        How it is written there: ``"gaussian:{!r}"``.
    name, kind, default
        Filled in by the record that declares the setting.

    Examples
    --------
    >>> row = Setting("How strong.", at_least=0, name="l2", kind=float, default=0.005)
    >>> row.check(0.1)
    0.1
    >>> row.check(-1)
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: `l2` must be >= 0, but got l2=-1.
    """

    help: str
    choices: Iterable[str] = ()
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    at_most: float | None = None
    bound: float | None = None
    longest: int = 200
    off: float | None = None
    rule: str = ""
    read: Callable[[Any], Any] | None = None
    values: str = ""
    unit: str = ""
    scope: Literal["shared", "network"] = "shared"
    search: Literal["", "log", "linear", "choices"] = ""
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    label: str = ""
    symbol: str = ""
    was: tuple[str, ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    only_with: tuple[str, tuple[str, ...] | Callable[[Any], bool]] | None = None
    only_words: str = ""
    stands_for: str = ""
    template: str = ""
    name: str = ""
    kind: Any = str
    default: Any = None

    def __post_init__(self) -> None:
        words = self.name.replace("_", " ")
        flags = self.flags or (f"--{self.name.replace('_', '-')}",)
        for name, value in (("flags", flags), ("label", self.label or words)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "symbol", self.symbol or self.label)

    @cached_property
    def is_list(self) -> bool:
        """Whether it holds several numbers."""
        return get_origin(self.kind) is tuple

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words that may stand in a number's place, as in ``Literal["auto"] | int``."""
        return tuple(
            word for one in self._parts for word in get_args(one) if get_origin(one) is Literal
        )

    @property
    def flag_type(self) -> type[int] | type[float] | type[str]:
        """What the command reads for it."""
        return self.kind if self.kind in (int, float) else str

    @property
    def sentence(self) -> str:
        """The help, with the choices in it."""
        return self.help.replace("{choices}", _either(tuple(self.choices)))

    @property
    def shown_default(self) -> str:
        """The default as a user would write it: ``1e-5``, ``50,50``."""
        value = self.default
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)

    @property
    def allowed(self) -> str:
        """The values in words, for the documentation."""
        whole = "whole numbers" if self.is_list else "a whole number"
        whole = whole if int in self._parts else ""
        numbers = " ".join(part for part in (whole, self._limits) if part)
        return self.values or _either((*self.choices, *self.words, *([numbers] if numbers else [])))

    def parse(self, text: str) -> Any:
        """Return what a flag's text stands for; :meth:`check` judges it.

        Examples
        --------
        >>> Setting("Widths.", name="hidden", kind=tuple[int, ...]).parse("50,30")
        [50, 30]

        Raises
        ------
        KlayerError
            If a list is not of numbers with commas.
        """
        if self.read:
            return text
        if self.is_list:
            try:
                return [int(part) for part in text.split(",")] if text.strip() else []
            except ValueError:
                raise KlayerError(
                    f"`{self.flags[0]}` must be {(self.metavar or 'numbers').lower()} with commas, "
                    f"as in 50,30,20, but got {text!r}."
                ) from None
        for kind in (int, float):
            if kind in self._parts:
                with suppress(ValueError):
                    return kind(text)
        return text

    def check(self, value: Any) -> Any:
        """Return the value in its one form: plain Python, as a stored run has it; texts stay texts.

        Raises
        ------
        KlayerError
            If it is out of its range, with the rule and the value.
        """
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        if self.read is not None:
            return self.read(value)
        choices = tuple(self.choices)
        if choices:
            if value not in choices:
                meant = self.elsewhere.get(str(value).lower())
                hint = f"did you mean {meant!r}?" if meant else None
                raise unknown_name(self.name, value, choices, hint)
            return value
        optional = value is None and type(None) in self._parts
        if self.kind is str or optional or (isinstance(value, str) and value in self.words):
            return value
        if not self.is_list:
            return self._number(value, value)
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise self._refusal(value, "must be a list of whole numbers, as in [10, 20]")
        if len(value) > self.longest:
            raise KlayerError(
                f"`{self.name}` must have at most {self.longest} numbers, but got {len(value):,}."
            )
        several = tuple(one.item() if isinstance(one, np.generic) else one for one in value)
        return tuple(self._number(one, several) for one in several)

    def shared(self, value: Any) -> Any:
        """Return what stands for a network's own value in what its population shares."""
        return self.default if self.off is None or value == self.off else 1.0

    def has_effect(self, record: object) -> bool:
        """Whether the record's other settings leave this one an effect."""
        if self.only_with is None:
            return True
        other, needed = self.only_with
        value = getattr(record, other)
        return needed(value) if callable(needed) else value in needed

    def check_effect(self, value: Any, record: object) -> None:
        """Refuse a value that the record's other settings leave without effect.

        Raises
        ------
        KlayerError
            Naming both settings.
        """
        if self.only_with is None or value == self.default or self.has_effect(record):
            return
        other, needed = self.only_with
        words = self.only_words
        if not callable(needed):
            words = f"{other}={_either(tuple(map(repr, needed)))}"
        have = getattr(record, other)
        have = list(have) if isinstance(have, tuple) else have
        raise KlayerError(
            f"`{self.name}` has an effect with {words} only, but got {self.name}={value} with "
            f"{other}={have!r}: leave it away, or set {other}."
        )

    @cached_property
    def _parts(self) -> tuple[Any, ...]:
        """The types that a value may have."""
        whole = get_origin(self.kind) in (Union, UnionType, tuple)
        return get_args(self.kind) if whole else (self.kind,)

    @cached_property
    def _limits(self) -> str:
        """The range in words: ``>= 1``, or ``1e-30 <= bn_eps < 1``."""
        low, sign = (self.at_least, "=") if self.above is None else (self.above, "")
        high, equal = (self.below, "") if self.at_most is None else (self.at_most, "=")
        if high is None:
            return "" if low is None else f">{sign} {low}"
        return ("" if low is None else f"{low} <{sign} ") + f"{self.name} <{equal} {high}"

    def _number(self, one: Any, value: Any) -> int | float:
        """Return a number as a plain one; ``value`` is what it is a part of."""
        whole = int in self._parts
        open_ended = self.below is None and self.at_most is None
        limits = f" {self._limits}" if open_ended and self._limits else ""
        kinds = int if whole else int | float | np.floating
        if isinstance(one, bool) or not isinstance(one, kinds):
            noun = "a whole number" if whole else "a number"
            raise self._refusal(value, self.rule or f"must be {noun}{limits}")
        try:
            number = int(one) if whole else float(one)
        except OverflowError:
            number = math.inf
        if open_ended and number in (math.inf, -math.inf):
            raise self._refusal(value, f"must be a finite number{limits}")
        if open_ended and not whole and abs(number) > LARGEST:
            raise self._refusal(value, f"must fit into a float32, {LARGEST:.1e} at the most")
        if not self._holds(number):
            made = f"must be{limits}" if open_ended else f"`{self._limits}` must hold"
            raise self._refusal(value, self.rule or made)
        if self.bound is not None and number > self.bound:
            raise self._refusal(value, f"must be at most {self.bound:,}")
        return number

    def _holds(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )

    def _refusal(self, value: Any, rule: str) -> KlayerError:
        if self.words:
            rule = rule.replace("must be", f"must be {_either(tuple(map(repr, self.words)))} or")
        rule = rule if rule.startswith("`") else f"`{self.name}` {rule}"
        value = list(value) if isinstance(value, tuple) else value  # as files and Python write it
        return KlayerError(f"{rule}, but got {self.name}={value!r:.200}.")


def setting(default: T, help: str, **about: Any) -> T:
    """Declare a setting, as the field of a dataclass; ``about`` is as in :class:`Setting`."""
    return field(default=default, metadata={"row": {"help": help, **about}})


def rows_of(record: type) -> dict[str, Setting]:
    """Return the table that the fields of a dataclass declare: its own, then those of its bases."""
    kinds = get_type_hints(record)
    own = get_annotations(record)
    return {
        one.name: Setting(
            name=one.name, kind=kinds[one.name], default=one.default, **one.metadata["row"]
        )
        for one in sorted(fields(record), key=lambda one: one.name not in own)
    }


def _either(words: tuple[str, ...]) -> str:
    """Write a choice: ``none, hidden or all``."""
    return " or ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
