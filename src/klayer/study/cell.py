"""The networks of one arm: how many trained, and how well those did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from klayer.study.statistics import SHARE, Estimate, estimate, percent

__all__ = ["FAR_APART", "Cell", "Result", "cell"]

# Seeds of one arm with a standard deviation above 5 points are not repetitions of one result.
FAR_APART = 0.05


class Result(Protocol):
    """What the statistics need of a network; :class:`klayer.study.NetworkRecord` has it."""

    @property
    def seed(self) -> int: ...

    @property
    def state(self) -> str: ...

    def score(self, split: str, /) -> float | None: ...


@dataclass(frozen=True)
class Cell:
    """The networks of one arm: how many trained, and how well those did.

    Attributes
    ----------
    n, trained, at_chance, diverged : int
    result : Estimate
        Of the networks that trained.
    chance : Estimate
        Of the networks that never left chance.
    apart : float
        Above which standard deviation those that trained lie far apart.
    """

    n: int
    trained: int
    at_chance: int
    diverged: int
    result: Estimate
    chance: Estimate
    apart: float = FAR_APART

    @property
    def kind(self) -> str:
        """``"trained"``, ``"at chance"``, ``"diverged"``: all of them; ``"mixed"``; or ``"empty"``."""
        if not self.n:
            return "empty"
        for kind in ("trained", "at_chance", "diverged"):
            if getattr(self, kind) == self.n:
                return kind.replace("_", " ")
        return "mixed"

    @property
    def estimate(self) -> Estimate:
        """The one estimate that stands for the cell; of nothing where the cell is mixed."""
        return {"trained": self.result, "at chance": self.chance}.get(self.kind, Estimate(0))

    @property
    def far_apart(self) -> bool:
        """Whether all trained, but their standard deviation is above ``apart``: 5 points."""
        return self.kind == "trained" and (self.result.sd or 0) > self.apart

    def describe(self, show: Callable[[float | None], str] = percent) -> str:
        """Say in words what became of the seeds; ``show`` writes a value.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> stuck = SimpleNamespace(seed=0, state="at chance", score=lambda split: 0.1)
        >>> cell([stuck] * 5).describe()
        '10.0\u202f%: never left chance, 5 of 5 seeds'
        """
        if self.kind == "empty":
            return "no network yet"
        if self.kind == "trained":
            text = f"left chance, {self.n} of {self.n} seeds"
            return f"{_range(self.result, show)}: {text}, far apart" if self.far_apart else text
        parts = []
        if self.trained:
            parts.append(
                f"{_range(self.result, show)}: left chance, {self.trained} of {self.n} seeds"
            )
        if self.at_chance:
            parts.append(
                f"{_range(self.chance, show)}: never left chance, {self.at_chance} of {self.n} seeds"
            )
        if self.diverged:
            parts.append(f"diverged, {self.diverged} of {self.n} seeds")
        return "; ".join(parts)


def _range(values: Estimate, show: Callable[[float | None], str]) -> str:
    low, high = show(values.least), show(values.greatest)
    to = " to " if "\u2212" in low + high else "–"  # no dash beside a minus
    return low if low == high else f"{low.removesuffix(chr(0x202F) + '%')}{to}{high}"


def cell(
    records: Sequence[Result],
    split: str = "test",
    *,
    bounds: tuple[float, float] = SHARE,
    apart: float = FAR_APART,
) -> Cell:
    """Summarise the networks of one arm.

    Parameters
    ----------
    records : sequence of NetworkRecord
    split : {"train", "validation", "test"}
        Whose score.
    bounds : (float, float)
        Of the score.
    apart : float
        Above which standard deviation the seeds lie far apart.
    """
    groups = {
        state: [record.score(split) for record in records if record.state == state]
        for state in ("trained", "at chance", "diverged")
    }
    return Cell(
        n=sum(map(len, groups.values())),
        trained=len(groups["trained"]),
        at_chance=len(groups["at chance"]),
        diverged=len(groups["diverged"]),
        result=estimate(groups["trained"], bounds),
        chance=estimate(groups["at chance"], bounds),
        apart=apart,
    )
