"""What varies among arms: factors with their levels, from the settings alone, and names by them.

Settings that are the same everywhere name nothing. A setting without an effect (the momentum of plain
descent) has no level. Hidden widths become depth and width where they are crossed, else one factor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from klayer.train import Settings
from klayer.train.settings import SETTINGS, setting_title

__all__ = ["Factor", "Level", "coordinates", "describe_level", "factors", "labels", "slug"]

# A level: a plain value that can be compared and sorted within its factor; None has no effect.
Level = Any

_SPELLED = {"none": "no BN", "hidden": "BN hidden", "all": "BN all"}
_WORDS = {
    "hidden": ("hidden layers", "hidden layers"),
    "depth": ("depth", "depths"),
    "width": ("width", "widths"),
    "batch_norm": ("batch normalisation", "kinds of normalisation"),
    "init": ("initialisation", "initialisations"),
    "l2": ("penalty λ", "values of λ"),
    "lr_max": ("learning rate", "learning rates"),
    "lr_min": ("lowest learning rate", "lowest learning rates"),
    "optimiser": ("optimiser", "optimisers"),
    "activation": ("activation", "activations"),
    "batch_size": ("batch size", "batch sizes"),
    "train_samples": ("training rows", "numbers of training rows"),
    "cycles": ("length", "lengths"),
    "arm": ("arm", "arms"),
}
_BESIDE = {
    "train_samples": "{} rows",
    "cycles": "{} cycles",
    "l2": "λ = {}",
    "lr_max": "rate {}",
    "lr_min": "lowest rate {}",
}
# What an arm is compared against, where the study has it: no normalisation, He, plain descent.
_REFERENCE = {"batch_norm": "none", "init": "he", "optimiser": "sgd"}


@dataclass(frozen=True)
class Factor:
    """Something that varies among arms.

    Attributes
    ----------
    name : str
        A setting's name; ``depth`` and ``width``, made of the hidden widths; or ``arm``.
    levels : tuple
        What it may be: numbers ascend, others are in order of appearance.
    labels : tuple of str
        A level said by itself, in a legend or a name: ``"width 50"``.
    shorts : tuple of str
        A level beside the factor's title, on an axis: ``"50"``.
    beside : tuple of str
        Other settings that vary along with it, each level with one of theirs.
    first : level, optional
        The reference where there is no usual one; by default the first level.

    Examples
    --------
    >>> arms = [Settings(hidden=(w,), lr_max=r) for w in (50, 25) for r in (0.1, 0.2)]
    >>> [(one.name, one.levels, one.labels) for one in factors(arms)]
    [('width', (25, 50), ('width 25', 'width 50')), ('lr_max', (0.1, 0.2), ('rate 0.1', 'rate 0.2'))]
    """

    name: str
    levels: tuple[Level, ...]
    labels: tuple[str, ...]
    shorts: tuple[str, ...]
    beside: tuple[str, ...] = ()
    first: Level = None

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        title, *others = (
            _WORDS[name][0] if name in _WORDS else setting_title(name)
            for name in (self.name, *self.beside)
        )
        return f"{title} (with its {', '.join(others)})" if others else title

    @property
    def plural(self) -> str:
        """What its levels are called."""
        return _WORDS[self.name][1] if self.name in _WORDS else f"values of {self.title}"

    @property
    def numeric(self) -> bool:
        """Whether its levels are numbers, at their places on an axis."""
        return not self.beside and all(_is_number(level) for level in self.levels)

    @property
    def reference(self) -> Level:
        """The level that others are compared with: the usual one or none if there, else the first."""
        usual = _REFERENCE.get(self.name, "none")
        first = self.levels[0] if self.first is None else self.first
        return usual if usual in self.levels else first

    def label(self, level: Level) -> str:
        """Say a level by itself."""
        return self.labels[self.levels.index(level)] if level in self.levels else ""

    def short(self, level: Level) -> str:
        """Say a level beside the factor's title."""
        return self.shorts[self.levels.index(level)] if level in self.levels else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def coordinates(everyone: Sequence[Settings]) -> list[dict[str, Level]]:
    """Return the level of every factor that may be, for each of some settings."""
    split = _crossed([one.hidden for one in everyone])
    found = []
    for one in everyone:
        levels: dict[str, Level] = {}
        for name, value in one.as_dict().items():
            effect = SETTINGS[name].has_effect(one)
            levels[name] = _hashable(value) if effect else None
        if split:
            hidden = levels.pop("hidden")
            levels = {"depth": len(hidden) + 1, "width": hidden[0], **levels}
        found.append(levels)
    return found


