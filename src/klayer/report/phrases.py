"""What the sentences of a page are made of: numbers, intervals and lists in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from klayer.report.table import p_text
from klayer.study.comparison import Comparison
from klayer.study.measure import Measure
from klayer.study.statistics import Estimate

__all__ = [
    "MOST_NAMED",
    "THIN",
    "Sentence",
    "capital",
    "first_few",
    "interval_of",
    "is_shown",
    "listed",
    "numbers_of",
    "p_value",
    "plural",
]

THIN = "\u202f"

# So many arms or levels are named in one sentence; of more it says how many there are.
MOST_NAMED = 4


@dataclass(frozen=True)
class Sentence:
    """A statement; where the data don't carry it, it says that something is not shown."""

    text: str
    carried: bool = True
    short: str = ""  # for the first screen; empty if it doesn't belong there


def p_value(result: Comparison) -> str:
    """Write p, after Holm's correction where there is one."""
    value = p_text(result.p if result.p_holm is None else result.p_holm)
    text = f"p {value}" if value.startswith("<") else f"p = {value}"
    return text.replace(" ", "\u00a0")


def plural(n: int, word: str) -> str:
    """Write a number with its noun."""
    return f"{n} {word}" + ("" if n == 1 else "s")


def listed(words: Sequence[str]) -> str:
    """Write words as a list: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def capital(text: str) -> str:
    """Begin with a capital letter."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def is_shown(result: Comparison) -> bool:
    """Whether the arms are told apart."""
    return result.verdict != "not told apart"


def interval_of(found: Estimate, measure: Measure) -> str:
    """Write an interval of a difference."""
    return f"{measure.difference(found.low)} to {measure.difference(found.high)}"


def numbers_of(result: Comparison, measure: Measure) -> str:
    """Write the interval of a paired difference, the number of seeds and p."""
    found = f"95{THIN}% interval {interval_of(result.difference, measure)}"
    test = f", {p_value(result)}" if result.p is not None else ""
    return f"({found}; {plural(result.n, 'seed')}{test})"


def first_few(words: list[str]) -> list[str]:
    """Keep those that a sentence can name, and count the others."""
    if len(words) <= MOST_NAMED + 2:
        return words
    return [*words[: MOST_NAMED + 1], f"{len(words) - MOST_NAMED - 1} more arms"]
