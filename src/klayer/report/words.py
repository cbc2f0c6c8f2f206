"""Words that the sentences of a page are made of: statements, and numbers as a sentence writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from klayer.report.table import p_text
from klayer.study.measure import Measure
from klayer.study.statistics import Comparison, Estimate

__all__ = [
    "MOST_NAMED",
    "THIN",
    "Sentence",
    "capital",
    "in_numbers",
    "interval_said",
    "is_shown",
    "listed",
    "p_said",
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


def p_said(result: Comparison) -> str:
    """Write the corrected p-value of a comparison, or the only one."""
    value = p_text(result.p if result.p_holm is None else result.p_holm)
    text = f"p {value}" if value.startswith("<") else f"p = {value}"
    return text.replace(" ", "\u00a0")


def plural(n: int, word: str) -> str:
    """Write a number of things."""
    return f"{n} {word}" + ("" if n == 1 else "s")


def listed(words: Sequence[str]) -> str:
    """Write words one after another, "and" before the last."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def capital(text: str) -> str:
    """Begin a text with a capital."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def is_shown(result: Comparison) -> bool:
    """Whether the data carry that two arms differ."""
    return result.verdict != "not told apart"


def interval_said(found: Estimate, measure: Measure) -> str:
    """Write the interval of a difference."""
    return f"{measure.difference(found.low)} to {measure.difference(found.high)}"


def in_numbers(result: Comparison, measure: Measure) -> str:
    """Write the interval of a paired difference, the number of seeds and p."""
    found = f"95{THIN}% interval {interval_said(result.difference, measure)}"
    test = f", {p_said(result)}" if result.p is not None else ""
    return f"({found}; {plural(result.n, 'seed')}{test})"