def _hashable(value: Any) -> Level:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _crossed(hidden: Sequence[tuple[int, ...]]) -> bool:
    """Whether hidden widths are better said as a depth and a width."""
    if not all(one and len(set(one)) == 1 for one in hidden):
        return False
    pairs = {(len(one), one[0]) for one in hidden}
    depths, widths = {depth for depth, _ in pairs}, {width for _, width in pairs}
    return len(pairs) == len(depths) * len(widths)


def factors(everyone: Sequence[Settings]) -> list[Factor]:
    """Return what varies among settings, in the order of the table of settings."""
    if not everyone:
        return []
    rows = coordinates(everyone)
    found = []
    for name in rows[0]:
        levels = list(dict.fromkeys(row[name] for row in rows if row[name] is not None))
        if len(levels) > 1:
            if all(map(_is_number, levels)):
                levels.sort()
            elif name == "hidden":
                levels.sort(key=len)
            found.append(_factor(name, levels))
    return _joined(found, rows)


def _joined(found: list[Factor], rows: Sequence[Mapping[str, Level]]) -> list[Factor]:
    """Join factors that vary together into one: a rate that each optimiser has for its own."""
    kept, beside = list(found), dict[str, list[Factor]]()
    # Numbers go along with words rather than the other way round, few levels with many.
    for one in sorted(found, key=lambda one: (not one.numeric, len(one.levels))):
        leader = next((f for f in kept if f is not one and _follows(one, f, rows)), None)
        if leader is not None and len(kept) > 1:
            kept.remove(one)
            beside.setdefault(leader.name, []).extend([one, *beside.pop(one.name, [])])
    return [_with(one, beside[one.name], rows) if one.name in beside else one for one in kept]


def _follows(one: Factor, leader: Factor, rows: Sequence[Mapping[str, Level]]) -> bool:
    """Whether each level of the leader has one level of this factor, and every arm has the leader."""
    seen: dict[Level, Level] = {}
    return all(
        row[leader.name] is not None
        and seen.setdefault(row[leader.name], row[one.name]) == row[one.name]
        for row in rows
    )


def _with(leader: Factor, others: Sequence[Factor], rows: Sequence[Mapping[str, Level]]) -> Factor:
    """Say the levels of a factor with those of the others that go along with it."""
    others = sorted(others, key=lambda one: list(rows[0]).index(one.name))
    first = {row[leader.name]: row for row in reversed(rows)}

    def both(text: str, level: Level) -> str:
        said = [label for one in others if (label := one.label(first[level][one.name]))]
        return f"{text} ({', '.join(said)})" if said else text

    return Factor(
        leader.name,
        leader.levels,
        tuple(map(both, leader.labels, leader.levels)),
        tuple(map(both, leader.shorts, leader.levels)),
        tuple(one.name for one in others),
    )


def _factor(name: str, levels: Sequence[Level]) -> Factor:
    shorts = _distinct(name, levels)
    said = [_beside(name, short) for short in shorts]
    if name == "batch_norm" and set(levels) <= {"none", "hidden"}:
        said = ["no BN" if level == "none" else "BN" for level in levels]
    return Factor(name, tuple(levels), tuple(said), tuple(shorts))


def _distinct(name: str, levels: Sequence[Level]) -> list[str]:
    """Write levels as short as they can be told apart."""
    for digits in (6, 10, 17):
        shorts = [_short(name, level, levels, digits) for level in levels]
        if len(set(shorts)) == len(shorts):
            break
    return shorts


def _short(name: str, level: Level, levels: Sequence[Level], digits: int) -> str:
    if name == "hidden":
        depths = [len(one) for one in levels]
        if len(set(depths)) == len(depths):
            return f"{len(level) + 1}-layer"
        return f"[{', '.join(map(str, level))}]"
    if name == "batch_norm":
        by_layer = isinstance(level, tuple)
        return f"BN {list(level)}" if by_layer else _SPELLED.get(level, str(level))
    if name == "init":
        kind, _, sigma = str(level).partition(":")
        return f"σ = {float(sigma):.{digits}g}" if sigma else kind.capitalize()
    if isinstance(level, bool):
        return "yes" if level else "no"
    if isinstance(level, float):
        return _number(level, digits) if math.isfinite(level) else str(level)
    if isinstance(level, tuple):
        return f"[{', '.join(map(str, level))}]"
    return str(level)


def _number(value: float, digits: int) -> str:
    """Write a number that somebody chose whole, one that was drawn with four digits."""
    whole = f"{value:.6g}"
    return f"{value:.4g}" if digits == 6 and float(whole) != value else f"{value:.{digits}g}"


def _beside(name: str, short: str) -> str:
    """Say a level by itself, with the name of what it is of where that isn't clear."""
    if name == "depth":
        return f"{short}-layer"
    if name in ("hidden", "batch_norm", "init", "optimiser", "activation", "arm"):
        return short
    title = _WORDS[name][0] if name in _WORDS else setting_title(name)
    if short == "none":
        return f"no {title}"
    return _BESIDE[name].format(short) if name in _BESIDE else f"{title} {short}"


def describe_level(name: str, level: Level) -> str:
    """Say one level by itself."""
    return "" if level is None else _factor(name, [level]).labels[0]


def labels(
    everyone: Sequence[Settings], named: Mapping[int, str] | None = None
) -> tuple[list[str], list[Factor]]:
    """Name settings by what varies among them; a name that somebody gave stays.

    Parameters
    ----------
    everyone : sequence of Settings
    named : mapping of int to str, optional
        Names that were given, by the place in ``everyone``.

    Returns
    -------
    names : list of str
        Each different.
    found : list of Factor
        What they are made of. Where no two settings differ in one factor alone, and some of them have
        names, these are what varies.
    """
    named = named or {}
    found, rows = factors(everyone), coordinates(everyone)
    names = []
    for i, row in enumerate(rows):
        parts = [factor.label(row[factor.name]) for factor in found]
        made = ", ".join(filter(None, parts)) or plainly(everyone[i])
        names.append(named.get(i, made))
    if len(set(names)) < len(names):  # two arms with the same settings, or a name that is another's
        kept = {names[i]: i for i in sorted(named, reverse=True)}
        names = [
            f"{name} ({i + 1})" if names.count(name) > 1 and kept.get(name) != i else name
            for i, name in enumerate(names)
        ]
    return names, found


def plainly(settings: Settings) -> str:
    """Say what settings are where nothing varies.

    Examples
    --------
    >>> plainly(Settings(hidden=(20, 10), init="gaussian:0.01"))
    '3-layer, no BN, σ = 0.01'
    """
    depth = f"{len(settings.hidden) + 1}-layer"
    rest = [describe_level(name, getattr(settings, name)) for name in ("batch_norm", "init")]
    return ", ".join([depth, *rest]).replace("BN hidden", "BN")


def differing(a: Mapping[str, Level], b: Mapping[str, Level], names: Iterable[str]) -> list[str]:
    """Return the factors in which two arms differ, among some; what has no effect doesn't differ."""
    return [
        name for name in names if a[name] != b[name] and a[name] is not None and b[name] is not None
    ]


def slug(text: str, most: int = 60) -> str:
    """Return a file name of a label.

    Examples
    --------
    >>> slug("width 25, BN hidden, σ = 0.001"), slug("λ = 1e-05")
    ('width-25-bn-hidden-sigma-0.001', 'l2-1e-05')
    """
    text = text.lower().replace("λ", "l2").replace("σ", "sigma").replace("²", "2")
    kept = "".join(c if c.isascii() and (c.isalnum() or c in ".-_") else "-" for c in text)
    return "-".join(part for part in kept.split("-") if part)[:most].strip(".-") or "all"
